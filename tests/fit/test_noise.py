"""Weights of energies, forces and virials: what the fit leaves open, and labels that contradict each other."""

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list

from ase_kan import Structures, fit

from .test_smoothness import CUTOFF, copper, morse


def labelled(noise, offset=0.0, structures=40, seed=0):
    """Crystals of several sizes with energies (eV/atom), forces and virials (eV/atom) of known noise."""
    rng, images = np.random.default_rng(seed), []
    for number, atoms in enumerate(copper(seed, structures, 0.15, 0.0)):
        atoms.set_cell(atoms.cell * (0.97 + 0.06 * number / structures), scale_atoms=True)
        i, _, d, vectors = neighbor_list("ijdD", atoms, CUTOFF)
        energy, slope = morse(d)
        pull = (slope / d)[:, None] * vectors
        forces = np.array([np.bincount(i, pull[:, x], len(atoms)) for x in range(3)]).T
        n = len(atoms)
        # Every pair comes twice here.
        stress = np.einsum("nx,ny->xy", pull, vectors) / 2
        error = rng.normal(0, noise[2] * n, (3, 3))
        stress += (error + error.T) / 2 * [[1, 2**0.5, 2**0.5], [2**0.5, 1, 2**0.5], [2**0.5, 2**0.5, 1]]
        stress -= offset * n * np.eye(3)
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=energy.sum() / 2 + rng.normal(0, noise[0] * n),
            forces=forces + rng.normal(0, noise[1], forces.shape),
            stress=stress / atoms.get_volume(),
        )
        images.append(atoms)
    return images


@pytest.mark.parametrize("noise", [(0.003, 0.02, 0.05), (0.0005, 0.1, 0.01)])
def test_weights_are_one_over_the_noise(noise):
    """Known noise is found again, from data of which energies are the fewest."""
    result = fit(Structures(labelled(noise, structures=120)), cutoff=CUTOFF, validation=0.0, grid=30)
    found = result.potential.info["weights"]
    np.testing.assert_allclose([found[p] ** -0.5 for p in ("energy", "forces", "virial")], noise, rtol=0.2)


def test_properties_can_be_weighted_by_name():
    images = labelled((0.003, 0.02, 0.05))
    without = []
    for atoms in images:
        bare = atoms.copy()
        bare.calc = SinglePointCalculator(bare, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        without.append(bare)
    r = np.linspace(2.3, 5.9, 50)
    ours = fit(Structures(images), cutoff=CUTOFF, weights={"virial": 0}).potential
    theirs = fit(Structures(without), cutoff=CUTOFF).potential
    np.testing.assert_allclose(ours.energy(r), theirs.energy(r), atol=1e-6)
    given = fit(Structures(images), cutoff=CUTOFF, weights={"forces": 7.0, "virial": 0}).potential.info["weights"]
    assert (given["forces"], given["virial"]) == (7.0, 0)
    for bad in ({"stress": 1.0}, {"energy": -1.0}, (1, 2), (0, 0, 0), {"forces": np.nan}):
        with pytest.raises(ValueError, match="weights are those of energy, forces, virial"):
            fit(Structures(images), cutoff=CUTOFF, weights=bad)


def test_stresses_with_an_offset_are_told_of():
    """A constant of -0.3 eV per atom in the virials, as plane waves of a fixed number cause."""
    noise = (0.001, 0.02, 0.01)
    assert "contradict" not in str(fit(Structures(labelled(noise)), cutoff=CUTOFF))
    spoilt = fit(Structures(labelled(noise, offset=-0.3)), cutoff=CUTOFF)
    assert "leaves them out" in str(spoilt)
    told = next(line for line in str(spoilt).splitlines() if "contradict" in line)
    offset = float(told.split("a constant of ")[1].split()[0])
    assert offset == pytest.approx(-0.3, abs=0.05)
    left_out = fit(Structures(labelled(noise, offset=-0.3)), cutoff=CUTOFF, weights={"virial": 0})
    assert left_out.train_energy_rmse < 0.002
    assert "contradict" not in str(left_out)


def test_a_property_without_variance_is_no_trouble():
    """Crystals without forces by symmetry."""
    from ase.build import bulk

    images = []
    for a in np.linspace(3.5, 3.9, 12):
        atoms = bulk("Cu", "fcc", a=a, cubic=True)
        energy = morse(neighbor_list("d", atoms, CUTOFF))[0].sum() / 2
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((4, 3)))
        images.append(atoms)
    result = fit(Structures(images), cutoff=CUTOFF, grid=10, validation=0.0)
    assert result.train_energy_rmse < 1e-3
    assert result.potential.info["weights"]["forces"] == 1.0
