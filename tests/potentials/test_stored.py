"""Compiled potentials in files: they run as they were, without torch, and are checked as any other file."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk

from ase_kan import KANEAM, KANCalculator, KANPotential, PairCurve, fit, from_setfl, tabulate
from ase_kan.potentials import storage
from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.filed import FiledPotential
from ase_kan.potentials.files import load_potential
from ase_kan.potentials.formula import Term
from ase_kan.potentials.law import LawPotential
from ase_kan.potentials.setfl import TabulatedEAM
from ase_kan.potentials.stored import load_running
from tests.lammps_eam import PUBLISHED
from tests.potentials.test_eam import potential as kan_eam


def fitted():
    curve = PairCurve.from_function(lambda r: 4 * (r**-12.0 - r**-6.0), r_min=0.9, r_max=2.6, seed=None)
    return fit(curve, cutoff=2.5).potential


def crystal(rattle=0.03):
    atoms = bulk("Ar", "fcc", a=1.6, cubic=True) * (2, 2, 2)
    atoms.positions += np.random.default_rng(0).normal(0, rattle, atoms.positions.shape)
    return atoms


def results(calculator, atoms):
    return [calculator.get_property(name, atoms) for name in ("energy", "forces", "stress", "energies", "stresses")]


@pytest.fixture(scope="module")
def lennard_jones():
    return fitted()


@pytest.mark.parametrize("engine", ["auto", "autograd"])
def test_pair_potential_runs_as_it_was(tmp_path, lennard_jones, engine):
    path = tmp_path / "lj.kan"
    tabulate(lennard_jones).save(path)
    atoms = crystal()
    of_file, of_memory = (KANCalculator(p, engine=engine) for p in (path, lennard_jones))
    for mine, expected in zip(results(of_file, atoms), results(of_memory, atoms), strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert isinstance(load_potential(path), KANPotential)
    np.testing.assert_array_equal(KANPotential.load(path).energy([1.1, 1.5]), lennard_jones.energy([1.1, 1.5]))


def test_several_elements_and_closer_atoms(tmp_path):
    """Three pairs of all kinds; atoms closer than the tables go are left to the potential itself."""
    curves = [
        PairCurve.from_function(
            lambda r, size=size: 4 * ((size / r) ** 12 - (size / r) ** 6),
            r_min=0.9 * size,
            r_max=2.6,
            seed=None,
            elements=pair,
        )
        for pair, size in ((("Ar", "Ar"), 1.0), (("Ar", "Ne"), 0.9), (("Ne", "Ne"), 0.8))
    ]
    several, path = fit(curves, cutoff=2.5).potential, tmp_path / "several.kan"
    several = KANPotential({p: several.function(p) for p in several.pairs}, {"Ar": -1.0, "Ne": 0.5})
    tabulate(several).save(path)
    atoms = bulk("Ar", "fcc", a=1.6, cubic=True) * (2, 2, 2)
    atoms.symbols[::3] = "Ne"
    of_file, of_memory = (KANCalculator(p, on_extrapolation="ignore") for p in (path, several))
    for distance in (None, 0.2):
        if distance:
            atoms.positions[1] = atoms.positions[0] + [distance, 0, 0]
        for mine, expected in zip(results(of_file, atoms), results(of_memory, atoms), strict=True):
            np.testing.assert_array_equal(mine, expected)
    assert of_file.potential.domain(("Ne", "Ar")) == several.domain(("Ar", "Ne"))
    assert of_file.potential.reference_energies == several.reference_energies
    with pytest.raises(ValueError, match="Kr"):
        of_file.get_potential_energy(bulk("Kr"))


@pytest.mark.parametrize("densities", ["alloy", "finnis-sinclair"])
def test_embedded_atom_potential_runs_as_it_was(tmp_path, densities):
    made, path = kan_eam(densities), tmp_path / "eam.kan"
    tabulate(made).save(path)
    rng = np.random.default_rng(1)
    atoms = bulk("Cu", a=3.7, cubic=True) * (2, 2, 2)
    atoms.symbols = rng.choice(made.elements, len(atoms))
    atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    of_file, of_memory = (KANCalculator(p, on_extrapolation="ignore") for p in (path, made))
    for mine, expected in zip(results(of_file, atoms), results(of_memory, atoms), strict=True):
        np.testing.assert_array_equal(mine, expected)
    for name in ("below", "above", "inside_gaps", "densities", "shortest"):
        assert getattr(of_file.extrapolation, name) == getattr(of_memory.extrapolation, name)
    assert isinstance(load_potential(path), KANEAM)


def test_uncertainty_and_copies(tmp_path, lennard_jones):
    """What tables do not know comes from the potential in the file."""
    path = tmp_path / "lj.kan"
    tabulate(lennard_jones).save(path)
    calculator = KANCalculator(path)
    atoms = crystal()
    found, expected = calculator.uncertainty(atoms), KANCalculator(lennard_jones).uncertainty(atoms)
    assert found.energy == expected.energy
    np.testing.assert_array_equal(found.forces, expected.forces)
    again = pickle.loads(pickle.dumps(calculator))
    assert again.get_potential_energy(atoms) == calculator.get_potential_energy(atoms)
    assert calculator.potential.energy(0.2) == lennard_jones.energy(0.2)  # closer than the table
    calculator.potential.save(tmp_path / "again.kan")
    assert (tmp_path / "again.kan").read_bytes() == path.read_bytes()


def test_nothing_imports_torch(tmp_path, lennard_jones):
    """Forces, dynamics, relaxation and stress from tables in files of both kinds."""
    pair, metal = tmp_path / "lj.kan", tmp_path / "eam.kan"
    tabulate(lennard_jones).save(pair)
    tabulate(kan_eam()).save(metal)
    script = """
