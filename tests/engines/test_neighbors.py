"""The neighbor list where vesin alone would crash or where cells are odd."""

from itertools import product

import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list

from ase_kan.engines import neighbors
from ase_kan.engines.neighbors import half_list


def sorted_distances(positions, cell, pbc, cutoff):
    i, j, shifts = half_list(positions, np.asarray(cell, float), np.asarray(pbc), cutoff)
    seen = set()
    for a, b, shift in zip(i.tolist(), j.tolist(), np.round(shifts, 6).tolist(), strict=True):
        forth, back = (a, b, *shift), (b, a, *(-x for x in shift))
        assert forth not in seen  # each pair once, in one direction
        assert back not in seen
        seen.add(tuple(x + 0.0 for x in forth))
    return np.sort(np.linalg.norm(positions[j] - positions[i] + shifts, axis=1))


def ase_distances(positions, cell, pbc, cutoff):
    box = np.where(np.asarray(pbc)[:, None], cell, 0.0)
    from ase.geometry import complete_cell

    return np.sort(primitive_neighbor_list("d", pbc, complete_cell(box), positions, cutoff))[::2]


CASES = {
    "free": (np.zeros((3, 3)), [False] * 3),
    "wire, other vectors zero": (np.diag([0, 0, 5.0]), [False, False, True]),
    "slab, no third vector": (np.diag([5.0, 4.0, 0]), [True, True, False]),
    "slab, atoms beyond the third vector": (np.diag([5.0, 4.0, 1.0]), [True, True, False]),
    "slab, dependent third vector": ([[5.0, 0, 0], [0, 4.0, 0], [5, 4, 0]], [True, True, False]),
    "left-handed": ([[0, 5.0, 0], [5, 0, 0], [0, 0, 5]], [True] * 3),
    "very skewed": ([[5.0, 0, 0], [20, 5, 0], [0, -12, 5]], [True] * 3),
    "tiny": ([[1.0, 0, 0], [0.3, 1, 0], [0.2, 0.4, 1.1]], [True] * 3),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_cells_equal_ase(name):
    cell, pbc = CASES[name]
    positions = np.random.default_rng(1).uniform(0, 5, (12, 3))
    np.testing.assert_allclose(
        sorted_distances(positions, cell, pbc, 2.5), ase_distances(positions, np.array(cell), pbc, 2.5), atol=1e-12
    )


@pytest.mark.parametrize("pbc", [[True, False, False], [True, True, True], [False, False, False]])
@pytest.mark.parametrize("spread", [1e2, 5e3, 1e6, 1e9])
def test_far_apart_in_a_thin_cell(pbc, spread):
    """vesin 0.6.2 dies here with a division by zero; an exploding simulation must not take Python with it."""
    rng = np.random.default_rng(2)
    positions = rng.uniform(0, 1, (20, 3)) * [2, spread, spread]
    positions[1] = positions[0] + [0.7, 0.3, 0.2]
    cell = np.diag([2.0, spread, spread])
    found = sorted_distances(positions, cell, pbc, 2.5)
    # All pairs and images, each pair of opposite ones once.
    expected = []
    for shift in product(*(range(-2, 3) if periodic else [0] for periodic in pbc)):
        distances = np.linalg.norm(positions[None] + np.array(shift) @ cell - positions[:, None], axis=2)
        expected += distances[(distances < 2.5) & ((distances > 0) | (np.array(shift) != 0).any())].tolist()
    np.testing.assert_allclose(found, np.sort(expected)[::2], atol=1e-6)


def test_the_two_lists_agree(monkeypatch):
    """The fallback finds the same pairs as vesin."""
    rng = np.random.default_rng(3)
    for pbc in ([True] * 3, [True, False, True], [False] * 3):
        cell = 3 * np.eye(3) + rng.uniform(-0.5, 0.5, (3, 3))
        positions = rng.uniform(-5, 8, (15, 3))
        monkeypatch.setattr(neighbors, "MOST_LOOKS", np.inf)
        with_vesin = sorted_distances(positions, cell, pbc, 2.5)
        monkeypatch.setattr(neighbors, "MOST_LOOKS", 0.0)
        np.testing.assert_allclose(sorted_distances(positions, cell, pbc, 2.5), with_vesin, atol=1e-12)


def test_the_list_is_good_for_moves_of_half_the_skin():
    """Two atoms beyond cutoff and skin, which each move by less than the skin: within the cutoff they are a pair."""
    cell, pbc, numbers = np.zeros((3, 3)), np.zeros(3, dtype=bool), np.array([18, 18])
    pairs = neighbors.NeighborList(cutoff=2.0, skin=0.4)
    assert pairs.update(np.array([[0.0, 0, 0], [2.45, 0, 0]]), cell, pbc, numbers)
    assert len(pairs.i) == 0
    assert not pairs.update(np.array([[0.19, 0, 0], [2.26, 0, 0]]), cell, pbc, numbers)
    assert pairs.update(np.array([[0.3, 0, 0], [2.15, 0, 0]]), cell, pbc, numbers)
    assert len(pairs.i) == 1
