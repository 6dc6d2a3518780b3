"""The commands relax and md do what the classes do, and refuse what they cannot do in one line."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.io import read, write

from ase_kan import KANCalculator
from ase_kan.cli.main import main
from ase_kan.dynamics import VelocityVerlet


@pytest.fixture
def folder(tmp_path, monkeypatch, potential):
    """Three crystals with displaced atoms, and a potential."""
    monkeypatch.chdir(tmp_path)
    crystals = []
    for seed in range(3):
        atoms = bulk("Ar", "fcc", a=1.56, cubic=True) * (2, 2, 2)
        atoms.rattle(0.03, seed=seed)
        crystals.append(atoms)
    write("many.xyz", crystals)
    crystals[0].set_momenta(np.random.default_rng(0).normal(0, 1, (32, 3)))
    write("one.traj", crystals[0])
    potential.save("p.kan")
    (tmp_path / "notes.txt").write_text("mine")
    write("none.xyz", [])
    return tmp_path


@pytest.mark.parametrize("output", ["out.xyz", "out.traj"])
def test_relax(folder, output, capsys):
    assert main(["relax", "many.xyz", "--potential", "p.kan", "-o", output, "--fmax", "0.001"]) == 0
    assert capsys.readouterr().out.count(": relaxed after") == 3
    for atoms in read(output, ":"):
        told = atoms.get_potential_energy()
        atoms.calc = KANCalculator("p.kan", on_extrapolation="ignore")
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.0011  # digits of the file
        assert atoms.get_potential_energy() == pytest.approx(told, abs=1e-5)


@pytest.mark.parametrize("output", ["out.xyz", "out.traj"])
def test_md_is_velocity_verlet(folder, output):
    assert main(["md", "one.traj", "--potential", "p.kan", "-o", output, "--steps", "60", "--every", "20"]) == 0
    frames = read(output, ":")
    assert len(frames) == 4
    atoms = read("one.traj")
    atoms.calc = KANCalculator("p.kan", on_extrapolation="ignore")
    VelocityVerlet(atoms, 1 * units.fs).run(60)
    np.testing.assert_allclose(frames[-1].positions, atoms.positions, atol=1e-7)
    np.testing.assert_allclose(frames[-1].get_momenta(), atoms.get_momenta(), atol=1e-6)
    assert frames[-1].get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)


@pytest.mark.parametrize("ensemble", ["langevin", "bussi"])
def test_md_repeats_itself(folder, ensemble):
    ends = []
    for seed in "1", "1", "2":
        command = f"md many.xyz --potential p.kan -o o.traj --steps 50 --temperature 90 --ensemble {ensemble}"
        write("many.xyz", read("many.xyz", "0"))
        assert main([*command.split(), "--seed", seed, "--every", "50"]) == 0
        ends.append(read("o.traj").positions)
    assert (ends[0] == ends[1]).all()
    assert np.abs(ends[0] - ends[2]).max() > 1e-4


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("relax nowhere.xyz -o o.xyz", 1, "no file of structures at nowhere.xyz"),
        ("relax notes.txt -o o.xyz", 1, "ASE cannot read it"),
        ("relax many.xyz -o o.pdb", 2, "must end with .xyz, .extxyz, .traj"),
        ("relax many.xyz -o many.xyz", 1, "many.xyz is read and would be overwritten"),
        ("relax many.xyz -o o.xyz --steps 1", 1, "some structures are not relaxed to 0.01 eV/A"),
        ("md many.xyz -o o.xyz --steps 5", 1, "has 3 structures, and md moves one"),
        ("md one.traj -o o.xyz --steps 5 --ensemble bussi", 2, "needs a --temperature"),
        ("md one.traj -o o.xyz --steps 5 --temperature -3", 2, "must be at least 0, got -3"),
    ],
)
def test_what_is_refused(folder, capsys, command, code, message):
    try:
        found = main([*command.split(), "--potential", "p.kan"])
    except SystemExit as error:
        found = error.code
    assert found == code
    assert message in capsys.readouterr().err
