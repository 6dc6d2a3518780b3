"""The pass over structures: digits of large energies, whole structures on Ctrl-C, domains, limits."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, Structures, fit
from ase_kan.cli.main import main
from ase_kan.data.files import replacing
from ase_kan.data.structures import Sample
from ase_kan.fit import equations as normal
from ase_kan.fit.checkpoint import uninterrupted
from ase_kan.fit.equations import Equations, expected_pairs
from ase_kan.fit.structures import held_out

CUTOFF = 8.0
LARGE = {"Ar": -14_411.25, "Kr": -75_803.5}


def crystals(n, lone=None, seed=0):
    """Argon and krypton with the pair energies of ASE's Lennard-Jones and energies of lone atoms on top."""
    images = []
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        atoms = bulk("Ar", "fcc", a=5.2 + 0.3 * rng.random(), cubic=True) * (2, 1, 1)
        if lone and number >= n // 2:
            atoms.symbols[rng.permutation(8)[: rng.integers(1, 8)]] = "Kr"
        atoms.rattle(0.2, rng=rng)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=CUTOFF, ro=6.0, smooth=True)
        energy = atoms.get_potential_energy() + sum((lone or {}).get(s, 0.0) for s in atoms.symbols)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=atoms.get_forces())
        images.append(atoms)
    return images


@pytest.fixture(scope="module")
def images():
    return crystals(60)


