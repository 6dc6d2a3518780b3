"""The two ways of summing a pair potential over atoms: by autograd and vesin, and by the compiled kernel.

With D the vector from atom i to (the image of) atom j, r = |D| and phi' = dphi/dr:

    E = sum_i E0_i + sum_{i<j} phi(r)     F_j = -phi' D / r = -F_i     stress = (1/V) sum_{i<j} phi' D (x) D / r

Energies and stresses per atom give each atom of a pair one half, as ASE's `LennardJones` does.
"""

from __future__ import annotations

import math
import os
from copy import copy
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_kan.coverage import Gap
from ase_kan.features import value_and_slope
from ase_kan.guard import Extrapolation, domain_with_tolerance, gaps_with_tolerance
from ase_kan.neighbors import Array, Index, NeighborList, check_limits, periodic_box
from ase_kan.potential import Pair, PairPotential, pair_name, sorted_pair
from ase_kan.splines import SplinePotential

try:
    from ase_kan import _kernel
except ImportError:  # installed without a compiler
    _kernel = None  # type: ignore[assignment]

#: Verlet skins as a part of the cutoff; those of the compiled engine are wider, its pairs are cheaper to skip.
AUTOGRAD_SKIN, COMPILED_SKIN = 0.16, 0.35
#: Below this number of atoms a second thread costs more than it gives.
THREADED_ATOMS = 20_000
CHANGES = ("positions", "numbers", "cell", "pbc")


class Evaluation(NamedTuple):
    """What an engine found: eV and Angstrom. The virial is sum F (x) D over pairs, Voigt order."""

    energy: float
    forces: Array
    virial: Array
    extrapolation: Extrapolation
    energies: Array | None
    virials: Array | None


class Engine(Protocol):
    """Sums over pairs, and remembers the atoms it was last given."""

    @property
    def skin(self) -> float: ...

    @property
    def builds(self) -> int:
        """How often the neighbor list has been built."""

    def changes(self, atoms: Atoms) -> list[str]:
        """What is different from the atoms of the last evaluation, in ASE's words."""

    def last(self) -> Atoms | None:
        """A copy of the atoms of the last evaluation."""

    def evaluate(self, atoms: Atoms, per_atom: bool, changes: list[str]) -> Evaluation:
        """Energy, forces and virial without lone-atom energies, per atom as well on request; after `changes(atoms)`."""


def compiled_available() -> bool:
    """Whether the compiled kernel was built with the package."""
    return _kernel is not None


class Structure(NamedTuple):
    """What an engine takes from atoms: arrays of the kernel's types, whatever those of the user's atoms are."""

    positions: Array
    numbers: Index
    cell: Array
    pbc: NDArray[np.bool_]

    @classmethod
    def of(cls, atoms: Atoms) -> Structure:
        """Views of the atoms' arrays where these have the right type."""
        arrays = atoms.arrays
        return cls(
            np.ascontiguousarray(arrays["positions"], dtype=np.float64),
            np.ascontiguousarray(arrays["numbers"], dtype=np.int64),
            np.ascontiguousarray(atoms.cell.array, dtype=np.float64),
            np.ascontiguousarray(atoms.pbc, dtype=np.bool_),
        )

    def copy(self) -> Structure:
        return Structure(self.positions.copy(), self.numbers.copy(), self.cell.copy(), self.pbc.copy())

    def atoms(self) -> Atoms:
        return Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)


def _known_symbols(atomic_numbers: Index, potential: PairPotential) -> tuple[list[str], Index]:
    """The symbols in the atoms, and the number of each atom's; all the same where one function serves all."""
    if not potential.elements:
        return [""], np.zeros(len(atomic_numbers), dtype=np.int64)
    present, numbers = np.unique(atomic_numbers, return_inverse=True)
    names = np.array([chemical_symbols[z] for z in present], dtype=str)
    order = names.argsort()
    symbols, numbers = names[order].tolist(), order.argsort()[numbers]
    unknown = [s for s in symbols if s not in potential.elements]
    if unknown:
        known = ", ".join(potential.elements)
        raise ValueError(f"the potential does not know {', '.join(unknown)}: it was fitted for {known}")
    return symbols, numbers


