"""Smoothing by evidence: triangles against dense algebra, left-out errors against refits, curves that broke fits."""

import re
import warnings

import numpy as np
import pytest

from ase_kan import KANPotential, PairCurve, fit
from ase_kan.fit.curve_model import CurveProblem, choose_model
from ase_kan.fit.evidence import Rows, Triangle, choose_smoothness

from ..shared import lj_energy, lj_force


def noisy(n=60, noise=0.01, seed=0, force=False, r_max=2.5):
    """Lennard-Jones of depth 1."""
    rng = np.random.default_rng(seed)
    r = np.sort(rng.uniform(0.95, r_max, n))
    forces = 4 * lj_force(r) + 10 * noise * rng.normal(size=n) if force else None
    return PairCurve(r, 4 * lj_energy(r) + noise * rng.normal(size=n), forces)


@pytest.mark.parametrize("rows", [9, 40, 300])
def test_triangles_are_those_of_dense_algebra(rows):
    """Solution, determinant, sum of squares and covariances for several penalties, with cells that have no data."""
    rng = np.random.default_rng(1)
    n, k, order = 30, 5, 3
    first = np.sort(rng.integers(0, n - k, rows))
    first[(first > 8) & (first < 14)] = 8
    data = Rows(first, rng.normal(size=(rows, k + 1)), rng.normal(size=rows))
    dense = np.zeros((rows, n))
    np.put_along_axis(dense, first[:, None] + np.arange(k + 1), data.values, axis=1)
    weights = rng.uniform(0.5, 2, (n - order, 4)) * np.array([1.0, 0.3, 0.1, 3.0])
    difference = np.diff(np.eye(order + 1), order, axis=0)[0]
    triangles = Triangle.of(data, n).with_penalty(difference, weights)
    coef = triangles.solve()
    for h in range(4):
        stacked = np.concatenate([dense, weights[:, h, None] * np.diff(np.eye(n), order, axis=0)])
        target = np.concatenate([data.target, np.zeros(n - order)])
        expected = np.linalg.lstsq(stacked, target, rcond=None)[0]
        np.testing.assert_allclose(coef[:, h], expected, rtol=1e-6, atol=1e-8)
        assert triangles.rest[h] == pytest.approx(np.sum((stacked @ expected - target) ** 2), rel=1e-9)
        assert triangles.log_determinant()[h] == pytest.approx(np.linalg.slogdet(stacked.T @ stacked)[1], rel=1e-9)
    one = Triangle.of(data, n).with_penalty(difference, weights[:, :1])
    white = one.whiten(data)
    stacked = np.concatenate([dense, weights[:, :1] * np.diff(np.eye(n), order, axis=0)])
    hat = dense @ np.linalg.solve(stacked.T @ stacked, dense.T)
    np.testing.assert_allclose(white.T @ white, hat, atol=1e-8)


def test_the_evidence_is_the_likelihood_of_the_data():
    """Against the density of y under its normal distribution, with the flat part of the prior made wide."""
    rng = np.random.default_rng(2)
    n, order, rows = 12, 2, 20
    dense = np.zeros((rows, n))
    first = np.sort(rng.integers(0, n - 5, rows))
    values = rng.uniform(0.2, 1, (rows, 6))
    np.put_along_axis(dense, first[:, None] + np.arange(6), values, axis=1)
    target = dense @ np.sin(np.arange(n) / 2) + 0.1 * rng.normal(size=rows)
    free = rng.uniform(0.5, 2, n - order)
    chosen = choose_smoothness([(Rows(first, values, target), 0.0)], n, order, free, np.ones(n - order))
    to_differences = np.concatenate([np.eye(n)[:order], np.diff(np.eye(n), order, axis=0)])
    back = np.linalg.inv(to_differences)

    def minus_twice_log(log_penalty):
        prior = np.diag(np.concatenate([np.full(order, 1e8), free**2 / 10**log_penalty]))
        covariance = np.eye(rows) + dense @ back @ prior @ back.T @ dense.T
        square = target @ np.linalg.solve(covariance, target) / (rows - order)
        return (rows - order) * np.log(square) + np.linalg.slogdet(covariance)[1] - order * np.log(1e8)

    near = chosen.log_penalty + np.array([-0.5, -0.25, 0.0, 0.25, 0.5])
    scores = [minus_twice_log(x) for x in near]
    assert np.argmin(scores) == 2
    assert chosen.score == pytest.approx(scores[2], abs=1e-3)


