"""Dynamics in the kernel against ASE's own, step by step, and against schemes written out here."""

from functools import partial

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixCom, FixedLine
from ase.io import read
from ase.md import bussi, verlet
from ase.md.velocitydistribution import thermalize_momenta

from ase_kan import KANCalculator
from ase_kan.dynamics import Bussi, Langevin, VelocityVerlet
from ase_kan.engines.guard import ExtrapolationError, ExtrapolationWarning
from ase_kan.potentials.tables import tabulate
from tests.shared import interrupted
from tests.synthetic_eam import SyntheticEAM

FS = units.fs


@pytest.fixture(scope="module")
def metal():
    return tabulate(SyntheticEAM())


def liquid(potential, symbols="Ar", cells=3, threads=None, mode="ignore", temperature=800.0):
    """Ar (or a mixture of Ar and Ne) at the density of a liquid, with velocities."""
    atoms = bulk("Ar", "fcc", a=1.68, cubic=True) * (cells, cells, cells)
    if symbols != "Ar":
        atoms.symbols[::3] = "Ne"
    thermalize_momenta(atoms, temperature, rng=np.random.default_rng(0))
    atoms.calc = KANCalculator(potential, threads=threads, on_extrapolation=mode)
    return atoms


def alloy(metal):
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 2)
    atoms.symbols[::3] = "Ni"
    thermalize_momenta(atoms, 900, rng=np.random.default_rng(0))
    atoms.calc = KANCalculator(metal, on_extrapolation="ignore")
    return atoms


def same_state(a, b, tolerance):
    np.testing.assert_allclose(a.positions, b.positions, rtol=0, atol=tolerance)
    np.testing.assert_allclose(a.get_velocities(), b.get_velocities(), rtol=0, atol=tolerance)
    np.testing.assert_allclose(a.get_forces(), b.get_forces(), rtol=0, atol=1e4 * tolerance)
    assert a.get_potential_energy() == pytest.approx(b.get_potential_energy(), abs=1e3 * tolerance)


@pytest.mark.parametrize("constraint", [None, FixAtoms([0, 5, 17]), FixCom()])
@pytest.mark.parametrize("kind", ["pure", "mixture", "metal", "threads"])
def test_velocity_verlet_is_ases(kind, constraint, cured_mixture, potential, metal):
    def system():
        if kind == "metal":
            atoms = alloy(metal)
        else:
            threads = 2 if kind == "threads" else None
            atoms = liquid(cured_mixture if kind == "mixture" else potential, kind, 3, threads)
        atoms.set_constraint(constraint)
        return atoms

    ours, theirs = system(), system()
    before = ours.positions.copy()
    VelocityVerlet(ours, 2 * FS).run(100)
    verlet.VelocityVerlet(theirs, 2 * FS).run(100)
    assert np.abs(ours.positions - before).max() > 0.1
    same_state(ours, theirs, 1e-10)
    same_state(ours, Atoms(ours, calculator=KANCalculator(ours.calc.potential, on_extrapolation="ignore")), 1e-10)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-8)


@pytest.mark.parametrize("threads", [1, 2])
def test_who_looks_changes_nothing(threads, potential):
    """Bit for bit: one run, runs in pieces, one step at a time, and with observers."""
    for make in (
        lambda atoms: VelocityVerlet(atoms, 2 * FS),
        lambda atoms: Langevin(atoms, 2 * FS, temperature_K=900, friction=0.05 / FS, rng=3),
        lambda atoms: Bussi(atoms, 2 * FS, temperature_K=900, taut=20 * FS, rng=3),
    ):
        atoms = [liquid(potential, "Ar", 3, threads) for _ in range(4)]
        runs = [make(a) for a in atoms]
        runs[0].run(61)
        for steps in (1, 20, 0, 40):
            runs[1].run(steps)
        assert list(runs[2].irun(61)) == [False] * 61 + [True]
        runs[3].attach(lambda a=atoms[3]: a.get_potential_energies(), 7)
        runs[3].run(61)
        for run, other in zip(runs[1:], atoms[1:], strict=True):
            assert run.nsteps == 61
            assert run.get_time() == pytest.approx(122 * FS)
            assert (other.positions == atoms[0].positions).all()
            assert (other.get_momenta() == atoms[0].get_momenta()).all()
            assert (other.get_forces() == atoms[0].get_forces()).all()


def test_observers_logs_and_trajectories_are_ases(potential, tmp_path):
    seen = []
    for name, cls in (("ours", VelocityVerlet), ("ase", verlet.VelocityVerlet)):
        atoms = liquid(potential)
        files = {"trajectory": str(tmp_path / f"{name}.traj"), "logfile": str(tmp_path / f"{name}.log")}
        run = cls(atoms, 2 * FS, loginterval=10, **files)
        calls = []
        for interval in (7, -3, 25):
            run.attach(lambda run=run, calls=calls, interval=interval: calls.append((interval, run.nsteps)), interval)
        run.run(15)
        run.run(16)
        seen.append((calls, (tmp_path / f"{name}.log").read_text(), read(tmp_path / f"{name}.traj", ":")))
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] == seen[1][1]
    for ours, theirs in zip(seen[0][2], seen[1][2], strict=True):
        same_state(ours, theirs, 1e-10)


