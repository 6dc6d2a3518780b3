"""Which distances the data of a pair really have: a histogram, and the gaps in it.

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


def named_gaps(name: str, gaps: Sequence[Gap]) -> str:
    """For messages."""
    return f"{name} {' and '.join(f'{low:.3f} to {high:.3f} A' for low, high in gaps)}"