class AutogradEngine:
    """Any potential by its own torch function: the reference."""

    def __init__(self, potential: PairPotential, skin: float | None) -> None:
        self.potential = potential
        cutoff = potential.cutoff
        self._neighbors = NeighborList(cutoff, AUTOGRAD_SKIN * cutoff if skin is None else skin)
        self._kinds: list[tuple[Pair | None, slice]] = []
        self._ranges: dict[Pair | None, tuple[float, float, float, tuple[Gap, ...]]] = {}
        self._shifts = np.empty((3, 0))
        self._last: Structure | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy starts as if it had seen no atoms.
        fresh = NeighborList(self._neighbors.cutoff, self._neighbors.skin)
        return self.__dict__ | {"_neighbors": fresh, "_kinds": [], "_ranges": {}, "_last": None}

    @property
    def skin(self) -> float:
        return self._neighbors.skin

    @property
    def builds(self) -> int:
        return self._neighbors.builds

    def changes(self, atoms: Atoms) -> list[str]:
        if self._last is None:
            return list(CHANGES)
        now = Structure.of(atoms)
        return [w for w, a, b in zip(CHANGES, now, self._last, strict=True) if not np.array_equal(a, b)]

    def last(self) -> Atoms | None:
        return None if self._last is None else self._last.atoms()

    def evaluate(self, atoms: Atoms, per_atom: bool, changes: list[str]) -> Evaluation:
        self._last = None
        structure = Structure.of(atoms)
        check_limits(structure.positions, structure.cell)
        self._update_pairs(structure)
        i, j, vectors, energy, slope_over_r, found = self._pair_terms(structure.positions)
        n = len(atoms)
        pair_force = slope_over_r * vectors
        forces = np.empty((n, 3))
        for x in range(3):
            forces[:, x] = np.bincount(i, pair_force[x], n) - np.bincount(j, pair_force[x], n)
        full = -(pair_force @ vectors.T)
        energies = virials = None
        if per_atom:
            energies = np.bincount(i, energy / 2, n) + np.bincount(j, energy / 2, n).astype(float)
            virials = np.empty((n, 6))
            for v, (x, y) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
                part = -pair_force[x] * vectors[y] / 2
                virials[:, v] = np.bincount(i, part, n) + np.bincount(j, part, n)
        total = float(energy.sum())
        if not (np.isfinite(total) and np.isfinite(forces).all()):
            raise ValueError(f"energy or forces overflow: the shortest distance is {found.shortest:.1e} A")
        self._last = structure.copy()
        virial = full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        return Evaluation(total, forces, virial, found, energies, virials)

    def _update_pairs(self, structure: Structure) -> None:
        """Bring the neighbor list up to date, sorted by the kind of pair."""
        try:
            self._sort_pairs(structure)
        except BaseException:
            self._neighbors.forget()  # half sorted
            raise

    def _sort_pairs(self, structure: Structure) -> None:
        neighbors = self._neighbors
        if not neighbors.update(structure.positions, structure.cell, structure.pbc, structure.numbers):
            return
        species, numbers = _known_symbols(structure.numbers, self.potential)
        self._shifts = neighbors.shifts.T.copy()
        if species == [""]:
            self._kinds = [(None, slice(0, len(neighbors.i)))]
            return
        low, high = np.sort([numbers[neighbors.i], numbers[neighbors.j]], axis=0)
        kind = low * len(species) + high
        neighbors.reorder(np.argsort(kind, kind="stable"))
        self._shifts = neighbors.shifts.T.copy()
        bounds = np.searchsorted(np.sort(kind), np.arange(len(species) ** 2 + 1))
        self._kinds = [
            ((species[n // len(species)], species[n % len(species)]), slice(start, stop))
            for n, (start, stop) in enumerate(pairwise(bounds))
            if stop > start
        ]

    def _pair_terms(self, positions: Array) -> tuple[Index, Index, Array, Array, Array, Extrapolation]:
        """i, j, D (in three rows), phi, phi' / r of the pairs within the cutoff, and which are outside the data."""
        neighbors = self._neighbors
        vectors = self._shifts.copy()
        for x, along in enumerate(positions.T.copy()):
            vectors[x] += along[neighbors.j]
            vectors[x] -= along[neighbors.i]
        squares = np.einsum("ij,ij->j", vectors, vectors)
        near = np.flatnonzero(squares < self.potential.cutoff**2)
        i, j, vectors = neighbors.i[near], neighbors.j[near], vectors.take(near, axis=1)
        r = np.sqrt(squares[near])
        if len(r) and r.min() == 0.0:
            n = r.argmin()
            raise ValueError(f"atoms {i[n]} and {j[n]} are at the same place (r = 0): no force is defined")
        energy, slope = np.empty(len(r)), np.empty(len(r))
        below, above, inside = np.zeros((3, len(r)), dtype=bool)
        shortest = np.inf
        for pair, listed in self._kinds:
            part = slice(*np.searchsorted(near, (listed.start, listed.stop)))
            if part.stop > part.start:
                energy[part], slope[part] = value_and_slope(partial(self.potential, pair=pair), r[part])
                if pair not in self._ranges:
                    own_cutoff = self.potential.breakpoints(pair)[-1]
                    gaps = gaps_with_tolerance(self.potential, pair)
                    self._ranges[pair] = *domain_with_tolerance(self.potential.domain(pair)), own_cutoff, gaps
                low, high, own_cutoff, gaps = self._ranges[pair]
                # Beyond its own cutoff a pair does not interact, and nothing is extrapolated.
                within = r[part] < own_cutoff
                below[part] = (r[part] < low) & within
                above[part] = (r[part] > high) & within
                for start, stop in gaps:
                    inside[part] |= (r[part] >= start) & (r[part] < stop) & within
                shortest = min(shortest, float(r[part].min(where=within, initial=np.inf)))
        with np.errstate(over="ignore", invalid="ignore"):
            slope /= r
        finite = np.isfinite(energy) & np.isfinite(slope)
        if not finite.all():
            n = np.where(finite, np.inf, r).argmin()
            raise ValueError(f"atoms {i[n]} and {j[n]} are only {r[n]:.1e} A apart: their energy or force overflows")
        outside = below | above | inside
        where = i[outside], j[outside], r[outside]
        known = tuple((pair_name(pair), gap) for pair, (*_, gaps) in self._ranges.items() for gap in gaps)
        counts = [int(kind.sum()) for kind in (below, above, inside)]
        found = Extrapolation(counts[0], counts[1], counts[2], shortest, partial(tuple, where), known)
        return i, j, vectors, energy, slope, found


class CompiledEngine:
    """Tables in the compiled kernel; anything closer than they go, or wrong, is left to the autograd engine."""

    def __init__(self, potential: SplinePotential, skin: float | None, threads: int | None) -> None:
        if _kernel is None:
            raise ValueError("ase_kan was installed without its compiled engine: use engine='autograd', or reinstall "
                             "where a C++17 compiler is at hand")  # fmt: skip
        self.potential = potential
        self.skin = COMPILED_SKIN * potential.cutoff if skin is None else skin
        self.threads = threads
        self._reference = AutogradEngine(potential, skin)
        self._kernel: _kernel.Kernel | None = None
        self._symbols: list[str] = []
        self._gaps: list[tuple[str, Gap]] = []
        self._builds = 0

    def __getstate__(self) -> dict[str, Any]:
        # Lists and tables are made again: a copy starts as if it had seen no atoms.
        return self.__dict__ | {"_kernel": None, "_symbols": [], "_reference": copy(self._reference)}

    @property
    def builds(self) -> int:
        return self._builds + (self._kernel.builds if self._kernel else 0) + self._reference.builds

    def changes(self, atoms: Atoms) -> list[str]:
        if self._kernel is None:
            return list(CHANGES)
        arrays = atoms.arrays
        try:
            bits = self._kernel.changes(arrays["positions"], arrays["numbers"], atoms.cell.array, atoms.pbc)
        except TypeError:  # of other types, or not contiguous
            bits = self._kernel.changes(*Structure.of(atoms))
        if bits < 2:
            return ["positions"] if bits else []
        return [name for n, name in enumerate(CHANGES) if bits >> n & 1]

    def last(self) -> Atoms | None:
        last = self._kernel.last() if self._kernel else None
        return None if last is None else Structure(*last).atoms()

    def evaluate(self, atoms: Atoms, per_atom: bool, changes: list[str]) -> Evaluation:
        kernel = self._kernel
        if kernel is None or (changes and changes != ["positions"]):
            kernel = self._take_structure(Structure.of(atoms))
        positions = np.ascontiguousarray(atoms.arrays["positions"], dtype=np.float64)
        found = kernel.compute(positions, per_atom)
        energy, forces, virial, below, above, inside, shortest, inner, energies, virials = found
        if inner or not math.isfinite(energy):
            # Closer than the tables go: the reference has the value, or knows what to say.
            try:
                return self._reference.evaluate(atoms, per_atom, list(CHANGES))
            except BaseException:
                kernel.forget()
                raise
        find = _nothing
        if below or above or inside:
            find = partial(_outside, Structure.of(atoms).copy(), self.potential)
        outside = Extrapolation(below, above, inside, shortest, find, tuple(self._gaps))
        return Evaluation(energy, forces, virial, outside, energies, virials)

    def outside(self) -> tuple[Index, Index, Array]:
        """Both atoms and the distance of every pair outside the data in the last evaluation."""
        return self._kernel.outside() if self._kernel else _nothing()

    def _take_structure(self, structure: Structure) -> _kernel.Kernel:
        check_limits(structure.positions, structure.cell)
        symbols, element = _known_symbols(structure.numbers, self.potential)
        box = periodic_box(structure.cell, structure.pbc)
        if self._kernel is None or symbols != self._symbols:
            kernel = self._new_kernel(symbols)
            if self._kernel is not None:
                self._builds += self._kernel.builds
            self._kernel, self._symbols = kernel, symbols
        self._kernel.set_structure(
            structure.numbers,
            structure.cell,
            structure.pbc,
            element.astype(np.uint8),
            box,
            np.linalg.inv(box),
            choose_threads(self.threads, len(element)),
        )
        return self._kernel

    def _new_kernel(self, symbols: list[str]) -> _kernel.Kernel:
        n = len(symbols)
        pairs: list[Pair | None] = (
            [None] if symbols == [""] else [(a, b) for k, a in enumerate(symbols) for b in symbols[k:]]
        )
        table_of = np.zeros((max(n, 1), max(n, 1)), dtype=int)
        rows, columns = np.triu_indices(n)
        table_of[rows, columns] = table_of[columns, rows] = np.arange(len(rows))
        kernel = _kernel.Kernel(max(n, 1), table_of.ravel().tolist(), self.potential.cutoff, self.skin)
        self._gaps = []
        for pair in pairs:
            if pair is not None and not {None, sorted_pair(pair)} & set(self.potential.pairs):
                # All of it is closer than the table goes: should such a pair meet, the reference says what is missing.
                reach = self.potential.cutoff
                kernel.add_table(reach, 0.0, reach, 2 * reach**2, 0.0, [], [], np.zeros((1, 8)))
                continue
            s, gaps = self.potential.spline(pair), gaps_with_tolerance(self.potential, pair)
            self._gaps += [(pair_name(pair), gap) for gap in gaps]
            kernel.add_table(
                s.cutoff,
                *domain_with_tolerance(s.domain),
                s.start,
                s.slope,
                list(s.at),
                list(s.change),
                s.rows,
                [end for gap in gaps for end in gap],
            )
        return kernel


def choose_threads(wanted: int | None, n_atoms: int) -> int:
    """One thread for small systems, else as asked; never more than the processors this process may use."""
    if wanted is None and n_atoms < THREADED_ATOMS:
        return 1
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(available, available if wanted is None else wanted))


def _nothing() -> tuple[Index, Index, Array]:
    return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)


def _outside(structure: Structure, potential: SplinePotential) -> tuple[Index, Index, Array]:
    """Every pair outside the data; looked for only when someone asks, by an engine of its own."""
    engine = CompiledEngine(potential, 0.0, None)
    engine.evaluate(structure.atoms(), False, list(CHANGES))
    return engine.outside()
