"""FIRE and L-BFGS with the arguments and steps of ASE's classes, without Python between two steps that someone sees.

`relax_many` relaxes many structures side by side.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from threading import local
from typing import IO, TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from ase import Atoms
from ase.optimize.optimize import DEFAULT_MAX_STEPS, Dynamics, Optimizer

from ase_kan.calculator import KANCalculator
from ase_kan.dynamics.base import check_atoms, own_array, steps_until_observed
from ase_kan.engines.compiled import choose_threads, new_relaxation

if TYPE_CHECKING:
    from ase_kan.engines._kernel import Relaxation


class KernelOptimizer(Optimizer):
    """Relaxation of the positions of atoms with a `KANCalculator` and its compiled engine."""

    #: The class of ASE that serves any other calculator, constraint or filter.
    elsewhere: ClassVar[str]

    def __init__(
        self,
        atoms: Atoms,
        *,
        logfile: IO[str] | str | None = None,
        trajectory: Any = None,
        maxstep: float = 0.2,
        **kwargs: Any,
    ) -> None:
        check_atoms(atoms, type(self).__name__, self.elsewhere)
        if not (np.isfinite(maxstep) and maxstep > 0):
            raise ValueError(f"maxstep must be a positive distance, got {maxstep}")
        self.maxstep = maxstep
        self._relaxation: Relaxation | None = None
        self._made_for: tuple[int, bytes, bool] | None = None
        super().__init__(atoms, None, logfile, trajectory, **kwargs)

    def initialize(self) -> None:
        """Nothing to begin with."""

    def run(self, fmax: float = 0.05, steps: int = DEFAULT_MAX_STEPS) -> bool:  # type: ignore[override]
        """Steps until no force on an atom is `fmax` (eV/Angstrom) or more, but so many at the most.

        Returns
        -------
        bool
            Whether the forces are that small.

        Raises
        ------
        ValueError
            As the calculator does, and for constraints other than `FixAtoms` and `FixCom`.
        KeyboardInterrupt
            After Ctrl-C; the atoms are then as after the last of `nsteps` steps.
        """
        self.fmax = fmax  # type: ignore[assignment]
        converged = next(Dynamics.irun(self, steps=steps))  # looks at the atoms as they are
        while not converged and self.nsteps < self.max_steps:
            converged = self._advance(1 if self._logs else steps_until_observed(self))
            if self._logs:
                self.log(self.optimizable.get_gradient())
            self.call_observers()
        return bool(converged)

    def step(self) -> None:
        """One step, for `irun`, which counts it itself."""
        self._advance(1)
        self.nsteps -= 1

    @property
    def _logs(self) -> bool:
        return self.logfile is not None and self.logfile._logfile is not None

    @abstractmethod
    def _choose(self, relaxation: Relaxation) -> None:
        """The method and its parameters."""

    def _advance(self, steps: int) -> bool:
        """So many steps, or fewer if the forces are small before; tells whether they are."""
        atoms = self.atoms
        held, fix_com = check_atoms(atoms, type(self).__name__, self.elsewhere)
        # Other constraints, or another array of positions: what is in memory does not hold.
        made_for = id(own_array(atoms, "positions")), held.tobytes(), fix_com
        if self._relaxation is None or made_for != self._made_for:
            self._made_for = made_for
            self._relaxation = prepare(atoms, self.maxstep, type(self).__name__, self.elsewhere)
            self._choose(self._relaxation)
        relaxation = self._relaxation
        relaxation.forces[:] = atoms.calc.get_property("forces", atoms)
        relaxation.fmax = self.fmax or 0.0
        began = self.nsteps - relaxation.done
        last = relaxation.done + steps
        converged = False
        while relaxation.done < last and not converged:
            try:
                atoms.calc.advance(atoms, relaxation, last - relaxation.done)
            finally:
                self.nsteps = began + relaxation.done
            converged = relaxation.converged()
        return converged


class LBFGS(KernelOptimizer):
    """L-BFGS, without line search.

    The steps are those of `ase.optimize.LBFGS` as long as these lead downhill. Changes of the forces along directions
    of negative curvature are not kept in memory, since they would lead to saddle points; and a step after which the
    energy is higher is taken back and made shorter, from the second one on.

    Parameters
    ----------
    atoms : Atoms
        With a `KANCalculator` and its compiled engine, and no constraints but `FixAtoms` or `FixCom`.
    logfile : file or str, optional
        A line for every step; default none, since it takes longer than the step.
    trajectory, append_trajectory, loginterval
        As in ASE.
    maxstep : float
        How far an atom moves in a step at the most, Angstrom.
    memory : int
        Steps that are kept.
    damping : float
        Factor of every step.
    alpha : float
        First guess of the curvature, eV/Angstrom^2.
    """

    elsewhere = "ase.optimize.LBFGS"

    def __init__(
        self,
        atoms: Atoms,
        *,
        memory: int = 100,
        damping: float = 1.0,
        alpha: float = 70.0,
        **kwargs: Any,
    ) -> None:
        if memory < 0 or not alpha > 0:
            raise ValueError(f"memory must not be negative and alpha positive, got {memory} and {alpha}")
        self.memory, self.damping, self.alpha = memory, damping, alpha
        super().__init__(atoms, **kwargs)

    def _choose(self, relaxation: Relaxation) -> None:
        relaxation.lbfgs(self.memory, self.damping, self.alpha)


class FIRE(KernelOptimizer):
    """FIRE: damped dynamics that speed up downhill, with the steps of `ase.optimize.FIRE`.

    Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006).

    Parameters
    ----------
    atoms, logfile, trajectory, append_trajectory, loginterval
        As of `LBFGS`.
    maxstep : float
        Length of a step of all atoms together at the most, Angstrom.
    dt, dtmax, Nmin, finc, fdec, astart, fa, a
        As in ASE.
    """

    elsewhere = "ase.optimize.FIRE"

    def __init__(
        self,
        atoms: Atoms,
        *,
        dt: float = 0.1,
        dtmax: float = 1.0,
        Nmin: int = 5,
        finc: float = 1.1,
        fdec: float = 0.5,
        astart: float = 0.1,
        fa: float = 0.99,
        a: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self._parameters = dt, dtmax, Nmin, finc, fdec, astart, fa, a
        super().__init__(atoms, **kwargs)

    def _choose(self, relaxation: Relaxation) -> None:
        relaxation.fire(*self._parameters)


class Relaxed(NamedTuple):
    """Of one structure: whether its forces are small, steps taken, and its energy in eV."""

    converged: bool
    steps: int
    energy: float


def relax_many(
    structures: Sequence[Atoms],
    fmax: float = 0.05,
    steps: int = 10_000,
    *,
    maxstep: float = 0.2,
    threads: int | None = None,
    progress: bool = False,
) -> list[Relaxed]:
    """Relax structures in place by `LBFGS`, each on a thread of its own.

    Parameters
    ----------
    structures : sequence of Atoms
        All different objects, with a `KANCalculator` and its compiled engine: each its own, or one for all. The
        constraints may be `FixAtoms` or `FixCom`.
    fmax : float
        The forces are small where none on an atom is as large, eV/Angstrom.
    steps : int
        The most for each structure.
    maxstep : float
        How far an atom moves in a step at the most, Angstrom.
    threads : int, optional
        Default as many as the process may use.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    list of Relaxed
        In the order of the structures.

    Raises
    ------
    TypeError, ValueError
        As of `LBFGS`.
    """
    for number, atoms in enumerate(structures):
        check_atoms(atoms, f"relax_many (structure {number})", LBFGS.elsewhere)
    if len({id(atoms) for atoms in structures}) < len(structures):
        raise ValueError("the structures must be different objects: copy those that occur twice")
    mine = local()  # what a thread calculates with: copies of the users' calculators, by these

    def relax(atoms: Atoms) -> Relaxed:
        if not hasattr(mine, "calculators"):
            mine.calculators = {}
        if id(atoms.calc) not in mine.calculators:
            mine.calculators[id(atoms.calc)] = copy(atoms.calc)
        return _relax(atoms, mine.calculators[id(atoms.calc)], fmax, steps, maxstep)

    found = []
    with ThreadPoolExecutor(choose_threads(threads, 2**62)) as pool, _counting_bar(progress, len(structures)) as report:
        try:
            for relaxed in pool.map(relax, structures):
                found.append(relaxed)
                report()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _relax(atoms: Atoms, calculator: KANCalculator, fmax: float, steps: int, maxstep: float) -> Relaxed:
    """L-BFGS without the observers of ASE's class, which take longer than the relaxation of a cluster."""
    relaxation = prepare(atoms, maxstep, "relax_many", LBFGS.elsewhere)
    relaxation.lbfgs(100, 1.0, 70.0)
    relaxation.fmax = fmax
    relaxation.forces[:] = calculator.get_property("forces", atoms)
    converged = relaxation.converged()
    while not converged and relaxation.done < steps:
        calculator.advance(atoms, relaxation, steps - relaxation.done)
        converged = relaxation.converged()
    return Relaxed(converged, relaxation.done, calculator.get_property("energy", atoms))


def prepare(atoms: Atoms, maxstep: float, name: str, elsewhere: str) -> Relaxation:
    """A relaxation of these atoms, whose forces are still to be set."""
    held, fix_com = check_atoms(atoms, name, elsewhere)
    return new_relaxation(own_array(atoms, "positions"), atoms.get_masses(), held, fix_com, maxstep)


@contextmanager
def _counting_bar(show: bool, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr that counts structures; gives what is to be called for each."""
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("relaxed", total=total)
        yield lambda: bar.advance(task)
