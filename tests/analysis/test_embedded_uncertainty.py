"""Uncertainties of embedded-atom potentials against potentials with one mode added, repeated fits and true errors."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANEAM, ExtrapolationError, KANCalculator, Structures, fit
from ase_kan.analysis import uncertainty
from ase_kan.analysis.propagate import propagate, samples
from ase_kan.potentials.eam_posterior import EAMPosterior
from tests.synthetic_eam import SyntheticEAM

CUTOFF = 4.5


def images(symbols, number, seed, noise=0.0, rattle=0.12):
    """Rattled cells of random composition, labelled by a potential that is known, with noise."""
    rng = np.random.default_rng(seed)
    truth = SyntheticEAM(elements=tuple(sorted({*symbols})), cutoff=CUTOFF, low=0.05)
    found = []
    for _ in range(number):
        atoms = bulk("Cu", a=3.7, cubic=True)
        atoms.symbols = rng.choice(symbols, len(atoms))
        atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.05, 0.05)), scale_atoms=True)
        atoms.positions += rng.normal(0, rattle, atoms.positions.shape)
        atoms.calc = KANCalculator(truth, engine="autograd", on_extrapolation="ignore")
        energy = atoms.get_potential_energy() + len(atoms) * noise * rng.normal()
        forces = atoms.get_forces() + 30 * noise * rng.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        found.append(atoms)
    return found


def fitted(symbols, noise=1e-3, seed=0, number=30, **keywords):
    data = Structures(images(symbols, number, seed, noise))
    return fit(data, model="eam", cutoff=CUTOFF, grid=8, embedding_grid=3, **keywords).potential


@pytest.fixture(scope="module")
def alloy():
    return fitted(["Cu", "Ni"], channels=2)


@pytest.mark.parametrize("engine", ["compiled", "autograd"])
def test_modes_are_added_to_the_potential(engine, alloy, monkeypatch):
    """Energy, forces and stress are linear in the modes: those of potentials with one of them, one by one."""
    atoms = images(["Cu", "Ni"], 1, 7)[0]
    atoms.symbols = ["Cu", "Ni", "Ni", "Cu"]
    # Modes of phi are linear between nodes: with more of them than usual the sums are close to exact.
    monkeypatch.setattr(uncertainty, "NODES", 4096)
    # Without what the fit leaves open, which would hide the modes.
    alloy = replace(alloy, posterior=EAMPosterior(alloy.posterior.factor, {}))
    found = KANCalculator(alloy, engine=engine, on_extrapolation="ignore").uncertainty(atoms)

    def of(potential):
        calc = KANCalculator(potential, engine="autograd", on_extrapolation="ignore")
        return np.concatenate(
            [[calc.get_potential_energy(atoms)], calc.get_forces(atoms).ravel(), calc.get_stress(atoms)]
        )

    plain = of(alloy)
    size = len(alloy.lone_modes({}))
    squares = sum((of(alloy.shifted(unit)) - plain) ** 2 for unit in np.eye(size))
    assert found.energy == pytest.approx(squares[0] ** 0.5, rel=1e-4)
    np.testing.assert_allclose(found.forces.ravel(), squares[1:-6] ** 0.5, rtol=1e-4)
    np.testing.assert_allclose(found.stress, squares[-6:] ** 0.5, rtol=1e-4, atol=1e-4 * squares[-6:].max() ** 0.5)


def test_deviation_is_the_spread_of_repeated_fits():
    """Of the energies that fits to other noise give for structures they have not seen, relative to one of them."""
    new = images(["Cu"], 12, 99, rattle=0.06)
    noise, errors, predicted = 2e-3, [], []
    truth = np.array([atoms.get_potential_energy() for atoms in new])
    for seed in range(8):
        potential = fitted(["Cu"], noise, seed, 40)
        calc = KANCalculator(potential, on_extrapolation="ignore")
        sizes = np.array([len(atoms) for atoms in new])
        errors.append(np.array([calc.get_potential_energy(atoms) for atoms in new]) - truth)
        total = np.array([calc.uncertainty(atoms).energy for atoms in new])
        predicted.append(np.sqrt(total**2 - (sizes * potential.residual["energy"]) ** 2))
    ratio = np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(predicted)))
    assert 0.5 < ratio < 2.0


def test_grades_and_gaps_of_densities():
    """1 at the ends of the densities of the data, and a tenth of their width farther out 2; the guard has the same."""
    potential = fitted(["Cu"])
    low, high = potential.density_domain("Cu")
    width = high - low
    levels = potential.density_grade(np.array([low, high, low - 0.1 * width, high + 0.3 * width]), "Cu")
    np.testing.assert_allclose(levels, [1, 1, 2, 4], rtol=1e-9)
    atoms = bulk("Cu", a=3.7, cubic=True)
    scales = np.linspace(1.0, 1.25, 200)
    seen = {}
    for grade in (1.0, 2.0):
        for engine in ("compiled", "autograd"):
            calc = KANCalculator(potential, engine=engine, on_extrapolation="ignore", grade=grade)
            counts = []
            for scale in scales:
                stretched = bulk("Cu", a=3.7 * scale, cubic=True)
                calc.get_potential_energy(stretched)
                counts.append(calc.extrapolation.densities)
                level = calc.uncertainty(stretched).grade
                densities = calc._engine.densities()
                np.testing.assert_allclose(densities, densities[0, 0])
                expected = potential.density_grade(densities[:1, 0], "Cu")[0] > grade * (1 + 1e-9)
                assert counts[-1] == expected * len(atoms)
                assert level >= potential.density_grade(densities[:1, 0], "Cu")[0]
            seen[grade, engine] = counts
    assert seen[1.0, "compiled"] == seen[1.0, "autograd"]
    assert sum(seen[2.0, "compiled"]) < sum(seen[1.0, "compiled"])
    assert sum(seen[2.0, "compiled"]) > 0


@pytest.mark.parametrize("engine", ["compiled", "autograd"])
def test_gaps_in_the_densities_count_as_outside(engine):
    """Crystals of two densities, and nothing between them."""
    rng = np.random.default_rng(0)
    truth = SyntheticEAM(elements=("Cu",), cutoff=CUTOFF, low=0.05)
    found = []
    for n in range(40):
        atoms = bulk("Cu", a=(3.4, 4.1)[n % 2], cubic=True)
        atoms.positions += rng.normal(0, 0.02, atoms.positions.shape)
        atoms.calc = KANCalculator(truth, engine="autograd", on_extrapolation="ignore")
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        found.append(atoms)
    potential = fit(Structures(found), model="eam", cutoff=CUTOFF, grid=8).potential
    (gap,) = potential.density_gaps("Cu")
    calc = KANCalculator(potential, engine=engine, on_extrapolation="ignore")
    between = bulk("Cu", a=3.75, cubic=True)
    calc.get_potential_energy(between)
    assert gap[0] < calc._engine.densities()[0, 0] < gap[1]
    assert calc.extrapolation.densities == 4
    assert calc.uncertainty(between).grade > 2
    strict = KANCalculator(potential, engine=engine, on_extrapolation="raise")
    with pytest.raises(ExtrapolationError, match="in a gap of data"):
        strict.get_potential_energy(between)
    calc.get_potential_energy(bulk("Cu", a=3.4, cubic=True))
    assert calc.extrapolation.densities == 0


def test_nothing_is_known_below_the_data(alloy):
    atoms = images(["Cu", "Ni"], 1, 3)[0]
    atoms.positions[1] = atoms.positions[0] + [0, 0, 0.8 * min(alloy.domain(pair)[0] for pair in alloy.pairs)]
    found = KANCalculator(alloy, on_extrapolation="ignore").uncertainty(atoms)
    assert found.energy == np.inf
    assert np.isinf(found.forces[:2]).all()
    assert found.grade > 2


def test_posterior_is_saved_and_propagated(tmp_path, alloy):
    alloy.save(tmp_path / "alloy.kan")
    loaded = KANEAM.load(tmp_path / "alloy.kan")
    atoms = images(["Cu", "Ni"], 1, 4)[0]

    def energy(potential):
        return KANCalculator(potential, engine="autograd", on_extrapolation="ignore").get_potential_energy(atoms)

    found = [KANCalculator(p, on_extrapolation="ignore").uncertainty(atoms) for p in (alloy, loaded)]
    assert found[0].energy == found[1].energy
    np.testing.assert_array_equal(found[0].forces, found[1].forces)
    spread = propagate(energy, loaded, 200)
    modes = np.sqrt(found[0].energy ** 2 - (len(atoms) * alloy.residual["energy"]) ** 2)
    assert float(spread.std) == pytest.approx(modes, rel=0.2)
    assert next(samples(loaded, 1)).posterior is None
    with pytest.raises(ValueError, match="does not know its errors"):
        KANCalculator(next(samples(loaded, 1)), on_extrapolation="ignore").uncertainty(atoms)
