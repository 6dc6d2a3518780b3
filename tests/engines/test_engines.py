"""The compiled engine against autograd: structures, trajectories, instruction sets, threads and processes."""

import multiprocessing
import os
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.engines import compiled as engines
from ase_kan.potentials.tables import tabulate
from tests.shared import lj_energy

_kernel = engines._kernel


@pytest.fixture(scope="module")
def exact():
    curve = PairCurve.from_function(lj_energy, r_min=0.9, r_max=2.6, n=80, seed=5)
    return fit(curve, cutoff=2.5).potential


def both(potential, **keywords):
    return [KANCalculator(potential, engine=e, on_extrapolation="ignore", **keywords) for e in ("compiled", "autograd")]


def agree(a, b, atoms, rtol=1e-7):
    """Every number of calculator `a` is that of `b`, relative to the largest."""
    for name in ("energies", "energy", "forces", "stresses", "stress"):  # the first asks for all
        if name.startswith("stress") and atoms.cell.rank < 3:
            continue
        one, two = np.array(a.get_property(name, atoms)), np.array(b.get_property(name, atoms))
        scale = max(1.0, np.abs(two).max(initial=0.0))
        np.testing.assert_allclose(one, two, rtol=0, atol=rtol * scale, err_msg=name)
    assert (a.extrapolation.below, a.extrapolation.above) == (b.extrapolation.below, b.extrapolation.above)
    assert a.extrapolation.shortest == pytest.approx(b.extrapolation.shortest, rel=1e-12)
    np.testing.assert_array_equal(a.extrapolation.atoms, b.extrapolation.atoms)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    n=st.integers(0, 40),
    size=st.floats(0.8, 6.0),
)
def test_compiled_is_autograd(mixture, seed, pbc, n, size):
    rng = np.random.default_rng(seed)
    cell = size * (np.eye(3) + rng.uniform(-0.4, 0.4, (3, 3)))
    atoms = Atoms(rng.choice(["Ar", "Ne"], n), rng.uniform(-2, 2, (n, 3)) @ cell, cell=cell, pbc=pbc)
    agree(*both(mixture), atoms)


def test_a_pair_beyond_its_own_cutoff_is_not_the_shortest(mixture):
    cutoffs = {pair: mixture.breakpoints(pair)[-1] for pair in (("Ar", "Ar"), ("Ar", "Ne"), ("Ne", "Ne"))}
    least, most = sorted(cutoffs, key=cutoffs.get)[::2]
    r = (cutoffs[least] + cutoffs[most]) / 2
    for calculator in both(mixture):
        for pair, shortest in ((least, np.inf), (most, r)):
            calculator.get_potential_energy(Atoms(pair, [[0, 0, 0], [0, 0, r]]))
            assert calculator.extrapolation.shortest == pytest.approx(shortest)


@pytest.mark.parametrize(("skin", "threads"), [(0.0, 1), (0.05, 2), (0.6, 1)])
def test_along_a_trajectory(mixture, skin, threads):
    """Lists are pruned and built again as atoms move, drift out of the cell, and as one jumps."""
    rng = np.random.default_rng(1)
    # Thin, so that most clusters of atoms are out of each other's reach.
    atoms = bulk("Ar", "fcc", a=3.1, cubic=True) * (5, 4, 4)
    atoms.symbols[rng.permutation(len(atoms))[:100]] = "Ne"
    atoms.rattle(0.05, rng=rng)
    compiled = KANCalculator(mixture, engine="compiled", skin=skin, threads=threads, on_extrapolation="ignore")
    autograd = KANCalculator(mixture, engine="autograd", on_extrapolation="ignore")
    home, phase = atoms.positions.copy(), rng.uniform(0, 2 * np.pi, (len(atoms), 3))
    for step in range(30):
        atoms.positions = home + 0.02 * step + 0.45 * np.sin(0.15 * step + phase)
        if step == 20:
            home[7] += [5.0, -9.0, 1.0]
        agree(compiled, autograd, atoms)


def test_closer_than_the_tables_go(exact):
    atoms = Atoms("Ar3", [[0, 0, 0], [0.2, 0, 0], [0, 1.1, 0]])
    compiled, autograd = both(exact)
    agree(compiled, autograd, atoms, rtol=1e-12)
    atoms.positions[1, 0] = 1.1
    agree(compiled, autograd, atoms)


