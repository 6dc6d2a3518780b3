"""Figures of a fit: the curve and its residual, the pairs, predicted against reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ase_kan.analysis.uncertainty import UncertainPotential
from ase_kan.data.curve import PairCurve
from ase_kan.potentials.protocol import PairPotential
from ase_kan.types import Array, Pair, pair_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes


from ase_kan.plots.figures import KAN_COLOR, POINT_COLOR, TRUTH_COLOR, Figure
from ase_kan.potentials.coverage import gaps_of
from ase_kan.potentials.scale import well_of

#: Fits are shown from below the well to this multiple of its depth; higher walls have a figure of their own.
WALL = 2.0


def plot_fit(potential: PairPotential, curve: PairCurve, pair: Pair | None = None) -> Figure:
    """Energy with the training points, and below it the residual at fresh points and at the training points."""
    r = np.linspace(curve.r[0], curve.r[-1], 1000)
    truth = curve.source(r)[0] if curve.source is not None else None
    figure, top, bottom = _with_error(r, potential.energy(r, pair), truth, "eV")
    if isinstance(potential, UncertainPotential) and np.isfinite(std := potential.uncertainty(r, pair)).all():
        energy = potential.energy(r, pair)
        top.fill_between(r, energy - 2 * std, energy + 2 * std, color=KAN_COLOR, alpha=0.25, lw=0)
        shift = 0.0 if truth is None else energy - truth
        label = "within 2 standard deviations"
        bottom.fill_between(r, shift - 2 * std, shift + 2 * std, color=KAN_COLOR, alpha=0.25, lw=0, label=label)
        bottom.legend(loc="upper right", fontsize=8)
    top.plot(curve.r, curve.energy, "o", ms=4, color=POINT_COLOR, label=f"{len(curve)} training points")
    bottom.plot(curve.r, potential.energy(curve.r, pair) - curve.energy, "o", ms=4, color=POINT_COLOR)
    top.set(ylabel="energy (eV)", title="Fitted pair energy")
    _show_well(top, potential, curve, pair)
    top.legend(loc="lower right" if top.child_axes else "best")
    return figure


def _show_well(axes: Axes, potential: PairPotential, curve: PairCurve, pair: Pair | None) -> None:
    """The scale of the well, its minimum marked, and the wall in an inset where it is higher."""
    low, high = curve.r[0], min(curve.r[-1], potential.breakpoints(pair)[-1])
    found = well_of(lambda x: potential(x, pair), low, high)
    if found is None:
        return
    at, depth = found
    axes.plot(at, -depth, "v", ms=7, mfc="none", color=KAN_COLOR, label=f"minimum {-depth:.4g} eV at {at:.4g} Å")
    if curve.energy.max() < WALL * depth:
        return
    axes.set_ylim(-1.25 * depth, WALL * depth)
    inset = axes.inset_axes((0.56, 0.56, 0.42, 0.4))
    wall = np.linspace(low, at, 300)
    inset.semilogy(wall, np.maximum(potential.energy(wall, pair) + depth, 1e-4 * depth), color=KAN_COLOR, lw=1.2)
    points = curve.r < at
    inset.semilogy(curve.r[points], curve.energy[points] + depth, "o", ms=3, color=POINT_COLOR)
    inset.set_title("wall: energy above the minimum (eV)", fontsize=8)
    inset.tick_params(labelsize=7)


def plot_force(potential: PairPotential, curve: PairCurve, pair: Pair | None = None) -> Figure:
    """Force within the data and, below it, its error where the curve has a source of true forces."""
    r = np.linspace(curve.r[0], curve.r[-1], 1000)
    truth = curve.source(r)[1] if curve.source is not None else None
    figure, top, _ = _with_error(r, potential.force(r, pair), truth, "eV/Å")
    top.axhline(0, color="gray", lw=0.6)
    top.set(ylabel="force -dE/dr (eV/Å)", title="Force: positive is repulsive")
    top.legend()
    return figure


def _with_error(r: Array, values: Array, truth: Array | None, unit: str) -> tuple[Figure, Axes, Axes]:
    """The KAN and the reference, and below them their difference."""
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    if truth is not None:
        top.plot(r, truth, color=TRUTH_COLOR, lw=2.5, alpha=0.35, label="reference")
        bottom.plot(r, values - truth, color=KAN_COLOR, lw=1)
    top.plot(r, values, color=KAN_COLOR, lw=1.2, label="KAN")
    bottom.axhline(0, color="gray", lw=0.6)
    bottom.set(xlabel="r (Å)", ylabel=f"KAN - reference ({unit})")
    bottom.ticklabel_format(axis="y", scilimits=(0, 0))
    return figure, top, bottom


def plot_pairs(potential: PairPotential, pairs: Sequence[Pair | None]) -> Figure:
    """Energy and force of every pair over its domain, from where it repels by twice its depth.

    Gaps in the distances of the data are shaded.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for pair in pairs:
        r = np.linspace(*potential.domain(pair), 1000)
        energy = potential.energy(r, pair)
        shown = slice(int(np.argmax(energy < 2 * abs(energy.min()) + 1e-12)), None)
        label = pair_name(pair)
        (line,) = left.plot(r[shown], energy[shown], label=label)
        color = line.get_color()
        right.plot(r[shown], potential.force(r[shown], pair), color=color)
        gaps = [gap for gap in gaps_of(potential, pair) if gap[1] > r[shown][0]]
        for number, (low, high) in enumerate(gaps):
            for axes in (left, right):
                span = axes.axvspan(max(low, r[shown][0]), high, color=color, alpha=0.15, lw=0)
                span.set_label("_" if number else f"{label}: hardly any pairs in the data")
    for axes in (left, right):
        axes.axhline(0, color="gray", lw=0.6)
        axes.set_xlabel("r (Å)")
    left.set(ylabel="energy (eV)", title="Pair energies")
    right.set(ylabel="force (eV/Å)", title="Pair forces: positive is repulsive")
    left.legend()
    return figure


