"""What the ends of a curve support: tails, walls, and how they are joined; against the functions that made the data."""

import warnings
from math import factorial

import numpy as np
import pytest
import torch

from ase_kan import KANPotential, PairCurve, fit
from ase_kan.potentials.continuations import Continuation, zbl
from ase_kan.potentials.features import two_derivatives
from ase_kan.potentials.pair import truncation_energy


def lj(r):
    return 4 * (r**-12.0 - r**-6.0)


def argon(r):
    """B. Jaeger et al., Mol. Phys. 107, 2181 (2009), C16 of 108, 3335 (2010); eV."""
    x = np.asarray(r) * 0.1
    b = 40.2517211
    c = {6: 4.42812017e-1, 8: 3.26707684e-2, 10: 2.45656537e-3, 12: 1.88246247e-4, 14: 1.47012192e-5, 16: 1.17006343e-6}
    v = 4.61330146e7 * np.exp(-29.8337630 * x - 9.71208881 * x**2 + 2.75206827e-2 / x - 1.01489050e-2 / x**2)
    for n, cn in c.items():
        v = v - cn / x**n * (1 - np.exp(-b * x) * sum((b * x) ** k / factorial(k) for k in range(n + 1)))
    return 8.617333262e-5 * v


def uncut(potential, r):
    with torch.no_grad():
        return potential.function().uncut(torch.from_numpy(np.asarray(r, dtype=float))).numpy()


def noisy(function, r_min, r_max, n, noise, seed=0, **keywords):
    r = np.sort(np.random.default_rng(seed).uniform(r_min, r_max, n))
    return PairCurve(r, function(r) + noise * np.random.default_rng(seed + 100).normal(size=n), **keywords)


@pytest.mark.parametrize(("noise", "n", "median", "worst"), [(0.004, 500, 0.02, 0.2), (0.04, 50, 0.3, 1.2)])
def test_noise_does_not_make_the_tail(noise, n, median, worst):
    """Energy beyond the data, int E r^2, over the true one; value and slope at the last point were off many times."""
    wrong = []
    for seed in range(12):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            potential = fit(noisy(lj, 0.95, 2.5, n, noise, seed), cutoff=30.0).potential
        r = np.linspace(2.5, 25, 4000)
        wrong.append(abs(np.sum(potential.energy(r) * r**2) / np.sum(lj(r) * r**2) - 1))
    assert np.median(wrong) < median
    assert max(wrong) < worst


@pytest.mark.parametrize(
    ("function", "r_max", "exponents", "rates"),
    [
        (lj, 2.5, [6, 12], []),
        (lambda r: r**-9.0 - r**-6.0, 2.5, [6, 9], []),
        (lambda r: r**-12.0 - r**-4.0, 5.0, [4], []),
        (lambda r: np.exp(-4 * r), 3.0, [], [12]),
    ],
)
def test_tails_are_recognised(function, r_max, exponents, rates):
    r = np.linspace(0.9, r_max, 100)
    potential = fit(PairCurve(r, function(r))).potential
    tail = potential.function().tail
    if exponents != [6, 9]:  # which is not among the laws, and close to s^6 + s^8 + s^10
        assert [n for _, n in tail.terms][: len(exponents)] == pytest.approx(exponents, abs=0.3)
    assert [n for _, n in tail.exponentials][: len(rates)] == pytest.approx(rates)
    far = r_max * np.array([1.05, 1.2, 1.3])
    np.testing.assert_allclose(uncut(potential, far), function(far), rtol=0.02)


def test_charges_are_for_those_who_ask():
    """An exponent below 3 has no lattice sum; without `tail="coulomb"` the exponent stays above and the data object."""
    r = np.linspace(1.5, 8.0, 100)
    curve = PairCurve(r, 1000 * np.exp(-3 * r) - 14.4 / r)
    potential = fit(curve, tail="coulomb", cutoff=40.0).potential
    far = np.array([9.0, 15.0, 30.0])
    np.testing.assert_allclose(potential.energy(far), -14.4 / far, rtol=1e-5)
    with pytest.raises(ValueError, match="coulomb"):
        fit(curve, tail="coulomb", width=(1, 2, 1))


def test_a_tail_that_the_data_do_not_determine_is_warned_of():
    with pytest.warns(UserWarning, match="do not determine the tail"):
        fit(noisy(lj, 0.95, 3.0, 60, 0.02, 0))