class Replayed:
    """Hands ASE the random numbers that ours used."""

    def __init__(self, rows):
        self.rows = iter(rows)

    def standard_normal(self, size=None):
        self.row = next(self.rows)
        return self.row[0]

    def standard_gamma(self, shape):
        return self.row[1] / 2


def test_bussi_is_ases(potential):
    ours, theirs = liquid(potential), liquid(potential)
    run = Bussi(ours, 2 * FS, temperature_K=900, taut=20 * FS, rng=5)
    rows = run._noise.ahead().copy()
    other = bussi.Bussi(theirs, 2 * FS, temperature_K=900, taut=20 * FS, rng=Replayed(rows))
    run.run(100), other.run(100)
    same_state(ours, theirs, 1e-10)
    assert run.transferred_energy == pytest.approx(other.transferred_energy, rel=1e-8)


@pytest.mark.parametrize("constraint", [None, FixAtoms([0, 5, 17]), FixCom()])
def test_langevin_is_baoab(constraint, potential):
    """The scheme, written out in numpy; a center of mass that is held takes its part of each momentum with it."""
    ours, theirs = liquid(potential), liquid(potential)
    for atoms in (ours, theirs):
        atoms.set_constraint(constraint)
    dt, friction, kelvin = 2 * FS, 0.05 / FS, 700
    run = Langevin(ours, dt, temperature_K=kelvin, friction=friction, rng=5)
    noise = run._noise.ahead().copy().reshape(-1, len(ours), 3)
    run.run(40)
    mass, held = theirs.get_masses()[:, None], np.zeros(len(theirs), bool)
    if isinstance(constraint, FixAtoms):
        held[constraint.index] = True
    p, keep = theirs.get_momenta(), np.exp(-friction * dt)
    p[held] = 0

    def project(p):
        return p - mass / mass.sum() * p.sum(0) if isinstance(constraint, FixCom) else np.where(held[:, None], 0, p)

    for step in range(40):
        p = project(p + dt / 2 * theirs.get_forces(apply_constraint=False))
        theirs.positions += dt / 2 * p / mass
        p = project(keep * p + np.sqrt(units.kB * kelvin * mass * (1 - keep**2)) * noise[step])
        theirs.positions += dt / 2 * p / mass
        p = project(p + dt / 2 * theirs.get_forces(apply_constraint=False))
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-10)
    np.testing.assert_allclose(ours.get_momenta(), p, atol=1e-10)


@pytest.mark.parametrize("name", ["Langevin", "Bussi"])
def test_thermostats_keep_their_temperature(name, potential):
    """Mean kinetic temperature; its standard error is 0.5 % here."""
    atoms = liquid(potential, cells=4, temperature=300.0)
    if name == "Langevin":
        run = Langevin(atoms, 2 * FS, temperature_K=600, friction=0.1 / FS, rng=1)
    else:
        run = Bussi(atoms, 2 * FS, temperature_K=600, taut=10 * FS, rng=1)
    run.run(200)
    found = []
    run.attach(lambda: found.append(atoms.get_temperature()), 10)
    run.run(2000)
    assert np.mean(found) == pytest.approx(600, rel=0.02)


def test_random_numbers_come_from_the_generator(potential):
    ends = []
    for rng in (1, np.random.default_rng(1), 2):
        atoms = liquid(potential)
        state = np.random.get_state()[1].copy()
        Langevin(atoms, 2 * FS, temperature_K=600, friction=0.1 / FS, rng=rng).run(10)
        assert (np.random.get_state()[1] == state).all()
        ends.append(atoms.positions.copy())
    assert (ends[0] == ends[1]).all()
    assert np.abs(ends[0] - ends[2]).max() > 1e-3


@pytest.mark.parametrize("mode", ["warn", "raise"])
def test_extrapolation_is_told_at_the_same_steps(mode, cured_mixture):
    """Two atoms that meet again and again closer than the data go."""
    told = []
    for cls in (VelocityVerlet, verlet.VelocityVerlet):
        atoms = Atoms("Ar2", [[0, 0, 0], [1.5, 0, 0]], momenta=[[30.0, 0, 0], [-30.0, 0, 0]], cell=[36, 9, 9], pbc=True)
        atoms.calc = KANCalculator(cured_mixture, on_extrapolation=mode)
        run = cls(atoms, 1 * FS)
        run.attach(lambda: None, 30)  # episodes go on while someone looks
        if mode == "raise":
            with pytest.raises(ExtrapolationError, match="closer"):
                run.run(1000)
            told.append(atoms.get_distance(0, 1))
        else:
            with pytest.warns(ExtrapolationWarning) as warnings:
                run.run(1000)
            told.append([str(w.message) for w in warnings])
            assert len(told[-1]) > 4
    assert told[0] == told[1] or told[0] == pytest.approx(told[1])


