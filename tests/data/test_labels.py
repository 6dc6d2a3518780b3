"""Whose labels a fit takes: calculators, keys, free energies, virials, atoms without a force."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from ase_kan import KANCalculator, Structures, fit
from ase_kan.cli.main import main

CUTOFF = 8.0


def argon():
    """ASE's Lennard-Jones, smooth at the cutoff."""
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=CUTOFF, ro=6.0, smooth=True)


def crystal(number):
    atoms = bulk("Ar", "fcc", a=5.2 + 0.03 * (number % 10), cubic=True)
    atoms.rattle(0.25, seed=number)
    return atoms


def truth(atoms):
    """Energy, forces, stress of a fresh calculator."""
    copy = atoms.copy()
    copy.calc = argon()
    return copy.get_potential_energy(), copy.get_forces(), copy.get_stress()


def labeled(n=60, **extra):
    images = []
    for number in range(n):
        atoms = crystal(number)
        energy, forces, stress = truth(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info["S"], atoms.info["W"] = stress, -stress * atoms.get_volume()
        images.append(atoms)
    return images


@pytest.fixture(scope="module")
def images():
    return labeled()


def cluster(number):
    """Thirteen atoms without a cell."""
    from ase.cluster import Icosahedron

    atoms = Atoms(Icosahedron("Ar", noshells=2, latticeconstant=5.3 + 0.02 * number))
    atoms.cell = None
    atoms.rattle(0.2, seed=number)
    return atoms


# Calculators


@pytest.mark.parametrize("make", [argon, EMT])
def test_images_that_share_a_calculator_have_their_own_labels(make):
    images = [bulk("Cu", "fcc", a=3.6 + 0.1 * k, cubic=True) for k in range(4)]
    shared = make()
    for k, atoms in enumerate(images):
        atoms.rattle(0.1, seed=k)
        atoms.calc = shared
        atoms.get_potential_energy()
    images[0].get_potential_energy()  # the array of its forces is written anew for the others
    for sample, atoms in zip(list(Structures(images)), images, strict=True):
        alone = atoms.copy()
        alone.calc = make()
        assert sample.energy == pytest.approx(alone.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(sample.forces, alone.get_forces(), atol=1e-12)


def test_moved_atoms_and_calculators_that_have_not_run():
    moved, fresh = crystal(1), crystal(2)
    moved.calc, fresh.calc = argon(), argon()
    moved.get_forces()
    moved.positions[0] += 0.3
    for sample, atoms in zip(Structures([moved, fresh]), (moved, fresh), strict=True):
        energy, forces, _ = truth(atoms)
        assert sample.energy == pytest.approx(energy, abs=1e-12)
        np.testing.assert_allclose(sample.forces, forces, atol=1e-12)


def test_a_calculator_is_not_run_for_energies_given_otherwise():
    """Forces of another method beside a named energy would be a guess."""
    atoms = crystal(0)
    atoms.calc = argon()
    atoms.info["E"] = -1.0
    (sample,) = Structures([atoms], energy_key="E")
    assert sample.energy == -1.0
    assert sample.forces is None
    assert not atoms.calc.results


def test_a_calculator_that_cannot_compute_is_named():
    class Broken(Calculator):
        implemented_properties = ("energy",)

        def calculate(self, *args, **keywords):
            raise RuntimeError("no licence")

    images = [crystal(0), crystal(1)]
    images[0].calc, images[1].calc = argon(), Broken()
    with pytest.raises(ValueError, match=r"structure 1: its calculator .* RuntimeError: no licence"):
        list(Structures(images))


def test_stored_results_of_other_positions_are_refused():
    atoms = crystal(0)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    other = crystal(1)
    other.calc = atoms.calc
    with pytest.raises(ValueError, match="structure 1: its stored results belong to other positions and cell"):
        list(Structures([atoms, other]))
    atoms.positions += 1.0
    with pytest.raises(ValueError, match="structure 0: its stored results belong to other positions;"):
        list(Structures([atoms]))
    atoms.calc = SinglePointCalculator(atoms, **atoms.calc.results)  # as the message says
    assert next(iter(Structures([atoms]))).energy == -1.0


def test_wrapped_atoms_keep_their_results():
    for atoms in (crystal(0), bulk("Ar", "fcc", a=5.3) * (2, 1, 1)):
        atoms.positions[0] -= 0.1  # out of the cell
        energy, forces, _ = truth(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.wrap()
        (sample,) = Structures([atoms])
        assert sample.energy == energy
    atoms.pbc = False
    with pytest.raises(ValueError, match="belong to other positions and pbc"):
        list(Structures([atoms]))


# Keys


def test_free_energies_are_energies_where_nothing_else_is():
    atoms, both = crystal(0), crystal(1)
    atoms.calc = SinglePointCalculator(atoms, free_energy=-2.0)
    both.calc = SinglePointCalculator(both, free_energy=-2.0, energy=-1.0)
    first, second = Structures([atoms, both])
    assert (first.energy, second.energy) == (-2.0, -1.0)
    assert first.notes == ("with a free energy as the energy",)
    assert second.notes == ()
    assert [s.energy for s in Structures([atoms, both], energy_key="free_energy")] == [-2.0, -2.0]


def test_keys_find_what_ase_put_into_the_calculator(images, tmp_path):
    """Columns named `forces` and info named `energy` go to the calculator when ASE reads them."""
    write(tmp_path / "a.extxyz", images[:2])
    for sample, atoms in zip(
        Structures.read(tmp_path / "a.extxyz", energy_key="energy", forces_key="forces"), images[:2], strict=True
    ):
        assert sample.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(sample.forces, atoms.get_forces(), atol=1e-7)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"forces_key": "F"}, r"no structure has the forces named 'F'; they have arrays 'REF_forces', arrays 'force'"),
        ({"stress_key": "sterss"}, r"no structure has the stress named 'sterss'; they have info 'virial'"),
        ({"virial_key": "V"}, r"no structure has the virial named 'V'; they have info 'virial'"),
        ({"energy_key": "E"}, r"structure 0 has no info key 'E' .* it has: energy, forces, virial"),
    ],
)
def test_a_key_that_no_structure_has_is_an_error(images, keys, message):
    renamed = [atoms.copy() for atoms in images]
    for new, old in zip(renamed, images, strict=True):
        new.calc = SinglePointCalculator(new, **old.calc.results)
        new.info = {"virial": old.info["W"]}
        new.arrays["force"] = new.arrays["REF_forces"] = old.get_forces()
    with pytest.raises(ValueError, match=message):
        fit(Structures(renamed, **keys), cutoff=CUTOFF)