def actual_rmse(potential, images):
    """Of the energy per atom, by evaluating every structure."""
    errors = []
    for atoms in images:
        copy = atoms.copy()
        copy.calc = KANCalculator(potential)
        errors.append((copy.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
    return np.sqrt(np.mean(np.square(errors)))


# Large total energies


def test_errors_beside_large_energies_are_the_true_ones(images):
    """The same data 1e5 eV per atom lower: the same potential, and errors to the digits shown."""
    small = fit(Structures(images), cutoff=CUTOFF, grid=20, validation=0.0)
    shifted = []
    for atoms in images:
        copy = atoms.copy()
        energy = atoms.get_potential_energy() - 1e5 * len(atoms)
        copy.calc = SinglePointCalculator(copy, energy=energy, forces=atoms.get_forces())
        shifted.append(copy)
    large = fit(Structures(shifted), cutoff=CUTOFF, grid=20, validation=0.0)
    assert large.train_energy_rmse == pytest.approx(actual_rmse(large.potential, shifted), rel=1e-3)
    assert large.train_energy_rmse == pytest.approx(small.train_energy_rmse, rel=1e-3)
    assert large.potential.reference_energies["Ar"] == pytest.approx(
        small.potential.reference_energies["Ar"] - 1e5, abs=1e-8
    )
    r = np.linspace(3.0, 7.9, 50)
    np.testing.assert_allclose(large.potential.energy(r), small.potential.energy(r), atol=1e-8)


def test_an_element_that_comes_late_keeps_its_digits(tmp_path, monkeypatch):
    """Krypton after the structures that are looked at first; stopped in between, and resumed."""
    from ase_kan.fit import structures as module

    monkeypatch.setattr(module, "PEEK", 10)
    mixed = crystals(100, LARGE)
    settings = {"cutoff": CUTOFF, "grid": 12, "elements": ["Ar", "Kr"], "start": 1.8}
    whole = fit(Structures(mixed), **settings)
    actual = [actual_rmse(whole.potential, [a]) for n, a in enumerate(mixed) if n < 50 and not held_out(n, 0, 0.1)]
    assert whole.train_energy_rmse < 5e-5
    assert np.sqrt(np.mean(np.square(actual))) < 5e-5
    for symbol, energy in LARGE.items():
        assert whole.potential.reference_energies[symbol] == pytest.approx(energy, abs=0.05)

    class Stopped(Structures):
        def __iter__(self):
            for number, sample in enumerate(super().__iter__()):
                if number == 70:
                    raise KeyboardInterrupt
                yield sample

    path = tmp_path / "a.checkpoint"
    fit(Stopped(mixed), **settings, checkpoint=path)
    resumed = fit(Structures(mixed), **settings, checkpoint=path, resume=True)
    r = np.linspace(3.0, 7.9, 50)
    for pair in whole.potential.pairs:
        np.testing.assert_array_equal(resumed.potential.energy(r, pair), whole.potential.energy(r, pair))
    assert resumed.potential.reference_energies == whole.potential.reference_energies


def test_given_lone_atom_energies_are_exact_beside_large_ones():
    mixed = crystals(80, LARGE)
    result = fit(Structures(mixed), cutoff=CUTOFF, grid=12, reference_energies=LARGE, validation=0.0)
    assert result.potential.reference_energies == LARGE
    assert result.train_energy_rmse < 1e-3
    assert result.train_energy_rmse == pytest.approx(actual_rmse(result.potential, mixed), rel=1e-2)


def test_explained_is_what_lone_atoms_leave_open():
    """Against dense least squares of the energies on the composition."""
    rng = np.random.default_rng(0)
    rows, data = rng.random((40, 5)), rng.random(40)
    equations = Equations.empty(5)
    for row, value in zip(rows, data, strict=True):
        equations.add(row[None], np.array([value]), 0.7)
    solution = rng.random(5)
    left = np.linalg.lstsq(rows[:, :2], data, rcond=None)[1][0]
    error = np.sum((data - rows @ solution) ** 2)
    assert equations.explained(solution, 2) == pytest.approx(1 - error / left, rel=1e-10)
    assert equations.explained(solution) == pytest.approx(1 - error / (40 * data.var()), rel=1e-10)
    assert np.isnan(Equations.empty(5).mean_square(solution))


# Ctrl-C


def test_an_interrupt_waits_for_the_end_of_a_structure(images, tmp_path, monkeypatch):
    """Ctrl-C between the energy and the forces of a structure: the resumed fit is the whole one, to the last bit."""
    from ase_kan.fit import structures as module

    monkeypatch.setattr(module, "PEEK", 10)
    handler = signal.getsignal(signal.SIGINT)
    add, calls = Equations.add, []

    def interrupted(self, *args):
        calls.append(None)
        if len(calls) == 61:  # two properties a structure: half of the 31st
            signal.raise_signal(signal.SIGINT)
        add(self, *args)

    path = tmp_path / "a.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(Equations, "add", interrupted)
        stopped = fit(Structures(images), cutoff=CUTOFF, grid=12, checkpoint=path)
    assert "interrupted" in str(stopped)
    assert stopped.potential.info["structures"]["used"] == 31
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = fit(Structures(images), cutoff=CUTOFF, grid=12, checkpoint=path, resume=True)
    whole = fit(Structures(images), cutoff=CUTOFF, grid=12)
    r = np.linspace(3.0, 7.9, 50)
    np.testing.assert_array_equal(resumed.potential.energy(r), whole.potential.energy(r))
    assert resumed.potential.info == whole.potential.info


def test_other_handlers_get_the_signal_and_other_threads_keep_out():
    heard = []
    old = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            assert not heard
        assert heard == [signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, old)
    worked = []

    def work():
        with uninterrupted():
            worked.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert worked


# Files left behind


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    """SIGKILL within a save; the next save removes what it left, and only that."""
    code = (
        "import os, signal\nfrom ase_kan.data.files import replacing\n"
        "with replacing('a.kan') as path:\n path.write_text('half')\n os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert process.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    others = [tmp_path / name for name in ("b.kan", ".a.notes.tmp.kan", ".ab.host.1.2.tmp.kan")]
    name = left.name.split(".")
    alive = tmp_path / ".".join([*name[:-4], str(os.getppid()), *name[-3:]])
    elsewhere = tmp_path / ".a.another.machine.1.2.tmp.kan"
    old = tmp_path / ".a.another.machine.3.4.tmp.kan"
    for path in (*others, alive, elsewhere, old):
        path.write_text("")
    os.utime(old, (time.time() - 1e6,) * 2)
    with replacing(tmp_path / "a.kan") as temporary:
        temporary.write_text("whole")
    assert set(tmp_path.iterdir()) == {tmp_path / "a.kan", *others, alive, elsewhere}
    assert (tmp_path / "a.kan").read_text() == "whole"


# Domains


def test_the_domain_covers_held_out_structures_too(images):
    """The closest pair in a structure that would be held out: it is trained on."""
    number = next(n for n in range(20, 60) if held_out(n, 0, 0.1))
    data = list(images)
    close = data[number].copy()
    close.set_distance(0, 1, 2.6, mic=True)
    close.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=CUTOFF, ro=6.0, smooth=True)
    close.calc = SinglePointCalculator(close, energy=close.get_potential_energy(), forces=close.get_forces())
    data[number] = close
    result = fit(Structures(data), cutoff=CUTOFF, grid=12)
    shortest = min(a.get_all_distances(mic=True)[np.triu_indices(8, 1)].min() for a in data)
    assert result.potential.domain()[0] == pytest.approx(shortest, rel=1e-12)
    assert result.potential.info["structures"]["held out"] > 0


def test_structures_of_weight_zero_leave_the_domain_alone(images):
    close = images[0].copy()
    close.set_distance(0, 1, 2.0, mic=True)
    close.info["weight"] = 0
    close.calc = SinglePointCalculator(close, energy=1e3)
    result = fit(Structures([*images, close]), cutoff=CUTOFF, grid=12)
    assert result.potential.domain()[0] > 2.1
    assert result.potential.info["structures"]["of weight 0 left out"] == 1


# Limits


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 0), (0, 1, 1)])
def test_pairs_are_estimated(pbc):
    """Crystals, slabs, wires, clusters: not far from a count, and rather above (surfaces have fewer neighbors)."""
    from ase_kan.engines.neighbors import half_list

    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (3, 3, 3)
    for cutoff in (6.0, 20.0, 50.0):
        counted = len(half_list(atoms.positions, atoms.cell.array, np.array(pbc, dtype=bool), cutoff)[0])
        estimate = expected_pairs(atoms.positions, atoms.cell.array, np.array(pbc, dtype=bool), cutoff)
        assert 0.8 * counted < estimate < 8 * counted


