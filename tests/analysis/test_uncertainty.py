"""Standard deviations against independent sums, repeated fits and true errors; grades; what carries them."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from ase_kan import ExtrapolationError, KANCalculator, KANPotential, PairCurve, Structures, fit
from ase_kan.analysis.propagate import propagate, samples

NOISE = 0.01


def law(r):
    return 4 * (r**-12.0 - r**-6.0)


def noisy(seed, n=60, noise=NOISE, elements=None, gap=None):
    rng = np.random.default_rng(seed)
    r = np.sort(rng.uniform(0.95, 2.5, n))
    if gap:
        r = r[(r < gap[0]) | (r > gap[1])]
    return PairCurve(r, law(r) + noise * rng.normal(size=len(r)), elements=elements)


@pytest.fixture(scope="module")
def fitted():
    return fit(noisy(0), cutoff=2.5).potential


def crystals(seed, n, noise):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n):
        atoms = bulk("Ar", "fcc", a=1.6 + 0.1 * rng.random(), cubic=True) * (2, 2, 2)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        atoms.calc = LennardJones(rc=2.5, smooth=True)
        energy = atoms.get_potential_energy() + noise * len(atoms) * rng.normal()
        forces = atoms.get_forces() + 10 * noise * rng.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        images.append(atoms)
    return images


def test_deviation_is_the_spread_of_repeated_fits():
    """The posterior of one fit against the errors of 25 fits to other noise."""
    r = np.linspace(1.02, 2.2, 40)
    error, predicted = [], []
    for seed in range(25):
        potential = fit(noisy(seed), cutoff=4.0, onset=3.5).potential
        error.append(potential.energy(r) - law(r))
        predicted.append(potential.uncertainty(r))
    ratio = np.sqrt(np.mean(np.square(error), axis=0) / np.mean(np.square(predicted), axis=0))
    assert 0.7 < np.median(ratio) < 1.4
    z = np.abs(np.array(error) / np.array(predicted))
    assert 0.58 < np.mean(z < 1) < 0.85
    assert np.mean(z < 2) > 0.88


@pytest.mark.parametrize("keywords", [{"width": (1, 2, 1), "steps": 60}, {"optimizer": "pykan"}])
def test_deeper_networks_know_their_size_of_error(keywords):
    curve = noisy(1)
    potential = fit(curve, cutoff=2.45, **keywords).potential
    r = np.linspace(1.0, 2.2, 100)
    std, error = potential.uncertainty(r), np.abs(potential.energy(r) - law(r) * 1.0)
    shift = potential.energy(2.2) - law(2.2)
    assert 0.1 < np.median(std) / np.median(np.abs(error - abs(shift)) + 1e-3) < 30
    assert np.isfinite(std).all()


@pytest.mark.parametrize("engine", ["compiled", "autograd"])
def test_structures_are_sums_over_their_pairs(engine, fitted):
    """Energy, forces and stress from the modes of every pair, one by one."""
    rng = np.random.default_rng(2)
    atoms = bulk("Ar", "fcc", a=1.62, cubic=True) * (2, 2, 2)
    atoms.positions += rng.normal(0, 0.04, atoms.positions.shape)
    atoms.calc = KANCalculator(fitted, engine=engine, on_extrapolation="ignore")
    found = atoms.calc.uncertainty(atoms)
    from ase.neighborlist import neighbor_list

    i, d, vectors = neighbor_list("idD", atoms, fitted.cutoff)
    modes = fitted.modes(d)
    assert found.energy == pytest.approx(np.linalg.norm(modes.value.sum(axis=0) / 2), rel=0.02)
    pulls = np.zeros((len(atoms), 3, modes.value.shape[1]))
    np.add.at(pulls, i, (vectors / d[:, None])[:, :, None] * modes.slope[:, None, :])
    expected = np.linalg.norm(pulls, axis=2)
    np.testing.assert_allclose(found.forces, expected, rtol=0.05, atol=0.02 * expected.max())
    outer = vectors[:, :, None] * vectors[:, None, :] / d[:, None, None] / 2
    virial = np.einsum("pxy,pm->xym", outer, modes.slope) / atoms.get_volume()
    stress = np.linalg.norm(virial, axis=2)[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]
    np.testing.assert_allclose(found.stress, stress, rtol=0.05)
    grades = np.zeros(len(atoms))
    np.maximum.at(grades, i, fitted.grade(d))
    np.testing.assert_allclose(found.grades, grades, atol=0.02)


def test_mixture_of_elements_and_cluster():
    """Several tables: each pair has its own modes; a cluster has no stress."""
    curves = [noisy(n, elements=pair) for n, pair in enumerate([("Ar", "Ar"), ("Ar", "Ne"), ("Ne", "Ne")])]
    potential = fit(curves, cutoff=2.5).potential
    atoms = Atoms("ArNe2", [[0, 0, 0], [1.1, 0, 0], [0, 1.3, 0]])
    found = []
    for engine in ("compiled", "autograd"):
        atoms.calc = KANCalculator(potential, engine=engine, on_extrapolation="ignore")
        found.append(atoms.calc.uncertainty(atoms))
    assert found[0].energy == pytest.approx(found[1].energy, rel=1e-9)
    total = sum(potential.modes(np.array([r]), pair).value[0] for pair, r in
                ((("Ar", "Ne"), 1.1), (("Ar", "Ne"), 1.3), (("Ne", "Ne"), np.hypot(1.1, 1.3))))  # fmt: skip
    assert found[0].energy == pytest.approx(np.linalg.norm(total), rel=0.02)
    np.testing.assert_allclose(found[0].forces, found[1].forces, rtol=1e-5)
    assert found[0].stress is None


def test_structures_hold_their_labels():
    """68 and 95 % of forces of structures that the fit has not seen."""
    images = crystals(0, 36, 1e-3)
    result = fit(Structures(images[:26]), cutoff=2.5, grid=20)
    z = []
    for atoms in images[26:]:
        copy = atoms.copy()
        copy.calc = KANCalculator(result.potential, on_extrapolation="ignore")
        z.append((copy.get_forces() - atoms.get_forces()) / copy.calc.uncertainty(copy).forces)
    z = np.abs(np.array(z))
    assert 0.6 < np.mean(z < 1) < 0.78
    assert 0.92 < np.mean(z < 2) < 0.985
    # Nothing is known of closer atoms than any in the data.
    near = Atoms("Ar2", [[0, 0, 0], [0.8 * result.potential.domain()[0], 0, 0]])
    near.calc = KANCalculator(result.potential, on_extrapolation="ignore")
    found = near.calc.uncertainty(near)
    assert np.isinf(found.energy)
    assert np.isinf(found.forces).all()
    assert found.verdict == "care"


def test_outside_the_data_it_is_wide_or_says_so():
    """Below, in a gap: the error is within two deviations, or the grade above 1."""
    for seed in range(3):
        potential = fit(noisy(seed, 90, gap=(1.3, 1.7)), cutoff=4.0, onset=3.5).potential
        assert potential.gaps()
        rng = np.random.default_rng(seed)
        r = np.concatenate([rng.uniform(0.65, 0.95, 100), rng.uniform(1.3, 1.7, 100), rng.uniform(2.5, 3.4, 100)])
        error = np.abs(potential.energy(r) - law(r))
        assert ((error <= 2 * potential.uncertainty(r)) | (potential.grade(r) > 1)).mean() > 0.99
        assert potential.uncertainty(0.7) > 30 * potential.uncertainty(0.94)
        assert potential.uncertainty(1.5) > 2 * potential.uncertainty(1.2)


def test_grades_are_one_at_the_edges(fitted):
    low, high = fitted.domain()
    np.testing.assert_allclose(fitted.grade([low, high, 0.97 * low, 1.3 * high]), [1, 1, 2, 2], atol=1e-9)
    assert fitted.grade(0.7 * low) > 10
    assert fitted.grade(0.5 * (low + high)) == 0


def test_errors_may_be_raised_from_a_grade_on(fitted):
    low = fitted.domain()[0]
    for engine in ("compiled", "autograd"):
        atoms = Atoms("Ar2", [[0, 0, 0], [0.95 * low, 0, 0]])
        atoms.calc = KANCalculator(fitted, engine=engine, on_extrapolation="raise", grade=3)
        atoms.get_potential_energy()
        atoms.positions[1, 0] = 0.93 * low
        with pytest.raises(ExtrapolationError):
            atoms.get_potential_energy()
    with pytest.raises(ValueError, match="grade must be 1"):
        KANCalculator(fitted, grade=0.5)


def test_annotations_go_with_the_atoms(fitted, tmp_path):
    atoms = bulk("Ar", "fcc", a=1.62, cubic=True)
    atoms.calc = KANCalculator(fitted, on_extrapolation="ignore")
    atoms.get_potential_energy()
    found = atoms.calc.annotate(atoms)
    assert not {"energy_std", "grade"} & set(atoms.calc.results)
    write(tmp_path / "a.extxyz", atoms)
    again = read(tmp_path / "a.extxyz")
    assert again.info["energy_std"] == pytest.approx(found.energy, rel=1e-6)
    np.testing.assert_allclose(again.arrays["forces_std"], found.forces, atol=1e-7)
    np.testing.assert_allclose(again.info["stress_std"], found.stress, rtol=1e-6)


def test_forces_are_those_of_the_atoms_that_were_asked_about(fitted):
    """They are found when someone asks, and the atoms may have moved by then."""
    atoms = bulk("Ar", "fcc", a=1.62, cubic=True)
    atoms.rattle(0.03, seed=0)
    atoms.calc = KANCalculator(fitted, on_extrapolation="ignore")
    now, later = atoms.calc.uncertainty(atoms).forces, atoms.calc.uncertainty(atoms)
    atoms.rattle(0.1, seed=1)
    atoms.get_forces()
    np.testing.assert_array_equal(later.forces, now)


def test_potentials_that_know_nothing_say_so(potential):
    with pytest.raises(ValueError, match="does not know its errors"):
        potential.uncertainty(1.1)
    atoms = Atoms("Ar2", [[0, 0, 0], [1.1, 0, 0]])
    atoms.calc = KANCalculator(potential)
    with pytest.raises(ValueError, match="does not know its errors"):
        atoms.calc.uncertainty(atoms)


def test_it_is_saved_with_the_potential_in_little_room(fitted, tmp_path):
    fitted.save(tmp_path / "p.kan")
    again = KANPotential.load(tmp_path / "p.kan")
    r = np.linspace(0.5, 2.4, 100)
    np.testing.assert_array_equal(again.uncertainty(r), fitted.uncertainty(r))
    assert (tmp_path / "p.kan").stat().st_size < 200_000
    assert "energy known to 1 % of itself or of the well from" in again.describe()


def test_samples_have_the_deviations(fitted):
    r = np.array([0.7, 0.9, 1.0, 1.12, 1.5, 2.0])
    found = propagate(lambda sample: sample.energy(r), fitted, 200)
    np.testing.assert_allclose(found.std, fitted.uncertainty(r), rtol=0.2)
    np.testing.assert_array_equal(found.value, fitted.energy(r))
    low, high = found.interval(0.95)
    assert (low < found.value).all()
    assert (found.value < high).all()
    first, again = (next(samples(fitted, 1, seed=3)).energy(r) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="at least 2 samples"):
        propagate(lambda sample: 0.0, fitted, 1)


def test_mixed_pairs_are_not_known():
    first = noisy(0, elements=("Ar", "Ar"))
    second = noisy(1, elements=("Ne", "Ne"))
    potential = fit([first, second], mixing="lorentz-berthelot").potential
    assert np.isinf(potential.uncertainty(1.1, ("Ar", "Ne")))
    assert np.isfinite(potential.uncertainty(1.1, ("Ar", "Ar")))


def test_an_ensemble_is_one_potential(tmp_path):
    curve = noisy(0, 80)
    result = fit(curve, ensemble=4, cutoff=2.5)
    potential, single = result.potential, fit(curve, cutoff=2.5).potential
    r = np.linspace(1.0, 2.2, 60)
    np.testing.assert_allclose(potential.energy(r), single.energy(r), atol=5 * NOISE)
    ratio = potential.uncertainty(r) / single.uncertainty(r)
    assert 0.3 < np.median(ratio) < 3
    assert np.isfinite(potential.uncertainty([0.6, 2.4])).all()
    assert "mean of 4 fits" in str(result)
    potential.save(tmp_path / "e.kan")
    np.testing.assert_array_equal(KANPotential.load(tmp_path / "e.kan").energy(r), potential.energy(r))
    again = fit(curve, ensemble=4, cutoff=2.5).potential
    np.testing.assert_array_equal(again.energy(r), potential.energy(r))
    with pytest.raises(ValueError, match="2 members or more, got 1"):
        fit(curve, ensemble=1)


def test_an_ensemble_of_structures():
    images = crystals(3, 12, 1e-3)
    result = fit(Structures(images), cutoff=2.5, grid=12, ensemble=3)
    copy = images[0].copy()
    copy.calc = KANCalculator(result.potential, on_extrapolation="ignore")
    error = copy.get_forces() - images[0].get_forces()
    assert np.sqrt(np.mean(error**2)) < 0.01 * images[0].get_forces().std()
    assert 0 < copy.calc.uncertainty(copy).energy < 1


def test_equations_are_extended(tmp_path):
    """Structures one after the other give what all at once do; the old ones are not needed."""
    images = crystals(4, 10, 1e-3)
    keywords = {"cutoff": 2.5, "grid": 12, "elements": ["Ar"], "start": 0.8, "validation": 0.2}
    whole = fit(Structures(images), **keywords).potential
    fit(Structures(images[:6]), checkpoint=tmp_path / "c", **keywords)
    parts = fit(Structures(images[6:]), checkpoint=tmp_path / "c", extend=True, **keywords).potential
    r = np.linspace(1.0, 2.4, 50)
    np.testing.assert_allclose(parts.energy(r), whole.energy(r), atol=1e-9)
    assert parts.info["structures"]["used"] == 10
    with pytest.raises(ValueError, match=r"no checkpoint .* to extend"):
        fit(Structures(images), checkpoint=tmp_path / "none", extend=True, **keywords)
    with pytest.raises(ValueError, match="choose one"):
        fit(Structures(images), checkpoint=tmp_path / "c", extend=True, resume=True, **keywords)


def test_figures_show_the_band(fitted):
    from ase_kan.plots.fit import plot_fit
    from ase_kan.plots.uncertainty import plot_calibration

    figure = plot_fit(fitted, noisy(0))
    assert "2 standard deviations" in figure.axes[1].get_legend().get_texts()[0].get_text()
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2, 1000)
    figure = plot_calibration(std * rng.normal(size=1000), std)
    normal, found = figure.axes[0].get_lines()
    np.testing.assert_allclose(found.get_ydata(), normal.get_ydata(), atol=6)
    with pytest.raises(ValueError, match="the same shape"):
        plot_calibration([1.0], [1.0, 2.0])
