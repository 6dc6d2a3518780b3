"""Energies, forces and virials of structures as linear functions of pair functions on a radial mesh.

With quintic B-splines b_m on a mesh uniform in 1/r, and the switching S(r) of the cutoff, any smooth pair
function is phi(r) = S(r) sum_m v_m b_m(1/r) to 1e-9 or better. Energies, forces and virials are then linear
in v, and least squares over any number of structures needs only the normal equations

    G = sum A^T A,   h = sum A^T y,   yy = sum y^T y

of fixed size: one pass over the data, in memory that does not grow with it. Columns: E0 of every element, then
the mesh of every pair. A KAN fitted to G and h is a KAN fitted to all structures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import atomic_numbers

from ase_kan.bsplines import Array, Index, basis, interval_polynomials, local_basis, uniform_knots
from ase_kan.cutoff import Cutoff, switch
from ase_kan.features import value_and_slope
from ase_kan.neighbors import half_list
from ase_kan.pair import PairFunction
from ase_kan.structures import Sample

Pair = tuple[str, str]

DEGREE = 5
#: Mesh intervals per pair; `RadialMesh.interpolation_error` tells what they give.
INTERVALS = 200
PROPERTIES = ("energy", "forces", "virial")


class RadialMesh:
    """The mesh of one pair, from `start` to its cutoff."""

    def __init__(self, start: float, cutoff: Cutoff) -> None:
        self.start, self.cutoff = start, cutoff
        self.knots = uniform_knots(1 / cutoff.radius, 1 / start, INTERVALS, DEGREE)
        self.table = interval_polynomials(self.knots, DEGREE)
        self.size = INTERVALS + DEGREE

    def splines(self, r: Array) -> tuple[Index, Array, Array]:
        """Columns (n, k + 1), S b and d(S b)/dr at distances within the mesh."""
        columns, (value, slope) = local_basis(self.knots, DEGREE, 1 / r, 1, self.table)
        s, ds = self.switching(r)
        return columns, value * s[:, None], slope * (-s / r**2)[:, None] + value * ds[:, None]

    def switching(self, r: Array) -> tuple[Array, Array]:
        """S and dS/dr."""
        onset, radius = self.cutoff.onset, self.cutoff.radius
        assert onset is not None
        return value_and_slope(lambda x: switch(x, onset, radius), r)

    def points(self) -> Array:
        """Distances that fix a function on the mesh: three per interval, ends included."""
        return np.reciprocal(np.linspace(1 / self.cutoff.radius, 1 / self.start, 3 * INTERVALS + 1))

    def interpolate(self, values: Array) -> Array:
        """Mesh coefficients (size, ...) of functions given at `points`, before switching."""
        matrix = basis(self.knots, DEGREE, np.reciprocal(self.points()), derivatives=0)[0]
        return np.asarray(np.linalg.lstsq(matrix, values, rcond=None)[0], dtype=np.float64)

    def interpolation_error(self, function: PairFunction) -> float:
        """Largest |phi - mesh phi| between mesh points, relative to the largest |phi|, for a bare pair function."""
        values = value_and_slope(function.bare, self.points())[0]
        middle = np.sqrt(self.points()[1:] * self.points()[:-1])
        mesh = basis(self.knots, DEGREE, 1 / middle, derivatives=0)[0] @ self.interpolate(values)
        exact = value_and_slope(function.bare, middle)[0]
        s = self.switching(middle)[0]
        return float(np.abs(s * (mesh - exact)).max() / np.abs(s * exact).max())


@dataclass
class Equations:
    """Normal equations of one property: G (n, n), h (n,), sum of squares, sum and number of the data."""

    matrix: Array
    vector: Array
    squares: float = 0.0
    total: float = 0.0
    weight: float = 0.0
    count: int = 0

    @classmethod
    def empty(cls, size: int) -> Equations:
        return cls(np.zeros((size, size)), np.zeros(size))

    def add(self, rows: Array, data: Array, weight: float) -> None:
        """Add rows with a common weight (of the squared error)."""
        self.matrix += weight * (rows.T @ rows)
        self.vector += weight * (data @ rows)
        self.squares += weight * float(data @ data)
        self.total += weight * float(data.sum())
        self.weight += weight * len(data)
        self.count += len(data)

    def mean_square(self, solution: Array) -> float:
        """Weighted mean of the squared error of a solution."""
        error = self.squares - 2 * solution @ self.vector + solution @ self.matrix @ solution
        # Differences of large sums: below this nothing can be told, and zero would claim too much.
        resolution = 1e-15 * self.squares
        return max(float(error), resolution) / max(self.weight, 1e-300)

    def explained(self, solution: Array) -> float:
        """Share of the data's variance that a solution explains (R squared)."""
        variance = self.squares / self.weight - (self.total / self.weight) ** 2
        return 1 - self.mean_square(solution) / variance if variance > 0 else float("nan")


