"""Any embedded-atom potential as tables: phi and f of each pair of elements on common knots in r, F in rho.

Rows are even in r, not in r^2 as those of pair potentials: what is a spline in r, as fitted and published potentials
are, is then its own table. Closer than the tables go the original is evaluated, and where densities are beyond them
unless F is a straight line there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ase_kan.potentials.coverage import Gap, density_gaps_of, gaps_of
from ase_kan.potentials.features import limited, value_and_slope
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.potentials.quintics import INNER, Function, Table, tabulate_functions
from ase_kan.potentials.scale import Scale, energy_scale
from ase_kan.types import Array, Pair, sorted_pair

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


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """F of an element.

    Attributes
    ----------
    table : Table
    limits : (float, float)
        Where the table and the straight lines beyond its ends hold; infinite where F is such a line.
    """

    table: Table
    limits: tuple[float, float]

    def __call__(self, density: Tensor) -> Tensor:
        """F of densities within the limits."""
        table = self.table
        ends = torch.tensor([table.start, table.end], dtype=torch.float64)
        with torch.enable_grad():
            at = ends.requires_grad_()
            (slopes,) = torch.autograd.grad(table(at, 0).sum(), at)
        beyond = torch.where(
            density < table.start,
            slopes[0] * (density - table.start),
            torch.where(density > table.end, slopes[1] * (density - table.end), 0.0),
        )
        return table(limited(density, table.start, table.end), 0) + beyond


class EmbeddedTables:
    """A compiled embedded-atom potential: the protocol of the original, from tables.

    Attributes
    ----------
    original : EmbeddedAtomPotential
    tolerance : float
    pair_tables : dict of (str, str) to Table
        For each two elements a and b in alphabetical order: phi, f of b at a in each channel, and, unless they are the
        same, f of a at b in each channel.
    embeddings : dict of (str, int) to EmbeddingTable
        For each element and channel.
    """

    def __init__(
        self,
        original: EmbeddedAtomPotential,
        tolerance: float,
        pair_tables: Mapping[Pair, Table],
        embeddings: Mapping[tuple[str, int], EmbeddingTable],
    ) -> None:
        self.original = original
        self.tolerance = tolerance
        self.pair_tables = dict(pair_tables)
        self.embeddings = dict(embeddings)

    @property
    def elements(self) -> tuple[str, ...]:
        return self.original.elements

    @property
    def cutoff(self) -> float:
        return self.original.cutoff

    @property
    def channels(self) -> int:
        return self.original.channels

    @property
    def reference_energies(self) -> Mapping[str, float]:
        return self.original.reference_energies

    def domain(self, pair: Pair) -> tuple[float, float]:
        return self.original.domain(pair)

    def density_domain(self, element: str, channel: int = 0) -> tuple[float, float]:
        return self.original.density_domain(element, channel)

    def gaps(self, pair: Pair) -> tuple[Gap, ...]:
        """Those of the original, if it knows them."""
        return gaps_of(self.original, pair)

    def density_gaps(self, element: str, channel: int = 0) -> tuple[Gap, ...]:
        """Those of the original, if it knows them."""
        return density_gaps_of(self.original, element, channel)

    def breakpoints(self, pair: Pair) -> tuple[float, ...]:
        return self.original.breakpoints(pair)

    def density_breakpoints(self, element: str, channel: int = 0) -> tuple[float, ...]:
        return self.original.density_breakpoints(element, channel)

    def pair_energy(self, r: Tensor, pair: Pair) -> Tensor:
        return self._of_distance(r, sorted_pair(pair), 0, partial(self.original.pair_energy, pair=pair))

    def density(self, r: Tensor, atom: str, neighbor: str, channel: int = 0) -> Tensor:
        function = 1 + channel + (self.channels if atom > neighbor else 0)
        original = partial(self.original.density, atom=atom, neighbor=neighbor, channel=channel)
        return self._of_distance(r, sorted_pair((atom, neighbor)), function, original)

    def embedding(self, density: Tensor, element: str, channel: int = 0) -> Tensor:
        if (element, channel) not in self.embeddings:
            return self.original.embedding(density, element, channel)  # says what is wrong
        compiled = self.embeddings[element, channel]
        least, most = compiled.limits
        beyond = (density < least) | (density > most)
        if not bool(beyond.any()):
            return compiled(density)
        return torch.where(beyond, self.original.embedding(density, element, channel), compiled(density))

    def describe(self) -> str:
        """Rows and certified errors, a line per table."""
        lines = []
        for pair, t in self.pair_tables.items():
            lines.append(
                f"{'-'.join(pair)}: {len(t.rows)} quintics from {t.start:.4g} to {t.end:.4g} A; certified errors "
                f"{t.errors[:, 0].max():.1e} (phi and f) and {t.errors[:, 1].max():.1e} (their slopes), relative to "
                "scale plus value"
            )
        for (element, channel), embedding in self.embeddings.items():
            t = embedding.table
            name = element if self.channels == 1 else f"{element}, channel {channel}"
            lines.append(
                f"{name}: {len(t.rows)} quintics of densities from {t.start:.4g} to {t.end:.4g}; certified errors "
                f"{t.errors[0, 0]:.1e} (F) and {t.errors[0, 1]:.1e} (its slope)"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"EmbeddedTables(\n{self.describe()}\n)"

    def _of_distance(self, r: Tensor, pair: Pair, function: int, original: Function) -> Tensor:
        if pair not in self.pair_tables or function >= self.pair_tables[pair].rows.shape[1]:
            return original(r)  # says what is wrong
        table = self.pair_tables[pair]
        inner = r < table.start
        tabulated = torch.where(r < table.end, table(limited(r, table.start, table.end), function), 0.0)
        if not bool(inner.any()):
            return tabulated
        return torch.where(inner, original(limited(r, high=table.start)), tabulated)


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
