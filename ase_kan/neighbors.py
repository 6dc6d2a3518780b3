"""The pairs of atoms within a cutoff, with a Verlet skin.

Every pair is listed once, with the whole cell vectors that lead from i to the image of j. vesin finds the
pairs (https://github.com/Luthaf/vesin); the list stays good until an atom has moved half the skin.
"""

from __future__ import annotations

import numpy as np
import vesin
from ase.geometry import complete_cell
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: vesin 0.6.2 divides by zero (and kills the process) or takes minutes where the boxes it sorts atoms into are
#: more than about 1e5 times more numerous than in a cube of the shortest edge: two atoms far apart in a thin
#: cell. Beyond half of that, ASE's slower list is used.
MAX_ASPECT = 5e4


class NeighborList:
    """Pairs closer than `cutoff`, listed up to ``cutoff + skin``.

    Attributes
    ----------
    i, j : ndarray of int, shape (pairs,)
        Atoms of each pair; i may equal j (an atom and its own image).
    shifts : ndarray, shape (pairs, 3)
        Cell translation of j, Angstrom.
    builds : int
        How often the list has been built.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        if not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"skin must be zero or a positive distance, got {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self.builds = 0
        self.i = self.j = np.empty(0, dtype=np.int64)
        self.shifts = np.empty((0, 3))
        self._built_for: tuple[Array, Array, NDArray[np.bool_], NDArray[np.int64]] | None = None

    def update(self, positions: Array, cell: Array, pbc: NDArray[np.bool_], numbers: NDArray[np.int64]) -> bool:
        """Rebuild the list if it may miss a pair; tell whether it was rebuilt."""
        if self._built_for is not None:
            old_positions, *old = self._built_for
            same = all(np.array_equal(a, b) for a, b in zip(old, (cell, pbc, numbers), strict=True))
            if same and len(positions) == len(old_positions):
                moved = positions - old_positions
                if np.einsum("ij,ij->i", moved, moved).max(initial=0.0) <= (self.skin / 2) ** 2:
                    return False
        self.i, self.j, self.shifts = half_list(positions, cell, pbc, self.cutoff + self.skin)
        self._built_for = positions.copy(), cell.copy(), pbc.copy(), numbers.copy()
        self.builds += 1
        return True

    def reorder(self, order: Index) -> None:
        """Sort the pairs."""
        self.i, self.j, self.shifts = self.i[order], self.j[order], self.shifts[order]

    def forget(self) -> None:
        """Build anew at the next update."""
        self._built_for = None


def periodic_box(cell: Array, pbc: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The cell with zeros, and with orthogonal unit vectors, for the vectors that are not periodic.

    Raises
    ------
    ValueError
        If the cell vectors along the periodic directions are zero or linearly dependent.
    """
    periodic = np.where(pbc[:, None], cell, 0.0)
    directions = cell[pbc] / np.maximum(np.linalg.norm(cell[pbc], axis=1), 1e-300)[:, None]
    if np.linalg.matrix_rank(directions, tol=1e-10) < pbc.sum():
        raise ValueError(
            f"periodic cell vectors must be linearly independent, got cell {cell.tolist()} with pbc {pbc.tolist()}"
        )
    return periodic, complete_cell(periodic)


def half_list(positions: Array, cell: Array, pbc: NDArray[np.bool_], cutoff: float) -> tuple[Index, Index, Array]:
    """Every pair within `cutoff` once: i, j and the translation of j.

    Raises
    ------
    ValueError
        If the cell vectors along the periodic directions are zero or linearly dependent.
    """
    periodic, box = periodic_box(cell, pbc)
    if len(positions) == 0:
        empty = np.empty(0, dtype=np.int64)
        return empty, empty, np.empty((0, 3))
    normals = np.linalg.inv(box)
    heights = 1 / np.linalg.norm(normals, axis=0)
    extent = np.where(pbc, 1.0, np.ptp(positions @ normals, axis=0)) * heights
    boxes = np.maximum(extent / cutoff, 1.0)
    if boxes.prod() / boxes.min() ** 3 > MAX_ASPECT:
        i, j, translations = primitive_neighbor_list("ijS", pbc, box, positions, cutoff)
        # ASE lists both directions: keep i < j, and of an atom's own images the half with S "positive".
        first = np.take_along_axis(translations, (translations != 0).argmax(1)[:, None], 1)[:, 0]
        once = (i < j) | ((i == j) & (first > 0))
        i, j, translations = i[once], j[once], translations[once]
    else:
        finder = vesin.NeighborList(cutoff=cutoff, full_list=False)
        i, j, translations = finder.compute(positions, periodic if pbc.any() else np.zeros((3, 3)), pbc, "ijS")
    return i.astype(np.int64), j.astype(np.int64), translations @ periodic