def test_a_key_that_is_absent_at_first_is_a_warning_before_the_pass(images, monkeypatch):
    from ase_kan.fit import structures as module

    monkeypatch.setattr(module, "PEEK", 10)
    late = [atoms.copy() for atoms in images]
    for number, (new, old) in enumerate(zip(late, images, strict=True)):
        new.calc = SinglePointCalculator(new, energy=old.get_potential_energy(), forces=old.get_forces())
        new.info = {"virial" if number < 10 else "W": old.info["W"]}
    with pytest.warns(
        UserWarning, match="none of the first 10 structures has the virial named 'W'; they have info 'virial'"
    ):
        result = fit(Structures(late, virial_key="W"), cutoff=CUTOFF, grid=8)
    assert "virial" in result.potential.info["errors"]


def test_labels_left_unread_are_named(images):
    unread = [atoms.copy() for atoms in images]
    for new, old in zip(unread, images, strict=True):
        new.calc = SinglePointCalculator(new, energy=old.get_potential_energy())
        new.info = {"virial": old.info["W"]}
        new.arrays["REF_forces"] = old.get_forces()
    with pytest.warns(UserWarning, match="structures") as caught:
        fit(Structures(unread), cutoff=CUTOFF, grid=8)
    messages = [str(w.message) for w in caught]
    assert any("nothing was read as forces, but the structures have arrays 'REF_forces'" in m for m in messages)
    assert any("nothing was read as stress, but the structures have info 'virial'" in m for m in messages)
    assert {w.filename for w in caught} == {__file__}


def test_energies_of_another_number_are_refused(images):
    with pytest.raises(ValueError, match="4 energies were given for 3 structures"):
        list(Structures(images[:3], energies=[0.0, 0.0, 0.0, 0.0]))


