"""What a calculator keeps between calculations: after errors and interrupts, in threads, in copies; its warnings."""

import copy
import pickle
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.optimize import BFGS

from ase_kan import KANCalculator, KANPotential, PairCurve, fit
from ase_kan.engines import guard
from ase_kan.engines.guard import ExtrapolationError, ExtrapolationWarning
from tests.shared import lj_energy

ENGINES = ("compiled", "autograd")


def crystal(a=1.6, element="Ar"):
    atoms = bulk(element, "fcc", a=a, cubic=True) * 2
    atoms.rattle(0.02, seed=1)
    return atoms


@pytest.fixture(scope="module")
def exact():
    """Data from 0.9 to 2.6 A, cut off at 2.5."""
    curve = PairCurve.from_function(lj_energy, r_min=0.9, r_max=2.6, n=80, seed=5)
    return fit(curve, cutoff=2.5).potential


@pytest.fixture(scope="module")
def with_lone_atoms(exact):
    """Two elements, whose lone atoms have energies of their own."""
    one = exact.function()
    return KANPotential({("Ar", "Ar"): one, ("Ar", "Ne"): one, ("Ne", "Ne"): one}, {"Ar": -1.5, "Ne": 0.25})


def interrupt(*arguments):
    raise KeyboardInterrupt


def numbers(calc, atoms):
    return calc.get_potential_energy(atoms), calc.get_forces(atoms), calc.get_stress(atoms)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["raise", "warning as error", "interrupt after", "interrupt before", "bad positions"])
def test_after_an_error_all_is_fresh(with_lone_atoms, monkeypatch, engine, how):
    """Lone-atom energies and volume are those of the new atoms, not of those before the error."""
    mode = "raise" if how == "raise" else "warn" if how == "warning as error" else "ignore"
    calc = KANCalculator(with_lone_atoms, engine=engine, on_extrapolation=mode)
    first, second = crystal(), crystal(a=3.0, element="Ne")
    second.cell *= 1.3
    second.positions[1] = second.positions[0] + [0.7, 0, 0]  # closer than the data
    fresh = KANCalculator(with_lone_atoms, engine=engine, on_extrapolation="ignore")
    expected = [numbers(fresh, first), numbers(fresh, second)]
    for _ in range(2):
        for found, right in zip(numbers(calc, first), expected[0], strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-13, atol=1e-13)
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("error")
            if how == "interrupt after":
                patch.setattr(calc._guard, "check", interrupt)
            if how == "interrupt before":
                patch.setattr(calc._engine, "evaluate", interrupt)
            bad = second.copy()
            if how == "bad positions":
                bad.positions[0] = np.nan
            with pytest.raises((ExtrapolationError, ExtrapolationWarning, KeyboardInterrupt, ValueError)):
                calc.get_potential_energy(bad)
        assert calc.results == {}
        calc._guard.mode = "ignore"
        for found, right in zip(numbers(calc, second), expected[1], strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-13, atol=1e-13)
        calc._guard.mode, calc._guard._told = mode, set()


def test_the_atoms_before_an_error_are_still_right(with_lone_atoms):
    """A structure that is refused at the door leaves nothing of itself behind."""
    for engine in ENGINES:
        calc = KANCalculator(with_lone_atoms, engine=engine)
        good, bad = crystal(), crystal(element="Ne")
        energy = calc.get_potential_energy(good)
        bad.positions[3, 1] = np.inf
        with pytest.raises(ValueError, match="atom 3"):
            calc.get_potential_energy(bad)
        assert calc.get_potential_energy(good) == energy


@pytest.mark.parametrize("engine", ENGINES)
def test_one_calculator_in_many_threads(with_lone_atoms, engine):
    """Threads that share a calculator get the numbers of their own atoms."""
    systems = [crystal(a) for a in (1.55, 1.6, 1.65)] + [crystal(1.7, "Ne"), crystal()[:20]]
    right = [numbers(KANCalculator(with_lone_atoms, engine=engine), atoms) for atoms in systems]
    shared = KANCalculator(with_lone_atoms, engine=engine, threads=2)

    def work(number):
        found = []
        for n in range(12):
            k = (number + n) % len(systems)
            atoms = systems[k].copy()
            forces = shared.get_property("forces", atoms)
            found.append((k, shared.get_property("energy", atoms), forces))
            assert shared.check_state(atoms) is not None
            assert shared.extrapolation is not None
        return found

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, range(8)):
            for k, energy, forces in found:
                assert energy == pytest.approx(right[k][0], rel=1e-12)
                np.testing.assert_allclose(forces, right[k][1], atol=1e-11)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda calc: pickle.loads(pickle.dumps(calc))])
