"""Compiled potentials: the certificate holds, the force is the derivative, and what cannot be met is refused."""

import gc
import pickle

import numpy as np
import pytest
import torch

from ase_kan import PairCurve, fit
from ase_kan.potentials.tables import _COMPILED, Spline, tabulate, tabulate_once
from tests.shared import lj_energy


@pytest.fixture(scope="module")
def exact():
    """The default fit, with core and tail."""
    return fit(PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=3)).potential


@pytest.fixture(params=["bare", "exact", "mixture"])
def any_potential(request):
    return request.getfixturevalue({"bare": "potential"}.get(request.param, request.param))


@pytest.mark.parametrize("tol", [1e-5, 1e-8])
def test_the_certificate_holds_on_fresh_distances(any_potential, tol):
    compiled = tabulate(any_potential, tol)
    rng = np.random.default_rng(0)
    for pair in any_potential.pairs:
        spline = compiled.spline(pair)
        assert max(spline.energy_error, spline.force_error) <= tol
        low, high = any_potential.domain(pair)
        depth = -any_potential.energy(np.linspace(low, high, 2000), pair).min()
        well = np.linspace(low, high, 2000)[any_potential.energy(np.linspace(low, high, 2000), pair).argmin()]
        r = rng.uniform(spline.start**0.5, spline.cutoff, 20_000)
        energy, force = any_potential.energy(r, pair), any_potential.force(r, pair)
        energy_error = np.abs(compiled.energy(r, pair) - energy) / (depth + np.abs(energy))
        force_error = np.abs(compiled.force(r, pair) - force) / (depth / well + np.abs(force))
        # The scales here are found anew, on other points, hence the one per cent.
        assert energy_error.max() <= 1.01 * spline.energy_error
        assert force_error.max() <= 1.01 * spline.force_error


def test_energy_is_the_integral_of_the_force(any_potential):
    compiled = tabulate(any_potential)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    for pair in compiled.pairs:
        spline = compiled.spline(pair)
        knots = knots_of(spline)
        left, right = knots[:-1, None], knots[1:, None]
        r = (left + right) / 2 + (right - left) / 2 * nodes
        work = (compiled.force(r, pair) * weights).sum(axis=1) * (right - left)[:, 0] / 2
        inside = knots[1:] < spline.cutoff * (1 - 1e-12)
        drop = compiled.energy(knots[:-1], pair) - compiled.energy(np.minimum(knots[1:], spline.cutoff), pair)
        scale = 0.25 + np.abs(compiled.energy(knots[:-1], pair))
        assert (np.abs(work - drop) / scale)[inside].max() < 1e-10
        total = compiled.energy(knots[0], pair) - compiled.energy(knots[-2], pair)
        assert work[:-1].sum() == pytest.approx(total, rel=1e-10)


def knots_of(spline: Spline) -> np.ndarray:
    """Distances where u(r^2) is a whole number, the breaks among them."""
    x = np.linspace(spline.start, spline.cutoff**2, 400_001)
    u = spline.slope * (x - spline.start)
    for at, change in zip(spline.at, spline.change, strict=True):
        u += change * np.maximum(0, x - at)
    return np.sqrt(np.interp(np.arange(len(spline.rows) + 1), u, x))


def test_below_the_table_and_from_the_cutoff_on(any_potential):
    compiled = tabulate(any_potential)
    for pair in compiled.pairs:
        spline = compiled.spline(pair)
        r = np.linspace(0.05, 0.999, 40) * spline.start**0.5
        np.testing.assert_allclose(compiled.energy(r, pair), any_potential.energy(r, pair), rtol=1e-12)
        np.testing.assert_allclose(compiled.force(r, pair), any_potential.force(r, pair), rtol=1e-12)
        beyond = spline.cutoff * np.array([1.0, 1.5, 10.0])
        assert not compiled.energy(beyond, pair).any()
        assert not compiled.force(beyond, pair).any()


