"""Data that end at zero need no tail; and the scale of an energy, with and without a well."""

import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones

from ase_kan import PairCurve, fit
from ase_kan.potentials.scale import energy_scale
from ase_kan.potentials.tables import tabulate

RM = 2 ** (1 / 6)


def lj(r):
    return 4 * (r**-12.0 - r**-6.0)


def wca(r):
    return np.where(r < RM, lj(r) + 1, 0.0)


def soft(r):
    """A harmonic sphere of 2.5 Angstrom."""
    return np.where(r < 2.5, 2 * (2.5 - r) ** 2, 0.0)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize(
    ("function", "r_min", "r_max"), [(wca, 0.8, RM), (wca, 0.8, 1.5), (soft, 1.0, 3.0), (soft, 1.0, 4.0)]
)
def test_no_tail_and_no_attraction(function, r_min, r_max, noise):
    """The cutoff is the end of the data (it was five times that), and the data are left as they were fitted."""
    r = np.linspace(r_min, r_max, 50)
    energy = function(r) + noise * np.random.default_rng(1).normal(size=50)
    result = fit(PairCurve(r, energy))
    potential, error = result.potential, max(result.train_energy_rmse, result.energy_rmse)
    assert potential.cutoff == r_max
    assert potential.function().tail is None
    assert not potential.energy(np.linspace(r_max, 5 * r_max, 200)).any()
    np.testing.assert_allclose(potential.energy(r), energy, rtol=0, atol=10 * error)
    # Approaching the cutoff, the energy goes to zero too.
    assert abs(float(potential.energy(r_max * (1 - 1e-9)))) < 1e-6


def test_the_end_of_shifted_energies_is_theirs():
    """ASE's Lennard-Jones, shifted to zero at rc, from data up to rc: reached from below, with a jump of the force."""
    curve = PairCurve.from_calculator(LennardJones(rc=2.5), ("Ar", "Ar"), r_min=0.95, r_max=2.5 - 1e-9, n=100)
    r = np.linspace(0.95, 2.5 - 1e-9, 100)
    potential = fit(PairCurve(r, lj(r) - lj(2.5), elements=("Ar", "Ar"))).potential
    assert potential.cutoff == pytest.approx(2.5)
    np.testing.assert_allclose(potential.energy(curve.r), curve.energy, atol=1e-5)
    assert not potential.energy(np.linspace(2.5, 12, 100)).any()


def test_a_cutoff_that_is_asked_for_is_kept():
    r = np.linspace(0.8, RM, 60)
    potential = fit(PairCurve(r, wca(r)), cutoff=3.0).potential
    assert potential.cutoff == 3.0
    beyond = np.linspace(RM, 3.2, 500)
    assert np.abs(potential.energy(beyond)).max() < 1e-5
    assert np.abs(potential.force(beyond)).max() < 1e-3


def test_a_wall_that_ends_at_zero_keeps_its_tail():
    """Lennard-Jones up to sigma: zero there, but on the way down; the two terms of the tail are the rest of it."""
    r = np.linspace(0.8, 1.0, 60)
    potential = fit(PairCurve(r, lj(r)), cutoff=4.0).potential
    far = np.linspace(1.02, 3.5, 50)
    np.testing.assert_allclose(potential.energy(far), lj(far), atol=1e-3)


def test_small_is_not_zero():
    """An end of 4e-3 of the depth is far above the error of the fit: its tail is r^-6."""
    r = np.linspace(0.95, 3.0, 100)
    potential = fit(PairCurve(r, lj(r))).potential
    assert potential.function().tail is not None
    far = np.linspace(3.0, potential.function().cutoff.onset, 50)
    np.testing.assert_allclose(potential.energy(far), lj(far), rtol=0.02)


def test_the_scale_of_an_energy():
    """Depth of a well; median of what is not zero where there is none, be the rounding what it may."""
    ours = energy_scale(lambda r: 4 * (r**-12 - r**-6), 0.9, 3.0)
    assert ours.energy == pytest.approx(1.0, rel=1e-3)
    assert ours.force == pytest.approx(1 / RM, rel=3e-3)
    steep = energy_scale(lambda r: r**-12 - 1e-21, 1.0, 2.0)
    assert steep.energy == pytest.approx(1.5**-12, rel=0.02)
    assert steep.force == pytest.approx(1.5**-13, rel=0.02)
    # Half of the data are zero: those do not count.
    r = np.linspace(1.0, 2.0, 4001)
    walled = energy_scale(lambda r: (1.5 - r).clamp(min=0), 1.0, 2.0)
    assert walled.energy == pytest.approx(np.median(1.5 - r[r < 1.5]), rel=0.02)
    assert energy_scale(torch.zeros_like, 1.0, 2.0) == (1.0, 0.5)


def test_tables_keep_the_scale_of_their_certificate():
    r = np.linspace(0.9, 2.0, 60)
    potential = fit(PairCurve(r, r**-12.0)).potential
    compiled = tabulate(potential, 1e-6)
    spline = compiled.spline()
    assert spline.scale == energy_scale(potential, *potential.domain())
    fresh = np.random.default_rng(0).uniform(0.5, potential.cutoff, 5000)
    wrong = np.abs(compiled.energy(fresh) - potential.energy(fresh))
    assert (wrong / (spline.scale.energy + np.abs(potential.energy(fresh)))).max() <= spline.energy_error <= 1e-6
