"""Which distances (or densities) the data really have: a histogram, and the gaps in it.

The domain of a pair goes from its shortest distance to its cutoff, but a cold crystal has shells of neighbors with
nothing in between, and the shortest distance may belong to a single pair. There the energy is what the penalty of the
fit makes of it, and a pair of atoms that gets there is extrapolating as much as one beyond the ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ase_kan.types import Array, Index

Gap = tuple[float, float]

#: Most cells, and pairs of atoms per cell that they need on the average: with fewer, the cells are wider.
CELLS, PAIRS_PER_CELL = 40, 5
#: How far beyond an end (a part of it) the grade grows by one: below the data energies change faster than beyond.
BELOW, BEYOND = 0.03, 0.3
#: The same for densities, as a part of the width of the data.
DENSITY_STEP = 0.1
#: A cell is sparse that has fewer pairs than this, and less than this part of what a typical cell has.
SPARSE, SPARSE_PART = 3, 0.1


@dataclass(frozen=True)
class Coverage:
    """A histogram of distances.

    Parameters
    ----------
    edges : tuple of float, length n + 1
        Ends of the cells, ascending, Angstrom.
    counts : tuple of int, length n
        Pairs of atoms in each.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, edges: Array, counts: Index, low: float) -> Coverage:
        """From a finer histogram in cells of ascending distance, for data that begin at `low`.

        Cells are joined until `CELLS` or fewer lie between there and the end, and have `PAIRS_PER_CELL` on the average.
        """
        within = int(np.sum(edges[1:] > low))
        most = int(np.clip(counts.sum() // PAIRS_PER_CELL, 1, CELLS))
        # Counted from the cutoff, as the cells of the KAN are.
        starts = np.arange(len(counts), 0, -int(np.ceil(within / most)))[::-1]
        places = np.unique([0, *starts])
        return cls(tuple(map(float, edges[places])), tuple(map(int, np.add.reduceat(counts, places[:-1]))))

    def gaps(self, domain: tuple[float, float]) -> tuple[Gap, ...]:
        """Ranges within a domain, Angstrom, whose cells are empty or sparse.

        A single such cell between others is no gap: the KAN bridges it.
        """
        low, high = domain
        inside = [n for n in range(len(self.counts)) if self.edges[n + 1] > low and self.edges[n] < high]
        taken = [self.counts[n] for n in inside if self.counts[n]]
        if not taken:
            return ()
        enough = min(SPARSE, SPARSE_PART * float(np.median(taken)))
        found: list[Gap] = []
        for sparse, cells in groupby(inside, lambda n: self.counts[n] == 0 or self.counts[n] < enough):
            run = list(cells)
            at_end = run[0] == inside[0] or run[-1] == inside[-1]
            if sparse and (len(run) > 1 or at_end):
                found.append((max(self.edges[run[0]], low), min(self.edges[run[-1] + 1], high)))
        return tuple(found)

    @classmethod
    def restore(cls, header: dict[str, Any] | None) -> Coverage | None:
        """From the JSON of `dataclasses.asdict`."""
        return None if header is None else cls(tuple(header["edges"]), tuple(header["counts"]))


def gaps_of(potential: Any, pair: tuple[str, str] | None) -> tuple[Gap, ...]:
    """The gaps of a pair, of potentials that know them."""
    known = getattr(potential, "gaps", None)
    return () if known is None else tuple(known(pair))


def density_gaps_of(potential: Any, element: str, channel: int) -> tuple[Gap, ...]:
    """The gaps in the densities of an element, of potentials that know them."""
    known = getattr(potential, "density_gaps", None)
    return () if known is None else tuple(known(element, channel))


def named_gaps(name: str, gaps: Sequence[Gap]) -> str:
    """For messages."""
    return f"{name} {' and '.join(f'{low:.3f} to {high:.3f} A' for low, high in gaps)}"


def grade(r: Array, domain: tuple[float, float], gaps: Sequence[Gap]) -> Array:
    """How far distances lie outside the data.

    1 at an edge of the data, growing by one with every 3 % of the distance below them and within gaps, and with every
    30 % beyond them; inside, it falls to 0 in the same way. As with the grades of moment tensor potentials, 2 is
    reason to take care, and 10 to stop (I. S. Novikov et al., Mach. Learn.: Sci. Technol. 2, 025002, 2021).

    Parameters
    ----------
    r : ndarray
        Angstrom, any shape.
    domain : (float, float)
        Smallest and largest distance of the data.
    gaps : sequence of (float, float)
        Ranges within without data.
    """
    low, high = domain
    outside = np.maximum((low - r) / (BELOW * low), (r - high) / (BEYOND * high))
    for start, end in gaps:
        # A gap at an end of the domain has one edge.
        left = np.inf if start <= low else (r - start) / (BELOW * start)
        right = np.inf if end >= high else (end - r) / (BELOW * end)
        within = np.minimum(left, right)
        outside = np.maximum(outside, np.where(np.isfinite(within), within, 0.0))
    return np.asarray(np.maximum(1 + outside, 0.0), dtype=np.float64)


def density_grade(density: Array, domain: tuple[float, float], gaps: Sequence[Gap]) -> Array:
    """How far densities lie outside the data: 1 at an edge, growing by one with every tenth of the width of the data.

    Inside, and in gaps, as `grade`. F is a straight line beyond the data: it goes wrong more slowly than phi.
    """
    low, high = domain
    step = DENSITY_STEP * ((high - low) or 1.0)
    outside = np.maximum(low - density, density - high)
    for start, end in gaps:
        left = np.inf if start <= low else density - start
        right = np.inf if end >= high else end - density
        within = np.minimum(left, right)
        outside = np.maximum(outside, np.where(np.isfinite(within), within, 0.0))
    return np.asarray(np.maximum(1 + outside / step, 0.0), dtype=np.float64)


def densities_within_grade(
    limit: float, domain: tuple[float, float], gaps: Sequence[Gap]
) -> tuple[tuple[float, float], tuple[Gap, ...]]:
    """As `within_grade`."""
    low, high = domain
    more = (limit - 1) * DENSITY_STEP * ((high - low) or 1.0)
    moved = [(a if a <= low else a + more, b if b >= high else b - more) for a, b in gaps]
    return (low - more, high + more), tuple((a, b) for a, b in moved if a < b)


def within_grade(
    limit: float, domain: tuple[float, float], gaps: Sequence[Gap]
) -> tuple[tuple[float, float], tuple[Gap, ...]]:
    """Ends of the data and gaps, moved to where the grade is `limit` (1 or more): what is outside then is beyond it."""
    low, high = domain
    more = limit - 1
    edges = low * (1 - BELOW * more), high * (1 + BEYOND * more)
    left = []
    for start, end in gaps:
        first = start if start <= low else start * (1 + BELOW * more)
        last = end if end >= high else end * (1 - BELOW * more)
        if first < last:
            left.append((first, last))
    return edges, tuple(left)
