"""An ASE calculator for any pair or embedded-atom potential.

ASE's base class copies the atoms, compares every array with a tolerance and copies the results on each call, which
costs more than the forces of a small system. Here the engine remembers what it was given, exactly; what ASE promises
(fresh results after every change, arrays that are the caller's own) stays.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from ase_kan.engines.compiled import CompiledEngine, KernelEngine, compiled_available
from ase_kan.engines.embedded_compiled import EmbeddedCompiledEngine
from ase_kan.engines.guard import Extrapolation, Guard
from ase_kan.engines.protocol import Engine, Evaluation, Structure, known_symbols
from ase_kan.engines.radial import kinds_of
from ase_kan.potentials.compiled import EmbeddedTables, SplinePotential, original_of
from ase_kan.potentials.protocol import EmbeddedAtomPotential, PairPotential, Potential
from ase_kan.potentials.stored import load_running
from ase_kan.types import Array
from ase_kan.warn import warn_user

if TYPE_CHECKING:
    from kan import KAN

    from ase_kan.analysis.uncertainty import ModeTable, Uncertainty
    from ase_kan.engines._kernel import Motion, Relaxation
    from ase_kan.engines.autograd import ReferenceEngine

ENGINES = ("auto", "compiled", "autograd")
PER_ATOM = ("energies", "stresses")


class KANCalculator(Calculator):
    """Energy, forces and stress from a pair or an embedded-atom potential.

    Parameters
    ----------
    potential : PairPotential, EmbeddedAtomPotential, FitResult, path or pykan model
        A fitted potential or the result of the fit, the file of a saved one, a published ``.eam.alloy``, ``.eam.fs`` or
        ``.setfl`` file (see `from_setfl`), or a pykan `KAN` of E(r) (see `KANPotential.from_pykan`).
    engine : "auto", "compiled" or "autograd"
        ``"compiled"`` tabulates the potential once, on first use, with a certified error (`tabulate`; a
        compiled potential is taken as it is). ``"autograd"`` evaluates the potential itself. ``"auto"`` is compiled
        where that is possible, and says so once where it is not.
    skin : float, optional
        Verlet skin of the neighbor list, Angstrom; default a sixth of the cutoff, compiled about a third.
    threads : int, optional
        Of the compiled engine; default 1 below 20,000 atoms, above as many as the process may use.
    on_extrapolation : "warn", "raise" or "ignore"
        What to do when atoms are closer or farther, or have other densities, than the data of the potential: warn
        once per episode (which ends with other atoms, or after 100 calculations in a row within the data), raise
        `guard.ExtrapolationError` (a `ValueError`), or only keep count in `extrapolation`.
    grade : float
        From which grade on distances count as outside the data (`KANPotential.grade`): 1, at the edge of the data;
        2 is usual to warn and 10 to stop.
    atoms : Atoms, optional
        Attach the calculator to these atoms.

    Raises
    ------
    ValueError
        At calculation: for positions or cells that are not finite or beyond 1e9 Angstrom, elements or pairs that
        the potential does not know, atoms at the same place or so close that their energy overflows, and more images
        of the cell (1e6) or pairs of atoms than there is room for. After any error the calculator starts afresh.

    Notes
    -----
    A calculator may be used from several threads: they wait for each other. For work side by side make one for each.
    """

    name = "kan"
    nolabel = True  # writes no files
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "stresses"]  # noqa: RUF012 (ASE's)
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        potential: Potential | str | os.PathLike[str] | KAN,
        *,
        engine: str = "auto",
        skin: float | None = None,
        threads: int | None = None,
        on_extrapolation: str = "warn",
        grade: float = 1.0,
        atoms: Atoms | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
        if skin is not None and not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"skin must be zero or a positive distance, got {skin}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.potential = _as_potential(potential, engine)
        of_file = os.path.basename(potential) if isinstance(potential, str | os.PathLike) else None
        self._identity = {"potential": of_file or type(self.potential).__name__}
        if not (np.isfinite(grade) and grade >= 1):
            raise ValueError(f"grade must be 1, at the edge of the data, or more, got {grade}")
        self._wanted = engine, skin, threads, grade
        self._modes: ModeTable | None = None  # for the elements of the last atoms
        self._engine: Engine | None = None
        self._guard = Guard(on_extrapolation)
        self._lone_atoms: Array | None = None
        self._volume = 0.0
        self._valid = False  # whether all of the state is that of the engine's last atoms
        self._lock = RLock()
        super().__init__(atoms=atoms)

    def __repr__(self) -> str:
        engine, skin, threads, grade = self._wanted
        given = {"engine": engine, "skin": skin, "threads": threads, "on_extrapolation": self._guard.mode}
        given |= {"grade": grade} if grade > 1 else {}
        told = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
        return f"KANCalculator({self.potential!r}, {told})"

    def __getstate__(self) -> dict[str, Any]:
        # For copies of all kinds: one potential, but neither engine, guard nor results are shared.
        with self._lock:
            own = {name: copy(self.__dict__[name]) for name in ("_engine", "_guard", "results", "parameters")}
            state = self.__dict__ | own | {"_valid": False}
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()

    @property
    def engine(self) -> str:
        """The engine in use: "compiled" or "autograd"."""
        return "compiled" if isinstance(self._ready(), KernelEngine) else "autograd"

    @property
    def skin(self) -> float:
        """Verlet skin, Angstrom."""
        return self._ready().skin

    @property
    def extrapolation(self) -> Extrapolation | None:
        """The pairs and densities outside the data in the last calculation; None before the first."""
        return self._guard.last

    @property
    def atoms(self) -> Atoms | None:
        """A copy of the atoms of the last calculation: elements, positions, cell and pbc."""
        with self._lock:
            return self._engine.last() if self._engine is not None and self._valid else None

    @atoms.setter
    def atoms(self, atoms: None) -> None:
        pass  # ASE's base class starts with None

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Refuse parameters: ASE's own `set` would keep any name without using it."""
        if kwargs:
            raise TypeError(f"KANCalculator has no parameter {', '.join(kwargs)} to set: make a new calculator")
        return {}

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Which potential it is, for databases (``row.calculator_parameters``)."""
        if "fingerprint" not in self._identity:  # trajectories ask at every frame
            from ase_kan.potentials.identity import fingerprint

            self._identity["fingerprint"] = fingerprint(self.potential)
        return dict(self._identity)

    def reset(self) -> None:
        """Forget the atoms, the results and the neighbor list: the next calculation starts afresh."""
        with self._lock:
            self.results, self._valid = {}, False

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What is different from the atoms of the last calculation; exact, whatever `tol`."""
        with self._lock:
            return self._changes(atoms)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        if name not in self.implemented_properties:
            raise PropertyNotImplementedError(f"{name} property not implemented")
        with self._lock:
            if atoms is None:
                atoms = self._last_atoms()
            changes = self._changes(atoms)
            if changes:
                self.results = {}
            if name not in self.results:
                if not allow_calculation:
                    return None
                self._calculate(atoms, name in PER_ATOM, changes)
                if name not in self.results:
                    raise PropertyNotImplementedError(f"{name} needs a cell with three vectors")
            value = self.results[name]
            return value.copy() if isinstance(value, np.ndarray) else value

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Energy, forces and stress; per atom if `properties` (None: all) ask for it."""
        with self._lock:
            atoms = self._last_atoms() if atoms is None else atoms
            per_atom = properties is None or any(name in properties for name in PER_ATOM)
            self._calculate(atoms, per_atom, self._changes(atoms))

    def uncertainty(self, atoms: Atoms | None = None) -> Uncertainty:
        """Standard deviations of energy, forces and stress, and how far the atoms are outside the data.

        Parameters
        ----------
        atoms : Atoms, optional
            Default those of the last calculation.

        Returns
        -------
        Uncertainty

        Raises
        ------
        ValueError
            If the potential does not know its errors (it comes from a pykan model, say), and as for a calculation.
        """
        from ase_kan.analysis.uncertainty import Uncertainty

        with self._lock:
            atoms = self._last_atoms() if atoms is None else atoms
            if changes := self._changes(atoms):
                self._calculate(atoms, False, changes)
            modes = self._modes = self._modes or self._mode_table(atoms)
            energy, grades = modes.energy_and_grades(self._ready(), atoms)
            return Uncertainty(energy, grades, partial(self._forces_and_stress, modes, Structure.of(atoms).copy()))

    def _mode_table(self, atoms: Atoms) -> ModeTable:
        from ase_kan.analysis.embedded_uncertainty import EmbeddedModeTable, UncertainEmbedded
        from ase_kan.analysis.uncertainty import ModeTable, UncertainPotential

        kinds = kinds_of(known_symbols(atoms.numbers, self.potential)[0])
        original = original_of(self.potential)
        if isinstance(original, UncertainEmbedded):
            return EmbeddedModeTable(original, kinds)
        if isinstance(original, UncertainPotential):
            return ModeTable(original, kinds)
        kind = type(original).__name__
        raise ValueError(f"uncertainties are those of a fitted KANPotential or KANEAM, and a {kind} knows none")

    def _forces_and_stress(self, modes: ModeTable, structure: Structure) -> tuple[Array, Array | None]:
        """Standard deviations for atoms that may have moved on since."""
        atoms = structure.atoms()
        with self._lock:
            engine = self._ready()
            if self._changes(atoms):
                engine = _make_engine(self.potential, *self._wanted)
                engine.evaluate(atoms, False, list(all_changes))
            return modes.forces_and_stress(engine, atoms)

    def annotate(self, atoms: Atoms) -> Uncertainty:
        """Write the uncertainty into the atoms, for trajectories, databases and extxyz files.

        ``atoms.info`` gets "energy_std" (eV), "stress_std" (eV/Angstrom^3, where there is a stress) and "grade", and
        ``atoms.arrays`` "forces_std" (eV/Angstrom) and "grades".
        """
        found = self.uncertainty(atoms)
        atoms.info["energy_std"], atoms.info["grade"] = found.energy, found.grade
        if found.stress is not None:
            atoms.info["stress_std"] = found.stress
        atoms.arrays["forces_std"], atoms.arrays["grades"] = found.forces, found.grades
        return found

    def _changes(self, atoms: Atoms) -> list[str]:
        return self._engine.changes(atoms) if self._engine is not None and self._valid else list(all_changes)

    def _calculate(self, atoms: Atoms, per_atom: bool, changes: list[str]) -> None:
        # Of the same atoms: what was told stays, to the last bit, when more is asked for.
        told, self.results = ({} if changes else self.results), {}
        engine = self._ready()
        # Whatever ends this before its end (an error, an interrupt), the next calculation starts afresh.
        self._valid = False
        if changes and changes != ["positions"]:
            references = self.potential.reference_energies
            self._lone_atoms = np.array([references.get(s, 0.0) for s in atoms.symbols]) if references else None
            with np.errstate(invalid="ignore"):  # the engine refuses what is not finite
                self._volume = abs(float(np.linalg.det(atoms.cell.array)))
            if "numbers" in changes:
                self._modes = None
                self._guard.new_atoms()
        self._keep(engine.evaluate(atoms, per_atom, changes))
        self.results |= told

    def advance(self, atoms: Atoms, motion: Motion | Relaxation, steps: int) -> None:
        """Let the atoms of the last calculation move, for `ase_kan.dynamics`; ends as a calculation of where they are.

        After fewer steps (`motion.done`) if there is extrapolation to tell of. The engine must be "compiled".
        """
        with self._lock:
            engine = self._ready()
            assert isinstance(engine, KernelEngine)
            self.results, self._valid = {}, False
            self._guard.watch(motion)
            found = engine.advance(atoms, motion, steps)
            self._guard.seen(motion)
            self._keep(found._replace(forces=found.forces.copy()))

    def _keep(self, found: Evaluation) -> None:
        """Results of the engine's last evaluation."""
        self._valid = True
        self._guard.check(found.extrapolation)
        energy, energies = found.energy, found.energies
        if self._lone_atoms is not None:
            energy += float(self._lone_atoms.sum())
            energies = None if energies is None else energies + self._lone_atoms
        results: dict[str, Any] = {"energy": energy, "free_energy": energy, "forces": found.forces}
        if energies is not None:
            results["energies"] = energies
        if self._volume > 0:  # no volume, no stress: as ASE
            results["stress"] = found.virial / -self._volume
            if found.virials is not None:
                results["stresses"] = found.virials / -self._volume
        self.results = results

    def _last_atoms(self) -> Atoms:
        atoms = self.atoms
        if atoms is None:
            raise ValueError("no atoms were given, and none calculated before")
        return atoms

    def _ready(self) -> Engine:
        if self._engine is None:
            self._engine = _make_engine(self.potential, *self._wanted)
        return self._engine


