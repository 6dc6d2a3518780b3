"""The pairs of atoms within a cutoff, with a Verlet skin.

Every pair is listed once, with the whole cell vectors that lead from i to the image of j. vesin finds the
pairs (https://github.com/Luthaf/vesin), a k-d tree where its boxes do not suit; the list stays good until an atom has
moved half the skin.
"""

from __future__ import annotations

import numpy as np
from ase.geometry import complete_cell, minkowski_reduce
from numpy.typing import NDArray

from ase_kan.types import Array, Index

#: Largest coordinate, Angstrom, and most cell vectors from the origin. The compiled kernel has the same limits.
FARTHEST = 1e9
#: Most translations of the cell within the cutoff, one of each opposite two.
MOST_IMAGES = 1e6
#: Most pairs in a list; with what the autograd engine makes of them, each takes about 200 bytes.
MOST_PAIRS, PAIR_BYTES = 3e7, 200
#: vesin 0.6.2 sorts atoms into up to 1e5 boxes. Where there would be more it makes them larger, in proportion, and
#: divides by zero (which ends the process) if they are so many more than in a cube of the shortest edge that fewer
#: than one is left along it: two atoms far apart in a thin cell. There, at a safe distance, and where it would look at
#: more pairs of atoms than `MOST_LOOKS`, which takes minutes, a k-d tree is used.
MOST_BOXES, MAX_ASPECT = 5e4, 5e3
MOST_LOOKS = 1e10
#: Cells whose edges span so many times their volume, or more, are replaced by reduced ones of the same lattice.
SKEWED = 4.0


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
        self.forget()
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


def check_limits(positions: Array, cell: Array) -> None:
    """`ValueError` that names the first atom, or the cell, with a number that is not finite or beyond `FARTHEST`."""
    # Written so that NaN fails.
    if (np.abs(positions) <= FARTHEST).all() and (np.abs(cell) <= FARTHEST).all():
        return
    bad = np.flatnonzero(~(np.abs(positions) <= FARTHEST).all(axis=1))
    if len(bad):
        where = f"atom {bad[0]} is at {positions[bad[0]].tolist()}"
    else:
        where = "the cell has NaN or inf" if not np.isfinite(cell).all() else f"the cell is {cell.tolist()}"
    raise ValueError(f"positions and cell must be finite, and within {FARTHEST:.0e} A: {where}")


def periodic_box(cell: Array, pbc: NDArray[np.bool_]) -> Array:
    """The cell with orthogonal unit vectors for those that are not periodic, and a very skewed one reduced.

    Raises
    ------
    ValueError
        If the cell vectors along the periodic directions are zero or linearly dependent.
    """
    lengths = np.linalg.norm(cell[pbc], axis=1)
    directions = cell[pbc] / np.maximum(lengths, 1e-300)[:, None]
    if np.linalg.matrix_rank(directions, tol=1e-10) < pbc.sum():
        raise ValueError(
            f"periodic cell vectors must be linearly independent, got cell {cell.tolist()} with pbc {pbc.tolist()}"
        )
    box: Array = complete_cell(np.where(pbc[:, None], cell, 0.0))
    if lengths.prod() > SKEWED * abs(np.linalg.det(box)):
        box = complete_cell(np.where(pbc[:, None], minkowski_reduce(box, pbc)[0], 0.0))
    return box


