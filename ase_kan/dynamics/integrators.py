"""Velocity Verlet, Langevin and Bussi dynamics, with the arguments of ASE's classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from ase_kan.dynamics.base import KernelDynamics
from ase_kan.dynamics.noise import Noise, new_generator
from ase_kan.types import Array

if TYPE_CHECKING:
    from ase_kan.engines._kernel import Motion


class VelocityVerlet(KernelDynamics):
    """Constant energy, by velocity Verlet; the trajectory is that of `ase.md.verlet.VelocityVerlet`.

    Parameters
    ----------
    atoms : Atoms
        With a `KANCalculator` and its compiled engine, and no constraints but `FixAtoms` or `FixCom`.
    timestep : float
        ASE's unit of time (`ase.units.fs`).
    trajectory, logfile, loginterval, append_trajectory
        As in ASE.
    """

    elsewhere = "ase.md.verlet.VelocityVerlet"


class Langevin(KernelDynamics):
    """Constant temperature, by Langevin dynamics with the BAOAB scheme.

    Its configurations have the right distribution up to fourth order in the time step at high friction; momenta up to
    second order. Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013). The center of mass moves as well, unless
    `FixCom` holds it.

    Parameters
    ----------
    atoms, timestep, trajectory, logfile, loginterval, append_trajectory
        As of `VelocityVerlet`.
    temperature_K : float
        Kelvin.
    friction : float
        Inverse of ASE's unit of time: 0.01 / ase.units.fs, say.
    rng : numpy.random.Generator or int, optional
        Where random numbers come from, or a seed; default one that nobody can repeat.
    """

    elsewhere = "ase.md.langevin.Langevin"

    def __init__(
        self, atoms: Atoms, timestep: float, *, temperature_K: float, friction: float, rng: Any = None, **kwargs: Any
    ) -> None:
        self.temperature_K = _not_negative("temperature_K", temperature_K)
        self.friction = _not_negative("friction", friction)
        super().__init__(atoms, timestep, **kwargs)
        shape = 3 * len(atoms)
        self._noise = Noise(new_generator(rng), lambda rng, rows: rng.standard_normal((rows, shape)), shape)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"temperature_K": self.temperature_K, "friction": self.friction}

    def _prepare(self, motion: Motion) -> None:
        keep = math.exp(-self.friction * self.dt)
        motion.langevin(keep, math.sqrt(units.kB * self.temperature_K * (1 - keep**2)))


class Bussi(KernelDynamics):
    """Constant temperature, by stochastic rescaling of the velocities.

    Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), in the form of `ase.md.bussi.Bussi`. It leaves
    the dynamics almost as they are. The center of mass keeps its share of the energy: hold it by `FixCom`.

    Parameters
    ----------
    atoms, timestep, trajectory, logfile, loginterval, append_trajectory
        As of `VelocityVerlet`; the atoms must move.
    temperature_K : float
        Kelvin.
    taut : float
        Time constant, ASE's unit of time.
    rng : numpy.random.Generator or int, optional
        Where random numbers come from, or a seed; default one that nobody can repeat.

    Attributes
    ----------
    transferred_energy : float
        From the thermostat to the atoms so far, eV.
    """

    elsewhere = "ase.md.bussi.Bussi"

    def __init__(
        self, atoms: Atoms, timestep: float, temperature_K: float, taut: float, rng: Any = None, **kwargs: Any
    ) -> None:
        self.temperature_K, self.taut = _not_negative("temperature_K", temperature_K), taut
        if not taut > 0:
            raise ValueError(f"taut must be a positive time, got {taut}")
        super().__init__(atoms, timestep, **kwargs)
        self.transferred_energy = 0.0
        self._freedom = atoms.get_number_of_degrees_of_freedom()
        if self._freedom < 1 or not atoms.get_kinetic_energy() > 0:
            raise ValueError("Bussi scales the velocities that atoms have, and these have none: set some first, by "
                             "ase.md.velocitydistribution.thermalize_momenta, say")  # fmt: skip
        self._noise = Noise(new_generator(rng), self._numbers, 2)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"temperature_K": self.temperature_K, "taut": self.taut}

    def state(self) -> dict[str, Any]:
        return super().state() | {"transferred_energy": self.transferred_energy}

    def go_on(self, state: dict[str, Any]) -> None:
        super().go_on(state)
        self.transferred_energy = state["transferred_energy"]

    def _numbers(self, rng: np.random.Generator, rows: int) -> Array:
        # R_1 of eq. A7, and the sum of the squares of the others, which is a chi-square number.
        normal, others = rng.standard_normal(rows), 2 * rng.standard_gamma(0.5 * (self._freedom - 1), rows)
        return np.stack([normal, others], axis=1)

    def _prepare(self, motion: Motion) -> None:
        target = 0.5 * units.kB * self.temperature_K * self._freedom
        motion.bussi(math.exp(-self.dt / self.taut), target, self._freedom)

    def _drawn(self, motion: Motion, steps: int) -> None:
        super()._drawn(motion, steps)
        self.transferred_energy += motion.take_transferred()


def _not_negative(name: str, value: float) -> float:
    if not (np.ndim(value) == 0 and np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be one number, not negative, got {value}")
    return float(value)