def test_an_energy_that_a_reader_made_up_is_missing(tmp_path):
    """ASE gives every frame of a LAMMPS dump with forces the energy 0."""
    lines = ["ITEM: TIMESTEP", "0", "ITEM: NUMBER OF ATOMS", "2", "ITEM: BOX BOUNDS pp pp pp", *["0 20"] * 3]
    lines += ["ITEM: ATOMS id element x y z fx fy fz", "1 Ar 0 0 0 -0.1 0 0", "2 Ar 3.5 0 0 0.1 0 0"]
    (tmp_path / "a.dump").write_text("\n".join(lines) + "\n")
    (sample,) = Structures.read(tmp_path / "a.dump", format="lammps-dump-text")
    assert sample.energy is None
    assert sample.notes == ("with an energy of exactly 0 beside forces (taken as missing)",)


# Stresses and virials


def test_a_virial_is_minus_the_derivative_by_strain(images):
    """Against central differences of ASE's Lennard-Jones energy; then in all its spellings."""
    atoms, step = images[3], 1e-5
    numerical = np.zeros((3, 3))
    for x in range(3):
        for y in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[x, y] += sign * step / 2
                strain[y, x] += sign * step / 2
                strained = atoms.copy()
                strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                energies.append(truth(strained)[0])
            numerical[x, y] = -(energies[0] - energies[1]) / (2 * step)
    (by_stress,) = Structures([atoms], stress_key="S")
    np.testing.assert_allclose(by_stress.virial, numerical, atol=1e-7)
    spellings = [atoms.info["W"], numerical, numerical.ravel()]
    for values in spellings:
        atoms.info["spelled"] = values
        (sample,) = Structures([atoms], virial_key="spelled")
        np.testing.assert_allclose(sample.virial, numerical, atol=1e-7)
    atoms.info["spelled"] = np.arange(9.0).reshape(3, 3)
    with pytest.raises(ValueError, match="structure 0: virial is not symmetric"):
        list(Structures([atoms], virial_key="spelled"))
    with pytest.raises(ValueError, match="give either stress_key or virial_key"):
        Structures([atoms], stress_key="S", virial_key="W")
    del atoms.info["spelled"]


def test_virials_and_stresses_give_the_same_fit(images):
    by_stress = fit(Structures(images, stress_key="S"), cutoff=CUTOFF, grid=12)
    by_virial = fit(Structures(images, virial_key="W"), cutoff=CUTOFF, grid=12)
    r = np.linspace(3.2, 7.9, 50)
    np.testing.assert_allclose(by_virial.potential.energy(r), by_stress.potential.energy(r), atol=1e-10)
    atoms = crystal(77)
    atoms.calc = KANCalculator(by_virial.potential)
    np.testing.assert_allclose(atoms.get_stress(), truth(atoms)[2], atol=3e-5)


def test_clusters_have_virials_but_no_stress(images):
    """The virial of a cluster is the sum of r f over its pairs; a stress means nothing there."""
    clusters = [cluster(k) for k in range(5)]
    for atoms in clusters:
        energy, forces, _ = truth_of_cluster(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info["S"], atoms.info["W"] = np.zeros(6), truth_of_cluster(atoms)[2]
    result = fit(Structures([*images, *clusters], stress_key="S"), cutoff=CUTOFF, grid=12)
    assert result.potential.info["structures"]["with a stress but no cell (ignored)"] == 5
    assert "5 with a stress but no cell (ignored)" in str(result)
    only = fit(Structures(clusters, stress_key="S"), cutoff=CUTOFF, grid=6, validation=0.0)
    assert "virial" not in only.potential.info["errors"]
    samples = list(Structures(clusters, virial_key="W"))
    np.testing.assert_allclose(samples[2].virial, clusters[2].info["W"], atol=1e-15)
    result = fit(Structures([*images, *clusters], virial_key="W"), cutoff=CUTOFF, grid=12)
    assert result.potential.info["errors"]["virial"]["train"] < 1e-3


def truth_of_cluster(atoms):
    """Energy, forces and virial from the pairs, one by one."""
    energy, forces, virial = 0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3))
    for i, j in combinations(range(len(atoms)), 2):
        pair = Atoms("Ar2", atoms.positions[[i, j]])
        pair.calc = argon()
        energy += pair.get_potential_energy()
        f = pair.get_forces()
        forces[[i, j]] += f
        virial += np.outer(atoms.positions[j] - atoms.positions[i], f[1])
    return energy, forces, virial


