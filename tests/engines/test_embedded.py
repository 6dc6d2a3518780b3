"""Embedded-atom engines against LAMMPS, a direct sum, finite differences and each other."""

import copy
import pickle
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.neighborlist import primitive_neighbor_list
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ase_kan import ExtrapolationError, ExtrapolationWarning, KANCalculator, from_setfl, tabulate
from ase_kan.engines import compiled as engines
from ase_kan.engines.neighbors import periodic_box
from tests.engines.test_engines import agree, both
from tests.lammps_eam import PUBLISHED, in_lammps
from tests.synthetic_eam import SyntheticEAM

ENGINES = ("compiled", "autograd")
#: File, elements of the structures, a lattice constant.
FILES = (
    ("Cu_mishin1.eam.alloy", ["Cu"], 3.615),
    ("CuNi.eam.alloy", ["Cu", "Ni"], 3.57),
    ("NiAlH_jea.eam.alloy", ["Ni", "Al", "H"], 3.6),
    ("Fe_mm.eam.fs", ["Fe"], 3.65),
    ("AlFe_mm.eam.fs", ["Fe", "Al"], 3.85),
)


def structures(symbols, a):
    """Rattled and strained, as if molten, in a cell smaller than the cutoff, a slab and a cluster."""
    rng = np.random.default_rng(1)
    crystal = bulk("Cu", "fcc", a=a, cubic=True)
    strained = crystal * (3, 3, 3)
    strained.rattle(0.05, rng=rng)
    strain = np.array([[1.03, 0, 0], [0.04, 0.97, 0], [-0.03, 0.05, 1.01]])
    strained.set_cell(strained.cell.array @ strain, scale_atoms=True)
    molten = crystal * (3, 3, 2)
    molten.rattle(0.35, rng=rng)
    small = crystal.copy()
    small.rattle(0.1, rng=rng)
    slab = fcc111("Cu", (3, 4, 4), a=a, vacuum=6.0, orthogonal=True)
    slab.pbc = True
    slab.rattle(0.05, rng=rng)
    cluster = crystal * (2, 2, 2)
    cluster.rattle(0.2, rng=rng)
    cluster.center(vacuum=1.0)
    cluster.pbc = False
    found = [strained, molten, small, slab, cluster]
    for atoms in found:
        atoms.symbols[:] = rng.choice(symbols, len(atoms))
    return found


@pytest.mark.parametrize(("file", "symbols", "a"), FILES)
def test_engines_equal_lammps(tmp_path, file, symbols, a):
    path = PUBLISHED / file
    images = structures(symbols, a)
    expected = in_lammps(tmp_path, images, path, "eam/fs" if file.endswith("fs") else "eam/alloy")
    for engine in ENGINES:
        calc = KANCalculator(path, engine=engine, threads=1)
        for atoms, lammps in zip(images, expected, strict=True):
            size = max(1.0, np.abs(lammps["forces"]).max())
            energies = calc.get_property("energies", atoms)
            np.testing.assert_allclose(energies, lammps["energies"], rtol=0, atol=1e-9)
            np.testing.assert_allclose(calc.get_forces(atoms), lammps["forces"], rtol=0, atol=1e-8 * size)
            assert calc.get_potential_energy(atoms) == pytest.approx(lammps["energy"], abs=1e-9 * len(atoms))
            if atoms.cell.rank == 3:
                volume = atoms.get_volume()
                scale = np.abs(lammps["virials"]).max() + size
                virials, virial = calc.get_stresses(atoms) * -volume, calc.get_stress(atoms) * -volume
                # In the last step before the cutoff of Fe_mm LAMMPS has a slope of 1e-8 of a constant energy.
                np.testing.assert_allclose(virials, lammps["virials"], rtol=0, atol=3e-8 * scale)
                np.testing.assert_allclose(virial, lammps["virial"], rtol=0, atol=3e-8 * scale)
        assert calc.engine == engine


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    n=st.integers(0, 40),
    size=st.floats(2.0, 12.0),
    channels=st.sampled_from([1, 2, 3]),
    neighbor_decides=st.booleans(),
    one=st.booleans(),
)
def test_compiled_is_autograd(seed, pbc, n, size, channels, neighbor_decides, one):
    rng = np.random.default_rng(seed)
    potential = SyntheticEAM(channels=channels, neighbor_decides=neighbor_decides)
    cell = size * (np.eye(3) + rng.uniform(-0.4, 0.4, (3, 3)))
    symbols = rng.choice(["Cu"] if one else ["Cu", "Ni"], n)
    atoms = Atoms(symbols, rng.uniform(-2, 2, (n, 3)) @ cell, cell=cell, pbc=pbc)
    compiled, autograd = both(potential)
    agree(compiled, autograd, atoms)
    one, two = (calc.extrapolation.find().densities for calc in (compiled, autograd))
    assert [found[:3] for found in one] == [found[:3] for found in two]
    assert [found.density for found in one] == pytest.approx([found.density for found in two], abs=1e-7)
    assert compiled.extrapolation.densities == autograd.extrapolation.densities == len(one)