@pytest.mark.parametrize(
    ("function", "hint"), [(lambda r: -1 / r, "tail='coulomb'"), (lambda r: np.cos(2 * r + 5.87) / r**3, "")]
)
def test_a_tail_that_no_law_fits_is_warned_of(function, hint):
    """Exponents of 3 and below are never made up."""
    r = np.linspace(1.0, 4.0, 100)
    with pytest.warns(UserWarning, match=f"no law .* fits the energies up to 4 A.*{hint}"):
        tail = fit(PairCurve(r, function(r)), core=None).potential.function().tail
    assert min(n for _, n in tail.terms) > 3


@pytest.mark.parametrize("noise", [0.0, 0.004 * 0.0123])
def test_the_wall_of_argon(noise):
    """From 3.0 A the ab initio energy at 1.8 A within 30 %, and ZBL at 1 A within 1.5; s^12 was off by 7."""
    r = np.linspace(3.0, 9.0, 200)
    energy = argon(r) + noise * np.random.default_rng(0).normal(size=200)
    potential = fit(PairCurve(r, energy, elements=("Ar", "Ar"))).potential
    near = np.array([2.6, 2.2, 1.8])
    np.testing.assert_allclose(potential.energy(near), argon(near), rtol=0.3)
    nuclear = zbl(torch.tensor([1.0], dtype=torch.float64), 18, 18).item()
    assert 1 / 1.5 < potential.energy(1.0) / nuclear < 1.5
    assert 1 / 1.01 < potential.energy(0.5) / zbl(torch.tensor([0.5], dtype=torch.float64), 18, 18).item() < 1.01


@pytest.mark.parametrize(
    ("function", "r_min", "near"),
    [
        (lj, 0.95, [0.8, 0.6, 0.4]),
        (lambda r: np.exp(-12 * (r - 1.122)) - 2 * np.exp(-6 * (r - 1.122)), 0.95, [0.8, 0.6, 0.4]),
    ],
)
def test_walls_are_recognised(function, r_min, near):
    r = np.linspace(r_min, 2.5, 100)
    potential = fit(PairCurve(r, function(r))).potential
    near = np.array(near)
    np.testing.assert_allclose(potential.energy(near), function(near), rtol=0.1)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("elements", [None, ("Ar", "Ar"), ("Cu", "Cu")])
def test_walls_are_monotone_and_convex_and_joints_smooth(noise, elements):
    for seed in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            potential = fit(noisy(lj, 0.95, 2.5, 60, noise, seed, elements=elements)).potential
        function = potential.function()
        r = np.linspace(0.05, 1, 500) * potential.domain()[0]
        _, slope, curvature = two_derivatives(function.uncut, r)
        assert (slope < 0).all()
        assert (curvature > 0).all()
        for joint, end in ((potential.domain()[0], function.core), (potential.domain()[1], function.tail)):
            sides = np.array([joint * (1 - 1e-9), joint * (1 + 1e-9)])
            for order, values in enumerate(two_derivatives(function.uncut, sides)):
                if end is not None and order <= end.order:
                    assert values[0] == pytest.approx(values[1], rel=1e-5, abs=1e-5)


def test_zbl_is_left_out_where_it_cannot_be_compared():
    """Reduced units under the name of argon: ZBL is a hundred times higher, and the wall stays r^-12."""
    r = np.linspace(0.95, 2.5, 100)
    potential = fit(PairCurve(r, lj(r), elements=("Ar", "Ar"))).potential
    assert potential.function().core.blend is None
    assert potential.energy(0.5) == pytest.approx(lj(0.5), rel=1e-3)


def test_continuations_with_exponentials_and_blends_are_saved(tmp_path):
    r = np.linspace(3.0, 9.0, 60)
    potential = fit(PairCurve(r, argon(r), elements=("Ar", "Ar"))).potential
    core = potential.function().core
    assert core.exponentials
    assert core.blend is not None
    potential.save(tmp_path / "p.kan")
    again = KANPotential.load(tmp_path / "p.kan")
    assert again.function().core == core
    near = np.geomspace(0.2, 12, 200)
    np.testing.assert_array_equal(again.energy(near), potential.energy(near))
    assert "exp(-" in potential.describe()
    assert "going over to ZBL(18, 18)" in potential.describe()


def test_what_a_cutoff_leaves_out():
    """Of -r^-6 with rho = 1.19 / well^3: 2 pi rho / (3 rc^3)."""
    tail = Continuation(2.0, ((-(2.0**-6), 6.0),))
    assert truncation_energy(tail, 3.0, 1.1) == pytest.approx(2 * np.pi * 1.19 / 1.1**3 / 3 / 3**3, rel=1e-3)
