"""Energies, forces and virials of structures as linear functions of pair functions on a radial mesh.

With quintic B-splines b_m on a mesh uniform in 1/r, and the switching S(r) of the cutoff, any smooth pair
function is phi(r) = S(r) sum_m v_m b_m(1/r) to 1e-9 or better. Energies, forces and virials are then linear
in v, and least squares over any number of structures needs only the normal equations

    G = sum A^T A,   h = sum A^T y,   yy = sum y^T y

of fixed size: one pass over the data, in memory that does not grow with it. Columns: E0 of every element, then
the mesh of every pair, and a constant of the normal components of the virial per atom, which physics does not have
and wrong stresses may. A KAN fitted to G and h is a KAN fitted to all structures.

Total energies of 1e5 eV per atom, squared, would leave no digits for errors of 1e-5: a baseline per element is
subtracted from the energies before they enter the sums, and E0 is counted from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from torch import Tensor

from ase_kan.data.structures import Sample
from ase_kan.engines.neighbors import half_list, periodic_box
from ase_kan.kan.bsplines import basis, interval_polynomials, local_basis, uniform_knots
from ase_kan.potentials.cutoff import Cutoff, switch
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.pair import PairFunction
from ase_kan.types import VOIGT, Array, Index, Pair

DEGREE = 5
#: Mesh intervals per pair; `RadialMesh.interpolation_error` tells what they give.
INTERVALS = 200
PROPERTIES = ("energy", "forces", "virial")
#: Most pairs of one structure, in all and per atom. They take 130 bytes each; 5e4 per atom are argon within 95 A.
MAX_PAIRS, MAX_PAIRS_PER_ATOM = 2e7, 5e4
#: Largest memory of the rows of one structure, and of all equations, bytes.
MAX_BYTES = 16e9
#: Pairs whose splines are held at a time.
BLOCK = 500_000


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
        """S and dS/dr; 1 where the energy at the cutoff is subtracted instead."""
        onset, radius = self.cutoff.onset, self.cutoff.radius
        if onset is None:
            return np.ones_like(r), np.zeros_like(r)
        return value_and_slope(lambda x: switch(x, onset, radius), r)

    def ends(self) -> Array:
        """The ends of its intervals, from the cutoff on; shape (INTERVALS + 1,)."""
        return np.reciprocal(np.linspace(1 / self.cutoff.radius, 1 / self.start, INTERVALS + 1))

    def points(self) -> Array:
        """Distances that fix a function on the mesh: three per interval, ends included."""
        return np.reciprocal(np.linspace(1 / self.cutoff.radius, 1 / self.start, 3 * INTERVALS + 1))

    def interpolate(self, values: Array) -> Array:
        """Mesh coefficients (size, ...) of functions given at `points`, before switching."""
        matrix = basis(self.knots, DEGREE, np.reciprocal(self.points()), derivatives=0)[0]
        return np.asarray(np.linalg.lstsq(matrix, values, rcond=None)[0], dtype=np.float64)

    def solution(self, energy: Callable[[Tensor], Tensor]) -> Array:
        """Mesh coefficients of a pair energy (eV) without its cutoff."""
        return self.interpolate(self._uncut(energy, self.points()))

    def _uncut(self, energy: Callable[[Tensor], Tensor], r: Array) -> Array:
        """What S multiplies."""
        end = [] if self.cutoff.onset is not None else [self.cutoff.radius]
        values = value_and_slope(energy, np.append(r, end))[0]
        return values if not end else values[:-1] - values[-1]

    def interpolation_error(self, function: PairFunction) -> float:
        """Largest |phi - mesh phi| between mesh points, relative to the largest |phi|, for a bare pair function."""
        middle = np.sqrt(self.points()[1:] * self.points()[:-1])
        mesh = basis(self.knots, DEGREE, 1 / middle, derivatives=0)[0] @ self.solution(function.bare)
        exact = self._uncut(function.bare, middle)
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

    def add(self, rows: Array, data: Array, weight: float, weights: Array | None = None) -> None:
        """Add rows with a common weight (of the squared error), times those of each row if given."""
        if weights is not None:
            # Weights of squares: their roots make the rest as without them.
            total, root = float(weights @ data), np.sqrt(weights)
            rows, data, number = rows * root[:, None], data * root, float(weights.sum())
        else:
            total, number = float(data.sum()), len(data)
        self.matrix += weight * (rows.T @ rows)
        self.vector += weight * (data @ rows)
        self.squares += weight * float(data @ data)
        self.total += weight * total
        self.weight += weight * number
        self.count += len(data)

    def mean_square(self, solution: Array) -> float:
        """Weighted mean of the squared error of a solution; NaN without data."""
        if self.weight == 0:
            return float("nan")
        error = self.squares - 2 * solution @ self.vector + solution @ self.matrix @ solution
        # Differences of large sums: below this nothing can be told, and zero would claim too much.
        resolution = 1e-15 * self.squares
        return max(float(error), resolution) / self.weight

    def variance(self, lone: int = 0) -> float:
        """Mean square of the data about their mean, or about the best fit of the first `lone` columns, if any.

        The latter is what lone atoms leave open of the energies. NaN where nothing is left.
        """
        if lone:
            matrix, vector = self.matrix[:lone, :lone], self.vector[:lone]
            left = self.squares - float(vector @ np.linalg.lstsq(matrix, vector, rcond=None)[0])
        else:
            left = self.squares - self.total**2 / self.weight
        return left / self.weight if left > 1e-14 * self.squares else float("nan")

    def explained(self, solution: Array, lone: int = 0) -> float:
        """Share of the `variance` of the data that a solution explains (R squared)."""
        return 1 - self.mean_square(solution) / self.variance(lone)


@dataclass(frozen=True)
class Neighbors:
    """The pairs i, j of one structure with the vectors from i to j (n, 3) and distances r, sorted by kind.

    `members` gives the places of each kind in these arrays: those within its cutoff.
    """

    i: Index
    j: Index
    vectors: Array
    r: Array
    members: dict[Pair, Index]

    def shortest(self) -> dict[Pair, float]:
        """The smallest distance of each kind, inf where there is none."""
        return {pair: float(self.r[chosen].min(initial=np.inf)) for pair, chosen in self.members.items()}


def pairs_within(sample: Sample, reach: float) -> tuple[Index, Index, Array, Array]:
    """Every pair within `reach` once: i, j, vectors from i to j (n, 3) and distances.

    Raises
    ------
    ValueError
        If the cell makes no sense, or if there would be too many pairs; the structure is named.
    """
    atoms = sample.atoms
    n, cell, pbc = len(atoms), atoms.cell.array, atoms.pbc
    try:
        pairs = expected_pairs(atoms.positions, cell, pbc, reach)
        if pairs > min(MAX_PAIRS, MAX_PAIRS_PER_ATOM * n):
            raise ValueError(
                f"about {pairs:.1e} pairs of its {n} atoms lie within {reach:g} A, more than "
                f"{min(MAX_PAIRS, MAX_PAIRS_PER_ATOM * n):.0e}: choose a smaller cutoff"
            )
        i, j, shifts = half_list(atoms.positions, cell, pbc, reach)
    except ValueError as error:
        raise ValueError(f"{sample.origin}: {error}") from None
    vectors = atoms.positions[j] - atoms.positions[i] + shifts
    return i, j, vectors, np.sqrt(np.einsum("ij,ij->i", vectors, vectors))


def expected_pairs(positions: Array, cell: Array, pbc: NDArray[np.bool_], cutoff: float) -> float:
    """About how many pairs are closer than `cutoff`, for atoms spread evenly.

    Half of n^2, times the lattice vectors within the cutoff, times the part of the structure that is within reach
    along the directions without a period.
    """
    box = periodic_box(cell, pbc)
    ball = (1.0, 2 * cutoff, np.pi * cutoff**2, 4 / 3 * np.pi * cutoff**3)[int(pbc.sum())]
    extent = np.ptp(positions @ np.linalg.inv(box), axis=0)[~pbc]
    part = np.minimum(1.0, 2 * cutoff / np.maximum(extent, 1e-300)).prod()
    return float(len(positions) ** 2 / 2 * ball / abs(np.linalg.det(box)) * part)


def energy_baseline(samples: Sequence[Sample], given: dict[str, float]) -> dict[str, float]:
    """Energies per atom of each element, eV, that come closest to the structures' energies, beside those `given`.

    Rounded to 1e-3 eV: the same on every processor.
    """
    known = [sample for sample in samples if sample.energy is not None and sample.weight > 0]
    if not known:
        return given
    counts = [Counter(sample.atoms.get_chemical_symbols()) for sample in known]
    elements = sorted({symbol for count in counts for symbol in count})
    free = [symbol for symbol in elements if symbol not in given]
    size = np.array([len(sample.atoms) for sample in known], dtype=float)
    parts = np.array([[count[symbol] for symbol in elements] for count in counts]).reshape(len(known), -1)
    parts = parts / size[:, None]
    fixed = parts @ np.array([given.get(symbol, 0.0) for symbol in elements])
    rest = np.array([sample.energy for sample in known], dtype=float) / size - fixed
    columns = parts[:, [elements.index(symbol) for symbol in free]]
    found = np.linalg.lstsq(columns, rest, rcond=1e-10)[0] if free else np.empty(0)
    return given | {symbol: round(float(value), 3) for symbol, value in zip(free, found, strict=True)}


class Accumulator:
    """Normal equations of many structures.

    Parameters
    ----------
    elements : sequence of str
        Chemical symbols, in alphabetical order.
    meshes : mapping of pair to RadialMesh
        Every unordered pair of the elements, in alphabetical order.
    baseline : dict of str to float, optional
        Energy per atom that is subtracted, eV, by element; kept, and completed as elements appear. The sums that
        are solved together share one.
    """

    def __init__(
        self, elements: Sequence[str], meshes: Mapping[Pair, RadialMesh], baseline: dict[str, float] | None = None
    ) -> None:
        self.elements = list(elements)
        self.meshes = dict(meshes)
        self.offsets: dict[Pair, int] = {}
        size = len(elements)
        for pair, mesh in meshes.items():
            self.offsets[pair] = size
            size += mesh.size
        size += 1
        self.size = size
        if (needed := 2 * len(PROPERTIES) * 8 * size**2) > MAX_BYTES:  # for training and for held-out structures
            raise ValueError(
                f"the {len(meshes)} pairs of {len(elements)} elements need {needed / 1e9:.0f} GB, more than "
                f"{MAX_BYTES / 1e9:.0f}: fit fewer elements at a time"
            )
        self.baseline = {} if baseline is None else baseline
        self.equations = {name: Equations.empty(size) for name in PROPERTIES}
        self.shortest = dict.fromkeys(meshes, np.inf)
        #: Pairs of atoms in each interval of the mesh, the first at the cutoff.
        self.histograms = {pair: np.zeros(INTERVALS, dtype=np.int64) for pair in meshes}
        self.reach = max(mesh.cutoff.radius for mesh in meshes.values())
        number_of = {atomic_numbers[symbol]: index for index, symbol in enumerate(elements)}
        self._index_of = np.full(max(number_of) + 1, -1)
        self._index_of[list(number_of)] = list(number_of.values())

    @staticmethod
    def pairs_of(elements: Sequence[str]) -> list[Pair]:
        """All unordered pairs, alphabetically."""
        return list(combinations_with_replacement(sorted(elements), 2))

    def find(self, sample: Sample) -> Neighbors | None:
        """The pairs of a structure that its labels depend on; None if atoms are closer than the mesh starts."""
        i, j, vectors, r = pairs_within(sample, self.reach)
        if sample.energy is None and sample.virial is None:
            seen = sample.labeled[i] | sample.labeled[j]
            i, j, vectors, r = i[seen], j[seen], vectors[seen], r[seen]
        kinds = self._index_of[sample.atoms.numbers]
        low, high = np.minimum(kinds[i], kinds[j]), np.maximum(kinds[i], kinds[j])
        members = {}
        for pair, mesh in self.meshes.items():
            a, b = (self.elements.index(symbol) for symbol in pair)
            members[pair] = np.flatnonzero((low == a) & (high == b) & (r < mesh.cutoff.radius))
            if r[members[pair]].min(initial=np.inf) < mesh.start:
                return None
        return Neighbors(i, j, vectors, r, members)

    def covers(self, neighbors: Neighbors) -> bool:
        """Whether no pair is closer than all of its kind added so far."""
        return all(r >= self.shortest[pair] for pair, r in neighbors.shortest().items())

    def add(self, sample: Sample, neighbors: Neighbors) -> None:
        """Add one structure with the pairs that `find` gave."""
        counts = np.bincount(self._index_of[sample.atoms.numbers], minlength=len(self.elements))
        rows = _Rows(self.size, sample)
        rows.energy[: len(self.elements)] = counts
        for pair, chosen in neighbors.members.items():
            for start in range(0, len(chosen), BLOCK):
                block = chosen[start : start + BLOCK]
                distance = neighbors.r[block]
                columns, value, slope = self.meshes[pair].splines(distance)
                self.histograms[pair] += np.bincount(columns[:, 0].clip(0), minlength=INTERVALS)[:INTERVALS]
                columns = columns + self.offsets[pair]
                i, j, vectors = neighbors.i[block], neighbors.j[block], neighbors.vectors[block]
                rows.add(columns, value, slope, i, j, vectors, distance)
        energy = None if sample.energy is None else sample.energy - self._baseline(sample.energy, counts)
        rows.into(self.equations, energy)
        for pair, r in neighbors.shortest().items():
            self.shortest[pair] = min(self.shortest[pair], r)

    def _baseline(self, energy: float, counts: NDArray[np.int64]) -> float:
        """Energy to subtract. An element met for the first time gets its share of what the others leave.

        No energy in the sums contains it yet, so that its baseline is free.
        """
        present = {s: int(c) for s, c in zip(self.elements, counts, strict=True) if c}
        new = [s for s in present if s not in self.baseline]
        rest = energy - sum(c * self.baseline[s] for s, c in present.items() if s not in new)
        self.baseline |= dict.fromkeys(new, round(rest / max(sum(present[s] for s in new), 1), 3))
        return sum(c * self.baseline[s] for s, c in present.items())


class _Rows:
    """The rows of one structure: energy (size,), forces (3n, size), virial (6, size)."""

    def __init__(self, size: int, sample: Sample) -> None:
        self.n, self.size, self.sample = len(sample.atoms), size, sample
        # The forces, and one array of that size while they are added up.
        if sample.forces is not None and (needed := 2 * 3 * self.n * size * 8) > MAX_BYTES:
            raise ValueError(
                f"{sample.origin}: the forces of {self.n} atoms need {needed / 1e9:.0f} GB, more than "
                f"{MAX_BYTES / 1e9:.0f}: leave it out"
            )
        self.energy = np.zeros(size)
        self.forces = np.zeros(3 * self.n * size) if sample.forces is not None else None
        self.virial = np.zeros((6, size)) if sample.virial is not None else None
        if self.virial is not None:
            self.virial[:3, -1] = -self.n

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
            for row, (x, y) in enumerate(zip(*VOIGT, strict=True)):
                weights = slope * (unit[:, x] * unit[:, y] * distance)[:, None]
                self.virial[row] += np.bincount(flat, weights.ravel(), self.size)

    def into(self, equations: Mapping[str, Equations], energy: float | None) -> None:
        """Per atom for energy and virial; a structure counts once, whatever its size."""
        sample, n = self.sample, self.n
        if energy is not None:
            equations["energy"].add(self.energy[None] / n, np.array([energy / n]), sample.weight_of("energy"))
        if sample.forces is not None and self.forces is not None:
            rows, known = self.forces.reshape(self.n, 3, self.size), sample.labeled
            if not known.all():
                rows = rows[known]
            data = sample.forces[known].ravel()
            of_rows = None if sample.atom_weights is None else np.repeat(sample.atom_weights[known], 3)
            equations["forces"].add(rows.reshape(-1, self.size), data, sample.weight_of("forces") / len(data), of_rows)
        if sample.virial is not None and self.virial is not None:
            # The rows are derivatives by strain, minus the virial.
            data = -sample.virial[VOIGT] / n
            equations["virial"].add(self.virial / n, data, sample.weight_of("virial") / 6)
