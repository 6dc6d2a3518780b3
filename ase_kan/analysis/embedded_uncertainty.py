"""Uncertainties of embedded-atom potentials: beside those of pairs, what the modes of F make of the densities.

With F_m the modes of F at the densities that the potential itself has, and f_ij what atom j adds to that of atom i:

    energy   sum_i F_m(rho_i)
    force    on i: sum_j u_ij [ F_m'(rho_i) f_ij' + F_m'(rho_j) f_ji' ],    u_ij from i to j

summed over channels; these are linear in F_m as those of pairs in phi_m, so that both are added mode by mode.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ase_kan.analysis.uncertainty import KnownErrors, ModeTable
from ase_kan.engines.neighbors import half_list
from ase_kan.engines.protocol import Engine, RadialSums
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.posterior import Modes
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.types import VOIGT, Array, Index, Pair


@runtime_checkable
class UncertainEmbedded(KnownErrors, EmbeddedAtomPotential, Protocol):
    """An embedded-atom potential that knows its errors."""

    def density_modes(self, density: Array, element: str, channel: int = 0) -> Modes:
        """Modes of F at densities (n,): they go with those of phi."""

    def density_grade(self, density: Array, element: str, channel: int = 0) -> Array:
        """How far densities lie outside the data: 1 at their edge."""


class EmbeddedModeTable(ModeTable):
    """The modes of phi on nodes, and those of F as they are."""

    def __init__(self, potential: UncertainEmbedded, kinds: list[Pair | None]) -> None:
        super().__init__(potential, kinds)
        self.potential = potential

    def energy_and_grades(self, engine: Engine, atoms: Atoms) -> tuple[float, Array]:
        energy, grades = super().energy_and_grades(engine, atoms)
        densities = engine.densities()
        for element, mine in _members(atoms):
            for channel, rho in enumerate(densities[mine].T):
                grades[mine] = np.maximum(grades[mine], self.potential.density_grade(rho, element, channel))
        return energy, grades

    def energy_modes(self, sums: RadialSums, engine: Engine, atoms: Atoms) -> Array:
        modes, densities = super().energy_modes(sums, engine, atoms), engine.densities()
        for element, mine in _members(atoms):
            for channel, rho in enumerate(densities[mine].T):
                modes += self.potential.density_modes(rho, element, channel).value.sum(axis=0)
        return modes

    def slope_modes(self, sums: RadialSums, engine: Engine, atoms: Atoms) -> tuple[NDArray[np.floating], Array]:
        pulls, virial = super().slope_modes(sums, engine, atoms)
        n, densities = len(atoms), engine.densities()
        both = _BothWays(atoms, self.potential.cutoff)
        total = pulls.astype(float).reshape(n, 3, -1)
        for channel in range(self.potential.channels):
            steep = np.zeros((n, total.shape[2]))
            for element, mine in _members(atoms):
                rho = densities[mine, channel]
                steep[mine] = self.potential.density_modes(rho, element, channel).slope
            given = both.slopes(self.potential, channel)
            taken = np.roll(given, len(given) // 2)  # that of the same pair from its other atom
            for x in range(3):
                total[:, x] += both.sums(given * both.unit[:, x])[:, None] * steep
                total[:, x] += csr_matrix((taken * both.unit[:, x], (both.i, both.j)), (n, n)) @ steep
            for v, (x, y) in enumerate(zip(*VOIGT, strict=True)):
                virial[v] -= both.sums(given * both.unit[:, x] * both.unit[:, y] * both.r) @ steep
        return total.reshape(3 * n, -1), virial


class _BothWays:
    """Every pair of atoms from both of them: i, j, distances and unit vectors from i to j."""

    def __init__(self, atoms: Atoms, cutoff: float) -> None:
        i, j, shifts = half_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
        d = atoms.positions[j] + shifts - atoms.positions[i]
        self.i, self.j = np.concatenate([i, j]), np.concatenate([j, i])
        self.r = np.tile(np.sqrt(np.einsum("px,px->p", d, d)), 2)
        self.unit = np.concatenate([d, -d]) / self.r[:, None]
        self.n, self.elements = len(atoms), atoms.symbols

    def slopes(self, potential: EmbeddedAtomPotential, channel: int) -> Array:
        """f_ij' of each; the second half are the pairs of the first from their other atoms."""
        names: NDArray[np.str_] = np.array(self.elements, dtype=str)
        found = np.zeros(len(self.r))
        for atom in np.unique(names):
            for neighbor in np.unique(names):
                part = np.flatnonzero((names[self.i] == atom) & (names[self.j] == neighbor))
                density = partial(potential.density, atom=str(atom), neighbor=str(neighbor), channel=channel)
                if len(part):
                    found[part] = value_and_slope(density, self.r[part])[1]
        return found

    def sums(self, values: Array) -> Array:
        """Over the neighbors of each atom."""
        total: Array = np.bincount(self.i, values, self.n).astype(float)
        return total


def _members(atoms: Atoms) -> list[tuple[str, Index]]:
    """The atoms of each element."""
    return [(chemical_symbols[z], np.flatnonzero(atoms.numbers == z)) for z in np.unique(atoms.numbers)]