def test_wrong_labels_are_a_warning_that_names_the_property(images):
    for atoms in images:
        atoms.info["minus"] = -atoms.info["W"]
        atoms.arrays["gradient"] = -atoms.get_forces()
    cases = [
        ({"virial_key": "S"}, "energy"),  # small numbers, which are easy to explain alone
        ({"virial_key": "minus"}, "virial"),
        ({"forces_key": "gradient"}, "forces"),
    ]
    for keys, name in cases:
        with pytest.warns(UserWarning, match="structures") as caught:
            result = fit(Structures(images, **keys), cutoff=CUTOFF, grid=12)
        assert any(f"the fit explains the {name} of the structures by -" in str(w.message) for w in caught)
        assert result.potential.info["errors"][name]["explained"] < 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(Structures(images, virial_key="W"), cutoff=CUTOFF, grid=12)


# Atoms without a force


def test_atoms_without_a_label_are_left_out(images):
    """NaN for one to three of four atoms: the same potential, errors over the others only."""
    masked = []
    rng = np.random.default_rng(0)
    for number, old in enumerate(images):
        forces = old.get_forces()
        forces[rng.permutation(len(old))[: 1 + number % 3]] = np.nan
        new = old.copy()
        new.calc = SinglePointCalculator(new, energy=old.get_potential_energy(), forces=forces)
        masked.append(new)
    all_nan = images[0].copy()
    all_nan.positions[0, 0] += 0.01
    all_nan.calc = SinglePointCalculator(all_nan, energy=truth(all_nan)[0], forces=np.full((len(all_nan), 3), np.nan))
    result = fit(Structures([*masked, all_nan]), cutoff=CUTOFF, grid=12, validation=0.0)
    counts = result.potential.info["structures"]
    assert counts["with atoms without a force"] == len(images)
    assert counts["without forces"] == 1
    squares = []
    for atoms in masked:
        known = np.isfinite(atoms.calc.results["forces"]).all(axis=1)
        copy = atoms.copy()
        copy.calc = KANCalculator(result.potential)
        squares.append(np.mean((copy.get_forces() - atoms.calc.results["forces"])[known] ** 2))
    assert result.train_force_rmse == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)
    whole = fit(Structures(images), cutoff=CUTOFF, grid=12, validation=0.0)
    r = np.linspace(3.2, 7.5, 50)
    np.testing.assert_allclose(result.potential.energy(r), whole.potential.energy(r), atol=3e-4)


def test_a_pair_that_no_label_sees_does_not_widen_the_domain():
    """Two of three atoms are close, and neither of them has a label."""
    images = []
    for number in range(20):
        atoms = Atoms("Ar3", [[0, 0, 0], [3.5 + number / 10, 0, 0], [3.5 + number / 10, 2.9, 0]])
        forces = truth_of_cluster(atoms)[1]
        forces[1:] = np.nan
        atoms.calc = SinglePointCalculator(atoms, forces=forces)
        images.append(atoms)
    result = fit(Structures(images), cutoff=CUTOFF, grid=6, validation=0.0)
    assert result.potential.domain()[0] == pytest.approx(3.5)


def test_half_a_force_is_refused(images):
    atoms = images[0].copy()
    forces = images[0].get_forces()
    forces[2, 1] = np.nan
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=forces)
    with pytest.raises(ValueError, match="structure 0: forces is not finite for atom 2"):
        list(Structures([atoms]))


@pytest.mark.parametrize(
    ("info", "message"),
    [({"E": "minus one"}, "energy is not a number"), ({"E": [1.0, 2.0]}, r"energy must have shape \(\), got \(2,\)")],
)
def test_labels_that_are_no_numbers_are_named(info, message):
    atoms = crystal(0)
    atoms.info = info
    with pytest.raises(ValueError, match=f"structure 0: {message}"):
        list(Structures([atoms], energy_key="E"))


def test_command_line_takes_virials_and_reports_per_atom(images, tmp_path, capsys):
    for atoms in images:
        for name in ("minus", "gradient", "spelled"):
            atoms.info.pop(name, None)
            atoms.arrays.pop(name, None)
    path = tmp_path / "train.extxyz"
    write(path, images)
    command = ["fit", str(path), "--cutoff", "8", "--grid", "8", "-o", str(tmp_path / "a.kan")]
    assert main([*command, "--virial-key", "W"]) == 0
    out = capsys.readouterr().out
    assert "virial" in out
    assert "eV/atom" in out.splitlines()[0]
    assert main([*command, "--virial-key", "Wirial"]) == 1
    assert "no structure has the virial named 'Wirial'" in capsys.readouterr().err