def test_closer_than_the_tables_go(cured_mixture):
    """A step of which the reference engine has the forces."""

    def meeting():
        atoms = Atoms("Ar2", [[0, 0, 0], [1.5, 0.1, 0]], momenta=[[4000.0, 0, 0], [-4000.0, 0, 0]])
        atoms.calc = KANCalculator(cured_mixture, on_extrapolation="ignore")
        return atoms

    ours, theirs, nearest = meeting(), meeting(), []
    run = verlet.VelocityVerlet(theirs, 0.002 * FS)
    left = []

    def note():
        nearest.append(theirs.get_distance(0, 1))
        left.append(theirs.calc._engine._inner)

    run.attach(note)
    run.run(200)
    assert any(left), min(nearest)
    VelocityVerlet(ours, 0.002 * FS).run(200)
    same_state(ours, theirs, 1e-9)


def test_error_of_the_reference_takes_the_step_back(cured_mixture, monkeypatch):
    """Atoms that come closer than the tables go, where the potential itself has nothing to say."""
    atoms = Atoms("Ar2", [[0, 0, 0], [1.5, 0.1, 0]], momenta=[[4000.0, 0, 0], [-4000.0, 0, 0]])
    atoms.calc = KANCalculator(cured_mixture, on_extrapolation="ignore")
    atoms.get_forces()

    def fails(*_):
        raise ValueError("no energy is known")

    monkeypatch.setattr(atoms.calc._engine._reference, "evaluate", fails)
    run = VelocityVerlet(atoms, 0.002 * FS)
    with pytest.raises(ValueError, match="no energy is known"):
        run.run(200)
    assert 0 < run.nsteps < 200
    again = Atoms("Ar2", [[0, 0, 0], [1.5, 0.1, 0]], momenta=[[4000.0, 0, 0], [-4000.0, 0, 0]])
    again.calc = KANCalculator(cured_mixture, on_extrapolation="ignore")
    VelocityVerlet(again, 0.002 * FS).run(run.nsteps)
    assert (atoms.positions == again.positions).all()
    assert (atoms.get_momenta() == again.get_momenta()).all()


def test_what_is_refused(potential):
    atoms = liquid(potential)
    for wrong, error, match in (
        (lambda a: setattr(a, "calc", LennardJones()), TypeError, r"use ase\.md\.verlet\.VelocityVerlet"),
        (lambda a: setattr(a, "calc", KANCalculator(potential, engine="autograd")), TypeError, "compiled engine"),
        (lambda a: setattr(a, "calc", None), TypeError, "no calculator"),
        (lambda a: a.set_constraint(FixedLine(0, [1, 0, 0])), ValueError, r"not FixedLine: use ase\.md"),
        (lambda a: a.__delitem__(slice(None)), ValueError, "there are none"),
        (lambda a: a.set_constraint([FixAtoms([0]), FixCom()]), ValueError, "not both"),
    ):
        other = atoms.copy()
        other.calc = atoms.calc
        wrong(other)
        with pytest.raises(error, match=match):
            VelocityVerlet(other, FS)
    run = VelocityVerlet(atoms, FS)
    atoms.set_constraint(FixedLine(0, [1, 0, 0]))
    with pytest.raises(ValueError, match="FixedLine"):
        run.run(1)
    atoms.set_constraint()
    with pytest.raises(ValueError, match="timestep"):
        VelocityVerlet(atoms, np.nan)
    with pytest.raises(ValueError, match="temperature_K"):
        Langevin(atoms, FS, temperature_K=-1, friction=0.1)
    with pytest.raises(ValueError, match="friction"):
        Langevin(atoms, FS, temperature_K=1, friction=np.ones(3))
    with pytest.raises(ValueError, match="taut"):
        Bussi(atoms, FS, temperature_K=1, taut=0)
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    with pytest.raises(ValueError, match="velocities"):
        Bussi(atoms, FS, temperature_K=1, taut=1)
    with pytest.raises(TypeError, match="rng"):
        Langevin(atoms, FS, temperature_K=1, friction=0.1, rng="seven")


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_leaves_the_atoms_of_the_last_step(threads, potential):
    """Large enough for signals to be looked at within a step."""
    atoms, again = (liquid(potential, cells=22, threads=threads) for _ in range(2))
    make = partial(Langevin, timestep=2 * FS, temperature_K=900, friction=0.05 / FS, rng=3)
    run = make(atoms)
    run.run(1)
    with interrupted(0.4):
        run.run(100_000)
    assert run.nsteps > 1
    make(again).run(run.nsteps)
    assert (atoms.positions == again.positions).all()
    assert (atoms.get_momenta() == again.get_momenta()).all()
    run.run(2)
    assert np.isfinite(atoms.get_potential_energy())