def half_list(positions: Array, cell: Array, pbc: NDArray[np.bool_], cutoff: float) -> tuple[Index, Index, Array]:
    """Every pair within `cutoff` once: i, j and the translation of j.

    Raises
    ------
    ValueError
        If the cell vectors along the periodic directions are zero or linearly dependent, a coordinate is not finite
        or beyond `FARTHEST`, or more images of the cell or pairs are within the cutoff than there is room for.
    """
    check_limits(positions, cell)
    box = periodic_box(cell, pbc)
    if len(positions) == 0:
        empty = np.empty(0, dtype=np.int64)
        return empty, empty, np.empty((0, 3))
    normals = np.linalg.inv(box)
    heights = 1 / np.linalg.norm(normals, axis=0)
    images = float(np.prod(2 * np.ceil(cutoff / heights[pbc]) + 1)) / 2
    if not images < MOST_IMAGES:
        raise ValueError(
            f"{images:.1g} images of the cell are within {cutoff:g} A, more than {MOST_IMAGES:.0e}: the cell is too "
            "small or too flat"
        )
    # To within half a cell of the first atom: atoms close to each other in a huge cell keep their digits.
    fractions = positions @ normals
    if np.abs(fractions[:, pbc]).max(initial=0.0) > FARTHEST:
        worst = int(np.abs(np.where(pbc, fractions, 0.0)).max(axis=1).argmax())
        raise ValueError(f"atom {worst} is more than {FARTHEST:.0e} cell vectors from the origin: wrap the atoms")
    turns = np.where(pbc, np.floor(fractions - fractions[0] + 0.5) + np.round(fractions[0]), 0.0)
    wrapped = positions - turns @ box
    wrapped = wrapped - wrapped.min(axis=0)
    fractions = wrapped @ normals
    # Along directions that are not periodic, so much empty space that there are no images.
    extent = np.ptp(fractions, axis=0) * heights
    edges = np.where(pbc, 1.0, (extent + 2 * cutoff) / heights)
    pairs = _estimate(fractions, np.where(pbc, heights, extent), pbc, cutoff, images)
    if pairs > MOST_PAIRS:
        raise ValueError(
            f"about {pairs:.2g} pairs of atoms are within {cutoff:g} A, whose list takes "
            f"{pairs * PAIR_BYTES / 1e9:.2g} GB: too much; use a smaller cutoff or fewer atoms"
        )
    boxes = np.maximum(np.floor(edges * heights / cutoff), 1.0)
    looks = len(positions) ** 2 / boxes.prod() * np.prod(2 * np.ceil(cutoff * boxes / (edges * heights)) + 1)
    thin = boxes.prod() > MOST_BOXES and boxes.prod() / boxes.min() ** 3 > MAX_ASPECT
    if thin or looks > MOST_LOOKS:
        i, j, translations = _tree_list(wrapped, box, heights, pbc, cutoff)
    else:
        import vesin  # which imports torch, where there is one

        finder = vesin.NeighborList(cutoff=cutoff, full_list=False)
        i, j, translations = finder.compute(wrapped, box * edges[:, None], np.array([True] * 3), "ijS")
        i, j = i.astype(np.int64), j.astype(np.int64)
    return i, j, (translations + turns[i] - turns[j]) @ box


def _estimate(fractions: Array, spans: Array, pbc: NDArray[np.bool_], cutoff: float, images: float) -> float:
    """About how many pairs there are, from the numbers of atoms in boxes of the cutoff's size; an upper bound if few.

    `spans` are the heights of the cell along periodic directions and what the atoms take up along the others.
    """
    bound = len(fractions) ** 2 * images
    if bound <= MOST_PAIRS:
        return bound
    boxes = np.clip(np.floor(spans / cutoff), 1, 1e6)
    goes_on = pbc | (boxes > 1)
    width = np.where(pbc, 1.0, np.ptp(fractions, axis=0)) / boxes
    index = np.floor((fractions - fractions.min(axis=0)) / np.where(width > 0, width, 1.0)).astype(np.int64)
    index = np.minimum(index, boxes.astype(np.int64) - 1)
    _, counts = np.unique(index @ np.array([1, 10**6, 10**12]), return_counts=True)
    # Of the cube around an atom, the sphere (or the circle) within the cutoff.
    part = (1.0, 1.0, np.pi / 4, np.pi / 6)[int(goes_on.sum())]
    return float((counts.astype(float) ** 2).sum() / 2 * part * np.prod((2 * cutoff / (spans / boxes))[goes_on]))


def _tree_list(
    positions: Array, box: Array, heights: Array, pbc: NDArray[np.bool_], cutoff: float
) -> tuple[Index, Index, Array]:
    """The same by a k-d tree, a translation at a time: slower, but for any shape. i, j and how often each vector."""
    from scipy.spatial import KDTree

    tree = KDTree(positions)
    pairs = tree.query_pairs(cutoff, output_type="ndarray").astype(np.int64)
    found = [(pairs[:, 0], pairs[:, 1], np.zeros((len(pairs), 3)))]
    low, high = positions.min(axis=0) - cutoff, positions.max(axis=0) + cutoff
    # Atoms are less than one cell apart, but for the rounding of their wrapping.
    most = np.where(pbc, np.floor(cutoff / heights + 1 + 1e-6), 0).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), axis=-1).reshape(-1, 3)
    # One of each opposite two: the first number that is not zero is positive.
    steps = steps[len(steps) // 2 + 1 :]
    shifts = steps @ box
    touching = ((positions.max(axis=0) + shifts >= low) & (positions.min(axis=0) + shifts <= high)).all(axis=1)
    for step, shift in zip(steps[touching], shifts[touching], strict=True):
        moved = positions + shift
        near = np.flatnonzero(((moved >= low) & (moved <= high)).all(axis=1))
        if len(near):
            met = tree.sparse_distance_matrix(KDTree(moved[near]), cutoff, output_type="ndarray")
            found.append((met["i"].astype(np.int64), near[met["j"]], np.tile(step.astype(float), (len(met), 1))))
    i, j, translations = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return i, j, translations
