"""Figures of what a potential does outside its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from ase_kan.analysis.extrapolation import PairExtrapolation
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.protocol import PairPotential
from ase_kan.potentials.scale import energy_scale
from ase_kan.types import Array, Pair

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
    Figure,
    shade_domain,
)


def plot_range(
    potential: PairPotential,
    reference: EnergyFunction | None = None,
    r_max: float | None = None,
    pair: Pair | None = None,
    bare: Sequence[PairPotential] = (),
    collapsed: Mapping[str, tuple[int, int]] | None = None,
) -> Figure:
    """Energy inside and outside the data, in the scale of the well, with the curves named on the lines.

    Parameters
    ----------
    potential : PairPotential
    reference : callable, optional
        True energies (eV) of an array of distances.
    r_max : float, optional
        Angstrom; default 1.6 times the end of the data.
    pair : (str, str), optional
        Of potentials of several.
    bare : sequence of PairPotential
        Without core and tail, drawn as thin lines for comparison.
    collapsed : mapping of str to (int, int), optional
        How many relaxations of how many end with atoms closer than the data, by name: bars below.
    """
    figure = Figure(figsize=(7.6, 4.4 + (0.5 + 0.3 * len(collapsed) if collapsed else 0)), layout="constrained")
    if collapsed:
        heights = (4.0, 0.5 + 0.3 * len(collapsed))
        axes, below = figure.subplots(2, 1, height_ratios=heights)
        _draw_collapsed(below, collapsed)
    else:
        axes = figure.subplots()
    r_min, r_end = potential.domain(pair)
    depth = _well_depth(potential, pair)
    low, high = -1.6 * depth, 4.0 * depth
    r_max = 1.6 * r_end if r_max is None else r_max
    r = np.linspace(max(0.02 * r_max, 0.3 * r_min), r_max, 4000)
    shade_domain(axes, r_min, r_end)
    for start, stop, text in ((r[0], r_min, "no data"), (r_min, r_end, "data"), (r_end, r_max, "no data")):
        axes.text((start + stop) / 2, 0.97, text, transform=axes.get_xaxis_transform(), ha="center", va="top")
    axes.axhline(0, color="gray", lw=0.6)
    energy = potential.energy(r, pair)
    if reference is not None:
        axes.plot(r, reference(r), color=TRUTH_COLOR, lw=4.5, alpha=0.3)
    for one in bare:
        axes.plot(r, one.energy(r, pair), color=POINT_COLOR, lw=1.0)
    axes.plot(r, energy, color=KAN_COLOR, lw=1.6)
    well = int(np.argmin(np.where((r > r_min) & (r < r_end), energy, np.inf)))
    _name(axes, "KAN" if not bare else "KAN with core and tail", (r[well], energy[well]), (14, -8), KAN_COLOR)
    if reference is not None:
        at = int(np.searchsorted(r, 0.7 * r_end + 0.3 * r_min))
        _name(axes, "true energy (broad)", (r[at], energy[at]), (0, 20), TRUTH_COLOR)
    names = f"{len(bare)} bare KANs" if len(bare) > 1 else "bare KAN"
    beyond = r > r_end
    for one in bare:
        strayed = one.energy(r[beyond], pair)
        found = _place_apart(strayed, energy[beyond], (low, 0.75 * high), 0.3 * depth)
        if found is not None:
            _name(axes, names, (r[beyond][found], strayed[found]), (8, -12), POINT_COLOR)
            break
    axes.set(xlim=(r[0], r_max), ylim=(low, high), xlabel="r (Å)", ylabel="energy (eV)")
    axes.set_title("Inside and outside the data")
    return figure


def _well_depth(potential: PairPotential, pair: Pair | None) -> float:
    """The scale of the energies of the data, eV."""
    r_min, r_end = potential.domain(pair)
    return energy_scale(lambda x: potential(x, pair), r_min, min(r_end, potential.breakpoints(pair)[-1])).energy


def _name(axes: Axes, text: str, at: tuple[float, float], offset: tuple[int, int], color: str) -> None:
    """A name beside a line."""
    side = "left" if offset[0] > 0 else "right" if offset[0] < 0 else "center"
    axes.annotate(text, at, xytext=offset, textcoords="offset points", color=color, ha=side, va="center", fontsize=10)


def _place_apart(one: Array, other: Array, limits: tuple[float, float], apart: float) -> int | None:
    """Where a curve has left another, but not the limits of the figure: the middle of such places."""
    places = np.flatnonzero((np.abs(one - other) > apart) & (one > limits[0]) & (one < limits[1]))
    return int(places[len(places) // 2]) if len(places) else None


def _draw_collapsed(axes: Axes, collapsed: Mapping[str, tuple[int, int]]) -> None:
    """A bar for each potential: how many of its relaxations end closer than the data."""
    most = max(total for _, total in collapsed.values())
    for row, (name, (count, total)) in enumerate(collapsed.items()):
        axes.barh(row, most, color="0.93")
        axes.barh(row, count / total * most, color=POINT_COLOR if count else CURE_COLOR)
        axes.text(0.01 * most, row, f"{name}: {count} of {total}", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set(xlim=(0, most), xticks=[], yticks=[], title="Relaxed dimers that collapse or end in the wrong place")
    axes.title.set_fontsize(10)
    axes.spines[:].set_visible(False)


def plot_extrapolation(
    potential: KANPotential,
    reference: EnergyFunction | None = None,
    r_max: float | None = None,
    pair: Pair | None = None,
) -> Figure:
    """What the KAN does outside its data and why: energy, asymptotes and zones, and the force below.

    The potential in use, with its core and tail, is the solid line; the bare KAN is dashed. Energies from two depths of
    the well below zero to five above, distances to the cutoff.
    """
    function = potential.function(pair)
    found = PairExtrapolation.of(function)
    low, high = function.domain
    r_max = function.cutoff.radius if r_max is None else r_max
    figure = Figure(figsize=(7.6, 6.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
    depth = energy_scale(function.bare, low, min(high, function.cutoff.radius))
    r = np.linspace(r_max / 1000, r_max, 3000)
    bare, bare_slope = value_and_slope(function.learned, r)
    for axes, unit in ((top, depth.energy), (bottom, 8 * depth.force)):
        _shade_zones(axes, found, r_max)
        axes.axhline(0, color="gray", lw=0.6)
        axes.set(xlim=(0, r_max), ylim=(-2 * unit, 5 * unit))
    if reference is not None:
        top.plot(r, reference(r), color=TRUTH_COLOR, lw=4, alpha=0.3, label="reference")
        step = 1e-5 * r
        bottom.plot(r, (reference(r - step) - reference(r + step)) / (2 * step), color=TRUTH_COLOR, lw=4, alpha=0.3)
    name = "potential in use" if function.core or function.tail else "potential in use: the bare KAN"
    top.plot(r, potential.energy(r, pair), color=KAN_COLOR, lw=1.6, label=name)
    bottom.plot(r, potential.force(r, pair), color=KAN_COLOR, lw=1.6)
    top.plot(r, bare, color=POINT_COLOR, lw=1.2, ls="--", label="bare KAN")
    bottom.plot(r, -bare_slope, color=POINT_COLOR, lw=1.2, ls="--")
    for end, side in ((found.short, r < low), (found.long, r > high)):
        top.plot(r[side], end.asymptote(r[side]), color=POINT_COLOR, lw=1, ls=":", label="its asymptotes")
        if end.extrema:
            at = [e for e in end.extrema if e.r <= r_max]
            top.plot([e.r for e in at], [e.energy for e in at], "o", ms=4, mfc="white", color=POINT_COLOR)
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