def kernel_of(potential, atoms, instructions="best", threads=1, skin=0.3):
    spline = tabulate(potential).spline()
    kernel = _kernel.Kernel(1, [0], potential.cutoff, skin, instructions)
    kernel.add_table(
        spline.cutoff, *spline.domain, spline.start, spline.slope, list(spline.at), list(spline.change), spline.rows
    )
    box = atoms.cell.array
    element = np.zeros(len(atoms), np.uint8)
    kernel.set_structure(atoms.numbers, box, atoms.pbc, element, box, np.linalg.inv(box), threads)
    return kernel


def test_every_instruction_set_gives_the_same(exact):
    atoms = bulk("Ar", "fcc", a=1.65, cubic=True) * (4, 4, 4)
    atoms.rattle(0.1, seed=3)
    found = {}
    for name in ("baseline", "avx2", "avx512"):
        try:
            found[name] = kernel_of(exact, atoms, name).compute(atoms.positions, True)
        except ValueError as error:
            assert "this machine has no instruction set" in str(error)  # noqa: PT017 (some machines have it)
    assert "baseline" in found
    reference = found.pop("baseline")
    for one in found.values():
        for k in (0, 1, 2, 5, 7, 8):
            np.testing.assert_allclose(one[k], reference[k], rtol=1e-11, atol=1e-11)
        assert one[3:5] == reference[3:5]
    with pytest.raises(ValueError, match="no instruction set mmx"):
        kernel_of(exact, atoms, "mmx")


def test_threads_change_rounding_only(exact):
    atoms = bulk("Ar", "fcc", a=1.65, cubic=True) * (6, 6, 6)
    atoms.rattle(0.05, seed=3)
    one, two, again, seven = (kernel_of(exact, atoms, threads=t).compute(atoms.positions, True) for t in (1, 2, 2, 7))
    for k in (0, 1, 2, 7, 8):
        np.testing.assert_allclose(two[k], one[k], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(seven[k], one[k], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(two[k], again[k])


def test_number_of_threads():
    available = len(os.sched_getaffinity(0))
    assert engines.choose_threads(None, 1000) == 1
    assert engines.choose_threads(None, 100_000) == available
    assert engines.choose_threads(1, 100_000) == 1
    assert engines.choose_threads(64, 10) == available


def energy_in_a_process(calculator, atoms):
    """The work of a child process: the copied calculator, after its parent used threads."""
    return calculator.get_potential_energy(atoms), calculator.get_forces(atoms)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes(exact, method):
    atoms = bulk("Ar", "fcc", a=1.65, cubic=True) * (4, 4, 4)
    atoms.rattle(0.05, seed=3)
    calculator = KANCalculator(exact, engine="compiled", threads=2)
    energy, forces = energy_in_a_process(calculator, atoms)
    with multiprocessing.get_context(method).Pool(2) as pool:
        for other_energy, other_forces in pool.starmap(energy_in_a_process, [(calculator, atoms)] * 3):
            assert other_energy == energy
            np.testing.assert_array_equal(other_forces, forces)


def test_without_the_kernel(exact, monkeypatch):
    monkeypatch.setattr(engines, "_kernel", None)
    atoms = Atoms("Ar2", [[0, 0, 0], [1.1, 0, 0]])
    atoms.calc = KANCalculator(exact)
    with pytest.warns(UserWarning, match="installed without its compiled engine: using autograd"):
        atoms.get_potential_energy()
    assert atoms.calc.engine == "autograd"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.rattle(0.01)
        atoms.get_potential_energy()  # said once
    atoms.calc = KANCalculator(exact, engine="compiled")
    with pytest.raises(ValueError, match="installed without its compiled engine"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [({"engine": "fast"}, "engine must be one of auto, compiled, autograd"), ({"threads": 0}, "at least 1")],
)
def test_refused_keywords(exact, keywords, message):
    with pytest.raises(ValueError, match=message):
        KANCalculator(exact, **keywords)


def test_a_compiled_potential_is_taken_as_it_is(exact):
    atoms = Atoms("Ar2", [[0, 0, 0], [1.1, 0, 0]])
    coarse = tabulate(exact, 1e-3)
    atoms.calc = KANCalculator(coarse)
    assert atoms.get_potential_energy() == pytest.approx(float(coarse.energy(1.1)), rel=1e-12)
