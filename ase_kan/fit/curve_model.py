"""A KAN [1, 1] of a curve by evidence: all points, a fine grid, and leave-one-out errors.

The energy over its scale De (the depth of the well) is a spline of the feature on a fine uniform grid; smoothness and
noise are chosen by module `evidence`. What is large at short distances may vary more there: the local amplitude of the
prior is De + |E|, times a power of 1/r that the evidence chooses too. The noise is the same for all points, or grows
like De + |E| (again the evidence decides), or is what the user says; a force has the noise of an energy over 0.1 r.

An error is told for every point from all others: with h_i the diagonal of the hat matrix, the error of a linear fit
without point i is residual_i / (1 - h_i) (D. M. Allen, Technometrics 16, 125, 1974); points with a force are left out
with it, 2 by 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ase_kan.data.curve import PairCurve
from ase_kan.fit.evidence import Rows, Smoothness, Triangle, choose_smoothness, rounded
from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.kan.network import KANNetwork
from ase_kan.potentials.end_laws import MARGIN, WALL_PARTS, EndLaw, Stretch, choose_tail, choose_wall
from ase_kan.potentials.features import get_feature, two_derivatives
from ase_kan.potentials.pair import Affine
from ase_kan.potentials.scale import typical
from ase_kan.types import Array

#: Noise of an energy over that of a force, in units of the distance.
FORCE_WEIGHT = 0.1
#: Cells of the grid between the outermost data, and beyond them on each side: right at the end of its grid a KAN goes
#: over to its base functions.
CELLS, FEWEST_CELLS, MOST_CELLS, BEYOND = 2, 24, 120, 2
#: Highest order of the differences that are penalised.
HIGHEST_ORDER = 5
#: Features that are tried by default; one after the first must have strong evidence.
FEATURES_TRIED = ("1/r", "log r")
#: Huber's loss is quadratic up to so many deviations (95 % efficient for normal noise), and re-weighted so often.
HUBER, HUBER_STEPS = 1.345, 6
#: Distances at which a fit stands in for data.
SAMPLES = 200
#: Errors of laws at the joints are so many times as large in the posterior: their form may be wrong.
DOUBT = 12.0
#: A law is not known better than this, relatively.
LEAST_ERROR = 1e-12
#: 1 - h below this is rounding.
LEVERAGE_LEFT = 1e-7


@dataclass(frozen=True)
class CurveModel:
    """The fit of a curve.

    Parameters
    ----------
    network : KANNetwork
    feature : str
    x, e : Affine
        As in `PairFunction`.
    grid : int
        Cells between the outermost data.
    depth : float
        Scale of the energy, eV: the depth of the well.
    noise : ndarray, shape (n,)
        Standard deviation of each energy, eV.
    noise_model : str
        "uniform", "relative" or "given".
    score : float
        Minus twice the log of the evidence.
    left_out : ndarray, shape (n,)
        Prediction minus data where a point is left out, eV.
    left_out_force : ndarray, shape (n,) or None
        The same for forces, eV/Angstrom.
    smoothness : Smoothness
    posterior : Triangle
        R of the coefficients: their covariance is (sigma De)^2 R^-1 R^-T.
    outliers : ndarray
        Distances of points that count less than half (Angstrom).
    misfit : float
        RMS of the errors of left-out points over what noise and posterior allow for, 1 at least.
    """

    network: KANNetwork
    feature: str
    x: Affine
    e: Affine
    grid: int
    depth: float
    noise: Array
    noise_model: str
    score: float
    left_out: Array
    left_out_force: Array | None
    smoothness: Smoothness
    posterior: Triangle
    outliers: Array
    misfit: float

    def factor(self) -> Array:
        """L of the covariance L L^T of the coefficients, eV; shape (coefficients, coefficients)."""
        n, k = len(self.posterior.rows), self.posterior.rows.shape[1] - 2
        units = Rows.of(np.eye(n), np.zeros(n), k)
        scale = self.misfit * self.smoothness.sigma * self.depth
        return scale * self.posterior.whiten(units).T


def energy_offset_and_scale(energy: Array) -> tuple[float, float]:
    """An energy to subtract (total energies have one), and the depth of the well or, without one, the median size."""
    offset = float(energy[-1]) if np.abs(energy).min() > np.ptp(energy) else 0.0
    at = typical(energy - offset)
    return offset, 1.0 if at is None else float(abs(energy[at] - offset))


class CurveProblem:
    """The equations of a curve for one feature and grid.

    Parameters
    ----------
    curve : PairCurve
    feature : str
    grid : int or None
        Cells between the outermost data; None: as fine as the points are many, and two cells more on each side.
    k : int
    inflation : ndarray, shape (n,), optional
        Factors of the noise (see `choose_robust_model`).
    """

    def __init__(
        self, curve: PairCurve, feature: str, grid: int | None, k: int, inflation: Array | None = None
    ) -> None:
        self.curve, self.feature, self.k, self.inflation = curve, feature, k, inflation
        beyond = BEYOND if grid is None else 0
        self.grid = int(np.clip(CELLS * len(curve), FEWEST_CELLS, MOST_CELLS)) if grid is None else grid
        ends = get_feature(feature).of_r(torch.from_numpy(curve.r[[0, -1]])).numpy()
        self.x = Affine(float(ends.mean()), float(np.ptp(ends) / 2))
        self.e = Affine(*energy_offset_and_scale(curve.energy))
        reach = 1 + 2 * beyond / self.grid
        self.knots = uniform_knots(-reach, reach, self.grid + 2 * beyond, k)
        self.n = len(self.knots) - 1 - k
        self.order = min(k, HIGHEST_ORDER)
        reduced = (curve.energy - self.e.shift) / self.e.scale
        value, slope, _ = self.splines(curve.r)
        rows = Rows.of(value, reduced, k)
        if curve.force is not None:
            force = -curve.force * curve.r / self.e.scale
            rows = Rows.stack(rows, Rows.of(slope * FORCE_WEIGHT, force * FORCE_WEIGHT, k))
        self.rows = rows
        size = 1 + np.abs(reduced)
        self.models: dict[str, Array] = {"uniform": np.ones(len(size)), "relative": size}
        if curve.errors is not None:
            self.models = {"given": curve.errors / np.exp(np.log(curve.errors).mean())}
        if inflation is not None:
            self.models = {name: s * inflation for name, s in self.models.items()}
        # Distances and amplitudes where the penalised differences are: in the middle of q + 1 splines.
        middle = np.array([self.knots[c + 1 : c + k + 1].mean() for c in range(self.n)])
        middle = np.convolve(middle, np.ones(self.order + 1) / (self.order + 1), mode="valid")
        inverse = 1 / curve.r[::-1]
        u = self.inputs(1 / inverse)[0]
        order = np.argsort(u)
        self.lever = np.interp(middle, u[order], inverse[order]) / inverse[-1]
        self.amplitude = np.exp(np.interp(middle, u[order], np.log(size[::-1][order])))

    def inputs(self, r: Array) -> tuple[Array, Array, Array]:
        """u, r du/dr and r^2 d^2u/dr^2."""
        x, slope, curvature = two_derivatives(get_feature(self.feature).of_r, r)
        u = (x - self.x.shift) / self.x.scale
        # The two ends of the data may be the ends of the grid, where rounding must not push them over.
        u = np.where(np.abs(np.abs(u) - 1) < 1e-14, np.sign(u), u)
        return u, slope * r / self.x.scale, curvature * r**2 / self.x.scale

    def splines(self, r: Array) -> tuple[Array, Array, Array]:
        """All splines at r, and r d/dr and r^2 d^2/dr^2 of them; shapes (n, splines)."""
        u, du, ddu = self.inputs(r)
        value, first, second = basis(self.knots, self.k, u, derivatives=2)
        return value, first * du[:, None], second * du[:, None] ** 2 + first * ddu[:, None]

    def scale(self, name: str) -> Array:
        """Noise of every row in units of sigma, shape (N,)."""
        s = self.models[name]
        return s if self.curve.force is None else np.concatenate([s, s])

    def choose(self) -> Smoothness:
        """Smoothness and noise by evidence."""
        scales = [self.scale(name) for name in self.models]
        noises = [(self.rows.over(s), float(2 * np.log(s).sum())) for s in scales]
        return choose_smoothness(noises, self.n, self.order, self.amplitude, self.lever)

    def solve(self, smoothness: Smoothness, laws: Sequence[EndLaw] = ()) -> CurveModel:
        """The network, with the ends tied to laws as well as those are known."""
        name = list(self.models)[smoothness.noise]
        scale = self.scale(name)
        rows = self.rows.over(scale)
        tied = Rows.stack(rows, *(self._tie(law, smoothness.sigma) for law in laws))
        difference = np.diff(np.eye(self.order + 1), self.order, axis=0)[0]
        triangle = Triangle.of(tied, self.n).with_penalty(difference, smoothness.weights[:, None])
        coef = triangle.solve()[:, 0]
        # Laws may be wrong by more than they know: the posterior believes them less.
        known = triangle
        if laws:
            doubted = Rows.stack(rows, *(self._tie(law, smoothness.sigma, DOUBT) for law in laws))
            known = Triangle.of(doubted, self.n).with_penalty(difference, smoothness.weights[:, None])
        left_out = self._left_out(rows, tied, difference, smoothness.weights)
        here = (rows.values * coef[rows.first[:, None] + np.arange(self.k + 1)]).sum(axis=1) - rows.target
        # residual / sqrt(1 - h) has the deviation of the noise.
        squares = np.abs(here * left_out) / smoothness.sigma**2
        n = len(self.curve)
        misfit = float(np.sqrt(max(1.0, squares[1 : n - 1].mean()))) if n > 2 else 1.0
        left_out = left_out * scale * self.e.scale
        forces = None if self.curve.force is None else -left_out[n:] / (FORCE_WEIGHT * self.curve.r)
        return CurveModel(
            KANNetwork.of_spline(self.knots, coef),
            self.feature,
            self.x,
            self.e,
            self.grid,
            self.e.scale,
            smoothness.sigma * scale[:n] * self.e.scale,
            name,
            smoothness.score,
            left_out[:n],
            forces,
            smoothness,
            known,
            self.curve.r[:0] if self.inflation is None else self.curve.r[self.inflation**2 > 2],
            misfit,
        )

    def stretch(self, smoothness: Smoothness) -> Stretch:
        """The curve with its noise."""
        noise = smoothness.sigma * self.models[list(self.models)[smoothness.noise]] * self.e.scale
        return _stretch(self.curve, noise)

    def _tie(self, law: EndLaw, sigma: float, doubt: float = 1.0) -> Rows:
        """E, r E' and r^2 E'' of a law at its joint, with so many times its errors."""
        joint = np.array([law.law.joint])
        matrix = np.concatenate(self.splines(joint))
        target = (law.derivatives() - np.array([self.e.shift, 0.0, 0.0])) / self.e.scale
        error = doubt * np.maximum(law.errors / self.e.scale, LEAST_ERROR * (np.abs(target) + 1))
        # Digits that depend on the processor are left out: they are far below any error.
        target = np.round(target * 2.0**44) / 2.0**44
        return Rows.of(matrix, target, self.k).over(rounded(error / sigma))

    def _left_out(self, rows: Rows, tied: Rows, difference: Array, weights: Array) -> Array:
        """Prediction minus target of every row, with all rows of its point left out; over its noise."""
        n, result = len(self.curve), np.zeros(len(rows))
        data = Triangle.of(tied, self.n)
        # Data without noise are passed through, and rounding is all that is left of 1 - h: slightly smoother, then.
        for smoother in 10.0 ** np.arange(20):
            triangle = data.with_penalty(difference, smoother * weights[:, None])
            white, coef = triangle.whiten(rows), triangle.solve()[:, 0]
            here = rows.first[:, None] + np.arange(self.k + 1)
            residual = (rows.values * coef[here]).sum(axis=1) - rows.target
            left = 1 - (white**2).sum(axis=0)
            if self.curve.force is None:
                rest = np.maximum(left, LEVERAGE_LEFT)
                result = residual / rest
            else:
                cross = -(white[:, :n] * white[:, n:]).sum(axis=0)
                rest = np.maximum(left[:n] * left[n:] - cross**2, LEVERAGE_LEFT)
                result[:n] = (left[n:] * residual[:n] - cross * residual[n:]) / rest
                result[n:] = (left[:n] * residual[n:] - cross * residual[:n]) / rest
            if rest.min() > LEVERAGE_LEFT:
                break
        return result