@pytest.mark.parametrize("neighbor_decides", [True, False])
def test_autograd_is_the_direct_sum(neighbor_decides):
    potential = SyntheticEAM(channels=2, neighbor_decides=neighbor_decides)
    rng = np.random.default_rng(0)
    atoms = Atoms("Cu5Ni4", rng.uniform(0, 4.5, (9, 3)), cell=[[4.5, 0, 0], [1, 4, 0], [0.5, -1, 5]], pbc=[1, 1, 0])
    i, j, r = primitive_neighbor_list("ijd", atoms.pbc, atoms.cell.array, atoms.positions, potential.cutoff)
    energies = np.array([potential.reference_energies[s] for s in atoms.symbols])
    densities = np.zeros((9, 2))
    for a, b, distance in zip(i, j, torch.from_numpy(r), strict=True):  # every pair both ways
        one, other = atoms.symbols[a], atoms.symbols[b]
        energies[a] += float(potential.pair_energy(distance, (one, other))) / 2
        for c in range(2):
            densities[a, c] += float(potential.density(distance, one, other, c))
    for a in range(9):
        for c in range(2):
            energies[a] += float(potential.embedding(torch.tensor(densities[a, c]), atoms.symbols[a], c))
    atoms.calc = KANCalculator(potential, engine="autograd", on_extrapolation="ignore")
    np.testing.assert_allclose(atoms.get_potential_energies(), energies, rtol=0, atol=1e-12)
    assert atoms.get_potential_energy() == pytest.approx(energies.sum(), abs=1e-11)


@pytest.mark.parametrize("engine", ENGINES)
def test_finite_differences(engine):
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 1, 1)
    atoms.rattle(0.15, seed=3)
    atoms.symbols[[1, 4]] = "Ni"
    atoms.calc = KANCalculator(SyntheticEAM(channels=2, neighbor_decides=False), engine=engine)
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-7)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-7)
    assert np.abs(atoms.get_forces()).max() > 0.1
    np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), atoms.get_stress(), atol=1e-12)


@pytest.mark.parametrize(("skin", "threads"), [(0.0, 1), (0.3, 2), (1.5, 1)])
def test_along_a_trajectory(skin, threads):
    """Lists are pruned and built again, and what the first pass keeps grows and shrinks."""
    rng = np.random.default_rng(1)
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (5, 4, 3)
    atoms.symbols[rng.permutation(len(atoms))[:80]] = "Ni"
    potential = SyntheticEAM(channels=2, cutoff=4.0)
    compiled = KANCalculator(potential, engine="compiled", skin=skin, threads=threads, on_extrapolation="ignore")
    autograd = KANCalculator(potential, engine="autograd", on_extrapolation="ignore")
    home, phase = atoms.positions.copy(), rng.uniform(0, 2 * np.pi, (len(atoms), 3))
    for step in range(12):
        atoms.positions = home + 0.05 * step + 0.4 * np.sin(0.3 * step + phase)
        if step == 8:
            home[7] += [5.0, -9.0, 1.0]
        agree(compiled, autograd, atoms)


