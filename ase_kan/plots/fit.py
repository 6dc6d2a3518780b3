"""Figures of a fit: the curve and its residual, the pairs, predicted against reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ase_kan.analysis.uncertainty import UncertainPotential
from ase_kan.data.curve import PairCurve
from ase_kan.potentials.protocol import PairPotential
from ase_kan.types import Array, Pair, pair_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes


from ase_kan.plots.figures import KAN_COLOR, POINT_COLOR, TRUTH_COLOR
from ase_kan.potentials.coverage import gaps_of


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
    top.legend()
    return figure


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


def plot_parity(energies: tuple[Array, Array], forces: tuple[Array, Array]) -> Figure:
    """Predicted against reference energies per atom (eV) and force components (eV/Angstrom): (reference, predicted)."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, (reference, predicted), what, unit in zip(
        figure.subplots(1, 2), (energies, forces), ("energy per atom", "force component"), ("eV", "eV/Å"), strict=True
    ):
        if len(reference):
            ends = [min(reference.min(), predicted.min()), max(reference.max(), predicted.max())]
            rmse = np.sqrt(np.mean((predicted - reference) ** 2))
            axes.plot(ends, ends, color="gray", lw=0.8)
            axes.plot(reference, predicted, ".", ms=4, color=KAN_COLOR, alpha=0.6)
            axes.set_title(f"{what}: RMSE {rmse:.2e} {unit}, {len(reference)} values", fontsize=10)
        axes.set(xlabel=f"reference ({unit})", ylabel=f"KAN ({unit})")
    return figure