def choose_robust_model(
    curve: PairCurve, feature: str | None, grid: int | None, k: int
) -> tuple[CurveProblem, Smoothness]:
    """`choose_model` by Huber's loss: a point whose left-out error is u > 1.345 robust deviations counts 1.345 / u."""
    inflation = None
    for _ in range(HUBER_STEPS):
        problem, smoothness = choose_model(curve, feature, grid, k, inflation)
        model = problem.solve(smoothness)
        noise = model.noise if inflation is None else model.noise / inflation
        size = np.abs(model.left_out) / noise
        # 0.6745: the median of the size of a normal error of unit deviation.
        size = size[1:-1] * 0.6745 / max(float(np.median(size[1:-1])), 1e-300)
        # Beyond the two ends nothing tells them from outliers.
        inflation = np.concatenate([[1.0], np.sqrt(np.maximum(1.0, size / HUBER)), [1.0]])
    return choose_model(curve, feature, grid, k, inflation)


def choose_model(
    curve: PairCurve, feature: str | None, grid: int | None, k: int, inflation: Array | None = None
) -> tuple[CurveProblem, Smoothness]:
    """The feature, the smoothness and the noise of the largest evidence.

    Parameters
    ----------
    feature : str or None
        None: 1/r, or log r where the evidence for it is strong (curves over decades of distance, oscillations).
    """
    names = FEATURES_TRIED if feature is None else (feature,)
    problems = [CurveProblem(curve, name, grid, k, inflation) for name in names]
    choices = [(problem, problem.choose()) for problem in problems]
    return min(choices, key=lambda choice: choice[1].score + (0 if choice is choices[0] else MARGIN))


