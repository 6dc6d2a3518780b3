"""How far to believe energies, forces and stresses of a structure: the posterior, summed over pairs.

Embedded-atom potentials add the part of module `embedded_uncertainty`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from ase_kan.engines.protocol import Engine, RadialGrid, RadialSums
from ase_kan.potentials.posterior import Modes
from ase_kan.potentials.protocol import PairPotential
from ase_kan.types import Array, Pair

#: Nodes of each pair between which modes are linear; grades change faster, in gaps.
NODES, GRADE_NODES = 128, 1024
#: The first node, as a part of the shortest distance in the data. Closer, nothing is known.
INNER = 0.5
#: Grades from which to take care, and to stop.
CARE, STOP = 2.0, 10.0


class KnownErrors(Protocol):
    """What potentials of both kinds that know the errors of phi have."""

    @property
    def elements(self) -> tuple[str, ...]: ...

    @property
    def pairs(self) -> tuple[Pair | None, ...]: ...

    @property
    def cutoff(self) -> float: ...

    def domain(self, pair: Pair | None = None) -> tuple[float, float]: ...

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]: ...

    def grade(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """How far distances lie outside the data: 1 at their edge."""

    def modes(self, r: Array, pair: Pair | None = None) -> Modes:
        """Functions of (n,) distances whose squares add up to the variance of phi; common to all pairs."""

    def blind(self, r: Array, pair: Pair | None = None) -> NDArray[np.bool_]:
        """Where nothing can be said of phi: a mask (n,)."""

    def lone_modes(self, counts: Mapping[str, int]) -> Array:
        """What the first modes add to the energy of so many lone atoms, eV."""

    @property
    def residual(self) -> Mapping[str, float]:
        """Errors of ``"energy"`` and ``"virial"`` (eV per atom) and ``"forces"`` (eV/Angstrom) beside those of phi."""


@runtime_checkable
class UncertainPotential(KnownErrors, PairPotential, Protocol):
    """A pair potential that knows its errors."""

    def uncertainty(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """Standard deviation of phi(r), eV; infinite where nothing can be said."""


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What is known of the errors of one calculation.

    Attributes
    ----------
    energy : float
        Standard deviation, eV.
    grades : ndarray, shape (atoms,)
        How far the distances of each atom lie outside the data (`KANPotential.grade`): 1 at their edge, more beyond.
    find : callable
        Gives the standard deviations of forces and stress, which take longer and are found when someone asks.
    """

    energy: float
    grades: Array
    find: Callable[[], tuple[Array, Array | None]] = field(repr=False)

    @property
    def forces(self) -> Array:
        """Standard deviations of the components, shape (atoms, 3), eV/Angstrom."""
        return self._found[0]

    @property
    def stress(self) -> Array | None:
        """Standard deviations, shape (6,), Voigt order, eV/Angstrom^3; None without a volume."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Array, Array | None]:
        return self.find()

    @property
    def grade(self) -> float:
        """The largest grade; 0 without pairs."""
        return float(self.grades.max(initial=0.0))

    @property
    def verdict(self) -> str:
        """ "trust" up to the edge of the data and a little beyond (grade 2), "care" up to grade 10, then "stop"."""
        return "trust" if self.grade < CARE else "care" if self.grade < STOP else "stop"

    def __repr__(self) -> str:
        return f"Uncertainty(energy {self.energy:.3g} eV, grade {self.grade:.3g}: {self.verdict})"


class ModeTable:
    """The modes of a potential on nodes, for the pairs of some elements.

    Parameters
    ----------
    potential : KnownErrors
    kinds : list of pair or None
        In the order of the sums (`engines.radial.kinds_of`).

    Raises
    ------
    ValueError
        If the potential does not know its errors.
    """

    def __init__(self, potential: KnownErrors, kinds: list[Pair | None]) -> None:
        self.residual = potential.residual
        self.lone_modes = potential.lone_modes
        self.grids: list[RadialGrid] = []
        found: list[Modes] = []
        for kind in kinds:
            if kind is not None and None not in potential.pairs and kind not in potential.pairs:
                # Should such atoms meet, the calculation is an error.
                width = 0 if not found else found[0].value.shape[1]
                self.grids.append(RadialGrid(0.1, potential.cutoff, 0.0, np.zeros(GRADE_NODES)))
                found.append(Modes(np.zeros((NODES, width)), np.zeros((NODES, width))))
                continue
            low, radius = potential.domain(kind)[0], potential.breakpoints(kind)[-1]
            start = min(max(INNER * low, 1e-3 * radius), 0.9 * radius)
            r = _inwards(radius * (1 - 1e-12), start, NODES)
            blind = potential.blind(r, kind)
            # Where no law is known below the data, nothing is closer than these; a guess knows nothing at all.
            floor = radius if blind.all() else low * (1 - 1e-9) if blind[-1] else start
            levels = potential.grade(_inwards(radius, start, GRADE_NODES), kind)
            self.grids.append(RadialGrid(start, radius, floor, levels))
            found.append(potential.modes(r, kind))
        widest = max((modes.value.shape[1] for modes in found), default=0)
        self.values, self.slopes = (
            np.concatenate([np.pad(part, ((0, 0), (0, widest - part.shape[1]))) for part in parts])
            for parts in zip(*found, strict=True)
        )

    @cached_property
    def single(self) -> NDArray[np.float32]:
        """The slopes in single precision."""
        return self.slopes.astype(np.float32)

    def energy_and_grades(self, engine: Engine, atoms: Atoms) -> tuple[float, Array]:
        """Standard deviation of the energy, eV, infinite with pairs of which nothing is known; grades of all atoms.

        These atoms are those of the last evaluation of the engine.
        """
        sums = engine.radial(self.grids, NODES, atoms, False)
        modes = self.energy_modes(sums, engine, atoms)
        energy = float(np.sqrt(modes @ modes + (len(atoms) * self.residual.get("energy", 0.0)) ** 2))
        return np.inf if sums.lost.any() else energy, sums.grades

    def forces_and_stress(self, engine: Engine, atoms: Atoms) -> tuple[Array, Array | None]:
        """Standard deviations of forces (atoms, 3) and stress (6,), the latter None without a volume."""
        sums = engine.radial(self.grids, NODES, atoms, True)
        n, residual = len(atoms), self.residual
        pulls, virial = self.slope_modes(sums, engine, atoms)
        squares = np.einsum("im,im->i", pulls, pulls).astype(float).reshape(n, 3)
        forces = np.sqrt(squares + residual.get("forces", 0.0) ** 2)
        forces[sums.lost] = np.inf
        volume = abs(float(np.linalg.det(atoms.cell.array)))
        if volume == 0:
            return forces, None
        stress = np.sqrt((virial**2).sum(axis=1) + (n * residual.get("virial", 0.0)) ** 2) / volume
        return forces, np.full(6, np.inf) if sums.lost.any() else stress

    def energy_modes(self, sums: RadialSums, engine: Engine, atoms: Atoms) -> Array:
        """What each mode makes of the energy, eV; shape (modes,)."""
        modes: Array = sums.energy @ self.values
        numbers = np.bincount(atoms.numbers)
        lone = self.lone_modes({chemical_symbols[z]: int(numbers[z]) for z in np.flatnonzero(numbers)})
        modes[: len(lone)] += lone
        return modes

    def slope_modes(self, sums: RadialSums, engine: Engine, atoms: Atoms) -> tuple[NDArray[np.floating], Array]:
        """What each makes of forces, shape (3 atoms, modes), and of the virial, (6, modes), without lost pairs."""
        assert sums.forces is not None
        assert sums.virial is not None
        return sums.forces.reshape(3 * len(atoms), -1) @ self.single, sums.virial @ self.slopes


def _inwards(end: float, start: float, n: int) -> Array:
    """Distances from `end` to `start`, uniform in 1/r."""
    return np.asarray(1 / np.linspace(1 / end, 1 / start, n), dtype=np.float64)
