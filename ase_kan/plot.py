"""Figures: each function returns a matplotlib `Figure`; `save` writes it. No pyplot, no global state."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.figure import Figure

from ase_kan.coverage import gaps_of
from ase_kan.data import Array, Pair, PairCurve
from ase_kan.extrapolation import PairExtrapolation
from ase_kan.features import value_and_slope
from ase_kan.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ase_kan.network import KANNetwork
    from ase_kan.potential import KANPotential, PairPotential

#: Energies (eV) of an array of distances (Angstrom).
EnergyFunction = Callable[[Array], Array]

KAN_COLOR, TRUTH_COLOR, POINT_COLOR, RANGE_COLOR = "#c1272d", "#222222", "#1f77b4", "#dfe9f3"
TRANSITION_COLOR, BASE_COLOR, CURE_COLOR = "#fdf0d5", "#f0e6ef", "#2a7f3f"


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure (PNG, PDF, ... by the suffix) atomically; `ValueError` lists the suffixes."""
    known = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in known:
        raise ValueError(f"{path} has no suffix of a figure: choose one of {', '.join(known)}")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def plot_fit(potential: PairPotential, curve: PairCurve, pair: Pair | None = None) -> Figure:
    """Energy with the training points, and below it the residual at fresh points and at the training points."""
    r = np.linspace(curve.r[0], curve.r[-1], 1000)
    truth = curve.source(r)[0] if curve.source is not None else None
    figure, top, bottom = _with_error(r, potential.energy(r, pair), truth, "eV")
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
    bare, bare_slope = value_and_slope(function.bare, r)
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


def shade_domain(axes: Axes, r_min: float, r_max: float) -> None:
    """Shade the range that the data covered."""
    axes.axvspan(r_min, r_max, color=RANGE_COLOR, label="training range", zorder=0)


def plot_edges(network: KANNetwork, inputs: Array) -> Figure:
    """Every edge function of a KAN over the values that reach it; `inputs` (n,) are those of the network."""
    layers = list(network)
    columns = max(layer.n_in * layer.n_out for layer in layers)
    figure = Figure(figsize=(2.6 * columns + 1.2, 2.6 * len(layers)), layout="constrained")
    grid = figure.subplots(len(layers), columns, squeeze=False)
    x = torch.from_numpy(np.asarray(inputs, dtype=float))[:, None]
    for number, (layer, row) in enumerate(zip(layers, grid, strict=True)):
        reach = x.aminmax(dim=0)
        t = reach.min + (reach.max - reach.min) * torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]
        with torch.no_grad():
            values = layer.edges(t)
            x = layer(x)
        edges = [(i, o) for i in range(layer.n_in) for o in range(layer.n_out)]
        for axes, (i, o) in zip(row, edges, strict=False):
            axes.plot(t[:, i], values[i, :, o], color=KAN_COLOR)
            for knot in layer.grid[i, layer.k : -layer.k or None]:
                if reach.min[i] <= knot <= reach.max[i]:
                    axes.axvline(float(knot), color="gray", lw=0.4, ls=":")
            axes.set_title(f"layer {number}: node {i} to {o}", fontsize=10)
            axes.set_xlabel("input")
            axes.tick_params(labelsize=8)
        row[0].set_ylabel("edge output")
        for axes in row[len(edges) :]:
            axes.axis("off")
    figure.suptitle("The KAN's edge functions (dotted: grid points)")
    return figure


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
        label = "every pair" if pair is None else "-".join(pair)
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


def plot_md_energy(runs: Mapping[str, tuple[Array, Array]], natoms: int) -> Figure:
    """Change of the total energy per atom against time: ``{label: (time in fs, total energy in eV)}``."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for (label, (time, energy)), color in zip(runs.items(), (KAN_COLOR, TRUTH_COLOR, POINT_COLOR), strict=False):
        axes.plot(time, (energy - energy[0]) / natoms * 1e6, lw=0.9, color=color, label=label)
    axes.set(xlabel="time (fs)", ylabel="change of total energy (µeV per atom)", title="NVE molecular dynamics")
    axes.legend()
    return figure
