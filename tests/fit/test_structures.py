"""Fits to structures: exactness, streaming, resuming, bad data."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from ase_kan import KANCalculator, KANPotential, PairCurve, Structures, fit
from ase_kan.data.structures import Sample
from ase_kan.fit.equations import PROPERTIES, Accumulator, RadialMesh
from ase_kan.potentials.cutoff import Cutoff
from tests.shared import brute_force


@pytest.fixture(scope="module")
def truth():
    """A Ne-Xe potential that the model can represent: single edges in 1/r on LJ curves, with lone-atom energies."""
    pairs = {}
    for pair, epsilon, sigma, radius in (
        (("Ne", "Ne"), 0.003, 2.8, 6.0), (("Ne", "Xe"), 0.006, 3.3, 6.5), (("Xe", "Xe"), 0.02, 3.9, 7.0),
    ):  # fmt: skip
        curve = PairCurve.from_function(
            lambda r, e=epsilon, s=sigma: 4 * e * ((s / r) ** 12 - (s / r) ** 6), r_min=0.6 * sigma, r_max=radius, n=300
        )
        function = fit(curve, cutoff=radius, onset=0.97 * radius).potential.function()
        pairs[pair] = function
    return KANPotential(pairs, {"Ne": -1.0, "Xe": -2.5})


def snapshots(truth, n, seed=0, stress=True):
    """Crystals with random species, lattice constants and displacements; exact energies, forces, stresses."""
    images = []
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        atoms = bulk("Xe", "fcc", a=6.1 + rng.uniform(-0.3, 0.6), cubic=True) * (2, 1, 1)
        atoms.symbols[rng.permutation(8)[: rng.integers(1, 8)]] = "Ne"
        atoms.rattle(0.3, rng=rng)
        atoms.calc = KANCalculator(truth)
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if stress:
            results["stress"] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **results)
        images.append(atoms)
    return images


@pytest.fixture(scope="module")
def images(truth):
    return snapshots(truth, 150)


CUTOFFS = {("Ne", "Ne"): 6.0, ("Xe", "Ne"): 6.5, ("Xe", "Xe"): 7.0}


@pytest.fixture(scope="module")
def result(images):
    return fit(Structures(images), cutoff=CUTOFFS, seed=0)


def test_the_law_behind_the_data_is_found(result, truth):
    """Checked on fresh structures. A few have pairs at distances that only one or two pairs of the data have."""
    calc = KANCalculator(result.potential)
    energy, force, stress = [], [], []
    for atoms in snapshots(truth, 60, seed=99):
        copy = atoms.copy()
        copy.calc = calc
        energy.append(abs(copy.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
        force.append(np.sqrt(np.mean((copy.get_forces() - atoms.get_forces()) ** 2)))
        stress.append(np.abs(copy.get_stress() - atoms.get_stress()).max())
    assert np.median(energy) < 1e-7
    assert np.median(force) < 1e-6
    assert np.median(stress) < 1e-7
    assert np.mean(np.array(force) < 1e-3) > 0.8
    assert result.energy_rmse < 1e-5
    assert result.force_rmse < 2e-4
    assert result.potential.reference_energies["Xe"] == pytest.approx(-2.5, abs=1e-3)
    assert result.potential.elements == ("Ne", "Xe")
    assert result.potential.info["structures"]["used"] == 150


def test_reported_errors_are_the_calculators(result, images):
    """The errors from the normal equations are those of evaluating every structure."""
    from ase_kan.fit.structures import held_out

    calc = KANCalculator(result.potential)
    for held, energy, force in (
        (True, result.energy_rmse, result.force_rmse), (False, result.train_energy_rmse, result.train_force_rmse),
    ):  # fmt: skip
        de, df = [], []
        for number, atoms in enumerate(images):
            if held_out(number, 0, 0.1) == held:
                copy = atoms.copy()
                copy.calc = calc
                de.append((copy.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
                df.append(np.mean((copy.get_forces() - atoms.get_forces()) ** 2))
        assert np.sqrt(np.mean(np.square(de))) == pytest.approx(energy, rel=1e-2, abs=1e-7)
        assert np.sqrt(np.mean(df)) == pytest.approx(force, rel=1e-2, abs=1e-7)


def test_accumulated_rows_are_energy_forces_and_virial(truth):
    """Rows of the equations times mesh coefficients equal a direct sum over all images."""
    atoms = snapshots(truth, 1, seed=5)[0]
    meshes = {pair: RadialMesh(1.5, truth.function(pair).cutoff) for pair in truth.pairs}
    accumulator = Accumulator(["Ne", "Xe"], meshes)
    sample = Sample(atoms, 0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3)), 1.0, "here")
    neighbors = accumulator.find(sample)
    assert neighbors is not None
    accumulator.add(sample, neighbors)
    bare = {p: truth.function(p).bare(_tensor(mesh.points())).numpy() for p, mesh in meshes.items()}
    z = np.concatenate([[-1.0, -2.5], *(mesh.interpolate(bare[p]) for p, mesh in meshes.items()), [0.0]])
    energy, forces, virial = brute_force(atoms, truth)
    # With data zero the mean square error is the mean square of the prediction.
    n = len(atoms)
    equations = accumulator.equations
    assert np.sqrt(equations["energy"].mean_square(z)) == pytest.approx(abs(energy) / n, rel=1e-9)
    assert np.sqrt(equations["forces"].mean_square(z)) == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-7)
    six = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / n
    assert np.sqrt(equations["virial"].mean_square(z)) == pytest.approx(np.sqrt(np.mean(six**2)), rel=1e-7)
    assert set(equations) == set(PROPERTIES)


def _tensor(values):
    import torch

    return torch.from_numpy(values)


def test_same_as_direct_least_squares(truth):
    """Few structures: rows built by evaluating the potential for unit coefficients give the same potential."""
    import torch

    from ase_kan.kan.bsplines import basis
    from ase_kan.potentials.pair import PairFunction

    images = [a[a.symbols == "Xe"] for a in snapshots(truth, 40, seed=3)]
    images = [a for a in images if len(a) > 1]
    exact = KANPotential({("Xe", "Xe"): truth.function(("Xe", "Xe"))}, {"Xe": -2.5})
    for atoms in images:
        atoms.calc = KANCalculator(exact)
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
    result = fit(Structures(images), cutoff=7.0, grid=8, validation=0.0)
    function = result.potential.function()
    layer = function.network[0]
    knots, n_coef = layer.grid[0].numpy(), layer.coef.shape[2]
    rows, data, trial = [], [], []
    for c in range(n_coef):
        unit = type(layer)(
            layer.grid, torch.eye(n_coef)[c][None, None], 0 * layer.scale_base, layer.scale_spline, layer.bias, "zero"
        )
        network = type(function.network)([unit])
        single = PairFunction(network, function.domain, function.cutoff, function.feature, function.x)
        trial.append(KANCalculator(KANPotential({("Xe", "Xe"): single})))
    for atoms in images:
        n = len(atoms)
        columns = []
        for calc in trial:
            copy = atoms.copy()
            copy.calc = calc
            columns.append(
                np.concatenate([[copy.get_potential_energy() / n], copy.get_forces().ravel() / np.sqrt(3 * n)])
            )
        lone = np.concatenate([[1.0], np.zeros(3 * n)])
        rows.append(np.column_stack([*columns, lone]))
        data.append(np.concatenate([[atoms.get_potential_energy() / n], atoms.get_forces().ravel() / np.sqrt(3 * n)]))
    a = np.concatenate(rows)
    scale = np.trace((a.T @ a)[:n_coef, :n_coef]) / n_coef
    rough = np.sqrt(1e-10 * scale) * np.diff(np.eye(n_coef + 1)[:n_coef], layer.k, axis=0)
    z = np.linalg.lstsq(np.concatenate([a, rough]), np.concatenate([*data, np.zeros(len(rough))]), rcond=None)[0]
    r = np.linspace(function.domain[0], 6.9, 300)
    u = (1 / r - function.x.shift) / function.x.scale
    direct = basis(knots, layer.k, u, 0)[0] @ z[:n_coef]
    ours = function.bare(_tensor(r)).numpy()
    assert np.abs(direct - ours).max() < 1e-6


def test_mesh_holds_the_kan_exactly(result):
    assert result.potential.info["interpolation_error"] < 1e-12
    mesh = RadialMesh(2.0, Cutoff(7.0, 6.5))
    matrix = mesh.splines(mesh.points()[1:-1])
    assert matrix[1].shape == (len(mesh.points()) - 2, 6)


def test_deeper_networks_follow(images, result):
    deeper = fit(Structures(images), cutoff=CUTOFFS, width=(1, 2, 1), grid=10, seed=0)
    assert deeper.potential.function(("Xe", "Xe")).network.width == (1, 2, 1)
    assert deeper.force_rmse < 1e-2
    with pytest.raises(ValueError, match="width must go from 1 to 1"):
        fit(Structures(images), cutoff=CUTOFFS, width=(2, 1))


def test_deterministic_and_saved(result, images, tmp_path):
    again = fit(Structures(images), cutoff=CUTOFFS, seed=0)
    r = np.linspace(2.5, 7.5, 100)
    for pair in result.potential.pairs:
        np.testing.assert_array_equal(again.potential.energy(r, pair), result.potential.energy(r, pair))
    result.potential.save(tmp_path / "p.kan")
    loaded = KANPotential.load(tmp_path / "p.kan")
    np.testing.assert_array_equal(loaded.energy(r, ("Ne", "Xe")), result.potential.energy(r, ("Ne", "Xe")))
    assert loaded.info == result.potential.info


def test_files_and_keys_give_the_same(images, result, tmp_path):
    path = tmp_path / "train.extxyz"
    write(path, images)
    from_file = fit(Structures.read(path), cutoff=CUTOFFS, seed=0)
    # The file has eight decimals.
    assert from_file.force_rmse == pytest.approx(result.force_rmse, abs=3e-8)
    renamed = []
    for atoms in images:
        copy = atoms.copy()
        copy.info["E_dft"], copy.arrays["F_dft"] = atoms.get_potential_energy(), atoms.get_forces()
        copy.info["S_dft"] = atoms.get_stress(voigt=False)
        renamed.append(copy)
    by_key = fit(
        Structures(renamed, energy_key="E_dft", forces_key="F_dft", stress_key="S_dft"), cutoff=CUTOFFS, seed=0
    )
    assert by_key.force_rmse == pytest.approx(result.force_rmse, rel=1e-6)
    assert len(read(path, ":")) == len(images)


def test_given_reference_energies_are_kept(images):
    result = fit(Structures(images), cutoff=CUTOFFS, reference_energies={"Ne": -1.0, "Xe": -2.5})
    assert result.potential.reference_energies == {"Ne": -1.0, "Xe": -2.5}
    assert result.energy_rmse < 1e-5


def test_what_no_pair_potential_explains_is_said():
    images = []
    for number in range(60):
        atoms = bulk("Cu", "fcc", a=3.6 + 0.01 * (number % 10), cubic=True) * (2, 2, 2)
        atoms.rattle(0.15, seed=number)
        del atoms[: number % 5]  # vacancies: many-body physics
        atoms.calc = EMT()
        forces = atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=forces)
        images.append(atoms)
    result = fit(Structures(images), cutoff=6.0)
    explained = result.potential.info["errors"]["forces"]["explained"]
    assert 0.5 < explained < 0.9999
    assert "explained" in str(result)


def test_odd_structures_are_counted(images):
    odd = [*images[:100], images[0].copy(), Atoms("Xe")]
    odd[100].calc = images[0].calc
    odd[101].calc = SinglePointCalculator(odd[101], energy=-2.5)
    close = images[1].copy()
    close.positions[1] = close.positions[0] + [0.1, 0, 0]
    close.calc = SinglePointCalculator(close, energy=5.0, forces=np.zeros((8, 3)))
    # Beyond the first 200 it cannot move the start of the mesh; here the start is given.
    result = fit(Structures([*odd, close]), cutoff=CUTOFFS, start=1.5)
    counts = result.potential.info["structures"]
    assert counts["duplicates left out"] == 1
    assert counts["left out for atoms closer than the mesh"] == 1
    assert counts["without forces"] == 1
    assert counts["lone atoms"] == 1
    assert counts["used"] == 101
    assert "1 duplicates left out" in str(result)


def broken(images, change):
    bad = [a.copy() for a in images[:20]]
    for new, old in zip(bad, images[:20], strict=True):
        new.calc = SinglePointCalculator(new, **old.calc.results)
    change(bad[7])
    return Structures(bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.calc.results.update(energy=np.nan), "structure 7: energy is not finite"),
        (lambda a: a.calc.results["forces"].__setitem__((2, 1), np.inf), "structure 7: forces is not finite"),
        (lambda a: a.calc.results.update(forces=np.zeros((3, 3))), "structure 7: forces must have shape"),
        (lambda a: a.calc.results.update(stress=np.zeros(5)), "structure 7: stress must have shape"),
        (lambda a: a.positions.__setitem__((0, 0), np.nan), "structure 7: positions is not finite"),
        (lambda a: setattr(a, "calc", None), "structure 7 has neither energy nor forces"),
        (lambda a: a.info.update(weight=-1), "structure 7 has the negative weight"),
    ],
)
def test_bad_structures_are_named(images, change, message):
    with pytest.raises(ValueError, match=message):
        fit(broken(images, change), cutoff=CUTOFFS)


def test_bad_arguments_are_refused(images, tmp_path):
    data = Structures(images)
    with pytest.raises(ValueError, match="missing: Ne-Xe"):
        fit(data, cutoff={("Ne", "Ne"): 5, ("Xe", "Xe"): 5})
    with pytest.raises(ValueError, match=r"no info key 'nope'.*it has"):
        fit(Structures(images, energy_key="nope"), cutoff=6.0)
    with pytest.raises(ValueError, match="validation must be"):
        fit(data, cutoff=6.0, validation=0.9)
    with pytest.raises(ValueError, match="no structures"):
        fit(Structures([]), cutoff=6.0)
    with pytest.raises(ValueError, match="resume needs"):
        fit(data, cutoff=6.0, resume=True)
    with pytest.raises(ValueError, match="training values cannot fix"):
        fit(Structures(images[:1]), cutoff=6.0, validation=0.0, grid=40)
    with pytest.raises(ValueError, match="has Xe, which"):
        fit(data, cutoff=6.0, elements=["Ne"])
    with pytest.raises(FileNotFoundError, match="no file of structures"):
        Structures.read(tmp_path / "no.extxyz")
    with pytest.raises(TypeError, match="no keyword"):
        fit(data, cutoff=6.0, nonsense=1)


def test_a_pair_without_data_is_left_out_and_named(truth):
    images = []
    for number in range(30):
        atoms = Atoms("Ne2Xe2", [[0, 0, 0], [3 + number / 20, 0, 0], [30, 0, 0], [34 + number / 20, 0, 0]])
        atoms.calc = KANCalculator(truth)
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        images.append(atoms)
    result = fit(Structures(images), cutoff=6.0, grid=6)
    assert ("Ne", "Xe") not in result.potential.pairs
    assert "Ne-Xe: not in the data" in str(result)
    mixed = Atoms("NeXe", [[0, 0, 0], [3, 0, 0]], calculator=KANCalculator(result.potential))
    with pytest.raises(ValueError, match="no pair Ne-Xe"):
        mixed.get_potential_energy()


def test_a_pass_is_resumed_exactly(images, result, tmp_path):
    """Stop after 80 structures as Ctrl-C does, go on from the checkpoint: the same potential."""
    path = tmp_path / "pass.checkpoint"

    class Interrupted(Structures):
        def __iter__(self):
            for number, sample in enumerate(super().__iter__()):
                if number == 80:
                    raise KeyboardInterrupt
                yield sample

    part = Interrupted(images)
    # The first look at the data must not be interrupted: it is the pass that may be.
    from ase_kan.fit import structures as module

    old, module.PEEK = module.PEEK, 50
    try:
        stopped = fit(part, cutoff=CUTOFFS, seed=0, checkpoint=path, start=1.8)
        assert "interrupted" in str(stopped)
        assert stopped.potential.info["structures"]["used"] == 80
        resumed = fit(Structures(images), cutoff=CUTOFFS, seed=0, checkpoint=path, resume=True, start=1.8)
        whole = fit(Structures(images), cutoff=CUTOFFS, seed=0, start=1.8)
        with pytest.raises(ValueError, match="other settings"):
            fit(Structures(images), cutoff=6.0, seed=0, checkpoint=path, resume=True, start=1.8)
    finally:
        module.PEEK = old
    r = np.linspace(2.5, 7.0, 100)
    for pair in whole.potential.pairs:
        np.testing.assert_allclose(resumed.potential.energy(r, pair), whole.potential.energy(r, pair), rtol=1e-12)


def test_a_killed_pass_leaves_a_good_checkpoint(tmp_path, images):
    """SIGKILL in the middle of the pass: the last checkpoint loads."""
    write(tmp_path / "train.extxyz", images)
    code = (
        "from ase_kan.fit import checkpoint as c; c.INTERVAL = 0.0\n"
        "from ase_kan import Structures, fit\n"
        "fit(Structures.read('train.extxyz'), cutoff=7.0, checkpoint='pass.checkpoint')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    checkpoint = tmp_path / "pass.checkpoint"
    for _ in range(600):
        if checkpoint.exists():
            break
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = fit(Structures.read(tmp_path / "train.extxyz"), cutoff=7.0, checkpoint=checkpoint, resume=True)
    assert result.potential.info["structures"]["used"] == 150


def test_lammps_dump_with_energies_given(images, tmp_path):
    """A dump holds types, positions and forces; the energies come in a list."""
    xenon = [a for a in images if set(a.symbols) == {"Ne", "Xe"}][:5]
    lines = []
    for step, atoms in enumerate(xenon):
        x, y, z = atoms.cell.lengths()
        lines += ["ITEM: TIMESTEP", str(step), "ITEM: NUMBER OF ATOMS", str(len(atoms))]
        lines += ["ITEM: BOX BOUNDS pp pp pp", f"0 {x!r}", f"0 {y!r}", f"0 {z!r}"]
        lines += ["ITEM: ATOMS id element x y z fx fy fz"]
        rows = zip(atoms.symbols, atoms.positions.tolist(), atoms.get_forces().tolist(), strict=True)
        lines += [f"{n + 1} {s} {' '.join(map(repr, p))} {' '.join(map(repr, f))}" for n, (s, p, f) in enumerate(rows)]
    path = tmp_path / "run.dump"
    path.write_text("\n".join(line.replace("np.float64(", "").replace(")", "") for line in lines) + "\n")
    energies = [a.get_potential_energy() for a in xenon]
    read_back = list(Structures.read(path, format="lammps-dump-text", energies=energies))
    assert len(read_back) == 5
    for sample, atoms, energy in zip(read_back, xenon, energies, strict=True):
        assert sample.energy == energy
        np.testing.assert_allclose(sample.forces, atoms.get_forces(), atol=1e-12)
        assert (sample.atoms.symbols == atoms.symbols).all()
    with pytest.raises(ValueError, match=r"run\.dump, structure 4 is one more than the 4 energies"):
        list(Structures.read(path, format="lammps-dump-text", energies=energies[:4]))


@pytest.mark.parametrize("suffix", ["traj", "db", "xyz"])
def test_every_ase_format(images, suffix, tmp_path):
    path = tmp_path / f"data.{suffix}"
    write(path, images[:8])
    samples = list(Structures.read(path))
    for sample, atoms in zip(samples, images[:8], strict=True):
        assert sample.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(sample.forces, atoms.get_forces(), atol=1e-7)
    assert len(list(Structures.read(path, index=":4"))) == 4


def test_weights_of_structures_and_properties(images, result):
    """Structures of weight 0 change nothing; a property of weight 0 is not fitted."""
    wrong = [a.copy() for a in images[:20]]
    for atoms in wrong:
        atoms.positions += 0.01
        atoms.info["weight"] = 0.0
        atoms.calc = SinglePointCalculator(atoms, energy=1e3, forces=np.full((len(atoms), 3), 7.0))
    with_wrong = fit(Structures([*images, *wrong]), cutoff=CUTOFFS, seed=0)
    r = np.linspace(3.0, 6.0, 50)
    for pair in result.potential.pairs:
        np.testing.assert_allclose(with_wrong.potential.energy(r, pair), result.potential.energy(r, pair), atol=1e-9)
    shifted = [a.copy() for a in images]
    for new, old in zip(shifted, images, strict=True):
        new.calc = SinglePointCalculator(new, energy=0.0, forces=old.get_forces())
    forces_only = fit(Structures(shifted), cutoff=CUTOFFS, seed=0, weights=(0.0, 1.0, 0.0))
    assert forces_only.force_rmse < 2e-4
