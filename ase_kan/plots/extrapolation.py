"""Figures of what a potential does outside its data."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ase_kan.analysis.extrapolation import PairExtrapolation
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.protocol import PairPotential
from ase_kan.types import Pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ase_kan.potentials.potential import KANPotential


from ase_kan.plots.figures import (
    BASE_COLOR,
    CURE_COLOR,
    KAN_COLOR,
    POINT_COLOR,
    TRANSITION_COLOR,
    TRUTH_COLOR,
    EnergyFunction,
    shade_domain,
)


def plot_range(
    potential: PairPotential,
    reference: EnergyFunction | None = None,
    r_max: float = 5.0,
    pair: Pair | None = None,
    bare: Sequence[PairPotential] = (),
) -> Figure:
    """Energy from r near 0 to `r_max`, the training range shaded: what happens where there were no data.

    `bare` are potentials without core and tail, drawn as thin lines for comparison.
    """
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    r_min, r_end = potential.domain(pair)
    r = np.linspace(r_max / 500, r_max, 2000)
    energy = potential.energy(r, pair)
    shade_domain(axes, r_min, r_end)
    if reference is not None:
        axes.plot(r, reference(r), color=TRUTH_COLOR, lw=2.5, alpha=0.35, label="reference")
    for number, one in enumerate(bare):
        label = f"{len(bare)} bare KANs" if number == 0 else None
        axes.plot(r, one.energy(r, pair), color=POINT_COLOR, lw=0.8, alpha=0.7, label=label)
    axes.plot(r, energy, color=KAN_COLOR, lw=1.5, label="KAN")
    axes.axhline(0, color="gray", lw=0.6)
    known = energy[(r >= r_min) & (r <= r_end)]
    depth = max(np.ptp(known), 1e-12)
    lowest = min(float(one.energy(r, pair).min()) for one in (potential, *bare))
    low, high = max(lowest, known.min() - 3 * depth), min(energy.max(), known.max() + 3 * depth)
    margin = 0.1 * (high - low)
    axes.set(xlim=(0, r_max), ylim=(low - margin, high + margin), xlabel="r (Å)", ylabel="energy (eV)")
    axes.set_title("Inside and outside the training range")
    axes.legend(loc="upper right")
    return figure


def plot_extrapolation(
    potential: KANPotential,
    reference: EnergyFunction | None = None,
    r_max: float | None = None,
    pair: Pair | None = None,
) -> Figure:
    """What the KAN does outside its data and why: energy, asymptotes and zones, and the force below.

    The potential itself, with its core and tail, is drawn where it differs from the bare KAN.
    """
    function = potential.function(pair)
    found = PairExtrapolation.of(function)
    low, high = function.domain
    if r_max is None:
        r_max = min(max(2 * high, 1.3 * (found.long.base or 0.0)), 3 * high)
    figure = Figure(figsize=(7.6, 6.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
    r = np.linspace(r_max / 1000, r_max, 3000)
    bare, bare_slope = value_and_slope(function.learned, r)
    known = (r >= low) & (r <= high)
    for axes, curve in ((top, bare), (bottom, -bare_slope)):
        _shade_zones(axes, found, r_max)
        axes.axhline(0, color="gray", lw=0.6)
        depth = max(np.ptp(curve[known]), 1e-12)
        bottom_of, top_of = curve[known].min() - 0.8 * depth, curve[known].max() + 0.8 * depth
        axes.set(xlim=(0, r_max), ylim=(max(bottom_of, curve.min() - 0.1 * depth), top_of))
    if reference is not None:
        top.plot(r, reference(r), color=TRUTH_COLOR, lw=3, alpha=0.3, label="reference")
        step = 1e-5 * r
        bottom.plot(r, (reference(r - step) - reference(r + step)) / (2 * step), color=TRUTH_COLOR, lw=3, alpha=0.3)
    top.plot(r, bare, color=KAN_COLOR, lw=1.5, label="bare KAN")
    bottom.plot(r, -bare_slope, color=KAN_COLOR, lw=1.5)
    for end, side in ((found.short, r < low), (found.long, r > high)):
        top.plot(r[side], end.asymptote(r[side]), color=KAN_COLOR, lw=1, ls=":", label="its asymptotes")
        if end.extrema:
            at = [e for e in end.extrema if e.r <= r_max]
            top.plot([e.r for e in at], [e.energy for e in at], "o", ms=4, mfc="white", color=KAN_COLOR)
    for cure, side in ((function.core, r < low), (function.tail, r > high)):
        if cure is not None:
            top.plot(r[side], potential.energy(r[side], pair), color=CURE_COLOR, lw=1.5, ls="--", label="core and tail")
            bottom.plot(r[side], potential.force(r[side], pair), color=CURE_COLOR, lw=1.5, ls="--")
    handles = dict(zip(*reversed(top.get_legend_handles_labels()), strict=True))
    top.legend(handles.values(), handles.keys(), loc="upper right", fontsize=9)
    top.set(ylabel="energy (eV)")
    verdicts = (f"short range: {found.short.verdict}", f"long range: {found.long.verdict}")
    top.set_title("\n".join("\n".join(wrap(v, 95)) for v in verdicts), fontsize=9, loc="left")
    bottom.set(xlabel="r (Å)", ylabel="force (eV/Å)")
    return figure


def _shade_zones(axes: Axes, found: PairExtrapolation, r_max: float) -> None:
    """Data, transition, base functions alone."""
    shade_domain(axes, found.short.data, found.long.data)
    for end, limit in ((found.short, 0.0), (found.long, r_max)):
        alone = limit if end.base is None else min(end.base, r_max)
        axes.axvspan(end.data, alone, color=TRANSITION_COLOR, lw=0, label="transition", zorder=0)
        if alone != limit:
            axes.axvspan(alone, limit, color=BASE_COLOR, lw=0, label="base functions alone", zorder=0)
