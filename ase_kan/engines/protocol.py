"""What an engine is: sums of a potential over the atoms of a structure, and what it is given and gives."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_kan.engines.guard import Extrapolation
from ase_kan.potentials.protocol import Potential
from ase_kan.types import Array, Index

CHANGES = ("positions", "numbers", "cell", "pbc")


class Evaluation(NamedTuple):
    """What an engine found: eV and Angstrom. The virial is sum F (x) D over pairs, Voigt order."""

    energy: float
    forces: Array
    virial: Array
    extrapolation: Extrapolation
    energies: Array | None
    virials: Array | None


class RadialGrid(NamedTuple):
    """The nodes of a pair, uniform in 1/r from `end` inwards to `start` (Angstrom), and grades on nodes of their own.

    Pairs closer than `floor` are only noted.
    """

    start: float
    end: float
    floor: float
    grades: Array


class RadialSums(NamedTuple):
    """Weights of the nodes of all pairs: what stands beside the values and slopes of functions there.

    Attributes
    ----------
    energy : ndarray, shape (columns,)
        Beside the values.
    forces : ndarray of float32, shape (atoms, 3, columns), or None
        Beside the slopes, where they were wanted.
    virial : ndarray, shape (6, columns), or None
        The same for the virial, Voigt order.
    grades : ndarray, shape (atoms,)
        The largest of each atom's pairs.
    lost : ndarray of bool, shape (atoms,)
        Whether an atom has a pair that is closer than its floor.
    """

    energy: Array
    forces: NDArray[np.float32] | None
    virial: Array | None
    grades: Array
    lost: NDArray[np.bool_]


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

    def densities(self) -> Array:
        """Densities of the atoms of the last evaluation, shape (atoms, channels)."""

    def radial(self, grids: list[RadialGrid], nodes: int, atoms: Atoms, forces: bool) -> RadialSums:
        """Sums of the last evaluation, which was of these atoms, for functions that are linear between nodes."""


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


def known_symbols(atomic_numbers: Index, potential: Potential) -> tuple[list[str], Index]:
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
