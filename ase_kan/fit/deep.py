"""Deeper KANs: Levenberg-Marquardt on energies and slopes in float64, from several starts.

A deep KAN on few points hides its freedom in grid cells that no point reaches. So the exact single-edge fit
(`linear`) teaches it: beside the data it is given that fit's energies and slopes on a dense mesh, which reaches
a little beyond the data, where the grids of the deep KAN end. What decides between starts is the error on all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from ase_kan.data.curve import PairCurve
from ase_kan.fit.linear import Reduction, default_grid, fit_linear
from ase_kan.kan import householder as solve
from ase_kan.kan.bsplines import basis
from ase_kan.kan.dense import DenseKAN
from ase_kan.kan.network import KANNetwork
from ase_kan.types import Array, Report

RIDGE = 1e-9
STARTS = 3
EVALUATIONS = 150
#: The teacher: its degree and its mesh points.
TEACHER_DEGREE, TEACHER_POINTS = 7, 200
#: How far it reaches beyond the data, in mean distances between points: of 1000 random sets one has a wider gap.
TEACHER_REACH = 7.0
#: A few hundred steps on a non-convex function turn a difference in the last digit into another network, and the last
#: digit of a logarithm or of a BLAS product depends on the processor. So the optimization begins with rounded numbers
#: (the decimals are of reduced units) and goes on with sums in a fixed order alone: the same network everywhere.
DATA_DECIMALS, TARGET_DECIMALS, START_DECIMALS = 10, 9, 4


@dataclass(frozen=True)
class Targets:
    """What the network should be: values y and slopes dy/du (with weights) at inputs u, in reduced units."""

    u: Array
    y: Array
    slope: Array
    slope_weight: Array

    def rounded(self) -> Targets:
        """With `TARGET_DECIMALS` decimals."""
        arrays = (self.u, self.y, self.slope, self.slope_weight)
        return Targets(*(np.round(a, TARGET_DECIMALS) for a in arrays))


def taught(curve: PairCurve, feature: str) -> tuple[Reduction, Targets]:
    """The data, and what the exact single-edge fit in 1/r says between and just beyond them."""
    curve = _rounded(curve)
    reduction, teacher = Reduction.of(curve, feature), Reduction.of(curve, "1/r")
    k = min(TEACHER_DEGREE, max(1, len(curve) - 4))
    grid = default_grid(curve, k)
    fitted = fit_linear(curve, teacher, grid, k, beyond=-(-grid // 4)).network
    r_min, r_max = curve.r[0], curve.r[-1]
    reach = TEACHER_REACH * (r_max - r_min) / len(curve)
    # The teacher's grid ends half its half-range beyond the data; 1/r must stay positive.
    x_min, x_max = teacher.x.shift - 1.5 * teacher.x.scale, teacher.x.shift + 1.5 * teacher.x.scale
    low = max(r_min - reach, 1 / x_max)
    high = min(r_max + reach, 1 / x_min) if x_min > 0 else r_max + reach
    half = TEACHER_POINTS // 2
    mesh = np.concatenate([np.linspace(low, high, half), 1 / np.linspace(1 / low, 1 / high, half)])
    r = np.concatenate([curve.r, mesh])
    u, du = reduction.inputs(r)
    tu, tdu = teacher.inputs(r)
    layer = fitted[0]
    splines = basis(layer.grid[0].numpy(), k, tu)
    y, slope_u = (np.einsum("nc,c->n", matrix, layer.coef[0, 0].numpy()) for matrix in splines)
    # Same reduction of the energy in both: it depends on the data only.
    slope = slope_u * tdu
    n = len(curve)
    y[:n] = (curve.energy - reduction.e.shift) / reduction.e.scale
    if curve.force is not None:
        slope[:n] = -curve.force / reduction.e.scale
    return reduction, Targets(u, y, slope / du, np.abs(du) * reduction.force_weight)


def _rounded(curve: PairCurve) -> PairCurve:
    """The curve with energies and forces rounded to `DATA_DECIMALS` of their spread, by exact powers of two."""

    def rounded(values: Array) -> Array:
        unit = 2.0 ** np.round(np.log2(max(float(np.std(values)), 1e-300) * 10.0**-DATA_DECIMALS))
        result: Array = np.round(values / unit) * unit
        return result

    force = None if curve.force is None else rounded(curve.force)
    return PairCurve(curve.r, rounded(curve.energy), force, curve.elements)


def fit_deep(
    width: Sequence[int],
    grid: int,
    k: int,
    targets: Targets,
    seed: int,
    evaluations: int = EVALUATIONS,
    report: Report | None = None,
) -> tuple[KANNetwork, Array, bool]:
    """The best of several Levenberg-Marquardt runs; Ctrl-C stops them and keeps the best so far.

    Returns
    -------
    network : KANNetwork
    history : ndarray
        Best reduced RMSE after every evaluation, all starts in a row.
    interrupted : bool
    """
    targets = targets.rounded()
    kan = DenseKAN(width, grid, k)
    rng = np.random.default_rng(seed)
    history: list[float] = []
    best: list[Array] = []

    def residuals(theta: Array) -> Array:
        y, slope, *_ = kan.evaluate(theta, targets.u)
        rows = np.concatenate([y - targets.y, (slope - targets.slope) * targets.slope_weight])
        loss = float(np.sqrt(np.mean(rows**2)))
        if not history or loss < history[-1]:
            best[:] = [theta.copy()]
        history.append(min(loss, history[-1]) if history else loss)
        if report:
            report(len(history), history[-1])
        return np.concatenate([rows, RIDGE * theta])

    def jacobian(theta: Array) -> Array:
        _, _, dy, dslope = kan.evaluate(theta, targets.u)
        return np.concatenate([dy, dslope * targets.slope_weight[:, None], RIDGE * np.eye(len(theta))])

    interrupted = False
    tolerances = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15)
    try:
        for number in range(STARTS):
            theta = _start(kan, targets, rng, noise=0.0 if number == 0 else 0.3)
            least_squares(  # type: ignore[operator]  # scipy is untyped, and has a module of this name
                residuals, theta, jacobian, method="lm", x_scale="jac", max_nfev=evaluations, **tolerances
            )
    except KeyboardInterrupt:
        if not best:
            raise
        interrupted = True
    return kan.network(best[0]), np.array(history), interrupted


def _start(kan: DenseKAN, targets: Targets, rng: np.random.Generator, noise: float) -> Array:
    """Hidden nodes that spread the curve's bends evenly, and an output layer solved for exactly.

    A node u -> integral of |y''|^p with p between 0 (the identity) and 1/2 gives the next grid more cells where
    the curve bends more (equidistribution: C. de Boor, 1973).
    """
    order = np.argsort(targets.u)
    u = targets.u[order]
    bend = np.abs(np.gradient(targets.slope[order], u + 1e-12 * np.arange(len(u))))
    bend = np.nan_to_num(bend, posinf=0.0) + 1e-3 * np.nanmean(bend[np.isfinite(bend)]) + 1e-12
    layers = []
    x = targets.u[:, None]
    for n_in, n_out, _ in kan.shapes[:-1]:
        powers = np.linspace(0.5, 0.0, n_out) if n_out > 1 else np.array([0.3])
        powers = powers + noise * rng.uniform(-0.3, 0.3, n_out)
        wanted = np.empty((len(u), n_out))
        for o, power in enumerate(powers):
            density = bend**power
            warp = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(u))])
            wanted[order, o] = 1.8 * warp / warp[-1] - 0.9 if n_in == 1 else x[order, o % n_in]
        matrix = kan.edge_features(x)[0].reshape(len(x), -1)
        weights = _ridge(matrix, wanted).reshape(n_in, kan.features, n_out).transpose(0, 2, 1)
        weights = weights + noise * rng.normal(0, 0.1, weights.shape)
        layers.append(weights.ravel())
        x = np.einsum("nif,iof->no", kan.edge_features(x)[0], weights)
    matrix = kan.edge_features(x)[0].reshape(len(x), -1)
    layers.append(_ridge(matrix, targets.y[:, None]).ravel())
    return np.asarray(np.round(np.concatenate(layers), START_DECIMALS), dtype=np.float64)


def _ridge(matrix: Array, target: Array) -> Array:
    n = matrix.shape[1]
    stacked = np.concatenate([matrix, 1e-6 * np.eye(n)])
    return solve.least_squares(stacked, np.concatenate([target, np.zeros((n, target.shape[1]))]))