def test_right_at_the_breaks(any_potential):
    """Where rows of different widths meet, the force is that of the original, whichever row rounding chooses."""
    compiled = tabulate(any_potential)
    for pair in compiled.pairs:
        *breaks, _ = any_potential.breakpoints(pair)
        r = np.array([np.nextafter(b, b + step, dtype=float) for b in breaks for step in (-1, 0, 1)])
        np.testing.assert_allclose(compiled.force(r, pair), any_potential.force(r, pair), rtol=1e-6, atol=1e-6)


def test_a_smaller_tolerance_takes_more_rows(exact):
    rows = [len(tabulate(exact, tol).spline().rows) for tol in (1e-3, 1e-6, 1e-9)]
    assert rows[0] < rows[1] < rows[2]


@pytest.mark.parametrize("tol", [0.0, -1e-6, float("nan")])
def test_tolerances_must_be_positive(exact, tol):
    with pytest.raises(ValueError, match="tol must be positive"):
        tabulate(exact, tol)


def test_what_cannot_be_met_is_refused(exact):
    with pytest.raises(ValueError, match=r"tol=1e-17 is out of reach.*give a larger tol"):
        tabulate(exact, 1e-17)


def test_compiled_potentials_are_described_and_copied(mixture):
    compiled = tabulate(mixture)
    assert compiled.describe().count("certified errors") == 3
    again = pickle.loads(pickle.dumps(compiled))
    r = np.linspace(0.6, 2.4, 50)
    np.testing.assert_array_equal(again.energy(r, ("Ne", "Ar")), compiled.energy(r, ("Ar", "Ne")))


def test_tables_are_made_again_only_for_other_parameters(potential):
    copy = pickle.loads(pickle.dumps(potential))
    first = tabulate_once(copy)
    assert tabulate_once(copy).spline() is first.spline()
    with torch.no_grad():
        next(p for p in copy.function(copy.pairs[0]).parameters() if p.numel() > 3).mul_(1.001)
    changed = tabulate_once(copy)
    assert changed.spline() is not first.spline()
    assert changed.energy(1.1) == pytest.approx(float(copy.energy(1.1)), rel=1e-7)
    known = len(_COMPILED)
    del copy, first, changed
    gc.collect()
    assert len(_COMPILED) < known


def test_any_function_with_the_protocol():
    """The compiler knows no potential by name: an Ar-like Morse function with two breaks."""

    class Morse:
        elements, pairs, cutoff, reference_energies = (), (None,), 6.0, {}

        def __call__(self, r, pair=None):
            decay = torch.exp(-1.5 * (r - 2.0))
            return torch.where(r < self.cutoff, decay * decay - 2 * decay, 0.0) + torch.clamp(3.0 - r, min=0) ** 3

        def energy(self, r, pair=None):
            return self(torch.as_tensor(np.asarray(r, dtype=float)), pair).numpy()

        def domain(self, pair=None):
            return 1.0, 6.0

        def breakpoints(self, pair=None):
            return 3.0, 6.0

    compiled = tabulate(Morse(), 1e-9)
    r = np.random.default_rng(1).uniform(0.5, 6.0, 5000)
    np.testing.assert_allclose(compiled.energy(r), Morse().energy(r), rtol=1e-9, atol=1e-9)


def test_slopes_at_the_very_joints(cured_mixture):
    """Exactly where core, tail, switching and table begin, the slope is the limit from both sides."""
    for potential in (cured_mixture, tabulate(cured_mixture)):
        for pair in cured_mixture.pairs:
            function = cured_mixture.function(pair)
            ends = [function.core.joint, function.tail.joint, function.cutoff.onset]
            if potential is not cured_mixture:
                ends.append(float(np.sqrt(potential.spline(pair).start)))
            for r in ends:
                beside = potential.force(np.array([r * (1 - 1e-9), r * (1 + 1e-9)]), pair)
                assert potential.force(r, pair) == pytest.approx(beside[0], rel=1e-6, abs=1e-9)
                assert potential.force(r, pair) == pytest.approx(beside[1], rel=1e-6, abs=1e-9)
