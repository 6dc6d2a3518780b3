"""A run that goes on from a file is the run that wrote it."""

import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms

from ase_kan import KANCalculator
from ase_kan.dynamics import Bussi, Langevin, VelocityVerlet, load, save
from tests.dynamics.test_integrators import liquid

FS = units.fs
MAKE = {
    "VelocityVerlet": lambda atoms, rng: VelocityVerlet(atoms, 2 * FS),
    "Langevin": lambda atoms, rng: Langevin(atoms, 2 * FS, temperature_K=900, friction=0.05 / FS, rng=rng),
    "Bussi": lambda atoms, rng: Bussi(atoms, 2 * FS, temperature_K=900, taut=20 * FS, rng=rng),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MAKE)
def test_goes_on_to_the_last_bit(name, threads, potential, tmp_path):
    path = tmp_path / "run.npz"
    atoms = liquid(potential, threads=threads)
    atoms.set_constraint(FixAtoms([3, 4]))
    atoms.set_array("kept", np.arange(len(atoms)))
    run = MAKE[name](atoms, np.random.Generator(np.random.MT19937(1)))
    run.run(83)
    save(run, path)
    run.run(150)
    other = load(path, KANCalculator(potential, threads=threads, on_extrapolation="ignore"))
    assert type(other) is type(run)
    assert other.nsteps == 83
    other.run(150)
    assert other.nsteps == run.nsteps
    assert other.todict() == run.todict()
    assert (other.atoms.positions == atoms.positions).all()
    assert (other.atoms.get_momenta() == atoms.get_momenta()).all()
    assert other.atoms == atoms
    assert (other.atoms.arrays["kept"] == atoms.arrays["kept"]).all()
    if name == "Bussi":
        assert other.transferred_energy == run.transferred_energy != 0


def test_saved_while_it_runs(potential, tmp_path):
    """By a function that is attached; the file is the last of several."""
    atoms = liquid(potential)
    run = MAKE["Langevin"](atoms, 3)
    run.attach(save, 40, run, tmp_path / "run.npz")
    run.run(100)
    other = load(tmp_path / "run.npz", KANCalculator(potential, on_extrapolation="ignore"))
    assert other.nsteps == 80
    other.run(20)
    assert (other.atoms.positions == atoms.positions).all()
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_what_is_refused(potential, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("notes.txt", "other.npz"):
        with pytest.raises(ValueError, match=f"{name} is no restart file"):
            load(tmp_path / name, KANCalculator(potential))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz", KANCalculator(potential))
    with pytest.raises(TypeError, match="restart files are for VelocityVerlet"):
        save(None, tmp_path / "a.npz")
