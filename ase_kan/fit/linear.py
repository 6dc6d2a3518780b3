"""The teacher of deeper KANs: a KAN [1, 1] on a coarse grid, linear in its coefficients, by least squares.

In reduced units u of the feature and y of the energy (`Reduction`), with splines B_c on the grid,

    minimise  sum_i (sum_c coef_c B_c(u_i) - y_i)^2 + w^2 sum_i (sum_c coef_c B_c'(u_i) du/dr - y'_i)^2
              + n lambda sum (k-th differences of coef)^2 + ridge

On a uniform grid of spacing h, the k-th differences of the coefficients are h^k times the k-th derivative in each cell.
Their penalty decides cells with few data, and lambda is chosen by five-fold cross-validation. (For k = 5, fifth
differences bridge gaps between points and smooth noise better than third ones: largest force error with 50 points and
noise 1e-3, 0.07 instead of 0.12.)
(P-splines: P. H. C. Eilers, B. D. Marx, Statist. Sci. 11, 89, 1996.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ase_kan.data.curve import PairCurve
from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.kan.householder import least_squares
from ase_kan.kan.network import KANNetwork
from ase_kan.potentials.features import get_feature, value_and_slope
from ase_kan.potentials.pair import Affine
from ase_kan.types import Array, Index

#: Weight of a force beside an energy, in units of one over the smallest distance.
FORCE_WEIGHT = 0.1
PENALTIES = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
RIDGE = 1e-20
FOLDS = 5


@dataclass(frozen=True)
class Reduction:
    """Affine maps that bring feature and energy of a curve to order one: u in [-1, 1], y of unit spread."""

    feature: str
    x: Affine
    e: Affine
    length: float

    @classmethod
    def of(cls, curve: PairCurve, feature: str) -> Reduction:
        x = get_feature(feature).of_r(torch.from_numpy(curve.r[[0, -1]])).numpy()
        spread = float(np.std(curve.energy))
        return cls(
            feature,
            Affine(float(x.mean()), float(np.ptp(x) / 2)),
            # A constant curve has no spread, and any scale will do.
            Affine(float(np.mean(curve.energy)), spread if spread > 0 else 1.0),
            float(curve.r[0]),
        )

    def inputs(self, r: Array) -> tuple[Array, Array]:
        """u and du/dr."""
        x, slope = value_and_slope(get_feature(self.feature).of_r, r)
        # The two ends of the data are the ends of the grid, where rounding must not push them over.
        u = (x - self.x.shift) / self.x.scale
        return np.where(np.abs(np.abs(u) - 1) < 1e-14, np.sign(u), u), slope / self.x.scale

    def targets(self, curve: PairCurve) -> tuple[Array, Array | None]:
        """y and, where the curve has forces, w y' (the weight included)."""
        y = (curve.energy - self.e.shift) / self.e.scale
        slope = None if curve.force is None else -curve.force / self.e.scale * self.force_weight
        return y, slope

    @property
    def force_weight(self) -> float:
        """w, in Angstrom."""
        return FORCE_WEIGHT * self.length


def count_values(curve: PairCurve) -> int:
    """Energies and forces together."""
    return len(curve) * (1 if curve.force is None else 2)


def default_grid(curve: PairCurve, k: int) -> int:
    """Grid intervals for the number of energies and forces: 11 for 50, 23 for 200, 32 for 400, at most 40."""
    values = count_values(curve)
    return int(np.clip(round(1.6 * np.sqrt(values)), 1, max(1, min(40, values - k))))


class LinearFit(NamedTuple):
    """A single-edge KAN, the lambda that cross-validation chose, and its cross-validated energy RMSE, eV."""

    network: KANNetwork
    penalty: float
    error: float


def fit_linear(curve: PairCurve, reduction: Reduction, grid: int, k: int, beyond: int = 0) -> LinearFit:
    """The best single-edge KAN (base function zero) for a curve.

    Parameters
    ----------
    grid : int
        Intervals between the outermost data.
    beyond : int
        Intervals more on each side; the penalty alone shapes them, which continues the last polynomial.

    Returns
    -------
    LinearFit
    """
    reach = 1 + 2 * beyond / grid
    knots = uniform_knots(-reach, reach, grid + 2 * beyond, k)
    u, du = reduction.inputs(curve.r)
    y, slope = reduction.targets(curve)
    value, derivative = basis(knots, k, u)
    rows, targets = [value], [y]
    if slope is not None:
        rows.append(derivative * (du * reduction.force_weight)[:, None])
        targets.append(slope)
    fold = np.arange(len(u)) % FOLDS
    # The ends of the data stay in every training set: beyond them nothing is claimed.
    fold[[0, -1]] = -1
    scores: list[float] = [_cross_validate(rows, targets, fold, penalty, k) for penalty in PENALTIES]
    best = int(np.argmin(scores))
    coef = least_squares(*_penalised(np.concatenate(rows), np.concatenate(targets), PENALTIES[best], k))
    return LinearFit(KANNetwork.of_spline(knots, coef), float(PENALTIES[best]), float(scores[best] * reduction.e.scale))


def _cross_validate(rows: list[Array], targets: list[Array], fold: Index, penalty: float, k: int) -> float:
    """RMSE of the left-out (reduced) energies."""
    squares = 0.0
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        stacked = _penalised(
            np.concatenate([a[train] for a in rows]), np.concatenate([t[train] for t in targets]), penalty, k
        )
        coef = np.linalg.lstsq(*stacked, rcond=None)[0]
        squares += float(np.sum((rows[0][test] @ coef - targets[0][test]) ** 2))
    return float(np.sqrt(squares / max(int(np.sum(fold >= 0)), 1)))


def _penalised(matrix: Array, target: Array, penalty: float, k: int) -> tuple[Array, Array]:
    """The rows of the data, of the penalty and of the ridge below each other, and their targets."""
    n = matrix.shape[1]
    rough = np.diff(np.eye(n), k, axis=0) * np.sqrt(penalty * len(target))
    stacked = np.concatenate([matrix, rough, np.sqrt(RIDGE * len(target)) * np.eye(n)])
    padded = np.concatenate([target, np.zeros(len(stacked) - len(target))])
    return stacked, padded
