"""Errors by group, and weights of properties and atoms."""

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, Structures, fit

from .test_smoothness import CUTOFF, copper


@pytest.fixture
def images():
    found = []
    for name, displacement, noise in (("cold", 0.05, 0.01), ("hot", 0.2, 0.1)):
        for atoms in copper(0, 12, displacement, noise):
            atoms.info["kind"] = name
            found.append(atoms)
    return found


def test_errors_by_group_are_the_calculators(images):
    del images[-1].info["kind"]
    result = fit(Structures(images, group_key="kind"), cutoff=CUTOFF, grid=20)
    groups, calc = result.potential.info["groups"], KANCalculator(result.potential)
    assert {name: found["structures"] for name, found in groups.items()} == {"cold": 12, "hot": 11, "no group": 1}
    for name in ("cold", "hot"):
        energy, forces = [], []
        for atoms in images:
            if atoms.info.get("kind") == name:
                copy = atoms.copy()
                copy.calc = calc
                energy.append((copy.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
                forces.append(copy.get_forces() - atoms.get_forces())
        assert groups[name]["energy"] == pytest.approx(np.sqrt(np.mean(np.square(energy))), rel=1e-5)
        assert groups[name]["forces"] == pytest.approx(np.sqrt(np.mean(np.square(forces))), rel=1e-6)
        assert groups[name]["virial"] is None
        assert any(line.startswith(name) for line in str(result).splitlines())
    assert groups["hot"]["forces"] > 5 * groups["cold"]["forces"]
    with pytest.raises(ValueError, match="no structure has the group named 'sort'"):
        fit(Structures(images, group_key="sort"), cutoff=CUTOFF, grid=20)


def same(one, two):
    r = np.linspace(2.4, 5.9, 50)
    return np.allclose(one.potential.energy(r), two.potential.energy(r), rtol=1e-5, atol=1e-6)


def test_weights_of_zero_are_labels_left_out(images):
    masked, missing = [], []
    for number, atoms in enumerate(images):
        forces, weights = atoms.get_forces(), np.ones(len(atoms))
        weights[: number % 4] = 0
        atoms.arrays["w"], atoms.info["we"] = weights, float(number % 3 > 0)
        masked.append(atoms)
        bare = atoms.copy()
        forces[weights == 0] = np.nan
        energy = {"energy": atoms.get_potential_energy()} if number % 3 else {}
        bare.calc = SinglePointCalculator(bare, forces=forces, **energy)
        missing.append(bare)
    keys = {"forces": "w", "energy": "we"}
    settings = {"cutoff": CUTOFF, "grid": 20, "validation": 0.0, "weights": (1, 1, 1)}
    assert same(fit(Structures(masked, property_weight_keys=keys), **settings), fit(Structures(missing), **settings))
    assert not same(fit(Structures(masked), **settings), fit(Structures(missing), **settings))


def test_weights_of_atoms_are_weights(images):
    """Twice the weight for all atoms is twice that of the forces; and errors count with their weights."""
    for atoms in images:
        atoms.arrays["w"] = np.where(np.arange(len(atoms)) % 2, 3.0, 0.5)
        atoms.info["twice"] = 2.0
    settings = {"cutoff": CUTOFF, "grid": 20, "validation": 0.0}
    by_atom = fit(Structures(images, property_weight_keys={"forces": "w"}), weights=(1, 1, 1), **settings)
    calc, squares, weights = KANCalculator(by_atom.potential), [], []
    for atoms in images:
        copy = atoms.copy()
        copy.calc = calc
        squares.append(np.mean((copy.get_forces() - atoms.get_forces()) ** 2, axis=1))
        weights.append(atoms.arrays["w"])
    assert by_atom.train_force_rmse == pytest.approx(np.sqrt(np.average(squares, weights=weights)), rel=1e-5)
    hot = [atoms for atoms in images if atoms.info["kind"] == "hot"]
    for atoms in hot:
        atoms.info["twice"] = 0.01
    favoured = fit(Structures(images, property_weight_keys={"forces": "twice"}, group_key="kind"), **settings)
    plain = fit(Structures(images, group_key="kind"), **settings)
    assert favoured.potential.info["groups"]["cold"]["forces"] <= plain.potential.info["groups"]["cold"]["forces"]


def test_bad_weights_are_named(images):
    with pytest.raises(ValueError, match="property_weight_keys are for energy, forces, virial, got stress"):
        Structures(images, property_weight_keys={"stress": "w"})
    images[3].info["we"] = -1.0
    with pytest.raises(ValueError, match="structure 3 has a negative weight"):
        fit(Structures(images, property_weight_keys={"energy": "we"}), cutoff=CUTOFF)
    images[3].info["we"] = "much"
    with pytest.raises(ValueError, match="structure 3: the weight 'we' is not a number"):
        fit(Structures(images, property_weight_keys={"energy": "we"}), cutoff=CUTOFF)
    with pytest.raises(ValueError, match="no structure has the weight of energy named 'typo'"):
        fit(Structures(images, property_weight_keys={"energy": "typo"}), cutoff=CUTOFF)