def test_copies_share_nothing(with_lone_atoms, engine, how):
    one, two = crystal(1.6), crystal(1.7, "Ne")
    calc = KANCalculator(with_lone_atoms, engine=engine, on_extrapolation="ignore")
    energies = [calc.get_potential_energy(atoms) for atoms in (two, one)]
    other = how(calc)
    assert other.engine == engine
    assert other.get_potential_energy(two) == energies[0]
    assert other.results is not calc.results
    assert calc.check_state(one) == []
    assert calc.get_potential_energy(one) == energies[1]
    other.get_potential_energy(two)
    assert calc.results["energy"] == energies[1]
    assert calc.atoms.symbols[0] == "Ar"
    close = Atoms("Ar2", [[0, 0, 0], [0.5, 0, 0]])
    other.get_potential_energy(close)
    assert (calc.extrapolation.below, other.extrapolation.below) == (0, 1)
    with ThreadPoolExecutor(2) as pool:  # each has a lock of its own
        assert list(pool.map(lambda c: c.get_potential_energy(one), (calc, other))) == [energies[1]] * 2


# Pairs without a function ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pair_without_function_that_never_meets(exact, engine):
    """Kr atoms far from each other: everything works, whatever extrapolates elsewhere."""
    f = exact.function()
    potential = KANPotential({("Ar", "Ar"): f, ("Ar", "Kr"): f})
    atoms = Atoms("KrArArKr", [[0, 0, 0], [1.1, 0, 0], [1.1, 0.8, 0], [30, 0, 0]])
    atoms.calc = KANCalculator(potential, engine=engine)
    with pytest.warns(ExtrapolationWarning, match="shortest distance 0.8 A; atoms 1, 2"):
        energy = atoms.get_potential_energy()
    r = np.array([1.1, 0.8, np.hypot(1.1, 0.8)])
    assert energy == pytest.approx(exact.energy(r).sum(), rel=1e-6)
    assert atoms.calc.extrapolation.atoms.tolist() == [1, 2]
    atoms.positions[3] = [0, 1.2, 0]
    with pytest.raises(ValueError, match="no pair Kr-Kr"):
        atoms.get_potential_energy()
    atoms.positions[3] = [30, 0, 0]
    assert atoms.get_potential_energy() == energy


@pytest.mark.parametrize("engine", ENGINES)
def test_atoms_outside_are_those_of_that_calculation(exact, engine):
    """Asked for late, when the calculator has gone on to other atoms."""
    calc = KANCalculator(exact, engine=engine, on_extrapolation="ignore")
    atoms = Atoms("Ar4", [[9, 0, 0], [0, 0, 0], [0.7, 0, 0], [0, 5, 0]])
    calc.get_potential_energy(atoms)
    found = calc.extrapolation
    atoms.positions[:] = [[0, 0, 0], [0.7, 0, 0], [0, 5, 0], [0, 9, 0]]
    calc.get_potential_energy(atoms)
    assert found.atoms.tolist() == [1, 2]
    assert calc.extrapolation.atoms.tolist() == [0, 1]


# Warnings ----------------------------------------------------------------------------------------------------------


