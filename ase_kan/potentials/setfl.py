"""Published embedded-atom potentials: files in the setfl format of LAMMPS's `eam/alloy` and `eam/fs`.

Three lines of comment; the elements; ``nrho drho nr dr cutoff``; for each element a line (atomic number, mass, ...), F
at 0, drho, ... and f at 0, dr, ...: its density at all atoms (`eam/alloy`), or one at the atoms of each element
(`eam/fs`); then r phi at 0, dr, ... of each two elements (https://docs.lammps.org/pair_eam.html). In between, the
functions are what LAMMPS makes of them (`PairEAM::interpolate` in its pair_eam.cpp): cubics with the slopes

    y'_n = (y_(n-2) - 8 y_(n-1) + 8 y_(n+1) - y_(n+2)) / (12 step)

which are central differences at the second and last but one value, and plain ones at the ends. F goes on as a straight
line above its last density, and as its first cubic below 0.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from torch import Tensor

from ase_kan.potentials.features import limited
from ase_kan.types import Array, Pair, sorted_pair

#: LAMMPS's rule for the slopes needs so many values.
FEWEST_VALUES = 5


@dataclass(frozen=True, eq=False)
class Curve:
    """Cubics between evenly spaced values, the first at 0.

    Attributes
    ----------
    step : float
    rows : Tensor, shape (n - 1, 4)
        Coefficients of 1, t, t^2 and t^3 with t from 0 to 1 in each step.
    """

    step: float
    rows: Tensor

    @classmethod
    def through(cls, y: Array, step: float) -> Curve:
        """Through values `y`, shape (n,)."""
        slope = np.empty_like(y)
        slope[2:-2] = (y[:-4] - y[4:] + 8 * (y[3:-1] - y[1:-3])) / 12
        slope[[1, -2]] = (y[2] - y[0]) / 2, (y[-1] - y[-3]) / 2
        slope[[0, -1]] = y[1] - y[0], y[-1] - y[-2]
        rise = np.diff(y)
        second = 3 * rise - 2 * slope[:-1] - slope[1:]
        third = slope[:-1] + slope[1:] - 2 * rise
        return cls(step, torch.from_numpy(np.stack([y[:-1], slope[:-1], second, third], axis=1)))

    @property
    def end(self) -> float:
        """Where the last value is."""
        return len(self.rows) * self.step

    def __call__(self, x: Tensor) -> Tensor:
        """Values at `x`: beyond the last one that one, below 0 the first cubic."""
        u = x / self.step
        row = u.detach().floor().clamp(0, len(self.rows) - 1)
        t = limited(u - row, high=1.0)
        c = self.rows[row.long()]
        return ((c[..., 3] * t + c[..., 2]) * t + c[..., 1]) * t + c[..., 0]

    def slope_at_end(self) -> float:
        """The slope at the last value."""
        _, first, second, third = self.rows[-1].tolist()
        return float((first + 2 * second + 3 * third) / self.step)


@dataclass(frozen=True, eq=False, repr=False)
class TabulatedEAM:
    """An embedded-atom potential from tables, as LAMMPS evaluates it; `from_setfl` reads one.

    Attributes
    ----------
    elements : tuple of str
        In alphabetical order.
    cutoff : float
        Angstrom.
    embeddings : mapping of str to Curve
        F (eV) of the density, for each element.
    densities : mapping of (str, str) to Curve
        f of the distance (Angstrom), for each atom and neighbor.
    pair_products : mapping of (str, str) to Curve
        r phi (eV Angstrom) of the distance, for each two elements in alphabetical order.
    """

    elements: tuple[str, ...]
    cutoff: float
    embeddings: Mapping[str, Curve]
    densities: Mapping[Pair, Curve]
    pair_products: Mapping[Pair, Curve]

    @property
    def channels(self) -> int:
        """One density per atom."""
        return 1

    @property
    def reference_energies(self) -> Mapping[str, float]:
        """None: what a lone atom has is F(0)."""
        return MappingProxyType({})

    def domain(self, pair: Pair) -> tuple[float, float]:
        """The distances of the table, but for r = 0 where phi is not defined."""
        return self._known(self.pair_products, sorted_pair(pair)).step, self.cutoff

    def density_domain(self, element: str, channel: int = 0) -> tuple[float, float]:
        """The densities of the table."""
        self._check_channel(channel)
        return 0.0, self._known(self.embeddings, element).end

    def breakpoints(self, pair: Pair) -> tuple[float, ...]:
        """Where the values of the table are: there the curvature jumps. Then the cutoff."""
        curve = self._known(self.pair_products, sorted_pair(pair))
        inside = np.arange(1, len(curve.rows) + 1) * curve.step
        return *inside[inside < self.cutoff * (1 - 1e-9)].tolist(), self.cutoff

    def density_breakpoints(self, element: str, channel: int = 0) -> tuple[float, ...]:
        """Where the values of F are."""
        self._check_channel(channel)
        curve = self._known(self.embeddings, element)
        return tuple((np.arange(len(curve.rows) + 1) * curve.step).tolist())

    def pair_energy(self, r: Tensor, pair: Pair) -> Tensor:
        """phi(r), eV; zero from the cutoff on."""
        product = self._known(self.pair_products, sorted_pair(pair))
        return torch.where(r < self.cutoff, product(r) / r, 0.0)

    def density(self, r: Tensor, atom: str, neighbor: str, channel: int = 0) -> Tensor:
        """f(r) at an atom; zero from the cutoff on."""
        self._check_channel(channel)
        return torch.where(r < self.cutoff, self._known(self.densities, (atom, neighbor))(r), 0.0)

    def embedding(self, density: Tensor, element: str, channel: int = 0) -> Tensor:
        """F(rho), eV."""
        self._check_channel(channel)
        curve = self._known(self.embeddings, element)
        beyond = torch.where(density > curve.end, density - curve.end, 0.0)
        return curve(density) + curve.slope_at_end() * beyond

    def __repr__(self) -> str:
        return f"TabulatedEAM({', '.join(self.elements)}; cutoff {self.cutoff:.4g} A)"

    def __reduce__(self) -> tuple[object, ...]:
        parts = (dict(part) for part in (self.embeddings, self.densities, self.pair_products))
        return _tabulated, (self.elements, self.cutoff, *parts)

    def _known(self, curves: Mapping[Any, Curve], key: str | Pair) -> Curve:
        if key not in curves:
            raise ValueError(f"the potential does not know {key!r}: it has tables for {', '.join(self.elements)}")
        return curves[key]

    @staticmethod
    def _check_channel(channel: int) -> None:
        if channel != 0:
            raise ValueError(f"a tabulated potential has channel 0 only, got {channel}")


def from_setfl(path: str | os.PathLike[str]) -> TabulatedEAM:
    """Read a potential file of LAMMPS's pair styles `eam/alloy` and `eam/fs`.

    Parameters
    ----------
    path : path
        E.g. ``Cu_mishin1.eam.alloy``. Which of the two it is follows from the number of its tables.

    Returns
    -------
    TabulatedEAM
        Energies and forces are those that LAMMPS has with this file.

    Raises
    ------
    ValueError
        If the file is another one, ends too soon, goes on too long, or has numbers that are not finite.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[3:]
    words = [line for line in (text.partition("#")[0].split() for text in lines) if line]
    try:
        return _parse(words)
    except ValueError as error:
        raise ValueError(f"{path} is not a setfl file as LAMMPS's eam/alloy and eam/fs read it: {error}") from None


