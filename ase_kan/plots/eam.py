"""Figure of an embedded-atom potential: phi and f of distances, F of densities."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ase_kan.plots.figures import Figure, shade_domain
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.types import Array, Pair, pair_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Distances are shown from this part of the shortest one of the data, densities so much of their width beyond it.
BELOW, BEYOND = 0.93, 0.15
POINTS = 600
#: Channels differ in their lines, elements in their colors: figures can be read without colors.
LINES = ("-", "--", ":", "-.")


def plot_functions(potential: EmbeddedAtomPotential) -> Figure:
    """All phi, f and F, from a little below the data to a little beyond; ranges of the data are shaded.

    Where only one function of an element or pair is drawn in a panel its data are shaded, else they are marked by dots
    at the ends of the data of each function.
    """
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    elements = sorted(potential.elements)
    pairs = [(a, b) for n, a in enumerate(elements) for b in elements[n:]]
    for pair in pairs:
        r, ends = _distances(potential, pair)
        (line,) = left.plot(r, _values(partial(potential.pair_energy, pair=pair), r), label=pair_name(pair))
        _mark(left, partial(potential.pair_energy, pair=pair), ends, line.get_color())
    for atom in elements:
        for neighbor in elements:
            _, ends = _distances(potential, (atom, neighbor))
            r = np.linspace(BELOW * ends[0], ends[1], POINTS)
            for channel in range(potential.channels):
                function = partial(potential.density, atom=atom, neighbor=neighbor, channel=channel)
                label = f"{neighbor} at {atom}" + (f", channel {channel}" if potential.channels > 1 else "")
                (line,) = middle.plot(r, _values(function, r), LINES[channel % len(LINES)], label=label)
                _mark(middle, function, ends, line.get_color())
    for element in elements:
        for channel in range(potential.channels):
            low, high = potential.density_domain(element, channel)
            width = (high - low) or 1.0
            rho = np.linspace(low - BEYOND * width, high + BEYOND * width, POINTS)
            function = partial(potential.embedding, element=element, channel=channel)
            label = element + (f", channel {channel}" if potential.channels > 1 else "")
            (line,) = right.plot(rho, _values(function, rho), LINES[channel % len(LINES)], label=label)
            _mark(right, function, (low, high), line.get_color())
    if len(elements) == 1:
        for axes in (left, middle):
            shade_domain(axes, *potential.domain((elements[0], elements[0])))
        if potential.channels == 1:
            shade_domain(right, *potential.density_domain(elements[0]))
    left.set(xlabel="r (Å)", ylabel="phi (eV)", title="Pair energies phi(r)")
    middle.set(xlabel="r (Å)", ylabel="f (no unit)", title="Densities f(r) that neighbors add")
    right.set(xlabel="density (no unit)", ylabel="F (eV)", title="Embedding energies F")
    for axes in (left, middle, right):
        axes.axhline(0, color="gray", lw=0.6)
        axes.legend(fontsize=8)
    return figure


def _distances(potential: EmbeddedAtomPotential, pair: Pair) -> tuple[Array, tuple[float, float]]:
    low, high = potential.domain(pair)
    if low < 0.2 * high:  # published tables begin at zero
        low = 0.3 * high
    return np.linspace(BELOW * low, high, POINTS), (low, high)


def _values(function: partial[Tensor], x: Array) -> Array:
    with torch.no_grad():
        values: Array = function(torch.from_numpy(x)).numpy()
    return values


def _mark(axes: Axes, function: partial[Tensor], ends: tuple[float, float], color: str) -> None:
    """Dots at the ends of the data."""
    at = np.array(ends)
    axes.plot(at, _values(function, at), "o", ms=4, color=color)
