"""What a bare KAN does outside its data, the continuations that replace it, and the calculator's count of it."""

import copy
import pickle
import warnings
from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.cluster import Icosahedron
from ase.optimize import BFGS, FIRE
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_kan import KANCalculator, KANPotential, PairCurve, fit
from ase_kan.analysis.extrapolation import PairExtrapolation, analyze
from ase_kan.engines.guard import ExtrapolationError, ExtrapolationWarning
from ase_kan.potentials.continuations import match_core, match_tail, zbl
from ase_kan.potentials.features import value_and_slope
from tests.shared import SEED_CASE, brute_force, lj_energy, lj_force

FEATURES = ("r", "1/r", "log r", "r^-3", "r^-6")


@pytest.fixture(scope="module")
def exact():
    """The default fit to [0.95, 2.0], with its core and tail."""
    return fit(PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=0), cutoff=10.0).potential


def random_model(number):
    """A trained KAN: all widths, degrees, features; every fifth with another base function."""
    rng = np.random.default_rng(number)
    width = [(1, 1), (1, 2, 1), (1, 3, 1), (1, 2, 2, 1)][number % 4]
    curve = PairCurve.from_function(lj_energy, r_min=0.9, r_max=2.2, n=120, seed=number)
    keywords = {"feature": FEATURES[number % 5], "grid": int(rng.integers(3, 7)), "k": int(rng.integers(2, 6))}
    if number % 3 == 2 and len(width) > 2:
        keywords |= {"steps": 10}  # Levenberg-Marquardt, reduced units
    else:
        keywords |= {"optimizer": "pykan", "steps": 4}
    potential = fit(curve, width=width, seed=number, **keywords, core=None, tail=None).potential
    if number % 5 == 4:
        for layer in potential.function().network:
            layer.base = ["identity", "zero"][number % 2]
    return potential


