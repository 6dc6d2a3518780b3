"""The two ways of summing a pair potential over atoms: by autograd and vesin, and by the compiled kernel.

With D the vector from atom i to (the image of) atom j, r = |D| and phi' = dphi/dr:

    E = sum_i E0_i + sum_{i<j} phi(r)     F_j = -phi' D / r = -F_i     stress = (1/V) sum_{i<j} phi' D (x) D / r

Energies and stresses per atom give each atom of a pair one half, as ASE's `LennardJones` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from ase import Atoms

from ase_kan.features import value_and_slope
from ase_kan.guard import Extrapolation
from ase_kan.neighbors import Array, Index, NeighborList, half_list, periodic_box
from ase_kan.potential import Pair, PairPotential, sorted_pair
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


def positions_must_be_finite(atoms: Atoms) -> None:
    """`ValueError` that names the first atom with NaN or infinite coordinates, or the cell."""
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
        where = f"atom {bad[0]} is at {atoms.positions[bad[0]].tolist()}" if len(bad) else "the cell has NaN or inf"
        raise ValueError(f"positions and cell must be finite: {where}")


def _known_symbols(atoms: Atoms, potential: PairPotential) -> tuple[list[str], Index]:
    """The symbols in the atoms, and the number of each atom's; all the same where one function serves all."""
    if not potential.elements:
        return [""], np.zeros(len(atoms), dtype=np.int64)
    symbols, numbers = np.unique(np.array(atoms.get_chemical_symbols(), dtype=str), return_inverse=True)
    unknown = [str(s) for s in symbols if s not in potential.elements]
    if unknown:
        known = ", ".join(potential.elements)
        raise ValueError(f"the potential does not know {', '.join(unknown)}: it was fitted for {known}")
    return [str(s) for s in symbols], numbers


def _atoms(structure: tuple[Array, Index, Array, Any] | None) -> Atoms | None:
    if structure is None:
        return None
    positions, numbers, cell, pbc = structure
    return Atoms(numbers, positions, cell=cell, pbc=pbc)


