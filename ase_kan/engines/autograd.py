"""The reference engines: potentials by their own torch functions, pairs from the neighbor list, forces by autograd.

`ReferenceEngine` sums over pairs what a kind of potential makes of them; `AutogradEngine` is that of pair potentials.
With D the vector from atom i to (the image of) atom j, r = |D| and phi' = dphi/dr:

    E = sum_i E0_i + sum_{i<j} phi(r)     F_j = -phi' D / r = -F_i     stress = (1/V) sum_{i<j} phi' D (x) D / r

Energies and stresses per atom give each atom of a pair one half, as ASE's `LennardJones` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from ase_kan.engines.guard import Extrapolation, Found, OutsideDensity, covered
from ase_kan.engines.neighbors import NeighborList, check_limits
from ase_kan.engines.protocol import CHANGES, Evaluation, RadialGrid, RadialSums, Structure, known_symbols
from ase_kan.engines.radial import radial_sums
from ase_kan.potentials.coverage import Gap
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.protocol import PairPotential, Potential
from ase_kan.types import VOIGT, Array, Index, Pair, pair_name

#: Verlet skin as a part of the cutoff.
AUTOGRAD_SKIN = 0.16


class NearPairs(NamedTuple):
    """Pairs within the cutoff: atoms, vectors from i to j in three rows, distances, and where each kind of pair is."""

    i: Index
    j: Index
    vectors: Array
    r: Array
    kinds: list[tuple[Pair | None, slice]]


class Terms(NamedTuple):
    """What a potential makes of the pairs.

    Attributes
    ----------
    energy, slope_over_r : ndarray, shape (pairs,)
        phi (eV), and the derivative of the whole energy by the distance, over the distance (eV/Angstrom^2).
    embedding : ndarray, shape (atoms,)
        What each atom adds to that, eV.
    densities : ndarray, shape (atoms, channels)
    """

    energy: Array
    slope_over_r: Array
    embedding: Array
    densities: Array


class ReferenceEngine(ABC):
    """Neighbor list and sums; subclasses know the energy."""

    potential: Potential

    def __init__(self, potential: Potential, skin: float | None, limit: float = 1.0) -> None:
        self.potential = potential
        self.limit = limit
        cutoff = potential.cutoff
        self._neighbors = NeighborList(cutoff, AUTOGRAD_SKIN * cutoff if skin is None else skin)
        self._kinds: list[tuple[Pair | None, slice]] = []
        self._ranges: dict[Pair | None, tuple[float, float, tuple[Gap, ...], float]] = {}
        self._shifts = np.empty((3, 0))
        self._last: Structure | None = None
        self._densities = np.zeros((0, 0))

    @abstractmethod
    def _terms(self, pairs: NearPairs, structure: Structure) -> Terms:
        """Energies and slopes of the pairs, and what atoms add to them."""

    def _outside_densities(self, structure: Structure, densities: Array) -> list[OutsideDensity]:
        """The atoms with densities that the data did not cover: none where there are no densities."""
        return []

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

    def densities(self) -> Array:
        return self._densities

    def evaluate(self, atoms: Atoms, per_atom: bool, changes: list[str]) -> Evaluation:
        self._last = None
        structure = Structure.of(atoms)
        check_limits(structure.positions, structure.cell)
        self._update_pairs(structure)
        pairs = self._near_pairs(structure.positions)
        terms = self._terms(pairs, structure)
        energy, slope_over_r, self._densities = terms.energy, terms.slope_over_r, terms.densities
        found = self._extrapolation(pairs, self._outside_densities(structure, terms.densities))
        i, j, vectors = pairs.i, pairs.j, pairs.vectors
        n = len(atoms)
        pair_force = slope_over_r * vectors
        forces = np.empty((n, 3))
        for x in range(3):
            forces[:, x] = np.bincount(i, pair_force[x], n) - np.bincount(j, pair_force[x], n)
        full = -(pair_force @ vectors.T)
        energies = virials = None
        if per_atom:
            energies = terms.embedding + np.bincount(i, energy / 2, n) + np.bincount(j, energy / 2, n)
            virials = np.empty((n, 6))
            for v, (x, y) in enumerate(zip(*VOIGT, strict=True)):
                part = -pair_force[x] * vectors[y] / 2
                virials[:, v] = np.bincount(i, part, n) + np.bincount(j, part, n)
        total = float(energy.sum() + terms.embedding.sum())
        if not (np.isfinite(total) and np.isfinite(forces).all()):
            raise ValueError(f"energy or forces overflow: the shortest distance is {found.shortest:.1e} A")
        self._last = structure.copy()
        virial = full[VOIGT]
        return Evaluation(total, forces, virial, found, energies, virials)

    def radial(self, grids: list[RadialGrid], nodes: int, atoms: Atoms, forces: bool) -> RadialSums:
        """Sums of the last evaluation, which was of these atoms, for functions that are linear between nodes."""
        return radial_sums(atoms, self.potential, grids, nodes, forces)

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
        species, numbers = known_symbols(structure.numbers, self.potential)
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

    def _near_pairs(self, positions: Array) -> NearPairs:
        """The listed pairs that are within the cutoff now."""
        neighbors = self._neighbors
        vectors = self._shifts.copy()
        for x, along in enumerate(positions.T.copy()):
            vectors[x] += along[neighbors.j]
            vectors[x] -= along[neighbors.i]
        squares = np.einsum("ij,ij->j", vectors, vectors)
        near = np.flatnonzero(squares < self.potential.cutoff**2)
        i, j, r = neighbors.i[near], neighbors.j[near], np.sqrt(squares[near])
        if len(r) and r.min() == 0.0:
            n = r.argmin()
            raise ValueError(f"atoms {i[n]} and {j[n]} are at the same place (r = 0): no force is defined")
        kinds = [
            (pair, slice(int(start), int(stop)))
            for pair, listed in self._kinds
            for start, stop in [np.searchsorted(near, (listed.start, listed.stop))]
            if stop > start
        ]
        return NearPairs(i, j, vectors.take(near, axis=1), r, kinds)

    def _extrapolation(self, pairs: NearPairs, dense: list[OutsideDensity]) -> Extrapolation:
        """Which pairs and atoms are at distances and densities that the data did not cover."""
        below, above, inside = np.zeros((3, len(pairs.r)), dtype=bool)
        shortest = np.inf
        for pair, part in pairs.kinds:
            if pair not in self._ranges:
                known: Any = self.potential  # of pairs (None,) only if it is a pair potential
                own_cutoff = known.breakpoints(pair)[-1]
                self._ranges[pair] = *covered(known, pair, self.limit), own_cutoff
            low, high, gaps, own_cutoff = self._ranges[pair]
            r = pairs.r[part]
            # Beyond its own cutoff a pair does not interact, and nothing is extrapolated.
            within = r < own_cutoff
            below[part] = (r < low) & within
            above[part] = (r > high) & within
            for start, stop in gaps:
                inside[part] |= (r >= start) & (r < stop) & within
            shortest = min(shortest, float(r.min(where=within, initial=np.inf)))
        outside = below | above | inside
        where = pairs.i[outside], pairs.j[outside], pairs.r[outside]
        all_gaps = tuple((pair_name(pair), gap) for pair, (_, _, gaps, _) in self._ranges.items() for gap in gaps)
        counts = [int(kind.sum()) for kind in (below, above, inside)]
        find = partial(Found, *where, dense)
        return Extrapolation(counts[0], counts[1], counts[2], shortest, find, all_gaps, len(dense))


class AutogradEngine(ReferenceEngine):
    """Any pair potential by its own torch function: the reference."""

    potential: PairPotential

    def _terms(self, pairs: NearPairs, structure: Structure) -> Terms:
        energy, slope = np.empty(len(pairs.r)), np.empty(len(pairs.r))
        for pair, part in pairs.kinds:
            energy[part], slope[part] = value_and_slope(partial(self.potential, pair=pair), pairs.r[part])
        n = len(structure.numbers)
        return Terms(energy, over_r(slope, energy, pairs), np.zeros(n), np.zeros((n, 0)))


def over_r(slope: Array, energy: Array, pairs: NearPairs) -> Array:
    """Slopes over distances; `ValueError` that names the closest atoms where that, or an energy, is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        slope = slope / pairs.r
    finite = np.isfinite(energy) & np.isfinite(slope)
    if not finite.all():
        n = np.where(finite, np.inf, pairs.r).argmin()
        apart = f"atoms {pairs.i[n]} and {pairs.j[n]} are only {pairs.r[n]:.1e} A apart"
        raise ValueError(f"{apart}: their energy or force overflows")
    return slope