@pytest.mark.parametrize("number", range(50))
def test_prediction_equals_pykan(number):
    """Outside the extended grids of every layer: values to 1e-10, slopes to 1e-8, against pykan's own model."""
    potential = random_model(number)
    function = potential.function()
    model = potential.network()
    found = analyze(potential)[None]

    def pykan_energy(u):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pykan takes standard deviations of single values
            return function.e.shift + function.e.scale * model(u[:, None])[:, 0]

    def reduced(r):
        return (r_feature(function.feature, r) - function.x.shift) / function.x.scale

    checked = 0
    for end, sign in ((found.short, -1), (found.long, 1)):
        if end.base is not None and 0 < end.base < 1e6:
            r = end.base * np.array([1 + 1e-9, 1.01, 1.5, 4.0]) ** sign
            energy = value_and_slope(pykan_energy, reduced(r))[0]
            scale = np.maximum(1, np.abs(energy))
            np.testing.assert_allclose(found.base_energy(r) / scale, energy / scale, atol=1e-10)
            checked += 1
        if not end.finite:
            # Where every SiLU is saturated the asymptote is reached exactly (log r gets there in the feature only).
            rising = function.feature in ("r", "log r")
            u = np.array([1e6, 1e7]) * (sign if rising else -sign)
            energy, slope = value_and_slope(pykan_energy, u)
            scale = np.maximum(1, np.abs(energy))
            line = end.intercept + end.slope * (function.x.shift + function.x.scale * u)
            np.testing.assert_allclose(line / scale, energy / scale, atol=1e-10)
            np.testing.assert_allclose(end.slope * function.x.scale, slope, atol=1e-8 * max(1, abs(slope[0])))
            checked += 1
        else:
            # The feature ends: value and slope there are those of pykan at that very input.
            u = torch.tensor([-function.x.shift / function.x.scale], dtype=torch.float64, requires_grad=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = function.e.shift + function.e.scale * model(u[:, None])[0, 0]
            (slope,) = torch.autograd.grad(value, u)
            assert end.intercept == pytest.approx(value.item(), abs=1e-10 * max(1, abs(value.item())))
            expected = slope.item() / function.x.scale
            assert end.slope == pytest.approx(expected, abs=1e-8 * max(1, abs(expected)))
            checked += 1
    assert checked >= 2


def r_feature(name, r):
    return {"r": r, "1/r": 1 / r, "log r": np.log(r), "r^-3": r**-3, "r^-6": r**-6}[name]


@pytest.mark.parametrize("number", range(12))
def test_extrema_and_collapse_are_found(number):
    """Against a dense scan of the force."""
    potential = random_model(number)
    low, high = potential.domain()
    found = analyze(potential)[None]
    for end, r in (
        (found.short, np.linspace(low * 0.999, 0.05, 20001)),
        (found.long, np.geomspace(high * 1.001, 40, 20001)),
    ):
        force = -value_and_slope(potential.function().bare, r)[1]
        force[np.abs(force) < 1e-9] = 0
        crossings = r[:-1][force[:-1] * force[1:] < 0]
        told = [e.r for e in end.extrema if r.min() < e.r < r.max()]
        for crossing in crossings:
            assert min(abs(np.array(told) - crossing)) < 1e-2 * crossing
        for extremum in end.extrema:
            slope = value_and_slope(
                potential.function().bare, np.array([extremum.r * (1 - 1e-5), extremum.r * (1 + 1e-5)])
            )[1]
            assert (slope[0] < 0 < slope[1]) == extremum.minimum
    maxima = [e.r for e in found.short.extrema if not e.minimum]
    if maxima and potential.force(low) > 0:
        assert f"atoms closer than {maxima[0]:.4g} A attract" in found.short.verdict
        top, below = potential.function().bare(torch.tensor([maxima[0], maxima[0] * 0.99]))
        assert below < top
        assert value_and_slope(potential.function().bare, np.array([maxima[0] * 0.999]))[1][0] > 0


def test_a_pykan_model_can_be_analyzed():
    from kan import KAN

    model = KAN(width=[1, 3, 1], grid=4, k=3, grid_range=[0.9, 2.5], seed=3, auto_save=False).double()
    found = analyze(model)[None]
    assert isinstance(found, PairExtrapolation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = model(torch.tensor([[5e3]], dtype=torch.float64)).item()
    assert found.long.asymptote(np.array([5e3]))[0] == pytest.approx(value, abs=1e-10 * max(1, abs(value)))
    assert "data: 0.9 to 2.5 A" in str(found)
    with pytest.raises(TypeError, match="a KANPotential or a pykan KAN"):
        analyze(42)


NOISE = st.sampled_from([0.0, 1e-4, 1e-3, 1e-2, 0.1])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), noise=NOISE, r_min=st.floats(0.7, 1.1), pykan=st.booleans())
def test_core_is_repulsive_monotone_and_convex(seed, noise, r_min, pykan):
    """Whatever was fitted: where the energy is repulsive at the joint it is so, more and more, below it."""
    curve = PairCurve.from_function(lj_energy, r_min=r_min, r_max=2.0, n=50, seed=seed)
    curve = PairCurve(curve.r, curve.energy + np.random.default_rng(seed).normal(0, noise, 50))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        potential = fit(curve, **SEED_CASE | {"core": "power", "steps": 3}, seed=seed) if pykan else fit(curve)
    potential = getattr(potential, "potential", potential)
    core = potential.function().core
    r = np.geomspace(0.01, core.joint, 4000)
    energy, force = potential.energy(r), potential.force(r)
    assert (np.diff(force) < 1e-9 * np.abs(force[:-1])).all()  # convex
    joint = np.array([core.joint * (1 - 1e-12), core.joint])
    np.testing.assert_allclose(*potential.energy(joint), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(*potential.force(joint), rtol=1e-8, atol=1e-8)
    if any("not repulsive" in str(w.message) for w in told):
        assert potential.force(core.joint) <= 0
        assert force[0] > 0
    else:
        assert (force > 0).all()
        assert (np.diff(energy) < 0).all()


def second_derivative(function, r):
    x = torch.tensor(r, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    return torch.autograd.grad(slope.sum(), x)[0].numpy()


def test_exact_fits_get_exact_continuations(exact):
    function = exact.function()
    assert function.core.order == function.tail.order == 2
    for joint in (function.core.joint, function.tail.joint):
        ends = second_derivative(exact, [joint * (1 - 1e-10), joint * (1 + 1e-10)])
        assert ends[0] == pytest.approx(ends[1], rel=1e-3)
    for r in (0.3, 0.5, 0.7, 0.9):
        assert exact.energy(r) == pytest.approx(lj_energy(r), rel=1e-2)
        assert exact.force(r) == pytest.approx(lj_force(r), rel=1e-2)
    for r in (2.2, 3.0, 5.0):
        assert exact.energy(r) == pytest.approx(lj_energy(r), rel=2e-2)
    assert [n for _, n in function.tail.terms] == pytest.approx([6, 12], rel=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_seed_quality_is_within_a_factor_of_two(seed):
    """The bare pykan model is off by orders of magnitude at r = 0.5."""
    curve = PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=seed)
    keywords = {**SEED_CASE, "seed": seed, "cutoff": 10.0}
    cured = fit(curve, **keywords | {"core": "power", "tail": "power"}).potential
    assert 0.5 < cured.energy(0.5) / lj_energy(0.5) < 2
    assert fit(curve, **keywords).potential.energy(0.5) < 0.01 * lj_energy(0.5)
    assert np.sign(cured.energy(3.0)) == np.sign(cured.energy(cured.domain()[1]))


@pytest.mark.parametrize("n", [4.0, 6.0, 9.0, 12.0])
def test_core_of_a_power_law(n):
    """A r^-n is repulsive whatever n: down to two thirds of the joint within a factor 2."""
    core = match_core("power", lambda r: r**-n, (0.9, 2.0), None)
    r = torch.linspace(0.6, 0.9, 50, dtype=torch.float64)
    ratio = core(r) / r**-n
    assert 0.5 < ratio.min() <= ratio.max() < 2
    slope = value_and_slope(core, r.numpy())[1]
    assert (slope < 0).all()
    assert core(r[-1:]).item() == pytest.approx(0.9**-n)


@pytest.mark.parametrize(("c", "m"), [(-1.0, 6.0), (-2.0, 3.0), (0.5, 9.0)])
def test_tail_of_a_power_law_is_exact(c, m):
    tail = match_tail(lambda r: c * r**-m, (0.9, 2.0))
    r = torch.linspace(2.0, 20.0, 50, dtype=torch.float64)
    torch.testing.assert_close(tail(r), c * r**-m, rtol=1e-6, atol=0)


def test_data_that_end_on_the_way_down_get_a_tail_that_vanishes():
    tail = match_tail(lambda r: r**-12 - r**-6, (0.9, 1.05))
    r = np.linspace(1.05, 50, 4000)
    energy, slope = value_and_slope(tail, r)
    assert energy[0] == pytest.approx(lj_energy(1.05))
    assert slope[0] == pytest.approx(-lj_force(1.05))
    assert abs(energy[-1]) < 1e-6
    assert abs(energy).max() < 1


def test_fallback_walls_say_so():
    """Data that begin in the well: a ZBL wall for elements, r^-12 without."""
    for elements, wall in ((("Ar", "Ne"), "a ZBL wall"), (None, "a wall of r")):
        curve = PairCurve.from_function(lj_energy, r_min=1.2, r_max=2.0, n=50, elements=elements)
        with pytest.warns(UserWarning, match=f"not repulsive at the shortest distance.*{wall}"):
            potential = fit(curve).potential
        joint = potential.domain()[0]
        r = np.geomspace(0.05, joint * (1 - 1e-9), 2000)
        force = potential.force(r)
        assert force[0] > 100
        assert (np.diff(force) < 0).all()
        assert force[-1] == pytest.approx(potential.force(joint), rel=1e-6)


def test_zbl_core():
    curve = PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, elements=("Ar", "Kr"))
    potential = fit(curve, core="zbl").potential
    r = np.geomspace(1e-3, 0.02, 20)
    # Near the nuclei it is ZBL: the tangent adds less than a thousandth.
    np.testing.assert_allclose(potential.energy(r), zbl(torch.from_numpy(r), 18, 36).numpy(), rtol=2e-3)
    np.testing.assert_allclose(zbl(torch.tensor([1e-9]), 18, 36).item() * 1e-9, 18 * 36 * 14.399645, rtol=1e-4)
    assert (potential.force(np.geomspace(0.01, 0.95, 500)) > 0).all()


def test_continuations_are_saved_and_bare_is_the_kan_alone(exact, tmp_path):
    path = tmp_path / "p.kan"
    exact.save(path)
    again = KANPotential.load(path)
    r = np.geomspace(0.1, 12, 300)
    np.testing.assert_array_equal(again.energy(r), exact.energy(r))
    np.testing.assert_array_equal(again.force(r), exact.force(r))
    assert again.function().core == exact.function().core
    curve = PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=0)
    bare = fit(curve, cutoff=10.0, core=None, tail=None).potential
    inside = np.linspace(*exact.domain(), 100)
    # The laws at the ends are a part of the fit where the data bear them out.
    np.testing.assert_allclose(bare.energy(inside), exact.energy(inside), rtol=0, atol=1e-6)
    outside = torch.tensor([0.5, 0.7, 3.0])
    torch.testing.assert_close(bare(outside), bare.function().bare(outside))
    assert bare.energy(0.5) < 100 < exact.energy(0.5)
    assert "below the data: +1.7" in exact.describe()
    assert "below the data: the bare KAN" in bare.describe()


