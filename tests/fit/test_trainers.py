"""The parts of the trainers against finite differences and other implementations."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from ase_kan import PairCurve, fit
from ase_kan.fit.linear import Reduction, fit_linear
from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.kan.dense import DenseKAN
from ase_kan.kan.householder import least_squares
from tests.shared import lj_energy, lj_force


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_basis_equals_scipy(k):
    knots = uniform_knots(-1.0, 2.0, 7, k)
    x = np.random.default_rng(0).uniform(-1.0, 2.0, 200)
    values = basis(knots, k, x, derivatives=2)
    for order, matrix in enumerate(values):
        if order > k - 1:
            continue
        for c in range(matrix.shape[1]):
            spline = BSpline(knots, np.eye(matrix.shape[1])[c], k)
            np.testing.assert_allclose(matrix[:, c], spline.derivative(order)(x) if order else spline(x), atol=1e-10)


def test_jacobian_equals_finite_differences():
    kan = DenseKAN((1, 2, 3, 1), 4, 3)
    rng = np.random.default_rng(0)
    theta = rng.normal(0, 0.3, sum(kan.sizes))
    u = rng.uniform(-1.2, 1.2, 9)
    _, slope, dy, dslope = kan.evaluate(theta, u)
    h = 1e-6
    for n, direction in enumerate(np.eye(len(theta))):
        plus, minus = kan.evaluate(theta + h * direction, u), kan.evaluate(theta - h * direction, u)
        np.testing.assert_allclose(dy[:, n], (plus[0] - minus[0]) / (2 * h), atol=1e-8)
        np.testing.assert_allclose(dslope[:, n], (plus[1] - minus[1]) / (2 * h), atol=1e-8)
    numerical = (kan.evaluate(theta, u + h)[0] - kan.evaluate(theta, u - h)[0]) / (2 * h)
    np.testing.assert_allclose(slope, numerical, atol=1e-8)


def test_dense_kan_is_the_torch_network():
    kan = DenseKAN((1, 2, 1), 5, 5)
    theta = np.random.default_rng(0).normal(0, 0.3, sum(kan.sizes))
    u = np.linspace(-3, 3, 100)
    y = kan.evaluate(theta, u)[0]
    np.testing.assert_allclose(kan.network(theta)(torch.from_numpy(u)[:, None])[:, 0].numpy(), y, atol=1e-13)


def test_linear_fit_is_the_optimum():
    """No other coefficients do better: the gradient of the objective vanishes."""
    curve = PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=60, force=lj_force)
    reduction = Reduction.of(curve, "1/r")
    network, penalty, error = fit_linear(curve, reduction, 6, 3)
    assert penalty > 0
    assert error > 0
    knots, coef = network[0].grid[0].numpy(), network[0].coef[0, 0].numpy()
    u, du = reduction.inputs(curve.r)
    value, slope = basis(knots, 3, u)
    y = (curve.energy - reduction.e.shift) / reduction.e.scale
    weight = 0.1 * curve.r[0]
    rows = np.concatenate([value, slope * du[:, None] * weight])
    residual = rows @ coef - np.concatenate([y, -curve.force / reduction.e.scale * weight])
    rough = np.diff(np.eye(len(coef)), 3, axis=0)
    gradient = rows.T @ residual + penalty * len(residual) * rough.T @ rough @ coef
    assert np.abs(gradient).max() < 1e-10


@pytest.mark.parametrize("columns", [(), (1,), (3,)])
def test_least_squares_is_lapack(columns):
    rng = np.random.default_rng(0)
    matrix, target = rng.normal(size=(40, 12)), rng.normal(size=(40, *columns))
    found = least_squares(matrix, target)
    np.testing.assert_allclose(found, np.linalg.lstsq(matrix, target)[0], atol=1e-13)
    assert found.shape == (12, *columns)


@pytest.mark.parametrize(
    "keywords", [{}, {"width": (1, 2, 1)}, {"width": (1, 2, 1), "feature": "r", "grid": 3, "k": 3}]
)
def test_the_last_digit_of_the_data_does_not_matter(keywords):
    """Another processor's power function differs in the last digit: its fits are the same all the same."""
    rng = np.random.default_rng(1)
    for seed in range(3):
        curve = PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=seed)
        other = PairCurve(curve.r, curve.energy * (1 + rng.choice([-1, 0, 1], 50) * 2.0**-52), source=curve.source)
        one, two = (fit(c, **keywords).potential for c in (curve, other))
        r = np.linspace(0.95, 2.0, 300)
        np.testing.assert_allclose(one.energy(r), two.energy(r), rtol=0, atol=2.5e-10)
        np.testing.assert_allclose(one.force(r), two.force(r), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("grid", "k"), [(1, 1), (7, 3), (20, 5)])
def test_knots_are_evenly_spaced_and_the_ends_exact(grid, k):
    knots = uniform_knots(-0.3, 1.1, grid, k)
    np.testing.assert_allclose(np.diff(knots), 1.4 / grid, rtol=1e-12)
    assert len(knots) == grid + 2 * k + 1
    assert (knots[k], knots[-k - 1]) == (-0.3, 1.1)


def test_reflections_do_not_cancel():
    """A first column that nearly is minus a unit vector: its reflector must not be a difference of equal numbers."""
    matrix = np.array([[-1.0, 1.0], [1e-9, 1.0], [2e-9, 3.0], [-1e-9, 2.0]])
    solution = np.array([2.0, -3.0])
    np.testing.assert_allclose(least_squares(matrix, matrix @ solution), solution, rtol=1e-12)