def plot_parity(
    energies: tuple[Array, Array],
    forces: tuple[Array, Array],
    tested: tuple[tuple[Array, Array], tuple[Array, Array]] | None = None,
) -> Figure:
    """Predicted against reference values, and below them the residuals.

    Parameters
    ----------
    energies, forces : (ndarray, ndarray)
        Reference and predicted energies per atom (eV) and force components (eV/Angstrom).
    tested : pair of such, optional
        Energies and forces of structures that were not trained on, in another color.
    """
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col", height_ratios=(2.4, 1))
    known = (("energy per atom", "eV/atom", energies), ("force component", "eV/Å", forces))
    for column, (what, unit, trained) in enumerate(known):
        top, bottom = panels[:, column]
        sets = [("training" if tested else "", trained, KAN_COLOR)]
        sets += [("held out", tested[column], POINT_COLOR)] if tested else []
        titles = []
        for name, (reference, predicted), color in sets:
            if not len(reference):
                continue
            rmse = np.sqrt(np.mean((predicted - reference) ** 2))
            top.plot(reference, predicted, ".", ms=4, color=color, alpha=0.6, label=name or None)
            bottom.plot(reference, predicted - reference, ".", ms=4, color=color, alpha=0.6)
            titles.append(f"{name + ' ' if name else ''}{rmse:.2e}")
        if titles:
            top.axline((np.mean(top.get_xlim()),) * 2, slope=1, color="gray", lw=0.8)
            top.set_title(f"{what}, RMSE ({unit}):\n{', '.join(titles)}", fontsize=10)
        if tested and titles:
            top.legend(fontsize=9)
        bottom.axhline(0, color="gray", lw=0.8)
        top.set(ylabel=f"KAN ({unit})")
        bottom.set(xlabel=f"reference ({unit})", ylabel="KAN - reference")
        bottom.ticklabel_format(axis="y", scilimits=(-2, 2))
    return figure