def test_files_of_format_1_are_bare(exact, tmp_path, monkeypatch):
    from ase_kan.potentials import storage

    original = exact.function().header
    old = {name: value for name, value in original().items() if name not in ("core", "tail")}
    monkeypatch.setattr(type(exact.function()), "header", lambda self: old)
    monkeypatch.setattr(storage, "FORMAT_VERSION", 1)
    monkeypatch.setattr(exact, "posterior", None)
    exact.save(tmp_path / "old.kan")
    monkeypatch.undo()
    function = KANPotential.load(tmp_path / "old.kan").function()
    assert function.core is None
    assert function.tail is None


def test_forces_are_derivatives_across_the_joints(exact):
    low, high = exact.domain()
    r = np.concatenate([np.linspace(0.4, 3, 200), low + np.array([-1e-4, 0, 1e-4]), high + np.array([-1e-4, 0, 1e-4])])
    h = 1e-6
    numerical = -(exact.energy(r + h) - exact.energy(r - h)) / (2 * h)
    np.testing.assert_allclose(exact.force(r), numerical, rtol=1e-6, atol=1e-7)


def test_random_starts_do_not_collapse(exact):
    """A few of the benchmark's thousands (docs/benchmarks/extrapolation.py): atoms as close as 0.3."""
    rng = np.random.default_rng(0)
    calc = KANCalculator(exact, on_extrapolation="ignore")
    for _ in range(8):
        dimer = Atoms("Ar2", [[0, 0, 0], [rng.uniform(0.2, 2.0), 0, 0]], calculator=calc)
        assert BFGS(dimer, logfile=None).run(fmax=1e-5, steps=300)
        assert dimer.get_distance(0, 1) == pytest.approx(2 ** (1 / 6), abs=1e-4)
    for _ in range(4):
        cluster = Icosahedron("Ar", noshells=2, latticeconstant=rng.uniform(0.5, 1.2))
        cluster.rattle(0.05, seed=int(rng.integers(1000)))
        cluster.calc = calc
        assert FIRE(cluster, logfile=None).run(fmax=1e-3, steps=2000)
        assert cluster.get_all_distances()[np.triu_indices(13, 1)].min() > 1.0
        assert cluster.get_potential_energy() > -44.326801 * 0.25 * (1 + 1e-5)


