"""The compiled engines: tables of a potential, summed by the C++ kernel.

`KernelEngine` keeps the kernel's atoms; `CompiledEngine` is that of pair potentials.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_kan.engines.guard import Extrapolation, Found, OutsideDensity, covered
from ase_kan.engines.neighbors import check_limits, periodic_box
from ase_kan.engines.protocol import CHANGES, Evaluation, RadialGrid, RadialSums, Structure, known_symbols
from ase_kan.engines.radial import kind_numbers, kinds_of, radial_sums
from ase_kan.potentials.compiled import SplinePotential
from ase_kan.potentials.coverage import Gap
from ase_kan.types import Array, pair_name

if TYPE_CHECKING:
    from ase_kan.engines._kernel import Motion, Relaxation
    from ase_kan.engines.autograd import ReferenceEngine

try:
    from ase_kan.engines import _kernel
except ImportError:  # installed without a compiler
    _kernel = None  # type: ignore[assignment]

#: Verlet skin as a part of the cutoff; wider than that of the autograd engine, since pairs are cheaper to skip.
COMPILED_SKIN = 0.35
#: Below this number of atoms a second thread costs more than it gives.
THREADED_ATOMS = 20_000


def compiled_available() -> bool:
    """Whether the compiled kernel was built with the package."""
    return _kernel is not None


class KernelSums(NamedTuple):
    """What the kernel gives, in its order; `inner`: atoms are closer than the tables go, and nothing else counts."""

    energy: float
    forces: Array
    virial: Array
    below: int
    above: int
    inside_gaps: int
    shortest: float
    inner: bool
    energies: Array | None
    virials: Array | None
    densities: int


class KernelEngine(ABC):
    """Tables in the compiled kernel; anything closer than they go, or wrong, is left to the autograd engine."""

    def __init__(self, potential: Any, skin: float | None, threads: int | None, limit: float = 1.0) -> None:
        if _kernel is None:
            raise ValueError("ase_kan was installed without its compiled engine: use engine='autograd', or reinstall "
                             "where a C++17 compiler is at hand")  # fmt: skip
        self.potential = potential
        self._given_skin = skin
        self.skin = COMPILED_SKIN * potential.cutoff if skin is None else skin
        self.threads = threads
        self.limit = limit
        self._kernel: _kernel.Kernel | None = None
        self._symbols: list[str] = []
        self._gaps: list[tuple[str, Gap]] = []
        self._builds = 0
        self._inner = False  # whether the last evaluation was left to the reference

    def __getstate__(self) -> dict[str, Any]:
        # Lists and tables are made again: a copy starts as if it had seen no atoms.
        state = self.__dict__ | {"_kernel": None, "_symbols": []}
        state.pop("_reference", None)
        return state

    @property
    def builds(self) -> int:
        reference = self._reference.builds if "_reference" in self.__dict__ else 0
        return self._builds + (self._kernel.builds if self._kernel else 0) + reference

    def changes(self, atoms: Atoms) -> list[str]:
        if self._kernel is None:
            return list(CHANGES)
        arrays = atoms.arrays
        try:
            bits = self._kernel.changes(arrays["positions"], arrays["numbers"], atoms.cell.array, atoms.pbc)
        except TypeError:  # of other types, or not contiguous
            bits = self._kernel.changes(*Structure.of(atoms))
        if bits < 2:
            return ["positions"] if bits else []
        return [name for n, name in enumerate(CHANGES) if bits >> n & 1]

    def last(self) -> Atoms | None:
        last = self._kernel.last() if self._kernel else None
        return None if last is None else Structure(*last).atoms()

    def evaluate(self, atoms: Atoms, per_atom: bool, changes: list[str]) -> Evaluation:
        kernel = self._kernel
        if kernel is None or (changes and changes != ["positions"]):
            kernel = self._take_structure(Structure.of(atoms))
        positions = np.ascontiguousarray(atoms.arrays["positions"], dtype=np.float64)
        return self._found(KernelSums(*kernel.compute(positions, per_atom)), atoms, per_atom)

    def advance(self, atoms: Atoms, motion: Motion | Relaxation, steps: int) -> Evaluation:
        """So many steps of a motion or relaxation of the atoms of the last evaluation, or fewer (`motion.done`).

        The last is one of extrapolation that has not been told of, or one in which atoms were closer than the tables
        go. What is found is that of the last step.
        """
        assert self._kernel is not None
        sums = KernelSums(*self._kernel.advance(motion, steps))
        try:
            found = self._found(sums, atoms, False)
        except BaseException:
            if motion.unfinished:
                motion.undo()
            raise
        if motion.unfinished:
            motion.forces[:] = found.forces
            motion.finish()
        return found

    def _found(self, sums: KernelSums, atoms: Atoms, per_atom: bool) -> Evaluation:
        self._inner = sums.inner or not math.isfinite(sums.energy)
        if self._inner:
            # Closer than the tables go: the reference has the value, or knows what to say.
            try:
                return self._reference.evaluate(atoms, per_atom, list(CHANGES))
            except BaseException:
                if self._kernel is not None:
                    self._kernel.forget()
                raise
        find = _nothing
        if sums.below or sums.above or sums.inside_gaps or sums.densities:
            find = partial(_outside, type(self), self.potential, self.limit, Structure.of(atoms).copy())
        gaps = tuple(self._gaps)
        outside = Extrapolation(sums.below, sums.above, sums.inside_gaps, sums.shortest, find, gaps, sums.densities)
        return Evaluation(sums.energy, sums.forces, sums.virial, outside, sums.energies, sums.virials)

    def outside(self) -> Found:
        """Every pair and density outside the data in the last evaluation."""
        return Found(*self._kernel.outside(), self._densities_outside(self._kernel)) if self._kernel else _nothing()

    @cached_property
    def _reference(self) -> ReferenceEngine:
        """The autograd engine: made, and torch with it, when atoms are closer than the tables go."""
        return self._new_reference()

    @abstractmethod
    def _new_reference(self) -> ReferenceEngine: ...

    @abstractmethod
    def _new_kernel(self, symbols: list[str]) -> _kernel.Kernel:
        """A kernel with tables for these elements, or [""] for all; their gaps go to `_gaps`."""

    def _empty_kernel(self, n_elements: int, channels: int = 0) -> _kernel.Kernel:
        """A kernel whose tables are in the order of pairs (0, 0), (0, 1), ..., (1, 1), ..."""
        n = max(n_elements, 1)
        table_of = kind_numbers(n).ravel().tolist()
        return _kernel.Kernel(n, table_of, self.potential.cutoff, self.skin, channels=channels)

    def _densities_outside(self, kernel: _kernel.Kernel) -> list[OutsideDensity]:
        """Densities outside the data in the last evaluation: none where there are no densities."""
        return []

    def densities(self) -> Array:
        last = self.last()
        return np.zeros((0 if last is None else len(last), 0))

    def radial(self, grids: list[RadialGrid], nodes: int, atoms: Atoms, forces: bool) -> RadialSums:
        """Sums of the last evaluation, which was of these atoms, for functions that are linear between nodes."""
        if self._kernel is None or self._inner:
            return radial_sums(atoms, self.potential, grids, nodes, forces)
        ends, levels = np.array([grid[:3] for grid in grids]), np.array([grid.grades for grid in grids])
        energy, pulls, virial, graded, lost = self._kernel.radial(ends, levels, nodes, forces)
        if forces:
            pulls, virial = pulls.reshape(len(atoms), 3, -1), virial.T
        return RadialSums(energy, pulls, virial, graded, lost.astype(bool))

    def _take_structure(self, structure: Structure) -> _kernel.Kernel:
        check_limits(structure.positions, structure.cell)
        symbols, element = known_symbols(structure.numbers, self.potential)
        box = periodic_box(structure.cell, structure.pbc)
        if self._kernel is None or symbols != self._symbols:
            kernel = self._new_kernel(symbols)
            if self._kernel is not None:
                self._builds += self._kernel.builds
            self._kernel, self._symbols = kernel, symbols
        self._kernel.set_structure(
            structure.numbers,
            structure.cell,
            structure.pbc,
            element.astype(np.uint8),
            box,
            np.linalg.inv(box),
            choose_threads(self.threads, len(element)),
        )
        return self._kernel


class CompiledEngine(KernelEngine):
    """Tables of a pair potential."""

    potential: SplinePotential

    def _new_reference(self) -> ReferenceEngine:
        from ase_kan.engines.autograd import AutogradEngine

        return AutogradEngine(self.potential, self._given_skin, self.limit)

    def _new_kernel(self, symbols: list[str]) -> _kernel.Kernel:
        pairs = kinds_of(symbols)
        kernel = self._empty_kernel(len(symbols))
        self._gaps = []
        for pair in pairs:
            if pair is not None and not {None, pair} & set(self.potential.pairs):
                # All of it is closer than the table goes: should such a pair meet, the reference says what is missing.
                reach = self.potential.cutoff
                kernel.add_table(reach, 0.0, reach, 2 * reach**2, 0.0, [], [], np.zeros((1, 8)))
                continue
            s, (low, high, gaps) = self.potential.spline(pair), covered(self.potential, pair, self.limit)
            self._gaps += [(pair_name(pair), gap) for gap in gaps]
            kernel.add_table(
                s.cutoff,
                low,
                high,
                s.start,
                s.slope,
                list(s.at),
                list(s.change),
                s.rows,
                [end for gap in gaps for end in gap],
            )
        return kernel


def new_motion(
    positions: Array,
    momenta: Array,
    forces: Array,
    masses: Array,
    held: NDArray[np.bool_],
    fix_com: bool,
    timestep: float,
) -> Motion:
    """A motion of atoms with these arrays, which it writes to, and the forces of where they are; ASE's units."""
    return _kernel.Motion(positions, momenta, forces, masses, held, fix_com, timestep)


def new_relaxation(
    positions: Array, masses: Array, held: NDArray[np.bool_], fix_com: bool, maxstep: float
) -> Relaxation:
    """A relaxation of atoms with these positions, which it writes to; its `forces` are to be set; ASE's units."""
    return _kernel.Relaxation(positions, np.zeros(positions.shape), masses, held, fix_com, maxstep)


def choose_threads(wanted: int | None, n_atoms: int) -> int:
    """One thread for small systems, else as asked; never more than the processors this process may use."""
    if wanted is None and n_atoms < THREADED_ATOMS:
        return 1
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(available, available if wanted is None else wanted))


def _nothing() -> Found:
    return Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))


def _outside(engine: type[KernelEngine], potential: Any, limit: float, structure: Structure) -> Found:
    """Everything outside the data; looked for only when someone asks, by an engine of its own."""
    fresh = engine(potential, 0.0, None, limit)
    fresh.evaluate(structure.atoms(), False, list(CHANGES))
    return fresh.outside()