class AutogradEngine:
    """Any potential by its own torch function: the reference."""

    def __init__(self, potential: PairPotential, skin: float | None) -> None:
        self.potential = potential
        cutoff = potential.cutoff
        self._neighbors = NeighborList(cutoff, AUTOGRAD_SKIN * cutoff if skin is None else skin)
        self._kinds: list[tuple[Pair | None, slice]] = []
        self._own_cutoffs: dict[Pair | None, float] = {}
        self._shifts = np.empty((3, 0))
        self._last: tuple[Array, Index, Array, Any] | None = None

    @property
    def skin(self) -> float:
        return self._neighbors.skin

    @property
    def builds(self) -> int:
        return self._neighbors.builds

    def changes(self, atoms: Atoms) -> list[str]:
        if self._last is None:
            return list(CHANGES)
        now = (atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc)
        return [w for w, a, b in zip(CHANGES, now, self._last, strict=True) if not np.array_equal(a, b)]

    def last(self) -> Atoms | None:
        return _atoms(self._last)

    def evaluate(self, atoms: Atoms, per_atom: bool, changes: list[str]) -> Evaluation:
        self._last = None
        positions_must_be_finite(atoms)
        self._update_pairs(atoms)
        i, j, vectors, energy, slope_over_r, found = self._pair_terms(atoms.positions)
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
        self._last = atoms.positions.copy(), atoms.numbers.copy(), atoms.cell.array.copy(), atoms.pbc.copy()
        virial = full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        return Evaluation(float(energy.sum()), forces, virial, found, energies, virials)

    def _update_pairs(self, atoms: Atoms) -> None:
        """Bring the neighbor list up to date, sorted by the kind of pair."""
        neighbors = self._neighbors
        if not neighbors.update(atoms.positions, atoms.cell.array, atoms.pbc, atoms.numbers):
            return
        try:
            species, numbers = _known_symbols(atoms, self.potential)
        except ValueError:
            neighbors.forget()
            raise
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
        below, above = np.zeros((2, len(r)), dtype=bool)
        shortest = np.inf
        for pair, listed in self._kinds:
            part = slice(*np.searchsorted(near, (listed.start, listed.stop)))
            if part.stop > part.start:
                energy[part], slope[part] = value_and_slope(partial(self.potential, pair=pair), r[part])
                low, high = self.potential.domain(pair)
                below[part] = r[part] < low
                # Beyond its own cutoff a pair does not interact, and nothing is extrapolated.
                if pair not in self._own_cutoffs:
                    self._own_cutoffs[pair] = self.potential.breakpoints(pair)[-1]
                within = r[part] < self._own_cutoffs[pair]
                above[part] = (r[part] > high) & within
                shortest = min(shortest, float(r[part].min(where=within, initial=np.inf)))
        if not np.isfinite(energy).all():
            n = r.argmin()
            raise ValueError(f"atoms {i[n]} and {j[n]} are only {r[n]:.1e} A apart: their energy overflows")
        outside = below | above
        found = Extrapolation(
            int(below.sum()),
            int(above.sum()),
            shortest,
            partial(np.concatenate, (i[outside], j[outside])),
        )
        return i, j, vectors, energy, slope / r, found


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
        self._builds = 0

    def __getstate__(self) -> dict[str, Any]:
        # Lists and tables are made again: a copy starts as if it had seen no atoms.
        return self.__dict__ | {"_kernel": None, "_symbols": []}

    @property
    def builds(self) -> int:
        return self._builds + (self._kernel.builds if self._kernel else 0) + self._reference.builds

    def changes(self, atoms: Atoms) -> list[str]:
        if self._kernel is None:
            return list(CHANGES)
        arrays = atoms.arrays
        bits = self._kernel.changes(arrays["positions"], arrays["numbers"], atoms.cell.array, atoms.pbc)
        if bits < 2:
            return ["positions"] if bits else []
        return [name for n, name in enumerate(CHANGES) if bits >> n & 1]

    def last(self) -> Atoms | None:
        return _atoms(self._kernel.last() if self._kernel else None)

    def evaluate(self, atoms: Atoms, per_atom: bool, changes: list[str]) -> Evaluation:
        find: Callable[[], Index]
        kernel = self._kernel
        if kernel is None or (changes and changes != ["positions"]):
            kernel = self._take_structure(atoms)
        energy, forces, virial, below, above, shortest, inner, energies, virials = kernel.compute(
            atoms.positions, per_atom
        )
        if forces is None or inner:
            # Not finite, or closer than the tables go: the reference knows what to say, or the value.
            if forces is None:
                kernel.forget()
            try:
                return self._reference.evaluate(atoms, per_atom, changes)
            except ValueError:
                kernel.forget()
                raise
        find = _nobody
        if below or above:
            structure = atoms.positions.copy(), atoms.numbers.copy(), atoms.cell.array.copy(), atoms.pbc.copy()
            find = partial(_outside, *structure, self.potential)
        return Evaluation(energy, forces, virial, Extrapolation(below, above, shortest, find), energies, virials)

    def _take_structure(self, atoms: Atoms) -> _kernel.Kernel:
        positions_must_be_finite(atoms)
        symbols, element = _known_symbols(atoms, self.potential)
        box = periodic_box(atoms.cell.array, atoms.pbc)[1]
        if len(symbols) > 255:
            raise ValueError(f"the compiled engine takes at most 255 elements, got {len(symbols)}")
        if self._kernel is None or symbols != self._symbols:
            if self._kernel is not None:
                self._builds += self._kernel.builds
            self._kernel = self._new_kernel(symbols)
            self._symbols = symbols
        self._kernel.set_structure(
            atoms.numbers,
            atoms.cell.array,
            atoms.pbc,
            element.astype(np.uint8),
            box,
            np.linalg.inv(box),
            choose_threads(self.threads, len(atoms)),
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
        for pair in pairs:
            if pair is not None and not {None, sorted_pair(pair)} & set(self.potential.pairs):
                # All of it is closer than the table goes: should such a pair meet, the reference says what is missing.
                reach = self.potential.cutoff
                kernel.add_table(reach, 0.0, reach, 2 * reach**2, 0.0, [], [], np.zeros((1, 8)))
                continue
            s = self.potential.spline(pair)
            kernel.add_table(s.cutoff, *s.domain, s.start, s.slope, list(s.at), list(s.change), s.rows)
        return kernel


def choose_threads(wanted: int | None, n_atoms: int) -> int:
    """One thread for small systems, else as asked; never more than the processors this process may use."""
    if wanted is None and n_atoms < THREADED_ATOMS:
        return 1
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(available, available if wanted is None else wanted))


def _nobody() -> Index:
    return np.empty(0, dtype=np.int64)


def _outside(positions: Array, numbers: Index, cell: Array, pbc: Any, potential: PairPotential) -> Index:
    """Both atoms of every pair outside the data; looked for only when someone asks."""
    atoms = Atoms(numbers, positions, cell=cell, pbc=pbc)
    i, j, shifts = half_list(positions, cell, pbc, potential.cutoff)
    r = np.linalg.norm(positions[j] - positions[i] + shifts, axis=1)
    symbols, element = _known_symbols(atoms, potential)
    outside = np.zeros(len(r), dtype=bool)
    for a, first in enumerate(symbols):
        for b, second in enumerate(symbols):
            pair = (first, second) if first else None
            low, high = potential.domain(pair)
            mine = (element[i] == a) & (element[j] == b)
            outside |= mine & ((r < low) | ((r > high) & (r < potential.breakpoints(pair)[-1])))
    return np.concatenate([i[outside], j[outside]])