@pytest.mark.parametrize("force", [False, True])
def test_left_out_errors_are_those_of_refits(force):
    curve = noisy(30, force=force)
    problem, smoothness = choose_model(curve, "1/r", None, 5)
    model = problem.solve(smoothness)
    name = list(problem.models)[smoothness.noise]
    difference = np.diff(np.eye(6), 5, axis=0)[0]
    for i in (3, 12, 27):
        keep = np.arange(len(problem.rows)) % 30 != i
        rows = problem.rows.over(problem.scale(name))
        rows = Rows(rows.first[keep], rows.values[keep], rows.target[keep])
        coef = Triangle.of(rows, problem.n).with_penalty(difference, smoothness.weights[:, None]).solve()[:, 0]
        value, slope, _ = problem.splines(curve.r[i : i + 1])
        assert model.left_out[i] == pytest.approx(float(value[0] @ coef) * model.depth - curve.energy[i], rel=1e-6)
        if force:
            predicted = -float(slope[0] @ coef) * model.depth / curve.r[i]
            assert model.left_out_force[i] == pytest.approx(predicted - curve.force[i], rel=1e-6)


@pytest.mark.parametrize("noise", [0.004, 0.04])
def test_noise_is_found_and_smoothed_better_than_by_a_spline_that_knows_it(noise):
    from scipy.interpolate import UnivariateSpline

    ours, theirs, found = [], [], []
    for seed in range(8):
        curve = noisy(80, noise, seed)
        r = np.linspace(curve.r[0], curve.r[-1], 500)
        ours.append(np.sqrt(np.mean((fit(curve, cutoff=4.0).potential.energy(r) - 4 * lj_energy(r)) ** 2)))
        spline = UnivariateSpline(curve.r, curve.energy, w=np.full(80, 1 / noise), s=80)
        theirs.append(np.sqrt(np.mean((spline(r) - 4 * lj_energy(r)) ** 2)))
        problem, smoothness = choose_model(curve, "1/r", None, 5)
        found.append(np.median(problem.stretch(smoothness).noise))
    assert np.median(ours) < np.median(theirs)
    assert np.median(found) == pytest.approx(noise, rel=0.2)


def friedel(r):
    return np.cos(4 * r) / r**3 + r**-12.0


def lj_gauss(r):
    return r**-12.0 - 2 * r**-6.0 - 1.5 * np.exp(-((r - 1.47) ** 2) / 0.04)


def helium(r):
    """HFDHE2: R. A. Aziz et al., J. Chem. Phys. 70, 4330 (1979)."""
    x = r / 2.9673
    damping = np.where(x < 1.241314, np.exp(-((1.241314 / x - 1) ** 2)), 1.0)
    dispersion = 1.3732412 / x**6 + 0.4253785 / x**8 + 0.178100 / x**10
    return 9.3067e-4 * (0.5448504e6 * np.exp(-13.353384 * x) - damping * dispersion)


@pytest.mark.filterwarnings("ignore:.*head for zero")
@pytest.mark.parametrize(
    ("function", "r_min", "r_max", "n", "bar"),
    [(friedel, 0.9, 6.0, 200, 1e-6), (lj_gauss, 0.85, 2.5, 50, 1e-3), (helium, 0.5, 8.0, 60, 1e-3)],
)
def test_oscillations_dips_and_decades_of_energy(function, r_min, r_max, n, bar):
    """Largest error below the depth of the well, over it: what a coarse grid or one weight for all broke."""
    r = np.linspace(r_min, r_max, n)
    energy = function(r)
    depth = -energy.min()
    potential = fit(PairCurve(r, energy)).potential
    fine = np.linspace(r_min, r_max, 3000)
    fine = fine[function(fine) < depth]
    assert np.abs(potential.energy(fine) - function(fine)).max() < bar * depth


