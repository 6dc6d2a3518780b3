"""Laws found in total energies and forces of structures, and the door for these."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, Structures, discover


def clusters(number=25, atoms=6, noise=(0.0, 0.0), lone=-3.0, calculator=None):
    """Random clusters with the energies (plus `lone` eV per atom) and forces of Lennard-Jones."""
    rng = np.random.default_rng(3)
    calculator = calculator or LennardJones(epsilon=0.25, sigma=1.0, rc=50.0)
    found = []
    while len(found) < number:
        image = Atoms(f"Ar{atoms}", rng.uniform(-1.6, 1.6, (atoms, 3)))
        if image.get_all_distances()[np.triu_indices(atoms, 1)].min() < 0.97:
            continue
        image.calc = calculator
        energy = image.get_potential_energy() + lone * atoms + noise[0] * rng.normal()
        forces = image.get_forces() + noise[1] * rng.normal(size=(atoms, 3))
        image.calc = SinglePointCalculator(image, energy=energy, forces=forces)
        found.append(image)
    return found


def test_clusters():
    noise = (1e-2, 1e-3)
    law = discover(Structures(clusters(noise=noise)))
    assert (law.verdict, law.name) == ("found", "Lennard-Jones 12-6")
    for name, true in (("epsilon", 0.25), ("sigma", 1.0)):
        known = law.parameters[name]
        assert known.value == pytest.approx(true, abs=4 * known.error + 1e-7)
        assert known.error < max(noise) + 1e-7
    assert law.potential.reference_energies["Ar"] == pytest.approx(-3, abs=max(noise) + 1e-6)
    assert law.noise == pytest.approx({"energy": noise[0] / 6, "forces": noise[1]}, rel=0.5)


def test_periodic_structures_with_a_cutoff():
    """Energies that ASE shifts to zero at the cutoff; the potential has the same convention."""
    images = []
    for seed in range(8):
        image = bulk("Ar", a=1.56 + 0.02 * seed, cubic=True) * (2, 2, 2)
        image.rattle(0.08, seed=seed)
        image.calc = LennardJones(epsilon=0.25, sigma=1.0, rc=1.5)
        image.get_forces()
        images.append(image)
    with pytest.raises(ValueError, match="periodic structures need a cutoff"):
        discover(Structures(images))
    law = discover(Structures(images), cutoff=1.5, smooth=False)
    assert law.name == "Lennard-Jones 12-6"
    again = images[0].copy()
    again.calc = KANCalculator(law.potential, engine="autograd")
    assert again.get_potential_energy() == pytest.approx(images[0].get_potential_energy(), abs=1e-5)
    assert again.get_forces() == pytest.approx(images[0].get_forces(), abs=1e-6)


def test_energies_alone():
    images = clusters(40)
    for image in images:
        image.calc = SinglePointCalculator(image, energy=image.get_potential_energy())
    assert discover(Structures(images)).name == "Lennard-Jones 12-6"


def test_no_law_of_pairs():
    """Forces with a part that no law of the library has."""
    images = clusters()
    for image in images:
        energy, forces = image.get_potential_energy(), image.get_forces().copy()
        vectors = image.positions[:, None] - image.positions[None]
        r = np.linalg.norm(vectors, axis=2) + 10 * np.eye(6)
        bump = 0.1 * np.exp(-(((r - 1.6) / 0.2) ** 2))
        energy += bump.sum() / 2
        forces += ((bump * 2 * (r - 1.6) / 0.2**2 / r)[:, :, None] * vectors).sum(axis=1)
        image.calc = SinglePointCalculator(image, energy=energy, forces=forces)
    assert discover(Structures(images)).verdict == "no simple law"


def test_errors_at_the_door():
    mixed = Atoms("ArNe", [[0, 0, 0], [0, 0, 3]])
    mixed.calc = SinglePointCalculator(mixed, energy=0.0)
    with pytest.raises(ValueError, match="a law is that of one pair, and the structures have Ar, Ne"):
        discover(Structures([mixed]))
    alone = Atoms("Ar", [[0, 0, 0]])
    alone.calc = SinglePointCalculator(alone, energy=0.0)
    with pytest.raises(ValueError, match="no two atoms closer than the cutoff"):
        discover(Structures([alone]))
    dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, 3]])
    dimer.calc = SinglePointCalculator(dimer, energy=0.0)
    with pytest.raises(ValueError, match="give more structures"):
        discover(Structures([dimer]))
