"""The rest of ASE runs on top of the calculator."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.cluster import Icosahedron
from ase.filters import FrechetCellFilter
from ase.io import Trajectory, read, write
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.nptberendsen import NPTBerendsen
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons
from ase.vibrations import Vibrations

from ase_kan import KANCalculator


@pytest.fixture
def crystal(potential):
    atoms = bulk("Ar", "fcc", a=1.56, cubic=True) * (2, 2, 2)
    atoms.calc = KANCalculator(potential)
    return atoms


def hot(atoms, kelvin):
    thermalize_momenta(atoms, kelvin, rng=np.random.default_rng(0))
    Stationary(atoms)


def test_dimer_relaxes_to_the_lennard_jones_bond(potential):
    for optimizer in (BFGS, FIRE):
        atoms = Atoms("Ar2", [[0, 0, 0], [1.3, 0, 0]], calculator=KANCalculator(potential))
        assert optimizer(atoms, logfile=None).run(fmax=1e-6, steps=1000)
        assert atoms.get_distance(0, 1) == pytest.approx(2 ** (1 / 6), abs=0.02)
        assert atoms.get_potential_energy() == pytest.approx(-0.25, abs=0.01)


def test_lj13_relaxes_to_the_icosahedron(bare):
    """Reference: -44.326801 epsilon (Cambridge Cluster Database); the tolerance is this model's error per bond."""
    atoms = Icosahedron("Ar", noshells=2, latticeconstant=1.6)
    atoms.rattle(0.03, seed=1)
    atoms.calc = KANCalculator(bare)
    assert BFGS(atoms, logfile=None).run(fmax=1e-5, steps=300)
    assert atoms.get_potential_energy() == pytest.approx(-44.326801 * 0.25, rel=0.03)


def test_crystal_and_cell_relax(crystal):
    crystal.rattle(0.03, seed=0)
    crystal.set_cell(crystal.cell * [1.02, 0.98, 1.01], scale_atoms=True)
    assert BFGS(FrechetCellFilter(crystal), logfile=None).run(fmax=1e-5, steps=300)
    assert np.abs(crystal.get_stress()).max() < 1e-5
    lengths = crystal.cell.lengths()
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=1e-3)


def test_nve_conserves_energy(crystal):
    hot(crystal, 200)
    dynamics = VelocityVerlet(crystal, timestep=0.25 * units.fs)
    energies = []
    dynamics.attach(lambda: energies.append(crystal.get_total_energy()), interval=5)
    dynamics.run(400)
    assert np.ptp(energies) / len(crystal) < 2e-5
    slope = np.polyfit(np.arange(len(energies)), energies, 1)[0] * len(energies) / len(crystal)
    assert abs(slope) < 5e-6


def test_langevin_and_barostats_run(crystal):
    hot(crystal, 200)
    Langevin(crystal, 0.5 * units.fs, temperature_K=200, friction=0.01 / units.fs, rng=np.random.default_rng(0)).run(50)
    volume = crystal.get_volume()
    NPTBerendsen(
        crystal, 0.5 * units.fs, temperature_K=200, pressure_au=0.05, taut=50 * units.fs, taup=100 * units.fs,
        compressibility_au=1.0,
    ).run(50)  # fmt: skip
    assert crystal.get_volume() != volume
    IsotropicMTKNPT(
        crystal, 0.5 * units.fs, temperature_K=200, pressure_au=0.0, tdamp=50 * units.fs, pdamp=500 * units.fs
    ).run(20)
    assert np.isfinite(crystal.get_potential_energy())
    fresh = crystal.copy()
    fresh.calc = KANCalculator(crystal.calc.potential)
    np.testing.assert_allclose(crystal.get_forces(), fresh.get_forces(), atol=1e-11)


def test_vibrations_of_a_dimer(potential, tmp_path):
    """One stretching mode, with the frequency that the curvature of the fitted energy gives."""
    calc = KANCalculator(potential)
    atoms = Atoms("Ar2", [[0, 0, 0], [1.12, 0, 0]], calculator=calc)
    BFGS(atoms, logfile=None).run(fmax=1e-8, steps=200)
    r, h = atoms.get_distance(0, 1), 1e-4
    curvature = -(potential.force(r + h) - potential.force(r - h)) / (2 * h)
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    vibrations.run()
    stretch = vibrations.get_energies().real.max()
    energy = units._hbar * np.sqrt(curvature * units._e * 1e20 / (atoms.get_masses()[0] / 2 * units._amu)) / units._e
    assert stretch == pytest.approx(energy, rel=1e-3)


def test_phonons_of_the_crystal(potential, tmp_path):
    atoms = bulk("Ar", "fcc", a=1.56)
    phonons = Phonons(atoms, KANCalculator(potential), supercell=(4, 4, 4), delta=0.005, name=str(tmp_path / "ph"))
    phonons.run()
    phonons.read(acoustic=True)
    gamma, x = phonons.band_structure([[0, 0, 0], [0.5, 0, 0.5]], verbose=False)
    assert np.abs(gamma).max() < 2e-4
    # In fcc the X point has two equal transverse branches below the longitudinal one.
    assert x[0] == pytest.approx(x[1], rel=1e-2)
    assert 0 < x[0] < x[2]


def test_files_keep_the_results(crystal, tmp_path):
    crystal.rattle(0.02, seed=0)
    crystal.get_stresses()
    energy, forces, stress = crystal.get_potential_energy(), crystal.get_forces(), crystal.get_stress()
    with Trajectory(tmp_path / "a.traj", "w", crystal) as trajectory:
        trajectory.write()
    write(tmp_path / "a.extxyz", crystal)
    for name in ("a.traj", "a.extxyz"):
        again = read(tmp_path / name)
        assert again.get_potential_energy() == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(again.get_forces(), forces, atol=1e-7)
        np.testing.assert_allclose(again.get_stress(), stress, atol=1e-7)


def test_results_hold_only_what_ase_knows(crystal):
    crystal.get_potential_energy()
    properties = crystal.calc.export_properties()
    assert properties["energy"] == crystal.get_potential_energy()
    assert set(crystal.calc.results) <= set(crystal.calc.implemented_properties)
    assert crystal.get_potential_energy(force_consistent=True) == crystal.get_potential_energy()


def test_calculation_required_and_allow_calculation(crystal):
    calc = crystal.calc
    assert calc.calculation_required(crystal, ["energy"])
    assert calc.get_property("energy", crystal, allow_calculation=False) is None
    crystal.get_forces()
    assert not calc.calculation_required(crystal, ["energy", "forces", "stress"])
    crystal.positions[0, 0] += 1e-9
    assert calc.calculation_required(crystal, ["energy"])


def test_listed_as_an_ase_plugin():
    from ase._4.plugins import plugins

    (plugin,) = [p for p in plugins.calculators if p.name == "kan"]
    assert plugin.implementation is KANCalculator


def test_ase_run(tmp_path, potential, monkeypatch):
    """ASE's command line relaxes a dimer with the calculator."""
    from ase_kan.cli.main import main

    monkeypatch.chdir(tmp_path)
    potential.save("lj.kan")
    write("dimer.xyz", Atoms("Ar2", [[0, 0, 0], [1.2, 0, 0]]))
    assert main(["ase", "run", "-p", 'potential="lj.kan"', "-f", "0.001", "kan", "dimer.xyz"]) == 0
    assert read("dimer.traj").get_distance(0, 1) == pytest.approx(2 ** (1 / 6), abs=0.02)
