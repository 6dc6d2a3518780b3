"""What data say of a pair energy, as linear functionals of it: the same for curves, structures and potentials.

    target_i = sum_p operator_ip phi(r_p) + noise_i        (energies, and all of structures)
    target_i = sum_p operator_ip phi'(r_p) + noise_i       (forces of a curve)

Energies and forces make groups, each with a noise of its own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ase_kan.analysis.law.forms import Columns
from ase_kan.data.curve import PairCurve
from ase_kan.types import Array

#: Rounding of values, as a part of their own and of their typical size: they are sums of terms that may be larger.
ROUNDING = 8 * float(np.finfo(float).eps)
#: Fewest data that a law can be told from.
FEWEST = 6


@dataclass(frozen=True, eq=False)
class Group:
    """Data of one kind.

    Parameters
    ----------
    name : str
        "energy" or "forces".
    target : ndarray, shape (rows,)
        Over the noise, up to a factor.
    operator : ndarray, shape (rows, points), or None
        The same; None is one row for each point.
    scale : ndarray, shape (rows,)
        Noise up to a factor, eV or eV/Angstrom. It divides what a missing operator gives.
    slopes : bool
        The operator acts on dphi/dr.
    count : float
        Number of data; more than there are rows if they were compressed.
    rest : float
        Their sum of squares that no pair energy explains.
    floor : float
        Sum of squares that is nothing but rounding.
    known : bool
        The noise is 1, instead of unknown.
    weight : float
        One over the noise, as far as it is known.
    """

    name: str
    target: Array
    scale: Array
    count: float
    floor: float
    operator: Array | None = None
    slopes: bool = False
    rest: float = 0.0
    known: bool = False
    weight: float = 1.0

    def rows(self, columns: Columns) -> Array:
        """Columns of the equations, shape (b, rows, pieces)."""
        values = columns.slope if self.slopes else columns.value
        if self.operator is not None:
            return np.asarray(self.operator @ values)
        return values / self.scale[:, None]


@dataclass(frozen=True, eq=False)
class Observations:
    """All that is known of one pair energy.

    Parameters
    ----------
    r : ndarray, shape (points,)
        Distances, Angstrom, ascending.
    domain : (float, float)
        What the data cover, Angstrom.
    groups : tuple of Group
    """

    r: Array
    domain: tuple[float, float]
    groups: tuple[Group, ...]

    @property
    def scale(self) -> float:
        """Geometric mean of the ends of the data, Angstrom."""
        return float(np.sqrt(self.domain[0] * self.domain[1]))

    @property
    def count(self) -> float:
        return sum(group.count for group in self.groups)

    def target(self) -> Array:
        """All targets, weighted."""
        return np.concatenate([group.weight * group.target for group in self.groups])

    def rows(self, columns: Columns) -> Array:
        """All equations, weighted; shape (b, rows, pieces)."""
        return np.concatenate([group.weight * group.rows(columns) for group in self.groups], axis=1)

    def squares(self, residual: Array) -> Array:
        """Sum of squares of each group for residuals (b, rows), without the weights; shape (b, groups)."""
        found, at = [], 0
        for group in self.groups:
            part = residual[:, at : at + len(group.target)] / group.weight
            at += len(group.target)
            found.append(np.maximum((part**2).sum(axis=1) + group.rest, group.floor))
        return np.stack(found, axis=1)

    def weighted(self, weights: Sequence[float]) -> Observations:
        """The same data with other weights of the groups."""
        groups = tuple(replace(g, weight=w) for g, w in zip(self.groups, weights, strict=True))
        return replace(self, groups=groups)

    @classmethod
    def of_curve(cls, curve: PairCurve) -> Observations:
        """Energies, and forces where there are some.

        Raises
        ------
        ValueError
            For too few points, or energies that are all zero.
        """
        if len(np.unique(curve.r)) < FEWEST:
            raise ValueError(f"a law needs at least {FEWEST} different distances, got {len(np.unique(curve.r))}")
        if not curve.energy.any():
            raise ValueError("all energies are zero: there is no law to be found")
        scale = np.ones(len(curve)) if curve.errors is None else curve.errors / np.exp(np.mean(np.log(curve.errors)))
        groups = [_group("energy", curve.energy, scale)]
        if curve.force is not None and curve.force.any():
            weight = float(np.sqrt(curve.r[0] * curve.r[-1])) / 10
            force = _group("forces", -curve.force, np.ones(len(curve)))
            groups.append(replace(force, slopes=True, weight=weight))
        return cls(curve.r, (float(curve.r[0]), float(curve.r[-1])), tuple(groups))


def _group(name: str, values: Array, scale: Array) -> Group:
    target = values / scale
    size = np.abs(values) + float(np.sqrt(np.mean(values**2)))
    floor = float(((ROUNDING * size / scale) ** 2).sum())
    return Group(name, target, scale, float(len(values)), floor)