class Accumulator:
    """Normal equations of many structures.

    Parameters
    ----------
    elements : sequence of str
        Chemical symbols, in alphabetical order.
    meshes : mapping of pair to RadialMesh
        Every unordered pair of the elements, in alphabetical order.
    """

    def __init__(self, elements: Sequence[str], meshes: Mapping[Pair, RadialMesh]) -> None:
        self.elements = list(elements)
        self.meshes = dict(meshes)
        self.offsets: dict[Pair, int] = {}
        size = len(elements)
        for pair, mesh in meshes.items():
            self.offsets[pair] = size
            size += mesh.size
        self.size = size
        self.equations = {name: Equations.empty(size) for name in PROPERTIES}
        self.shortest = dict.fromkeys(meshes, np.inf)
        self.reach = max(mesh.cutoff.radius for mesh in meshes.values())
        number_of = {atomic_numbers[symbol]: index for index, symbol in enumerate(elements)}
        self._index_of = np.full(max(number_of) + 1, -1)
        self._index_of[list(number_of)] = list(number_of.values())

    @staticmethod
    def pairs_of(elements: Sequence[str]) -> list[Pair]:
        """All unordered pairs, alphabetically."""
        return list(combinations_with_replacement(sorted(elements), 2))

    def add(self, sample: Sample) -> bool:
        """Add one structure. Returns False, and adds nothing, if atoms are closer than the mesh starts."""
        atoms = sample.atoms
        i, j, shifts = half_list(atoms.positions, atoms.cell.array, atoms.pbc, self.reach)
        vectors = atoms.positions[j] - atoms.positions[i] + shifts
        r = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        kinds = self._index_of[atoms.numbers]
        low, high = np.minimum(kinds[i], kinds[j]), np.maximum(kinds[i], kinds[j])
        members = {}
        for pair, mesh in self.meshes.items():
            a, b = (self.elements.index(symbol) for symbol in pair)
            members[pair] = np.flatnonzero((low == a) & (high == b) & (r < mesh.cutoff.radius))
            if r[members[pair]].min(initial=np.inf) < mesh.start:
                return False
        rows = _Rows(len(atoms), self.size, sample)
        rows.energy[: len(self.elements)] = np.bincount(kinds, minlength=len(self.elements))
        for pair, chosen in members.items():
            if len(chosen) == 0:
                continue
            distance = r[chosen]
            self.shortest[pair] = min(self.shortest[pair], float(distance.min()))
            columns, value, slope = self.meshes[pair].splines(distance)
            columns = columns + self.offsets[pair]
            rows.add(columns, value, slope, i[chosen], j[chosen], vectors[chosen], distance)
        rows.into(self.equations, sample)
        return True


class _Rows:
    """The rows of one structure: energy (size,), forces (3n, size), virial (6, size)."""

    VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

    def __init__(self, n: int, size: int, sample: Sample) -> None:
        self.n, self.size = n, size
        self.energy = np.zeros(size)
        self.forces = np.zeros(3 * n * size) if sample.forces is not None else None
        self.virial = np.zeros((6, size)) if sample.stress is not None else None

    def add(
        self, columns: Index, value: Array, slope: Array, i: Index, j: Index, vectors: Array, distance: Array
    ) -> None:
        """Add the pairs of one kind: splines and slopes (n, k + 1) at their columns, vectors from i to j (n, 3)."""
        unit = vectors / distance[:, None]
        flat = columns.ravel()
        self.energy += np.bincount(flat, value.ravel(), self.size)
        if self.forces is not None:
            # F_i += phi' e, F_j -= phi' e, with e the unit vector from i to j
            for x in range(3):
                pull = (slope * unit[:, x, None]).ravel()
                for atom, sign in ((i, 1.0), (j, -1.0)):
                    where = ((3 * atom + x) * self.size)[:, None] + columns
                    self.forces += np.bincount(where.ravel(), sign * pull, len(self.forces))
        if self.virial is not None:
            for row, (x, y) in enumerate(self.VOIGT):
                weights = slope * (unit[:, x] * unit[:, y] * distance)[:, None]
                self.virial[row] += np.bincount(flat, weights.ravel(), self.size)

    def into(self, equations: Mapping[str, Equations], sample: Sample) -> None:
        """Per atom for energy and virial; a structure counts once, whatever its size."""
        n = max(self.n, 1)
        if sample.energy is not None:
            equations["energy"].add(self.energy[None] / n, np.array([sample.energy / n]), sample.weight)
        if sample.forces is not None and self.forces is not None and self.n:
            rows = self.forces.reshape(3 * self.n, self.size)
            equations["forces"].add(rows, sample.forces.ravel(), sample.weight / (3 * n))
        if sample.stress is not None and self.virial is not None:
            data = np.array([sample.stress[x, y] for x, y in self.VOIGT]) * sample.atoms.get_volume() / n
            equations["virial"].add(self.virial / n, data, sample.weight / 6)