import sys
from ase import Atoms, units
from ase_kan import KANCalculator
from ase_kan.dynamics import LBFGS, VelocityVerlet
for path, symbol, a in ((sys.argv[1], "Ar", 1.1), (sys.argv[2], "Cu", 2.6)):
    atoms = Atoms(f"{symbol}4", [[0, 0, 0], [a, 0, 0], [0, a, 0], [0, 0, a]], cell=[9.0] * 3, pbc=True)
    atoms.calc = KANCalculator(path, on_extrapolation="ignore")
    atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energies()
    VelocityVerlet(atoms, units.fs).run(20)
    LBFGS(atoms, logfile=None).run(fmax=0.5, steps=5)
print([name for name in ("torch", "kan", "matplotlib", "vesin") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script, pair, metal], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_published_potentials_have_no_file(tmp_path):
    with pytest.raises(ValueError, match="only fitted potentials have files"):
        tabulate(from_setfl(PUBLISHED / "Cu_mishin1.eam.alloy")).save(tmp_path / "cu.kan")
    assert isinstance(load_running(PUBLISHED / "Cu_mishin1.eam.alloy"), TabulatedEAM)


def damage(name, header, arrays):
    entry = header["tables"]["distances"][0]
    changes = {
        "no tables": lambda: header["tables"].update(distances=[]),
        "an unknown entry": lambda: header["tables"].update(more=1),
        "rows missing": lambda: arrays.pop("tables.distances.0"),
        "rows too many": lambda: arrays.update({"tables.distances.7": arrays["tables.distances.0"]}),
        "a NaN": lambda: arrays["tables.distances.0"].__setitem__((0, 0), np.nan),
        "single precision": lambda: arrays.update(
            {"tables.distances.0": arrays["tables.distances.0"].astype(np.float32)}
        ),
        "short rows": lambda: arrays.update({"tables.distances.0": arrays["tables.distances.0"][:, :7]}),
        "a break without a change": lambda: entry["at"].append(1.0),
        "no breakpoints": lambda: entry.update(breakpoints=[]),
        "a domain that descends": lambda: entry.update(domain=[2.0, 1.0]),
        "an infinite slope": lambda: entry.update(slope=float("inf")),
        "no scales": lambda: entry.update(scales=[]),
        "a tolerance in words": lambda: header["tables"].update(tolerance="small"),
        "a wrong network": lambda: header["pairs"][0].update(feature="x"),
    }
    if header is not None and name is not None:
        changes[name]()
    return list(changes)


NAMES = damage(None, {"tables": {"distances": [{}]}}, {})


@pytest.mark.parametrize("name", NAMES)
def test_files_are_checked(tmp_path, lennard_jones, name):
    """One line says what is wrong, and with which file; by every reader."""
    path = tmp_path / "bad.kan"
    tabulate(lennard_jones).save(path)
    header, arrays = storage.read(path)
    damage(name, header, arrays)
    storage.write(path, header, arrays)
    for load in (load_running, KANPotential.load, KANCalculator):
        with pytest.raises(ValueError, match=r"bad\.kan is not a valid potential") as found:
            load(path)
        assert "\n" not in str(found.value)


def test_potential_of_a_file_is_made_once(tmp_path, lennard_jones):
    path = tmp_path / "lj.kan"
    tabulate(lennard_jones).save(path)
    original = load_running(path).original
    assert isinstance(original, FiledPotential)
    assert original.potential is original.potential
    assert original.info == lennard_jones.info
    with pytest.raises(AttributeError):
        original.nothing  # noqa: B018


def test_law_runs_as_it_was(tmp_path):
    """The same for a formula."""
    law = LawPotential([Term(4.0, 12.0), Term(-4.0, 6.0)], (0.9, 2.5), Cutoff(2.5, 2.0))
    path = tmp_path / "law.kan"
    tabulate(law).save(path)
    atoms = crystal()
    of_file, of_memory = (KANCalculator(p) for p in (path, law))
    for mine, expected in zip(results(of_file, atoms), results(of_memory, atoms), strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert of_file.uncertainty(atoms).energy == of_memory.uncertainty(atoms).energy
    assert isinstance(load_potential(path), LawPotential)
