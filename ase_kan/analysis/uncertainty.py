"""How far to believe energies, forces and stresses of a structure: the posterior of the potential, summed over pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_kan.engines.radial import RadialGrid, RadialSums
from ase_kan.potentials.posterior import Modes, unknown
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Array, Pair

#: Nodes of each pair between which modes are linear; grades change faster, in gaps.
NODES, GRADE_NODES = 64, 1024
#: The first node, as a part of the shortest distance in the data. Closer, the spread of laws is straight on.
INNER = 0.5
#: Grades from which to take care, and to stop.
CARE, STOP = 2.0, 10.0


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What is known of the errors of one calculation.

    Attributes
    ----------
    energy : float
        Standard deviation, eV.
    forces : ndarray, shape (atoms, 3)
        Of the components, eV/Angstrom.
    stress : ndarray, shape (6,), or None
        Voigt order, eV/Angstrom^3; None without a volume.
    grades : ndarray, shape (atoms,)
        How far the distances of each atom lie outside the data (`KANPotential.grade`): 1 at their edge, more beyond.
    """

    energy: float
    forces: Array
    stress: Array | None
    grades: Array

    @property
    def grade(self) -> float:
        """The largest grade; 0 without pairs."""
        return float(self.grades.max(initial=0.0))

    @property
    def verdict(self) -> str:
        """"trust" up to the edge of the data and a little beyond (grade 2), "care" up to grade 10, then "stop"."""
        return "trust" if self.grade < CARE else "care" if self.grade < STOP else "stop"

    def __repr__(self) -> str:
        forces = float(np.sqrt(np.mean(self.forces**2))) if self.forces.size else 0.0
        return f"Uncertainty(energy {self.energy:.3g} eV, forces {forces:.3g} eV/A, grade {self.grade:.3g})"


class ModeTable:
    """The modes of a potential on nodes, for the pairs of some elements.

    Parameters
    ----------
    potential : KANPotential
        With a posterior.
    kinds : list of pair or None
        In the order of the sums (`engines.radial.kinds_of`).

    Raises
    ------
    ValueError
        If the potential does not know its errors.
    """

    def __init__(self, potential: KANPotential, kinds: list[Pair | None]) -> None:
        self.posterior = potential.known_posterior()
        self.kinds = kinds
        self.grids: list[RadialGrid] = []
        found: list[Modes] = []
        for kind in kinds:
            if kind is not None and None not in potential.pairs and kind not in potential.pairs:
                # Should such atoms meet, the calculation is an error.
                width = 0 if not found else found[0].value.shape[1]
                self.grids.append(RadialGrid(0.1, potential.cutoff, 0.0, np.zeros(2)))
                found.append(Modes(np.zeros((NODES, width)), np.zeros((NODES, width))))
                continue
            number, function = potential.place(kind), potential.function(kind)
            low, radius = function.domain[0], function.cutoff.radius
            start = max(INNER * low, 1e-3 * radius)
            r = np.linspace(start, radius, NODES)
            r[-1] = radius * (1 - 1e-12)
            blind = unknown(function, self.posterior.pairs[number], r)
            floor = float(r[blind].max(initial=0.0)) if blind.all() else float(low * blind[0])
            levels = potential.grade(np.linspace(start, radius, GRADE_NODES), kind)
            self.grids.append(RadialGrid(start, radius, floor if not blind.all() else radius, levels))
            found.append(self.posterior.modes(number, function, r))
        widest = max((modes.value.shape[1] for modes in found), default=0)
        self.values, self.slopes = (
            np.concatenate([np.pad(part, ((0, 0), (0, widest - part.shape[1]))) for part in parts])
            for parts in zip(*found, strict=True)
        )

    @cached_property
    def single(self) -> NDArray[np.float32]:
        """The slopes in single precision."""
        return self.slopes.astype(np.float32)

    def uncertainty(self, sums: RadialSums, atoms: Atoms) -> Uncertainty:
        """Standard deviations from the sums of a structure."""
        n, residual = len(atoms), self.posterior.residual
        modes = sums.energy @ self.values
        lone = self.posterior.lone_modes(Counter(atoms.get_chemical_symbols()))
        modes[: len(lone)] += lone
        energy = float(np.sqrt(modes @ modes + (n * residual.get("energy", 0.0)) ** 2))
        forces = np.zeros((n, 3))
        if sums.forces is not None and n:
            pulls = sums.forces.reshape(3 * n, -1) @ self.single
            forces = np.sqrt(np.einsum("im,im->i", pulls, pulls, dtype=float)).reshape(n, 3)
        forces = np.sqrt(forces**2 + residual.get("forces", 0.0) ** 2)
        stress = None
        volume = abs(float(np.linalg.det(atoms.cell.array)))
        if volume > 0:
            virial = sums.virial @ self.slopes
            of_residual = n * residual.get("virial", 0.0)
            stress = np.sqrt((virial**2).sum(axis=1) + of_residual**2) / volume
        if sums.lost.any():
            energy = np.inf
            forces[sums.lost] = np.inf
            stress = None if stress is None else np.full(6, np.inf)
        return Uncertainty(energy, forces, stress, sums.grades)
