"""What all molecular dynamics here have in common: the loop between two observations runs in the compiled kernel.

Whoever attaches functions, trajectories or log files sees what ASE would show: positions, momenta and results are
those of the step. Between such steps there is no Python, and nothing but forces is calculated.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCom
from ase.md.md import MolecularDynamics
from ase.optimize.optimize import BaseDynamics
from numpy.typing import NDArray

from ase_kan.calculator import KANCalculator
from ase_kan.dynamics.noise import Noise
from ase_kan.engines.compiled import new_motion
from ase_kan.types import Array

if TYPE_CHECKING:
    from ase_kan.engines._kernel import Motion


class KernelDynamics(MolecularDynamics):
    """Molecular dynamics of atoms with a `KANCalculator` and its compiled engine."""

    #: The class of ASE that serves any other calculator or constraint.
    elsewhere: ClassVar[str]
    _noise: Noise | None = None

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        trajectory: Any = None,
        logfile: IO[str] | str | None = None,
        loginterval: int = 1,
        **kwargs: Any,
    ) -> None:
        check_atoms(atoms, type(self).__name__, self.elsewhere)
        if not (np.isfinite(timestep) and timestep != 0):
            raise ValueError(f"timestep must be a time in ASE's units (ase.units.fs), got {timestep}")
        super().__init__(atoms, timestep, trajectory=trajectory, logfile=logfile, loginterval=loginterval, **kwargs)

    def run(self, steps: int = 50) -> bool:
        """So many steps; functions that are attached are called as in ASE.

        Raises
        ------
        ValueError
            As the calculator does, and for constraints other than `FixAtoms` and `FixCom`.
        KeyboardInterrupt
            After Ctrl-C; the atoms are then as after the last of `nsteps` steps.
        """
        self.max_steps = self.nsteps + steps
        if self.nsteps == 0:
            self._observe()
        while self.nsteps < self.max_steps:
            self._advance(steps_until_observed(self))
            self._observe()
        return True

    def step(self) -> None:
        """One step, for `irun`, which counts it itself."""
        self._advance(1)
        self.nsteps -= 1

    def todict(self) -> dict[str, Any]:
        known: dict[str, Any] = super().todict()
        return known | self.arguments()

    def arguments(self) -> dict[str, Any]:
        """Those of the constructor that make the same run, without atoms and files."""
        return {"timestep": self.dt}

    def state(self) -> dict[str, Any]:
        """What else a run needs in order to go on with the same steps; as JSON knows it."""
        return {} if self._noise is None else {"noise": self._noise.state}

    def go_on(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        if self._noise is not None:
            self._noise.state = state["noise"]

    def _observe(self) -> None:
        self._refresh_properties()
        self.log()
        self.call_observers()

    def _advance(self, steps: int) -> None:
        """So many steps, without observers; `nsteps` counts those that were done, whatever happens."""
        atoms = self.atoms
        held, fix_com = check_atoms(atoms, type(self).__name__, self.elsewhere)
        forces = atoms.calc.get_property("forces", atoms)
        positions, momenta = (own_array(atoms, name) for name in ("positions", "momenta"))
        momenta[held] = 0.0
        motion = new_motion(positions, momenta, forces, atoms.get_masses(), held, fix_com, self.dt)
        self._prepare(motion)
        while motion.done < steps:
            before = motion.done
            some = self._draw(motion, steps - before)
            try:
                atoms.calc.advance(atoms, motion, some)
            finally:
                self.nsteps += motion.done - before
                self._drawn(motion, motion.done - before)

    def _prepare(self, motion: Motion) -> None:
        """Choose a thermostat."""

    def _draw(self, motion: Motion, steps: int) -> int:
        """Give a motion its random numbers, and tell for how many steps."""
        if self._noise is None:
            return steps
        numbers = self._noise.ahead()[:steps]
        motion.set_noise(numbers)
        return len(numbers)

    def _drawn(self, motion: Motion, steps: int) -> None:
        """The numbers of so many steps are used up."""
        if self._noise is not None:
            self._noise.use(steps)


def steps_until_observed(run: BaseDynamics) -> int:
    """Steps to the next one that someone attached wants to see, or to the last."""
    waits: list[int] = [run.max_steps - run.nsteps]
    for _, interval, _, _ in run.observers:
        wait = interval - run.nsteps % interval if interval > 0 else -interval - run.nsteps
        waits += [wait] if wait > 0 else []
    return min(waits)


def check_atoms(atoms: Atoms, name: str, elsewhere: str) -> tuple[NDArray[np.bool_], bool]:
    """Which atoms are held, shape (atoms,), and whether the center of mass is.

    Raises
    ------
    TypeError
        For anything but atoms with a compiled `KANCalculator`.
    ValueError
        For no atoms, other constraints, or `FixAtoms` and `FixCom` together.
    """
    if not isinstance(atoms, Atoms):
        raise TypeError(f"{name} takes ASE's Atoms, got {type(atoms).__name__}: use {elsewhere} for filters")
    if not isinstance(atoms.calc, KANCalculator) or atoms.calc.engine != "compiled":
        has = "no calculator" if atoms.calc is None else f"{atoms.calc!r}"
        raise TypeError(f"{name} takes atoms with a KANCalculator and its compiled engine, and these have {has}: "
                        f"use {elsewhere}")  # fmt: skip
    if len(atoms) == 0:
        raise ValueError(f"{name} moves atoms, and there are none")
    held, fix_com = np.zeros(len(atoms), dtype=bool), False
    for constraint in atoms.constraints:
        if type(constraint) is FixAtoms:
            held[constraint.index] = True
        elif type(constraint) is FixCom:
            fix_com = True
        else:
            raise ValueError(f"{name} knows the constraints FixAtoms and FixCom, not {type(constraint).__name__}: "
                             f"use {elsewhere}")  # fmt: skip
    if fix_com and held.any():
        raise ValueError(f"{name} takes FixAtoms or FixCom, not both: use {elsewhere}")
    return held, fix_com


def own_array(atoms: Atoms, name: str) -> Array:
    """The array of the atoms that the kernel writes to; made one of its type if it is not."""
    array = atoms.arrays[name] = np.require(atoms.arrays[name], dtype=np.float64, requirements=["C", "W"])
    return array
