"""Figure of a law beside a KAN: the data, both within them, and both far outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ase_kan.data.curve import PairCurve
from ase_kan.plots.figures import CURE_COLOR, KAN_COLOR, POINT_COLOR, TRUTH_COLOR, EnergyFunction, Figure, shade_domain
from ase_kan.potentials.protocol import PairPotential

if TYPE_CHECKING:
    from ase_kan.analysis.law import Law

#: How far the figure goes, over the first and the last distance of the data: 0.5 and 5 for data from 0.95 to 2.
INNER, OUTER = 0.5 / 0.95, 2.5
#: A longer verdict does not fit above a figure.
SHORT = 50


def plot_law(law: Law, curve: PairCurve, kan: PairPotential, reference: EnergyFunction | None = None) -> Figure:
    """Energies near the data, and their sizes on logarithmic scales, where both ends can be seen.

    Parameters
    ----------
    law : Law
    curve : PairCurve
        The data that it was found in.
    kan : PairPotential
        Fitted to the same data.
    reference : callable, optional
        The true energy (eV) of an array of distances (Angstrom).
    """
    low, high = law.potential.domain()
    r = np.geomspace(INNER * low, OUTER * high, 1500)
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    found = (
        (law.energy(r), {"color": CURE_COLOR, "lw": 1.6, "label": f"law: {law.name}"}),
        (kan.energy(r), {"color": KAN_COLOR, "lw": 1.2, "ls": "--", "label": "KAN"}),
    )
    for axes in (left, right):
        shade_domain(axes, low, high)
        size = np.abs if axes is right else np.asarray
        if reference is not None:
            axes.plot(r, size(reference(r)), color=TRUTH_COLOR, lw=3, alpha=0.3, label="reference")
        for energy, style in found:
            # Where it is cut off there is nothing to show.
            axes.plot(r, np.where(energy == 0, np.nan, size(energy)), **style)
        axes.plot(curve.r, size(curve.energy), "o", ms=3, color=POINT_COLOR, label=f"{len(curve)} points")
        axes.set(xlabel="r (Å)")
    depth = max(float(np.ptp(curve.energy[curve.r >= curve.r[int(np.argmin(curve.energy))]])), 1e-12)
    top = min(float(curve.energy.max()), float(curve.energy.min()) + 4 * depth)
    left.set(xlim=(INNER * low, 1.3 * high), ylim=(float(curve.energy.min()) - 0.3 * depth, top + 0.3 * depth))
    left.axhline(0, color="gray", lw=0.6)
    left.set(ylabel="energy (eV)", title=law.verdict if len(law.verdict) < SHORT else "undecided")
    left.legend(fontsize=8)
    right.set(xscale="log", yscale="log", ylabel="size of the energy (eV)", title="far outside the data")
    ends = [INNER * low, low, high, OUTER * high]
    right.set_xticks(ends, [f"{end:.2g}" for end in ends])
    right.set_xticks([], minor=True)
    return figure