def test_a_cutoff_beyond_the_memory_is_refused_at_once(images):
    start = time.monotonic()
    with pytest.raises(
        ValueError, match=r"structure 0: about .* pairs of its 8 atoms lie within 300 A.*smaller cutoff"
    ):
        fit(Structures(images), cutoff=300.0)
    assert time.monotonic() - start < 5


def test_too_many_elements_are_refused(images):
    from ase.data import chemical_symbols

    with pytest.raises(ValueError, match="the 465 pairs of 30 elements need 436 GB, more than 16"):
        fit(Structures(images), cutoff=CUTOFF, elements=chemical_symbols[1:31])


def test_long_lists_of_pairs_are_added_in_blocks(images, monkeypatch):
    whole = fit(Structures(images[:20]), cutoff=CUTOFF, grid=12)
    monkeypatch.setattr(normal, "BLOCK", 7)
    blocks = fit(Structures(images[:20]), cutoff=CUTOFF, grid=12)
    r = np.linspace(3.0, 7.9, 50)
    np.testing.assert_allclose(blocks.potential.energy(r), whole.potential.energy(r), atol=1e-10)


@pytest.mark.parametrize(
    ("cutoff", "message"),
    [
        (float("nan"), "cutoff of Ar-Ar must be a positive distance in Angstrom, got nan"),
        (-1.0, "got -1"),
        (float("inf"), "got inf"),
        (0.8, "no two atoms of the structures are within the cutoff, 0.8 A"),
        ({("Ar", "Ar"): 5, ("Ar", "Kr"): 5, ("Kr", "Ar"): 6, ("Kr", "Kr"): 5}, "names a pair twice"),
    ],
)
def test_impossible_cutoffs_are_refused(images, cutoff, message):
    with pytest.raises(ValueError, match=message):
        fit(Structures(images), cutoff=cutoff, elements=["Ar", "Kr"] if isinstance(cutoff, dict) else None)


def test_impossible_structures_are_named(images, tmp_path, capsys):
    together = Atoms("Ar2", [[1, 0, 0], [1, 0, 0]])
    flat = Atoms("Ar2", [[0, 0, 0], [3, 0, 0]], cell=[5, 0, 0], pbc=True)
    for atoms, message in ((together, "atoms 0 and 1 are at the same place"), (flat, "must be linearly independent")):
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
        with pytest.raises(ValueError, match=f"structure 1: .*{message}"):
            fit(Structures([images[0], atoms]), cutoff=CUTOFF)
    with pytest.raises(ValueError, match="structure 0 has no atoms"):
        list(Structures([Atoms()]))
    empty = tmp_path / "empty.extxyz"
    empty.write_text("")
    assert main(["fit", str(empty), "--cutoff", "8", "-o", str(tmp_path / "a.kan")]) == 1
    assert str(empty) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"weights": (1.0, np.nan, 1.0)}, "weights are those of"),
        ({"weights": (1.0, 1.0)}, "weights are those of"),
        ({"weights": (0.0, 0.0, 0.0)}, "weights are those of"),
        ({"reference_energies": {"AR": 1.0}}, "must map chemical symbols to eV, got 'AR'"),
        ({"reference_energies": {"Ar": np.nan}}, "got 'Ar': nan"),
        ({"elements": ["Ar", "Zz"]}, "elements must be chemical symbols, got 'Zz'"),
    ],
)
def test_impossible_settings_are_refused(images, keywords, message):
    with pytest.raises(ValueError, match=message):
        fit(Structures(images), cutoff=CUTOFF, **keywords)


def test_samples_know_their_labels():
    atoms = Atoms("Ar2", [[0, 0, 0], [3, 0, 0]])
    forces = np.array([[1.0, 0, 0], [np.nan] * 3])
    assert Sample(atoms, None, forces, None, 1.0, "here").labeled.tolist() == [True, False]
    assert Sample(atoms, 0.0, None, None, 1.0, "here").labeled.tolist() == [False, False]
