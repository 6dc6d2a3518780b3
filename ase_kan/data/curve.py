"""Training data of one pair: energies, and forces where they are known, at distances r."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ase_kan.data.columns import Columns, read_columns
from ase_kan.types import Array, Pair

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator


#: Energies and forces (or None) at the distances given: where fresh hold-out points come from.
Source = Callable[[Array], tuple[Array, "Array | None"]]
#: Distances (Angstrom), and the largest energies (eV) and forces, beyond which a value is a mistake (metres, say).
SHORTEST, LONGEST, LARGEST = 1e-4, 1e5, 1e30
#: Fewest points that the limit of the energy at infinity is taken from.
LIMIT_POINTS = 5
#: A force column is compared with the changes of energy over so many stretches, and may miss this part of them.
FORCE_STRETCHES, FORCE_MISFIT = 12, 0.5


@dataclass(frozen=True, eq=False)
class PairCurve:
    """Energy (and force) of a pair of atoms as a function of their distance.

    Parameters
    ----------
    r : array_like, shape (n,)
        Distances in Angstrom, positive, in any order (they are sorted).
    energy : array_like, shape (n,)
        Pair energy in eV: zero means two atoms far apart.
    force : array_like, shape (n,), optional
        ``-d energy / d r`` in eV/Angstrom; positive means repulsive.
    elements : (str, str), optional
        Chemical symbols of the pair. Without them the fitted potential serves every element.
    errors : array_like, shape (n,), optional
        Standard deviations of the energies in eV, positive; only their ratios matter. Default: the fit finds out.
    weights : array_like, shape (n,), optional
        In place of `errors`, one over their squares: of the squared deviations. Points of weight 0 are left out.
    source : callable, optional
        ``source(r) -> (energy, force or None)``: gives fresh points, for hold-out errors and plots.
    subtracted : float
        Energy in eV that `read` took off, so that far atoms have none; told, not used.

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, a distance is not positive, or a symbol is unknown.
    """

    r: Array
    energy: Array
    force: Array | None = None
    elements: Pair | None = None
    source: Source | None = None
    subtracted: float = 0.0
    errors: Array | None = None
    weights: InitVar[ArrayLike | None] = None

    def __post_init__(self, weights: ArrayLike | None) -> None:
        if weights is not None:
            self._weigh(weights)
        r = _finite_vector("r", self.r)
        if len(r) < 2:
            raise ValueError(f"a curve needs at least 2 points, got {len(r)}")
        if r.min() <= 0:
            raise ValueError(f"distances must be positive, got r = {r.min():g}: drop such points")
        if r.min() < SHORTEST or r.max() > LONGEST:
            bad = r.min() if r.min() < SHORTEST else r.max()
            raise ValueError(
                f"distances must lie between {SHORTEST:g} and {LONGEST:g} A, got r = {bad:g}: other units?"
            )
        if isinstance(self.force, str) or (isinstance(self.force, list | tuple) and isinstance(self.force[0], str)):
            raise TypeError(f"the third argument of PairCurve is the force, got {self.force!r}: use elements=...")
        energy = _finite_vector("energy", self.energy, len(r))
        force = None if self.force is None else _finite_vector("force", self.force, len(r))
        order = np.argsort(r, kind="stable")
        if r[order[0]] == r[order[-1]]:
            raise ValueError(f"all {len(r)} distances are {r[0]:g}: a curve needs different ones")
        object.__setattr__(self, "r", r[order])
        object.__setattr__(self, "energy", energy[order])
        object.__setattr__(self, "force", None if force is None else force[order])
        if self.errors is not None:
            errors = _finite_vector("errors", self.errors, len(r))
            if errors.min() <= 0:
                raise ValueError(f"errors must be positive, got {errors.min():g}: leave the points out instead")
            object.__setattr__(self, "errors", errors[order])
        if self.elements is not None:
            object.__setattr__(self, "elements", _symbols(self.elements))

    def _weigh(self, weights: ArrayLike) -> None:
        """Leave out what has no weight, and make errors of the other weights."""
        if self.errors is not None:
            raise ValueError("give either errors or weights, not both: a weight is one over the square of an error")
        given = _finite_vector("weights", weights, len(np.atleast_1d(self.r)))
        if given.min() < 0 or not given.any():
            raise ValueError(f"weights must not be negative and not all zero, got {given.min():g}")
        used = given > 0
        for name in ("r", "energy", "force"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, _finite_vector(name, values, len(given))[used])
        object.__setattr__(self, "errors", given[used] ** -0.5)

    def __len__(self) -> int:
        return len(self.r)

    def __repr__(self) -> str:
        what = "any elements" if self.elements is None else "-".join(self.elements)
        forces = "energies" if self.force is None else "energies and forces"
        return f"PairCurve({what}, {len(self)} {forces} on [{self.r[0]:g}, {self.r[-1]:g}] A)"

    def limit(self) -> float:
        """Energy (eV) of two atoms far apart, that the data head for: E(inf) of E(inf) + C r^-n fitted to their end.

        The fit is to the outer half of the points beyond the lowest one, by the n from 1 to 12 that suits best.

        Raises
        ------
        ValueError
            If fewer than 5 points lie there.
        """
        r, energy = self.r, self.energy
        beyond = np.arange(len(r)) > (int(np.argmin(energy)) if energy[-1] > energy.min() else -1)
        far = beyond & (r >= np.median(r[beyond]))
        if np.count_nonzero(far) < LIMIT_POINTS:
            raise ValueError(
                f"the limit of the energy needs {LIMIT_POINTS} points in the outer half of the tail, "
                f"got {np.count_nonzero(far)}: give the energy of two lone atoms as a number"
            )
        offset = energy[-1]  # so that digits are not lost beside a large constant
        fits = []
        for n in np.linspace(1, 12, 111):
            rows = np.stack([np.ones(np.count_nonzero(far)), (r[-1] / r[far]) ** n], axis=1)
            solution = np.linalg.lstsq(rows, energy[far] - offset, rcond=None)[0]
            fits.append((float(np.sum((rows @ solution - energy[far] + offset) ** 2)), float(solution[0])))
        return float(offset + min(fits)[1])

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        elements: Pair | None = None,
        *,
        columns: Sequence[str] | None = None,
        units: tuple[str, str] | None = None,
        subtract: float | str | None = None,
    ) -> PairCurve:
        """Read columns r, energy and, if there is a third, force from a text file.

        Columns are separated by blanks, tabs, commas or semicolons (with tabs and semicolons a decimal comma is
        read too). Lines that start with ``# % @ !`` are comments. Names of the columns, and their units as in
        ``E (meV)``, ``r/bohr`` or in a line of units, are heeded; names that are not understood are refused.

        Parameters
        ----------
        path : path
        elements : (str, str), optional
            As for `PairCurve`.
        columns : sequence of str, optional
            What the columns are, from the left: ``"r"``, ``"energy"``, ``"force"``, ``"gradient"`` (dE/dr),
            ``"error"`` (standard deviation of the energy) or ``"skip"``. Needed for more than three columns, or if
            the file's names are not understood.
        units : (str, str), optional
            Of distance and energy, e.g. ``("bohr", "hartree")``, ``("nm", "kJ/mol")`` (module `units`); forces
            are energy over distance. Default: as the file says, else Angstrom and eV.
        subtract : float or "limit", optional
            Energy that two atoms far apart have in the file, in its unit, to be taken off total energies; or
            "limit": what the data head for (see `limit`).

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not such a table, or a third column is not the force that belongs to the energies: of opposite
            sign (a gradient), or unrelated to their slope (an error estimate). The message names file and line.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no curve file at {path}")
        found = read_columns(path, columns, units)
        r, energy, force = found.values["r"], found.values["energy"], _checked_force(path, found)
        try:
            if subtract is None:
                off = 0.0
            elif subtract == "limit":
                off = cls(r, energy).limit()
            elif isinstance(subtract, str) or not np.isfinite(subtract):
                raise ValueError(f"subtract must be a finite number or 'limit', got {subtract!r}")
            else:
                off = float(subtract) * found.energy_unit
            return cls(r, energy - off, force, elements, subtracted=off, errors=found.values.get("error"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def from_function(
        cls,
        function: Callable[[Any], Any],
        *,
        r_min: float,
        r_max: float,
        n: int = 200,
        seed: int | None = 0,
        force: Callable[[Any], Any] | None = None,
        elements: Pair | None = None,
    ) -> PairCurve:
        """Sample ``function(r)`` (eV, vectorised over r in Angstrom) on [r_min, r_max].

        Parameters
        ----------
        function, force : callable
            Energy, and optionally force ``-dE/dr``, of an array of distances. Without `force` the curve
            has no forces to train on; hold-out forces then are central differences of `function`.
        r_min, r_max : float
            Range in Angstrom, ``0 < r_min < r_max``.
        n : int
            Number of points.
        seed : int or None
            Seed of the uniformly random distances; None gives evenly spaced ones, ends included.
        elements : (str, str), optional
            Chemical symbols of the pair.
        """

        def source(r: Array) -> tuple[Array, Array]:
            energy = _evaluate(function, r)
            slope = -_evaluate(force, r) if force else _derivative(function, r)
            return energy, -slope

        r = _sample(r_min, r_max, n, seed)
        energy, f = source(r)
        return cls(r, energy, f if force else None, elements, source)

    @classmethod
    def from_calculator(
        cls,
        calculator: BaseCalculator,
        elements: Pair,
        *,
        r_min: float,
        r_max: float,
        n: int = 200,
        seed: int | None = 0,
        vacuum: float = 50.0,
    ) -> PairCurve:
        """Energies and forces of a dimer in a large box, with any ASE calculator.

        The energies of the two lone atoms are subtracted, so that the curve is an interaction energy.
        Forces are taken where the calculator implements them; sampling as in `from_function`.

        Parameters
        ----------
        calculator : ASE calculator
        elements : (str, str)
            Chemical symbols of the two atoms.
        r_min, r_max, n, seed
            As in `from_function`.
        vacuum : float
            The cubic, non-periodic box has an edge of ``r_max + 2 * vacuum`` Angstrom.
        """
        from ase import Atoms

        elements = _symbols(elements)
        r = _sample(r_min, r_max, n, seed)
        has_forces = "forces" in calculator.implemented_properties
        edge = r_max + 2 * vacuum
        center = np.full(3, edge / 2)

        def energy_of(symbols: Sequence[str], positions: Sequence[Array]) -> Atoms:
            return Atoms(list(symbols), positions=np.array(positions), cell=[edge] * 3, calculator=calculator)

        lone = sum(energy_of([s], [center]).get_potential_energy() for s in elements)

        def source(r: Array) -> tuple[Array, Array | None]:
            energy, force = np.empty(len(r)), np.empty(len(r))
            for n, distance in enumerate(r):
                half = np.array([distance / 2, 0.0, 0.0])
                atoms = energy_of(elements, [center - half, center + half])
                energy[n] = atoms.get_potential_energy() - lone
                if has_forces:
                    left, right = atoms.get_forces()[:, 0]
                    force[n] = (right - left) / 2
            return energy, force if has_forces else None

        return cls(r, *source(r), elements, source)


def _symbols(elements: Sequence[str]) -> Pair:
    from ase.data import atomic_numbers

    symbols = tuple(elements) if not isinstance(elements, str) else (elements,)
    if len(symbols) != 2 or any(s not in atomic_numbers for s in symbols):
        raise ValueError(f"elements must be two chemical symbols such as ('Ar', 'Ar'), got {elements!r}")
    return symbols[0], symbols[1]


def _finite_vector(name: str, values: ArrayLike, length: int | None = None) -> Array:
    array = np.array(values, dtype=float)
    if array.ndim != 1 or (length is not None and len(array) != length):
        wanted = "(n,)" if length is None else f"({length},)"
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}] is {array[bad[0]]}: remove the {len(bad)} points that are not finite")
    if len(bad := np.flatnonzero(np.abs(array) > LARGEST)):
        raise ValueError(f"{name}[{bad[0]}] is {array[bad[0]]:g}: such a value is a mistake, or has other units")
    return array


