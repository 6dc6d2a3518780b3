"""Any embedded-atom potential as tables: phi and f of each pair of elements on common knots in r, F in rho.

Rows are even in r, not in r^2 as those of pair potentials: what is a spline in r, as fitted and published potentials
are, is then its own table. Closer than the tables go the original is evaluated, and where densities are beyond them
unless F is a straight line there.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from ase_kan.potentials.compiled import EmbeddedTables, EmbeddingTable
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.potentials.quintics import INNER, Function, Table, tabulate_functions
from ase_kan.potentials.scale import Scale, energy_scale
from ase_kan.types import Array, Pair

#: Tables of distances start nowhere below this part of the cutoff.
LEAST_START = 0.02
#: They start at a break of the functions if that is less than this factor farther.
NEXT_BREAK = 1.5
#: Places beyond the tables of F, in widths of the data, where it must be a straight line to be taken for one.
FAR = (1.1, 1.7, 3.0, 10.0)
#: How far from the end its slope is taken, where autograd may add up those of both sides.
BESIDE = 1e-9
#: Densities at which `fingerprint` looks, and distances.
SAMPLES = 97


def tabulate_embedded(potential: EmbeddedAtomPotential, tol: float) -> EmbeddedTables:
    """Tabulate an embedded-atom potential; see `tables.tabulate`."""
    elements = sorted(potential.elements)
    pairs = [(a, b) for k, a in enumerate(elements) for b in elements[k:]]
    keys = [(element, channel) for element in elements for channel in range(potential.channels)]
    return EmbeddedTables(
        potential,
        tol,
        {pair: _pair_table(potential, pair, tol) for pair in pairs},
        {key: _embedding_table(potential, *key, tol) for key in keys},
    )


def fingerprint(potential: EmbeddedAtomPotential) -> bytes:
    """Samples of all its functions: potentials that are different have different ones."""
    probes: list[Array] = []
    with torch.no_grad():
        elements = sorted(potential.elements)
        for k, a in enumerate(elements):
            for b in elements[k:]:
                breaks, domain = potential.breakpoints((a, b)), potential.domain((a, b))
                r = torch.linspace(least_distance(domain[0], breaks[-1]), breaks[-1], SAMPLES, dtype=torch.float64)
                probes += [np.array([*breaks, *domain])]
                probes += [function(r).numpy() for function in _functions(potential, (a, b))]
        for element in elements:
            for channel in range(potential.channels):
                low, high = potential.density_domain(element, channel)
                rho = torch.linspace(2 * low - high, 2 * high - low, SAMPLES, dtype=torch.float64)
                probes += [np.array([*potential.density_breakpoints(element, channel), low, high])]
                probes += [potential.embedding(rho, element, channel).numpy()]
    return repr(potential.elements).encode() + b"".join(probe.tobytes() for probe in probes)


def least_distance(low: float, cutoff: float) -> float:
    """Where the table of a pair starts, or soon after."""
    return max(INNER * low, LEAST_START * cutoff)


def _functions(potential: EmbeddedAtomPotential, pair: Pair) -> list[Function]:
    """phi, and f in each channel: of the second element at the first, and the other way round if they differ."""
    ways = [pair] if pair[0] == pair[1] else [pair, pair[::-1]]
    return [
        partial(potential.pair_energy, pair=pair),
        *(
            partial(potential.density, atom=atom, neighbor=neighbor, channel=channel)
            for atom, neighbor in ways
            for channel in range(potential.channels)
        ),
    ]


def _pair_table(potential: EmbeddedAtomPotential, pair: Pair, tol: float) -> Table:
    low, high = potential.domain(pair)
    *inside, cutoff = potential.breakpoints(pair)
    start = least_distance(low, cutoff)
    later = [b for b in inside if b > start]
    if later and later[0] < NEXT_BREAK * start:
        start, *later = later
    functions = _functions(potential, pair)
    scales = [energy_scale(function, low, min(high, cutoff)) for function in functions]
    return tabulate_functions(functions, scales, [start, *later, cutoff], tol, f"phi and f of {'-'.join(pair)}")


def _embedding_table(potential: EmbeddedAtomPotential, element: str, channel: int, tol: float) -> EmbeddingTable:
    function = partial(potential.embedding, element=element, channel=channel)
    low, high = potential.density_domain(element, channel)
    width = (high - low) or 1.0
    with torch.no_grad():
        size = float(np.ptp(function(torch.linspace(low, high, SAMPLES, dtype=torch.float64)).numpy())) or 1.0
    scale = Scale(size, size / width)
    breaks = sorted({low, high, *potential.density_breakpoints(element, channel)})
    breaks = [breaks[0] - width, *breaks, breaks[-1] + width]
    name = f"F of {element}" if potential.channels == 1 else f"F of {element} in channel {channel}"
    table = tabulate_functions([function], [scale], breaks, tol, name)
    least = -np.inf if goes_on_straight(function, table.start, -1.0, width, tol) else table.start
    most = np.inf if goes_on_straight(function, table.end, 1.0, width, tol) else table.end
    return EmbeddingTable(table, (least, most))


def goes_on_straight(embedding: Function, end: float, sign: float, width: float, tol: float) -> bool:
    """Whether F is a straight line beyond an end of the data, at densities up to ten of their widths away."""
    start = end + sign * BESIDE * width
    value, slope = (float(found[0]) for found in value_and_slope(embedding, np.array([start])))
    places = sign * width * np.array(FAR)
    with torch.no_grad():
        there: Array = embedding(torch.from_numpy(start + places)).numpy()
    size = np.abs(slope) * width + np.abs(there)
    return bool((np.abs(there - value - slope * places) <= tol * size).all())
