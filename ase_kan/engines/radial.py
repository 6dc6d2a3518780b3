"""Sums over the pairs of a structure for functions of the distance that are chosen later.

Each function g of a pair is linear between nodes r_k: g(r) = sum_k w_k(r) g(r_k). Its energy is then sum_k g(r_k) W_k
with W_k the sum of w_k over all pairs, and forces and virials are as linear in the slopes g'(r_k). What is summed here
does for any number of functions; uncertainties need a hundred.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ase_kan.engines.neighbors import half_list
from ase_kan.engines.protocol import RadialGrid, RadialSums, known_symbols
from ase_kan.potentials.protocol import Potential
from ase_kan.types import VOIGT, Array, Index, Pair, sorted_pair


def kinds_of(symbols: list[str]) -> list[Pair | None]:
    """The pairs of these elements, in the order of tables and columns; all in one where symbols do not matter."""
    if symbols == [""]:
        return [None]
    return [sorted_pair((a, b)) for k, a in enumerate(symbols) for b in symbols[k:]]


def kind_numbers(n: int) -> Index:
    """The place in `kinds_of` n symbols of the pair of any two, shape (n, n)."""
    table_of = np.zeros((n, n), dtype=np.int64)
    rows, columns = np.triu_indices(n)
    table_of[rows, columns] = table_of[columns, rows] = np.arange(len(rows))
    return table_of


def radial_sums(atoms: Atoms, potential: Potential, grids: list[RadialGrid], nodes: int, forces: bool) -> RadialSums:
    """The sums of a structure, by a neighbor list of their own; `grids` in the order of `kinds_of` its symbols."""
    symbols, element = known_symbols(atoms.numbers, potential)
    i, j, shifts = half_list(atoms.positions, atoms.cell.array, atoms.pbc, potential.cutoff)
    d = atoms.positions[j] + shifts - atoms.positions[i]
    r = np.sqrt(np.einsum("ij,ij->i", d, d))
    n = len(atoms)
    kind = kind_numbers(len(symbols))[element[i], element[j]]
    total = len(grids) * nodes
    levels, lost = np.zeros(n), np.zeros(n, dtype=bool)
    energy, virial, pulls = np.zeros(total), np.zeros((6, total)), np.zeros(n * 3 * total if forces else 0)
    for number, grid in enumerate(grids):
        mine = np.flatnonzero(kind == number)
        node, part = _places(r[mine], grid, len(grid.grades))
        level = np.maximum(grid.grades[node] * (1 - part) + grid.grades[node + 1] * part, 0.0)
        for atom in (i[mine], j[mine]):
            np.maximum.at(levels, atom, level)
            lost[atom[r[mine] < grid.floor]] = True
        mine = mine[r[mine] >= grid.floor]
        node, part = _places(r[mine], grid, nodes)
        for k, weight in ((0, 1 - part), (1, part)):
            column = number * nodes + node + k
            energy += np.bincount(column, weight, total)
            if not forces:
                continue
            for v, (x, y) in enumerate(zip(*VOIGT, strict=True)):
                virial[v] -= np.bincount(column, weight * d[mine, x] * d[mine, y] / r[mine], total)
            for x in range(3):
                pull = weight * d[mine, x] / r[mine]
                for atom, sign in ((i[mine], 1.0), (j[mine], -1.0)):
                    pulls += np.bincount((3 * atom + x) * total + column, sign * pull, len(pulls))
    if not forces:
        return RadialSums(energy, None, None, levels, lost)
    return RadialSums(energy, pulls.reshape(n, 3, total).astype(np.float32), virial, levels, lost)


def _places(r: Array, grid: RadialGrid, nodes: int) -> tuple[Index, Array]:
    """The outer node of each distance, and the part of the way to the next; straight on beyond the ends."""
    at = (1 / r - 1 / grid.end) / (1 / grid.start - 1 / grid.end) * (nodes - 1)
    node = at.clip(0, nodes - 2).astype(np.int64)
    return node, at - node