def _sample(r_min: float, r_max: float, n: int, seed: int | None) -> Array:
    if not (np.isfinite([r_min, r_max]).all() and 0 < r_min < r_max):
        raise ValueError(f"need 0 < r_min < r_max, got r_min = {r_min:g}, r_max = {r_max:g}")
    if n < 2:
        raise ValueError(f"need at least 2 points, got n = {n}")
    if seed is None:
        return np.linspace(r_min, r_max, n)
    return np.sort(np.random.default_rng(seed).uniform(r_min, r_max, n))


def _checked_force(path: Path, found: Columns) -> Array | None:
    """The force of a file, held against the slope of its energies.

    Between points the energy changes by something between the lower and the upper Riemann sum of the force. That
    needs no model of the curve, and takes coarse points as well as noisy ones (over long stretches).
    """
    name = "gradient" if "gradient" in found.values else "force"
    column = found.values.get(name)
    if column is None:
        return None
    force = -column if name == "gradient" else column
    order = np.argsort(found.values["r"], kind="stable")
    r, energy, sorted_force = found.values["r"][order], found.values["energy"][order], force[order]
    ends = np.unique(np.linspace(0, len(r) - 1, FORCE_STRETCHES + 1).round().astype(int))
    change = -np.diff(energy[ends])

    def misfit(force: Array) -> float:
        """Part of the changes of energy that the force does not account for: 0 fits, 1 is unrelated."""
        pieces = np.sort(np.stack([force[:-1], force[1:]]), axis=0) * np.diff(r)
        low, high = np.add.reduceat(pieces, ends[:-1], axis=1)
        return float(np.maximum(low - change, change - high).clip(0).sum()) / max(float(np.abs(change).sum()), 1e-300)

    right, opposite = misfit(sorted_force), misfit(-sorted_force)
    if right < FORCE_MISFIT and right < opposite:
        return force
    if opposite < FORCE_MISFIT and opposite < right:
        other = "force" if name == "gradient" else "gradient"
        looks = "a force -dE/dr" if other == "force" else "a gradient dE/dr"
        raise ValueError(
            f"{path}: the column of {name} looks like {looks}: say --columns r,energy,{other} (in Python, columns=)"
        )
    if found.named_by == "caller" or not np.any(change):
        return force
    raise ValueError(
        f"{path}: the third column, read as {name}, does not go with the slope of the energies and looks like an "
        f"error estimate, or has other units: say --columns r,energy,error, or r,energy,{name} if it is one "
        "(in Python, columns=)"
    )


def _evaluate(function: Callable[[Any], Any], r: Array) -> Array:
    try:
        values = np.asarray(function(r), dtype=float)
    except TypeError as error:
        raise ValueError(
            f"the function must take an array of distances: {error}; wrap it in numpy.vectorize"
        ) from error
    if values.shape != r.shape:
        raise ValueError(f"the function gave shape {values.shape} for {len(r)} distances: it must give one value each")
    return values


def _derivative(function: Callable[[Any], Any], r: Array) -> Array:
    """d function / d r by the five-point stencil, Abramowitz & Stegun 25.3.6; relative error about 1e-11."""
    h = 1e-3 * r

    near = _evaluate(function, r + h) - _evaluate(function, r - h)
    far = _evaluate(function, r + 2 * h) - _evaluate(function, r - 2 * h)
    return (8 * near - far) / (12 * h)