def _make_engine(potential: Potential, wanted: str, skin: float | None, threads: int | None, limit: float) -> Engine:
    if wanted == "autograd":
        return _reference(potential, skin, limit)
    if wanted == "auto" and not compiled_available():
        warn_user("ase_kan was installed without its compiled engine: using autograd, which is slower")
        return _reference(potential, skin, limit)
    if not isinstance(potential, SplinePotential | EmbeddedTables):
        from ase_kan.potentials.tables import tabulate_once

        try:
            potential = tabulate_once(potential)
        except ValueError as error:
            if wanted == "compiled":
                raise
            warn_user(f"the potential cannot be compiled ({error}): using autograd, which is slower")
            return _reference(potential, skin, limit)
    compiled: type[KernelEngine] = EmbeddedCompiledEngine if isinstance(potential, EmbeddedTables) else CompiledEngine
    return compiled(potential, skin, threads, limit)


def _reference(potential: Potential, skin: float | None, limit: float) -> ReferenceEngine:
    from ase_kan.engines.autograd import AutogradEngine
    from ase_kan.engines.embedded_autograd import EmbeddedAutogradEngine

    embedded = isinstance(potential, EmbeddedAtomPotential)
    return EmbeddedAutogradEngine(potential, skin, limit) if embedded else AutogradEngine(potential, skin, limit)


def _as_potential(potential: Any, engine: str) -> Potential:
    if isinstance(potential, str | os.PathLike):
        # Tables in the file run without torch, which takes seconds to import.
        running = load_running(potential)
        return original_of(running) if engine == "autograd" else running
    if isinstance(found := getattr(potential, "potential", None), PairPotential | EmbeddedAtomPotential):
        return found  # of the result of a fit
    if hasattr(potential, "act_fun"):  # a pykan model, recognised without importing pykan
        from ase_kan.potentials.potential import KANPotential

        return KANPotential.from_pykan(potential)
    if isinstance(potential, PairPotential | EmbeddedAtomPotential):
        return potential
    known = "a pair potential, an embedded-atom potential, the path of one or a pykan KAN"
    raise TypeError(f"expected {known}, got {type(potential).__name__}")
