"""An ASE calculator for any pair potential.

With D the vector from atom i to (the image of) atom j, r = |D| and phi' = dphi/dr by autograd:

    E = sum_i E0_i + sum_{i<j} phi(r)     F_j = -phi' D / r = -F_i     stress = (1/V) sum_{i<j} phi' D (x) D / r

Energies and stresses per atom give each atom of a pair one half, as ASE's `LennardJones` does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from ase_kan.features import value_and_slope
from ase_kan.guard import Extrapolation, Guard
from ase_kan.neighbors import Array, Index, NeighborList
from ase_kan.potential import KANPotential, Pair, PairPotential

if TYPE_CHECKING:
    from kan import KAN


class KANCalculator(Calculator):
    """Energy, forces and stress from a pair potential.

    Parameters
    ----------
    potential : PairPotential, path or pykan model
        A fitted potential, the file of a saved one, or a pykan `KAN` of E(r) (see `KANPotential.from_pykan`).
    skin : float, optional
        Verlet skin of the neighbor list, Angstrom; default a tenth of the cutoff.
    on_extrapolation : "warn", "raise" or "ignore"
        What to do when atoms are closer or farther than the data of the potential: warn once per episode (a run of
        such calculations), raise `guard.ExtrapolationError` (a `ValueError`), or only keep count in `extrapolation`.
    atoms : Atoms, optional
        Attach the calculator to these atoms.

    Raises
    ------
    ValueError
        At calculation: for positions or cells that are not finite, elements or pairs that the potential does
        not know, and atoms at the same place.
    """

    name = "kan"
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "stresses"]  # noqa: RUF012 (ASE's)
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        potential: PairPotential | str | os.PathLike[str] | KAN,
        *,
        skin: float | None = None,
        on_extrapolation: str = "warn",
        atoms: Atoms | None = None,
    ) -> None:
        self.potential = _as_potential(potential)
        cutoff = self.potential.cutoff
        self._neighbors = NeighborList(cutoff, 0.1 * cutoff if skin is None else skin)
        self._guard = Guard(on_extrapolation)
        self._kinds: list[tuple[Pair | None, slice]] = []
        super().__init__(atoms=atoms)

    @property
    def skin(self) -> float:
        """Verlet skin, Angstrom."""
        return self._neighbors.skin

    @property
    def extrapolation(self) -> Extrapolation | None:
        """The pairs outside the data in the last calculation; None before the first."""
        return self._guard.last

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Refuse parameters: ASE's own `set` would keep any name without using it."""
        if kwargs:
            raise TypeError(f"KANCalculator has no parameter {', '.join(kwargs)} to set: make a new calculator")
        return {}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties or self.implemented_properties, system_changes)
        atoms = self.atoms
        assert atoms is not None
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
            where = f"atom {bad[0]} is at {atoms.positions[bad[0]].tolist()}" if len(bad) else "the cell has NaN or inf"
            raise ValueError(f"positions and cell must be finite: {where}")
        self._update_pairs(atoms)
        i, j, vectors, energy, slope = self._pair_terms(atoms.positions)
        self.results = self._sum_over_atoms(atoms, i, j, vectors, energy, slope)

    def _update_pairs(self, atoms: Atoms) -> None:
        """Bring the neighbor list up to date, sorted by the kind of pair."""
        neighbors, potential = self._neighbors, self.potential
        if not neighbors.update(atoms.positions, atoms.cell.array, atoms.pbc, atoms.numbers):
            return
        if not potential.elements:
            self._kinds = [(None, slice(0, len(neighbors.i)))]
            return
        symbols = np.array(atoms.get_chemical_symbols())
        species, numbers = np.unique(symbols, return_inverse=True)
        unknown = [s for s in species if s not in potential.elements]
        if unknown:
            neighbors.forget()
            known = ", ".join(potential.elements)
            raise ValueError(f"the potential does not know {', '.join(unknown)}: it was fitted for {known}")
        low, high = np.sort([numbers[neighbors.i], numbers[neighbors.j]], axis=0)
        kind = low * len(species) + high
        neighbors.reorder(np.argsort(kind, kind="stable"))
        bounds = np.searchsorted(np.sort(kind), np.arange(len(species) ** 2 + 1))
        self._kinds = [
            ((str(species[n // len(species)]), str(species[n % len(species)])), slice(start, stop))
            for n, (start, stop) in enumerate(pairwise(bounds))
            if stop > start
        ]

    def _pair_terms(self, positions: Array) -> tuple[Index, Index, Array, Array, Array]:
        """i, j, D, phi and phi' / r of the pairs within the cutoff."""
        neighbors = self._neighbors
        vectors = positions[neighbors.j] - positions[neighbors.i] + neighbors.shifts
        r = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        near = np.flatnonzero(r < self.potential.cutoff)
        i, j, vectors, r = neighbors.i[near], neighbors.j[near], vectors[near], r[near]
        if len(r) and r.min() == 0.0:
            n = r.argmin()
            raise ValueError(f"atoms {i[n]} and {j[n]} are at the same place (r = 0): no force is defined")
        energy, slope = np.empty(len(r)), np.empty(len(r))
        below, above = np.zeros((2, len(r)), dtype=bool)
        for pair, listed in self._kinds:
            part = slice(*np.searchsorted(near, (listed.start, listed.stop)))
            if part.stop > part.start:
                energy[part], slope[part] = value_and_slope(partial(self.potential, pair=pair), r[part])
                low, high = self.potential.domain(pair)
                below[part] = r[part] < low
                # Beyond its own cutoff a pair does not interact, and nothing is extrapolated.
                above[part] = (r[part] > high) & (energy[part] != 0)
        if not np.isfinite(energy).all():
            n = r.argmin()
            raise ValueError(f"atoms {i[n]} and {j[n]} are only {r[n]:.1e} A apart: their energy overflows")
        self._guard.check(
            Extrapolation(
                int(below.sum()),
                int(above.sum()),
                float(r.min(initial=np.inf)),
                partial(np.concatenate, (i[below | above], j[below | above])),
            )
        )
        return i, j, vectors, energy, slope / r

    def _sum_over_atoms(
        self, atoms: Atoms, i: Index, j: Index, vectors: Array, energy: Array, slope_over_r: Array
    ) -> dict[str, Any]:
        n = len(atoms)

        def per_atom(weights: Array, sign: float) -> Array:
            """sum_j of a pair quantity, with `sign` for the second atom of each pair."""
            return np.bincount(i, weights, n) + sign * np.bincount(j, weights, n)

        pair_force = slope_over_r[:, None] * vectors
        forces = np.stack([per_atom(pair_force[:, x], -1.0) for x in range(3)], axis=1)
        energies = per_atom(energy / 2, 1.0)
        references = self.potential.reference_energies
        if references:
            energies += [references.get(symbol, 0.0) for symbol in atoms.symbols]
        total = float(energies.sum())
        results: dict[str, Any] = {"energy": total, "free_energy": total, "energies": energies, "forces": forces}
        if atoms.cell.rank == 3:  # no volume, no stress: as ASE
            virials = np.empty((n, 3, 3))
            for x in range(3):
                for y in range(x + 1):
                    virials[:, x, y] = virials[:, y, x] = per_atom(pair_force[:, x] * vectors[:, y] / 2, 1.0)
            stresses = full_3x3_to_voigt_6_stress(virials / atoms.get_volume())
            results["stresses"] = stresses
            results["stress"] = stresses.sum(axis=0)
        return results


def _as_potential(potential: Any) -> PairPotential:
    if isinstance(potential, str | os.PathLike):
        return KANPotential.load(potential)
    if hasattr(potential, "act_fun"):  # a pykan model, recognised without importing pykan
        return KANPotential.from_pykan(potential)
    if isinstance(potential, PairPotential):
        return potential
    raise TypeError(f"expected a pair potential, the path of one or a pykan KAN, got {type(potential).__name__}")
