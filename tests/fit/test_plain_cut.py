"""Structures whose pairs were plainly cut: `smooth=False`."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, KANPotential, Structures, fit

CUTOFF = 6.0


def argon(number, seed):
    """Crystals labelled by ASE's Lennard-Jones, whose force at the cutoff is a step of 2e-3 eV/A."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(number):
        atoms = bulk("Ar", "fcc", a=5.3 + rng.uniform(-0.2, 0.4), cubic=True) * (2, 2, 2)
        atoms.positions += rng.normal(0, 0.25, atoms.positions.shape)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=CUTOFF)
        forces = atoms.get_forces()
        atoms.calc = SinglePointCalculator(
            atoms, energy=atoms.get_potential_energy(), forces=forces, stress=atoms.get_stress()
        )
        images.append(atoms)
    return images


@pytest.fixture(scope="module")
def images():
    return argon(30, 0)


def test_plainly_cut_data_are_followed(images, tmp_path):
    plain = fit(Structures(images), cutoff=CUTOFF, smooth=False)
    assert plain.potential.function().cutoff.onset is None
    # To the cutoff, where a switched function must leave the data.
    r = np.linspace(3.2, CUTOFF - 1e-6, 300)
    exact = LennardJones(sigma=3.4, epsilon=0.0104, rc=CUTOFF)
    truth = 4 * 0.0104 * ((3.4 / r) ** 12 - (3.4 / r) ** 6 - (3.4 / CUTOFF) ** 12 + (3.4 / CUTOFF) ** 6)
    force = 24 * 0.0104 * (2 * (3.4 / r) ** 12 - (3.4 / r) ** 6) / r
    np.testing.assert_allclose(plain.potential.energy(r), truth, atol=2e-6)
    np.testing.assert_allclose(plain.potential.force(r), force, atol=2e-5)
    switched = fit(Structures(images), cutoff=CUTOFF)
    assert plain.train_force_rmse < 0.1 * switched.train_force_rmse
    plain.potential.save(tmp_path / "a.kan")
    for atoms in argon(3, 1):
        forces = []
        for calc in (exact, KANCalculator(KANPotential.load(tmp_path / "a.kan"))):
            atoms.calc = calc
            forces.append(atoms.get_forces())
        np.testing.assert_allclose(forces[1], forces[0], atol=1e-4)


def test_errors_are_those_of_the_calculator(images):
    result = fit(Structures(images), cutoff=CUTOFF, smooth=False, validation=0.0, grid=8)
    calc, squares = KANCalculator(result.potential), []
    for atoms in images:
        copy = atoms.copy()
        copy.calc = calc
        squares.append(np.mean((copy.get_forces() - atoms.get_forces()) ** 2))
    assert result.train_force_rmse == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-4)


def test_a_plain_cut_has_no_onset(images):
    with pytest.raises(ValueError, match="has no onset"):
        fit(Structures(images), cutoff=CUTOFF, smooth=False, onset=0.9)