def test_all_points_count_and_the_seed_does_not():
    r = np.linspace(0.95, 2.5, 18)
    curve = PairCurve(r, 4 * lj_energy(r))
    one, two = (fit(curve, seed=seed).potential for seed in (0, 7))
    far = np.linspace(0.9, 3.0, 50)
    np.testing.assert_array_equal(one.energy(far), two.energy(far))
    np.testing.assert_allclose(one.energy(r), curve.energy, atol=1e-9)
    assert one.info["points"] == 18


def test_errors_of_the_data_weigh_them():
    """Half of the points have 100 times the noise; told so, the fit follows the others."""
    rng = np.random.default_rng(5)
    r = np.linspace(0.95, 2.5, 100)
    errors = np.where(np.arange(100) % 2, 0.1, 0.001)
    energy = 4 * lj_energy(r) + errors * rng.normal(size=100)
    fine = np.linspace(0.95, 2.5, 500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a hold-out error: the bad points are not predicted
        told, untold = (
            fit(PairCurve(r, energy, errors=e), cutoff=4.0).potential.energy(fine) - 4 * lj_energy(fine)
            for e in (errors, None)
        )
    assert np.sqrt(np.mean(told**2)) < 1e-3
    assert np.sqrt(np.mean(untold**2)) > 5e-3
    shuffled = PairCurve(r[::-1], energy[::-1], errors=errors[::-1])
    np.testing.assert_array_equal(shuffled.errors, errors)
    with pytest.raises(ValueError, match="errors must be positive"):
        PairCurve(r, energy, errors=0 * errors)
    with pytest.raises(ValueError, match="errors must have shape"):
        PairCurve(r, energy, errors=errors[:3])


def test_huber_takes_no_notice_of_outliers():
    curve = noisy(100, 1e-3)
    energy = curve.energy.copy()
    bad = [20, 45, 46, 80]
    energy[bad] += [0.5, -0.3, 0.8, -0.4]
    spoiled = PairCurve(curve.r, energy)
    fine = np.linspace(curve.r[0], curve.r[-1], 500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        robust, plain = fit(spoiled, loss="huber"), fit(spoiled)
    wrong = [np.sqrt(np.mean((p.potential.energy(fine) - 4 * lj_energy(fine)) ** 2)) for p in (robust, plain)]
    assert wrong[0] < 2e-3 < 1e-2 < wrong[1]
    assert all(f"{r:.6g}" in robust.report for r in curve.r[bad])
    with pytest.raises(ValueError, match="unknown loss"):
        fit(curve, loss="l1")
    with pytest.raises(ValueError, match="for a single edge"):
        fit(curve, loss="huber", width=(1, 2, 1))


def test_the_error_in_the_well_is_told_and_warned_of():
    with pytest.warns(
        UserWarning, match=r"hold-out error in the well is .*% of its depth; the noise of the data there"
    ):
        fit(noisy(60, 0.05), cutoff=2.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(noisy(60, 1e-3))
    assert re.search(r"below the depth of the well, 0\.98\d* eV: 0\.00\d+ of it", result.report)


def test_the_same_digits_again():
    curve = noisy(50, 0.01)
    first, second = fit(curve).potential, fit(curve).potential
    np.testing.assert_array_equal(first.function().network[0].coef, second.function().network[0].coef)


def test_problems_over_decades_of_distance_take_the_logarithm(tmp_path):
    r = np.geomspace(0.1, 6.0, 200)
    curve = PairCurve(r, 1e3 * np.exp(-3 * r) / r - 0.5 * np.exp(-((r - 3) ** 2)))
    potential = fit(curve).potential
    assert potential.function().feature == "log r"
    potential.save(tmp_path / "p.kan")
    np.testing.assert_array_equal(KANPotential.load(tmp_path / "p.kan").energy(r), potential.energy(r))
    assert CurveProblem(curve, "log r", None, 5).grid == 120