def _parse(words: list[list[str]]) -> TabulatedEAM:
    if len(words) < 2 or not words[0][0].isdecimal() or len(words[1]) != 5:
        raise ValueError("lines 4 and 5 must be the elements and 'nrho drho nr dr cutoff'")
    names = words[0][1:]
    if int(words[0][0]) != len(names) or not names or len(set(names)) != len(names):
        raise ValueError(f"line 4 must have the number of elements and the elements, got {' '.join(words[0])!r}")
    for name in names:
        if atomic_numbers.get(name, 0) == 0:
            raise ValueError(f"{name!r} is no chemical symbol")
    nrho, nr = (int(words[1][k]) if words[1][k].isdecimal() else 0 for k in (0, 2))
    drho, dr, cutoff = (float(words[1][k]) for k in (1, 3, 4))
    if min(nrho, nr) < FEWEST_VALUES:
        raise ValueError(f"it must have at least {FEWEST_VALUES} densities and distances, got {nrho} and {nr}")
    if not all(0 < number < np.inf for number in (drho, dr, cutoff)):
        raise ValueError(f"steps and cutoff must be positive, got {drho:g}, {dr:g} and {cutoff:g}")
    # Which it is can be told from its length alone; of one element, both are the same.
    n = len(names)
    found = sum(map(len, words[2:]))
    for columns in (1, n):
        blocks = [nrho + columns * nr] * n
        if (tables := _tables(words[2:], blocks, nr * n * (n + 1) // 2)) is not None:
            break
    else:
        need = [n * (nrho + columns * nr) + nr * n * (n + 1) // 2 for columns in (1, n)]
        raise ValueError(
            f"below line 5 are {found} words, but eam/alloy has {need[0]} numbers and eam/fs {need[1]}, besides a line "
            "for each element"
        )
    *elements, products = tables
    embeddings, densities = {}, {}
    for neighbor, table in zip(names, elements, strict=True):
        embeddings[neighbor] = Curve.through(table[:nrho], drho)
        for number, atom in enumerate(names):
            start = nrho + (number if columns == n else 0) * nr
            densities[atom, neighbor] = Curve.through(table[start : start + nr], dr)
    order = [(a, b) for k, a in enumerate(names) for b in names[: k + 1]]
    curves = [Curve.through(y, dr) for y in products.reshape(-1, nr)]
    pairs = {sorted_pair(pair): curve for pair, curve in zip(order, curves, strict=True)}
    return _tabulated(tuple(sorted(names)), cutoff, embeddings, densities, pairs)


def _tables(words: list[list[str]], blocks: list[int], rest: int) -> list[Array] | None:
    """The numbers of each element, whose first line is another, and of all pairs; None if there are more or fewer."""
    tables, at = [], 0
    for heading, count in (*((1, count) for count in blocks), (0, rest)):
        taken: list[str] = []
        at += heading
        while len(taken) < count and at < len(words):
            taken += words[at]
            at += 1
        if len(taken) != count:
            return None
        try:
            numbers: Array = np.array(taken, dtype=float)
        except ValueError:
            return None
        if not np.isfinite(numbers).all():
            raise ValueError("it has numbers that are not finite")
        tables.append(numbers)
    return tables if at == len(words) else None


def _tabulated(
    elements: tuple[str, ...],
    cutoff: float,
    embeddings: dict[str, Curve],
    densities: dict[Pair, Curve],
    pair_products: dict[Pair, Curve],
) -> TabulatedEAM:
    """With mappings that nobody changes."""
    return TabulatedEAM(
        elements, cutoff, MappingProxyType(embeddings), MappingProxyType(densities), MappingProxyType(pair_products)
    )