def told(function):
    """The warnings of extrapolation."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [w for w in caught if w.category is ExtrapolationWarning]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_ends_of_the_data_are_inside(exact, engine):
    """Distances equal to those of the data but for rounding, and no others."""
    low, high = exact.domain()
    high = min(high, 2.4)
    narrow = copy.deepcopy(exact)
    narrow.function().domain = (low, high)
    calc = KANCalculator(narrow, engine=engine, on_extrapolation="ignore")
    for end, side in ((low, -1), (high, 1)):
        for relative, outside in ((0, 0), (3e-16, 0), (9e-10, 0), (3e-9, 1)):
            atoms = Atoms("Ar2", [[0, 0, 0], [end * (1 + side * relative), 0, 0]])
            calc.get_potential_energy(atoms)
            assert calc.extrapolation.pairs == outside, (end, relative)
            assert len(calc.extrapolation.atoms) == 2 * outside


@pytest.mark.parametrize("engine", ENGINES)
def test_one_warning_per_episode(exact, engine):
    calc = KANCalculator(exact, engine=engine)
    atoms = Atoms("Ar2", [[0, 0, 0], [1.1, 0, 0]], calculator=calc)

    def at(*distances):
        for r in distances:
            atoms.positions[1, 0] = r
            atoms.get_potential_energy()

    assert len(told(lambda: at(0.8, 1.1, 0.8, 1.0, 0.7, 0.85))) == 1  # in and out: one episode
    within = 1.0 + 0.001 * np.arange(guard.QUIET - 1)
    assert told(lambda: at(*within, 0.8)) == []
    assert len(told(lambda: at(*within, 1.2, 0.8))) == 1  # a hundred in a row within the data
    other = Atoms("Ar3", [[0, 0, 0], [0.8, 0, 0], [0, 1.3, 0]])
    assert len(told(lambda: calc.get_potential_energy(other))) == 1  # other atoms


def test_a_relaxation_warns_once(exact):
    """Its atoms cross the end of the data many times."""
    rng = np.random.default_rng(2)
    atoms = Atoms("Ar12", rng.uniform(0, 2.6, (12, 3)))
    atoms.calc = KANCalculator(exact)
    found = told(lambda: BFGS(atoms, logfile=None).run(fmax=1e-3, steps=60))
    assert len(found) == 1


def here():
    """The line of the caller."""
    import sys

    return sys._getframe(1).f_lineno


@pytest.mark.parametrize("engine", ENGINES)
def test_warnings_point_at_the_line_of_the_user(exact, engine, monkeypatch):
    atoms = Atoms("Ar2", [[0, 0, 0], [0.8, 0, 0]], calculator=KANCalculator(exact, engine=engine))
    lines = []
    (direct,) = told(lambda: (lines.append(here()), atoms.get_forces()))
    atoms.calc = KANCalculator(exact, engine=engine)
    (relaxed,) = told(lambda: (lines.append(here()), BFGS(atoms, logfile=None).run(fmax=0.1, steps=2)))
    atoms.calc = KANCalculator(exact, engine=engine)
    atoms.positions = [[0, 0, 0], [0.8, 0, 0]]
    (asked,) = told(lambda: (lines.append(here()), atoms.calc.calculate(atoms)))
    assert [w.filename for w in (direct, relaxed, asked)] == [__file__] * 3
    assert [w.lineno for w in (direct, relaxed, asked)] == lines
    monkeypatch.setattr("ase_kan.engines.compiled._kernel", None)
    atoms.calc = KANCalculator(exact, on_extrapolation="ignore")
    with pytest.warns(UserWarning, match="installed without its compiled engine") as caught:
        atoms.get_potential_energy()
    assert caught[0].filename == __file__


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads")
def test_an_interrupt_at_any_moment(with_lone_atoms):
    """Ctrl-C wherever it falls: the next result is right."""
    calc = KANCalculator(with_lone_atoms, engine="compiled", on_extrapolation="ignore")
    systems = [crystal(), crystal(1.7, "Ne")]
    right = [calc.get_potential_energy(atoms) for atoms in systems]
    main = threading.main_thread().ident
    rng = np.random.default_rng(0)
    stopped = 0
    for _ in range(40):
        timer = threading.Timer(rng.uniform(0, 2e-3), signal.pthread_kill, (main, signal.SIGINT))
        try:
            timer.start()
            for n in range(1000):
                calc.get_potential_energy(systems[n % 2])
        except KeyboardInterrupt:
            stopped += 1
        timer.join()
        found = [calc.get_potential_energy(atoms) for atoms in systems]
        np.testing.assert_allclose(found, right, rtol=1e-13)
    assert stopped == 40