def kernel_of(potential, atoms, instructions="best", threads=1):
    """The kernel of the engine of some atoms, with another instruction set."""
    calc = KANCalculator(potential, engine="compiled", on_extrapolation="ignore")
    calc.get_potential_energy(atoms)
    engine = calc._engine
    kernels = engines._kernel.Kernel

    def choose(*arguments, **keywords):
        return kernels(*arguments, **keywords, instructions=instructions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines._kernel, "Kernel", choose)
        kernel = engine._new_kernel(sorted(set(atoms.symbols)))
    element = np.array([sorted(set(atoms.symbols)).index(s) for s in atoms.symbols], dtype=np.uint8)
    box = periodic_box(atoms.cell.array, atoms.pbc)
    kernel.set_structure(atoms.numbers, atoms.cell.array, atoms.pbc, element, box, np.linalg.inv(box), threads)
    return kernel


@pytest.mark.parametrize(("channels", "symbols"), [(1, ["Cu"]), (2, ["Cu", "Ni"])])
def test_every_instruction_set_and_number_of_threads_gives_the_same(channels, symbols):
    potential = SyntheticEAM(channels=channels, low=0.7)
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (5, 5, 5)
    atoms.rattle(0.2, seed=3)
    atoms.symbols[:] = np.random.default_rng(0).choice(symbols, len(atoms))
    reference = kernel_of(potential, atoms, "baseline").compute(atoms.positions, True)
    assert reference[10] > 0
    for name in ("avx2", "avx512"):
        try:
            found = kernel_of(potential, atoms, name).compute(atoms.positions, True)
        except ValueError as error:
            assert "this machine has no instruction set" in str(error)  # noqa: PT017 (some machines have it)
            continue
        for k in (0, 1, 2, 6, 8, 9):
            np.testing.assert_allclose(found[k], reference[k], rtol=1e-11, atol=1e-11)
        assert (found[3:6], found[10]) == (reference[3:6], reference[10])
    one, two, again, seven = (
        kernel_of(potential, atoms, threads=t).compute(atoms.positions, True) for t in (1, 2, 2, 7)
    )
    for k in (0, 1, 2, 8, 9):
        np.testing.assert_allclose(two[k], one[k], rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(seven[k], one[k], rtol=1e-11, atol=1e-11)
        np.testing.assert_array_equal(two[k], again[k])
    assert seven[10] == one[10]


def test_closer_than_the_tables_go():
    atoms = Atoms("Cu3", [[0, 0, 0], [0.3, 0, 0], [0, 2.5, 0]])
    compiled, autograd = both(SyntheticEAM())
    agree(compiled, autograd, atoms, rtol=1e-12)
    assert compiled.extrapolation.densities == autograd.extrapolation.densities > 0
    atoms.positions[1, 0] = 2.5
    agree(compiled, autograd, atoms)
    atoms.positions[1, 0] = 0.0
    for calc in (compiled, autograd):
        with pytest.raises(ValueError, match="atoms 0 and 1 are at the same place"):
            calc.get_potential_energy(atoms)


class Parabolic(SyntheticEAM):
    """F does not go on as a straight line."""

    def embedding(self, density, element, channel=0):
        return 0.1 * (density - 2.0) ** 2


def test_densities_beyond_the_tables_are_left_to_the_reference():
    potential = Parabolic()
    least, most = tabulate(potential).embeddings["Cu", 0].limits
    assert np.isfinite([least, most]).all()
    rng = np.random.default_rng(0)
    for squeeze in (1.0, 0.55):
        atoms = bulk("Cu", "fcc", a=3.6 * squeeze, cubic=True) * (2, 2, 2)
        atoms.rattle(0.05 * squeeze, rng=rng)
        agree(*both(potential), atoms)
    straight = tabulate(SyntheticEAM()).embeddings["Cu", 0]
    assert straight.limits == (-np.inf, np.inf)
    agree(*both(SyntheticEAM()), atoms)


# Extrapolation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_densities_outside_the_data_are_counted(engine, sign):
    potential = SyntheticEAM(sign=sign, low=0.68)
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (3, 3, 3)
    atoms.rattle(0.1, seed=1)
    atoms.symbols[::3] = "Ni"
    del atoms[[0, 1, 5, 20, 21, 22, 23]]
    i, j, r = primitive_neighbor_list("ijd", atoms.pbc, atoms.cell.array, atoms.positions, potential.cutoff)
    densities = np.zeros(len(atoms))
    for a, b, distance in zip(i, j, torch.from_numpy(r), strict=True):
        densities[a] += float(potential.density(distance, atoms.symbols[a], atoms.symbols[b]))
    domains = np.array([potential.density_domain(s) for s in atoms.symbols])
    outside = np.flatnonzero((densities < domains[:, 0]) | (densities > domains[:, 1]))
    assert 0 < len(outside) < len(atoms)
    calc = KANCalculator(potential, engine=engine, on_extrapolation="ignore")
    calc.get_potential_energy(atoms)
    found = calc.extrapolation
    assert (found.pairs, found.densities, found.outside) == (0, len(outside), len(outside))
    np.testing.assert_array_equal(found.atoms, outside)
    pickle.loads(pickle.dumps(found))
    message = f"{len(outside)} densities of atoms are outside the data of the potential \\(Ni "
    with pytest.warns(ExtrapolationWarning, match=message):
        KANCalculator(potential, engine=engine).get_potential_energy(atoms)
    strict = KANCalculator(potential, engine=engine, on_extrapolation="raise")
    with pytest.raises(ExtrapolationError, match=message):
        strict.get_potential_energy(atoms)
    worst = densities[outside][np.argmax(np.abs(densities[outside] - domains[outside].mean(axis=1)))]
    assert f"{worst:.4g}, with data from" in str(found)
    # The densities of the data themselves, computed again, are inside.
    exact = replace(potential, low=float(np.abs(densities).min()))
    calc = KANCalculator(exact, engine=engine, on_extrapolation="ignore")
    calc.get_potential_energy(atoms)
    assert calc.extrapolation.densities == np.sum(np.abs(densities) > np.abs(domains).max(axis=1))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_density_outside_is_news_after_pairs(engine):
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 2)
    atoms.calc = KANCalculator(SyntheticEAM(), engine=engine)
    atoms.positions[0] += [0.75, 0.75, 0]
    with pytest.warns(ExtrapolationWarning, match="pairs of atoms are closer") as told:
        atoms.get_potential_energy()
    assert "densities" not in str(told[0].message)
    atoms.set_cell(atoms.cell * 1.6, scale_atoms=True)
    with pytest.warns(
        ExtrapolationWarning, match=r"densities of atoms are outside .*Cu 0.\d+, with data from 0.5 to 4"
    ):
        atoms.get_potential_energy()