@pytest.mark.parametrize(("shells", "reference"), [(2, -44.326801), (3, -279.248470)])
def test_cluster_minima(exact, shells, reference):
    """Cambridge Cluster Database; the potential has seen [0.95, 2.0] only."""
    atoms = Icosahedron("Ar", noshells=shells, latticeconstant=1.6)
    atoms.calc = KANCalculator(exact, on_extrapolation="ignore")
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=300)
    assert atoms.get_potential_energy() / 0.25 == pytest.approx(reference, rel=1e-4)


def outside(atoms, potential):
    """Pairs closer and farther than the data, and their atoms, by a direct loop over images (elements: one)."""
    low, high = potential.domain()
    below = above = 0
    shortest, touched = np.inf, set()
    n = range(-3, 4)
    images = [np.array(s) @ atoms.cell.array for s in product(*(n if p else [0] for p in atoms.pbc))]
    for i in range(len(atoms)):
        for j in range(len(atoms)):
            for shift in images:
                r = np.linalg.norm(atoms.positions[j] + shift - atoms.positions[i])
                if (i == j and r == 0) or r >= potential.cutoff:
                    continue
                shortest = min(shortest, r)
                if r < low or r > high:
                    below, above = below + (r < low), above + (r > high)
                    touched |= {i, j}
    return below // 2, above // 2, shortest, sorted(touched)


