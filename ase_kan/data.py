"""Training data of one pair: energies, and forces where they are known, at distances r."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator

Array = NDArray[np.float64]
Pair = tuple[str, str]

#: Energies and forces (or None) at the distances given: where fresh hold-out points come from.
Source = Callable[[Array], tuple[Array, "Array | None"]]


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
    source : callable, optional
        ``source(r) -> (energy, force or None)``: gives fresh points, for hold-out errors and plots.

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

    def __post_init__(self) -> None:
        r = _finite_vector("r", self.r)
        if len(r) < 2:
            raise ValueError(f"a curve needs at least 2 points, got {len(r)}")
        if r.min() <= 0:
            raise ValueError(f"distances must be positive, got r = {r.min():g}: drop such points")
        energy = _finite_vector("energy", self.energy, len(r))
        force = None if self.force is None else _finite_vector("force", self.force, len(r))
        order = np.argsort(r, kind="stable")
        if r[order[0]] == r[order[-1]]:
            raise ValueError(f"all {len(r)} distances are {r[0]:g}: a curve needs different ones")
        object.__setattr__(self, "r", r[order])
        object.__setattr__(self, "energy", energy[order])
        object.__setattr__(self, "force", None if force is None else force[order])
        if self.elements is not None:
            object.__setattr__(self, "elements", _symbols(self.elements))

    def __len__(self) -> int:
        return len(self.r)

    def __repr__(self) -> str:
        what = "any elements" if self.elements is None else "-".join(self.elements)
        forces = "energies" if self.force is None else "energies and forces"
        return f"PairCurve({what}, {len(self)} {forces} on [{self.r[0]:g}, {self.r[-1]:g}] A)"

    @classmethod
    def read(cls, path: str | os.PathLike[str], elements: Pair | None = None) -> PairCurve:
        """Read columns r (Angstrom), energy (eV) and, if there is a third, force (eV/Angstrom).

        Columns are separated by white space or commas; lines that start with ``#``, and a first line of names,
        are skipped.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is not such a table; the message names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no curve file at {path}")
        lines = [line.replace(",", " ") for line in path.read_text().splitlines() if line.split("#")[0].strip()]
        if lines and not _is_number(lines[0].split()[0]):
            lines = lines[1:]
        try:
            table = np.loadtxt(lines, ndmin=2)
        except ValueError as error:
            raise ValueError(f"{path} is not a table of numbers: {error}") from None
        if table.shape[0] == 0 or table.shape[1] not in (2, 3):
            raise ValueError(f"{path} must have two or three columns (r, energy, force), got shape {table.shape}")
        try:
            return cls(table[:, 0], table[:, 1], table[:, 2] if table.shape[1] == 3 else None, elements)
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
    return array


def _sample(r_min: float, r_max: float, n: int, seed: int | None) -> Array:
    if not (np.isfinite([r_min, r_max]).all() and 0 < r_min < r_max):
        raise ValueError(f"need 0 < r_min < r_max, got r_min = {r_min:g}, r_max = {r_max:g}")
    if n < 2:
        raise ValueError(f"need at least 2 points, got n = {n}")
    if seed is None:
        return np.linspace(r_min, r_max, n)
    return np.sort(np.random.default_rng(seed).uniform(r_min, r_max, n))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