def test_the_channel_of_a_density_is_told():
    calc = KANCalculator(SyntheticEAM(elements=("Cu",), channels=2, low=0.6), on_extrapolation="ignore")
    calc.get_potential_energy(bulk("Cu", "fcc", a=3.6))
    densities = {found.channel: found.density for found in calc.extrapolation.find().densities}
    assert list(densities) == [1]
    assert f"(Cu {densities[1]:.4g} in channel 1, with data from 0.6 to 5)" in str(calc.extrapolation)


def test_interrupts_end_a_calculation():
    """Both passes over a hundred thousand atoms answer signals, and the next calculation is right."""
    crystal = bulk("Cu", "fcc", a=3.6, cubic=True)
    potential = SyntheticEAM(elements=("Cu",))
    per_atom = KANCalculator(potential).get_potential_energy(crystal * (4, 4, 4)) / 256
    atoms = crystal * (30, 30, 30)
    calc = KANCalculator(potential, engine="compiled", threads=1)
    calc.get_potential_energy(atoms)
    kernel = calc._engine._kernel
    start = time.perf_counter()
    kernel.compute(atoms.positions, False)
    once = time.perf_counter() - start
    stopped = 0
    for part in np.linspace(0.1, 0.9, 8):
        main = threading.main_thread().ident
        timer = threading.Timer(part * once, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            for _ in range(20):
                kernel.compute(atoms.positions, False)
        timer.join()
        stopped += kernel.last() is None  # else the signal came between two calculations
        assert calc.get_potential_energy(atoms) == pytest.approx(per_atom * len(atoms), rel=1e-9)
    assert stopped >= 4


def test_without_the_kernel(monkeypatch):
    monkeypatch.setattr(engines, "_kernel", None)
    atoms = bulk("Cu", "fcc", a=3.6)
    atoms.calc = KANCalculator(SyntheticEAM())
    with pytest.warns(UserWarning, match="installed without its compiled engine: using autograd"):
        atoms.get_potential_energy()
    atoms.calc = KANCalculator(SyntheticEAM(), engine="compiled")
    with pytest.raises(ValueError, match="installed without its compiled engine"):
        atoms.get_potential_energy()


# The calculator ---------------------------------------------------------------------------------------------------


def test_a_published_file_by_its_path():
    atoms = bulk("Cu", "fcc", a=3.615)
    atoms.calc = KANCalculator(str(PUBLISHED / "Cu_mishin1.eam.alloy"))
    assert atoms.get_potential_energy() == pytest.approx(-3.54, abs=3e-4)  # Mishin et al., Phys. Rev. B 63, 224106
    assert atoms.calc.engine == "compiled"


def test_lone_atoms_and_none_at_all():
    for engine in ENGINES:
        calc = KANCalculator(SyntheticEAM(), engine=engine)
        at_zero = float(calc.potential.embedding(torch.zeros(1, dtype=torch.float64), "Ni"))
        assert calc.get_potential_energy(Atoms("Ni", [[0, 0, 0]])) == pytest.approx(1.25 + at_zero, abs=1e-12)
        assert calc.extrapolation.densities == 1
        assert calc.get_potential_energy(Atoms()) == 0.0
        with pytest.raises(ValueError, match="does not know Ag: it was fitted for Cu, Ni"):
            calc.get_potential_energy(Atoms("CuAg", [[0, 0, 0], [0, 0, 2.5]]))


@pytest.mark.parametrize("engine", ENGINES)
def test_copies_and_pickles(engine):
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    calc = KANCalculator(PUBLISHED / "CuNi.eam.alloy", engine=engine)
    forces = calc.get_forces(atoms)
    for other in (copy.copy(calc), copy.deepcopy(calc), pickle.loads(pickle.dumps(calc))):
        np.testing.assert_array_equal(other.get_forces(atoms), forces)
        assert other.engine == engine


def test_compiled_potentials_are_taken_as_they_are_and_once():
    potential = from_setfl(PUBLISHED / "CuNi.eam.alloy")
    atoms = bulk("Cu", "fcc", a=3.5)
    tables = tabulate(potential)
    energies = [KANCalculator(p).get_potential_energy(atoms) for p in (potential, tables)]
    assert energies[0] == energies[1]
    one, two = (KANCalculator(potential) for _ in range(2))
    for calc in (one, two):
        calc.get_potential_energy(atoms)
    assert one._engine.potential.pair_tables["Cu", "Cu"] is two._engine.potential.pair_tables["Cu", "Cu"]


def test_kernel_refuses_what_does_not_fit():
    potential = tabulate(SyntheticEAM(elements=("Cu",)))
    pair, embedding = potential.pair_tables["Cu", "Cu"], potential.embeddings["Cu", 0].table
    rows = pair.rows.reshape(len(pair.rows), -1)

    def kernel(channels, rows, embeddings):
        made = engines._kernel.Kernel(1, [0], 5.0, 0.3, channels=channels)
        made.add_table(5.0, 1.0, 5.0, pair.start, pair.slope, [], [], rows)
        for _ in range(embeddings):
            made.add_embedding(0.0, 1.0, -np.inf, np.inf, 0.0, 1.0, 1.0, [], [], embedding.rows[:, 0].copy())
        box = 9 * np.eye(3)
        made.set_structure(np.array([29]), box, np.array([True] * 3), np.zeros(1, np.uint8), box, np.linalg.inv(box), 1)
        return made

    with pytest.raises(ValueError, match="an embedding table for every element and channel"):
        kernel(1, rows, 0)
    with pytest.raises(ValueError, match="a table must have phi, and f of each channel"):
        kernel(2, rows, 2)
    with pytest.raises(ValueError, match="a table must have phi, and f of each channel"):
        kernel(0, rows, 0)
    with pytest.raises(ValueError, match="0 to 16 channels"):
        kernel(17, rows, 0)
    with pytest.raises(ValueError, match="eight numbers for each function"):
        kernel(1, rows[:, :9].copy(), 1)
    with pytest.raises(ValueError, match="nothing has been calculated"):
        kernel(1, rows, 1).densities()
    assert kernel(1, rows, 1).compute(np.zeros((1, 3)), False)[10] == 0