def wall_of(curve: PairCurve, noise: Array) -> EndLaw | None:
    """What the near end of a curve supports, for noise (eV) of its energies that is known already."""
    return choose_wall(_stretch(curve, noise), float(curve.r[int(np.argmin(curve.energy))]))


def tail_of(curve: PairCurve, noise: Array) -> EndLaw | None:
    """What its far end supports."""
    return choose_tail(_stretch(curve, noise), float(curve.r[int(np.argmin(curve.energy))]), coulomb=False)


def _stretch(curve: PairCurve, noise: Array) -> Stretch:
    force_noise = None if curve.force is None else noise / (FORCE_WEIGHT * curve.r)
    return Stretch(curve.r, curve.energy, noise, curve.force, force_noise)


def laws_of_ends(
    problem: CurveProblem, smoothness: Smoothness, wall: bool, tail: bool, coulomb: bool
) -> tuple[EndLaw | None, EndLaw | None]:
    """What the near and the far end of a curve support, of those asked for.

    Where the points are too few for a wall, the fit between them stands in.
    """
    stretch = problem.stretch(smoothness)
    well = float(stretch.r[int(np.argmin(stretch.energy))])
    near = choose_wall(stretch, well) if wall else None
    if wall and near is None:
        model = problem.solve(smoothness)
        low, high = float(stretch.r[0]), min(well, float(stretch.r[0] + WALL_PARTS[0] * np.ptp(stretch.r)))
        r = np.linspace(low, high, SAMPLES)
        value, slope, _ = problem.splines(r)
        coef = model.network[0].coef[0, 0].numpy()
        noise = np.interp(r, stretch.r, stretch.noise)
        energy, force = (problem.e.scale * np.einsum("rc,c->r", part, coef) for part in (value, -slope / r[:, None]))
        between = Stretch(r, energy + problem.e.shift, noise, force, noise / (FORCE_WEIGHT * r))
        near = choose_wall(between, well)
    return near, choose_tail(stretch, well, coulomb) if tail else None