def test_calculator_counts_pairs_outside(exact):
    near = fit(PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=0), cutoff=2.6).potential
    rng = np.random.default_rng(1)
    for pbc in (False, True):
        atoms = Atoms("Ar12", rng.uniform(0, 3, (12, 3)), cell=[3, 3.1, 3.2], pbc=pbc)
        atoms.calc = KANCalculator(near, on_extrapolation="ignore")
        assert atoms.calc.extrapolation is None
        atoms.get_forces()
        found = atoms.calc.extrapolation
        below, above, shortest, touched = outside(atoms, near)
        assert (found.below, found.above, found.pairs) == (below, above, below + above)
        assert found.shortest == pytest.approx(shortest, abs=1e-12)
        assert found.atoms.tolist() == touched
        assert below > 0
        energy, *_ = brute_force(atoms, near)
        assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-12)


def test_warnings_come_once_per_episode(exact):
    atoms = Atoms("Ar2", [[0, 0, 0], [0.7, 0, 0]], calculator=KANCalculator(exact))

    def told(distance):
        atoms.positions[1, 0] = distance
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            atoms.get_potential_energy()
        return [str(w.message) for w in caught if w.category is ExtrapolationWarning]

    (first,) = told(0.7)
    assert "1 pairs of atoms are closer and 0 farther" in first
    assert "shortest distance 0.7 A; atoms 0, 1" in first
    assert told(0.8) == told(0.6) == []
    assert told(1.5) == []
    assert len(told(3.0)) == 1
    assert told(1.2) == []
    assert "every pair lies within" in str(atoms.calc.extrapolation)


def test_raise_and_ignore(exact):
    atoms = Atoms("Ar2", [[0, 0, 0], [0.7, 0, 0]], calculator=KANCalculator(exact, on_extrapolation="raise"))
    with pytest.raises(ExtrapolationError, match=r"shortest distance 0\.7 A"):
        atoms.get_potential_energy()
    assert atoms.calc.extrapolation.below == 1
    assert atoms.calc.results == {}
    atoms.positions[1, 0] = 1.2
    atoms.get_potential_energy()
    quiet = KANCalculator(exact, on_extrapolation="ignore")
    atoms.positions[1, 0] = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quiet.get_potential_energy(atoms) > 1000
    for same in (copy.deepcopy(quiet), pickle.loads(pickle.dumps(quiet))):
        assert same.extrapolation.atoms.tolist() == [0, 1]
    with pytest.raises(ValueError, match="on_extrapolation must be one of warn, raise, ignore"):
        KANCalculator(exact, on_extrapolation="shout")
    atoms.positions[1, 0] = 1e-40
    with pytest.raises(ValueError, match=r"atoms 0 and 1 are only 1\.0e-40 A apart"):
        quiet.get_potential_energy(atoms)
