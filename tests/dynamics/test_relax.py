"""Relaxation in the kernel against ASE's own."""

import numpy as np
import pytest
from ase import Atoms, optimize
from ase.build import bulk
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms, FixCom, FixedLine
from ase.filters import FrechetCellFilter
from ase.io import read

from ase_kan import KANCalculator
from ase_kan.dynamics import FIRE, LBFGS, relax_many
from ase_kan.potentials.tables import tabulate
from tests.shared import interrupted
from tests.synthetic_eam import SyntheticEAM


def crystal(potential, seed=1, constraint=None):
    atoms = bulk("Ar", "fcc", a=1.56, cubic=True) * (2, 2, 2)
    atoms.rattle(0.03, seed=seed)
    masses = atoms.get_masses()
    masses[::2] *= 3
    atoms.set_masses(masses)
    atoms.set_constraint(constraint)
    atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
    return atoms


@pytest.mark.parametrize("constraint", [None, FixAtoms([0, 5, 17]), FixCom()])
@pytest.mark.parametrize("name", ["LBFGS", "FIRE"])
def test_steps_are_ases(name, constraint, potential):
    ours, theirs = crystal(potential, 1, constraint), crystal(potential, 1, constraint)
    ours_run = {"LBFGS": LBFGS, "FIRE": FIRE}[name](ours)
    theirs_run = getattr(optimize, name)(theirs, logfile=None)
    for steps in (1, 6, 13):
        assert ours_run.run(fmax=1e-9, steps=steps) == theirs_run.run(fmax=1e-9, steps=steps)
        np.testing.assert_allclose(ours.positions, theirs.positions, rtol=0, atol=1e-10)
    assert ours_run.run(fmax=1e-4, steps=500)
    assert theirs_run.run(fmax=1e-4, steps=500)
    assert ours_run.nsteps == theirs_run.nsteps >= 20
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-6)


@pytest.mark.parametrize("cls", [LBFGS, FIRE])
def test_forces_are_small_at_the_end_and_not_before(cls, potential):
    """Of an embedded-atom potential as well; forces by an engine that never saw the steps."""
    metal = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 2)
    metal.symbols[::3] = "Ni"
    metal.rattle(0.1, seed=0)
    metal.calc = KANCalculator(tabulate(SyntheticEAM()), on_extrapolation="ignore")
    for atoms in (crystal(potential), metal):
        run = cls(atoms)
        before = []
        run.attach(lambda atoms=atoms, before=before: before.append(np.linalg.norm(atoms.get_forces(), axis=1).max()))
        assert run.run(fmax=1e-4, steps=2000)
        fresh = Atoms(atoms, calculator=KANCalculator(atoms.calc.potential, on_extrapolation="ignore"))
        assert np.linalg.norm(fresh.get_forces(), axis=1).max() < 1e-4
        assert min(before[:-1]) >= 1e-4
        assert len(before) == run.nsteps + 1
        assert run.run(fmax=1e-4)


def test_log_and_trajectory_are_ases(potential, tmp_path):
    told = []
    for name, cls in (("ours", LBFGS), ("ase", optimize.LBFGS)):
        atoms = crystal(potential)
        cls(atoms, logfile=str(tmp_path / f"{name}.log"), trajectory=str(tmp_path / f"{name}.traj")).run(0.01)
        lines = [line.split() for line in (tmp_path / f"{name}.log").read_text().splitlines()]
        told.append(([line[:2] + line[3:] for line in lines], len(read(tmp_path / f"{name}.traj", ":"))))
    assert told[0] == told[1]


def test_irun_counts_as_run(potential):
    one, other = crystal(potential), crystal(potential)
    run, stepwise = LBFGS(one), LBFGS(other)
    assert run.run(fmax=1e-3)
    assert list(stepwise.irun(fmax=1e-3)) == [False] * run.nsteps + [True]
    assert stepwise.nsteps == run.nsteps
    assert (one.positions == other.positions).all()


def test_many_are_relaxed_as_one_by_one(potential, bare):
    """Of different sizes and potentials, on one thread or two; a calculator may serve all."""
    shared = KANCalculator(bare, on_extrapolation="ignore")

    def structures():
        made = [crystal(potential, seed) for seed in range(4)]
        for seed in range(6):
            cluster = Icosahedron("Ar", noshells=2, latticeconstant=1.6)
            cluster.rattle(0.03, seed=seed)
            cluster.calc = shared
            made.append(cluster)
        return made

    alone, energies = structures(), []
    for atoms in alone:
        run = LBFGS(atoms)
        assert run.run(fmax=1e-3)
        energies.append((True, run.nsteps, atoms.get_potential_energy()))
    for threads in (1, 2):
        together = structures()
        found = relax_many(together, fmax=1e-3, threads=threads)
        assert [f[:2] for f in found] == [e[:2] for e in energies]
        np.testing.assert_allclose([f.energy for f in found], [e[2] for e in energies], atol=1e-9)
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a.positions, b.positions, atol=1e-8)
            assert b.get_potential_energy() == pytest.approx(a.get_potential_energy(), abs=1e-9)
    assert [f.converged for f in relax_many(structures(), fmax=1e-3, steps=1)] == [False] * 10


def test_what_is_refused(potential):
    atoms = crystal(potential)
    with pytest.raises(TypeError, match=r"Filter.*use ase\.optimize\.LBFGS"):
        LBFGS(FrechetCellFilter(atoms))
    with pytest.raises(ValueError, match="different objects"):
        relax_many([atoms, atoms])
    with pytest.raises(TypeError, match=r"structure 1.*no calculator"):
        relax_many([atoms, atoms.copy()])
    for wrong in ({"maxstep": 0.0}, {"memory": -1}, {"alpha": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LBFGS(atoms, **wrong)
    atoms.set_constraint(FixedLine(0, [1, 0, 0]))
    with pytest.raises(ValueError, match=r"not FixedLine: use ase\.optimize\.FIRE"):
        FIRE(atoms)


def test_steps_that_are_too_long_are_taken_back(cured_mixture):
    """With a first guess of the curvature that is much too small, ASE's own ends far above."""
    ours, theirs = crystal(cured_mixture), crystal(cured_mixture)
    assert LBFGS(ours, alpha=2.0).run(fmax=1e-4, steps=300)
    optimize.LBFGS(theirs, alpha=2.0, logfile=None).run(fmax=1e-4, steps=300)
    best = crystal(cured_mixture)
    assert FIRE(best).run(fmax=1e-4)
    assert ours.get_potential_energy() == pytest.approx(best.get_potential_energy(), abs=1e-6)
    assert theirs.get_potential_energy() > best.get_potential_energy() + 1


@pytest.mark.parametrize("cls", [LBFGS, FIRE])
def test_ctrl_c_leaves_the_atoms_of_the_last_step(cls, potential):
    """Their forces are those of a fresh calculation, and the relaxation goes on from them."""
    atoms = bulk("Ar", "fcc", a=1.56, cubic=True) * (20, 20, 20)
    atoms.rattle(0.02, seed=0)  # no atoms closer than the tables go, whose steps the reference would have to do
    atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
    run = cls(atoms)
    run.run(fmax=1e-12, steps=1)
    with interrupted(0.3):
        run.run(fmax=1e-30, steps=3000)  # never reached
    assert run.nsteps > 1
    fresh = Atoms(atoms, calculator=KANCalculator(potential, on_extrapolation="ignore"))
    np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), atol=1e-9)
    energy = atoms.get_potential_energy()
    run.run(fmax=1e-12, steps=5)
    assert atoms.get_potential_energy() < energy
