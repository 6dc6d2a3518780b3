"""What engines refuse: shapes, coordinates, cells and numbers of pairs beyond their limits, in one line each."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.engines import compiled as engines
from ase_kan.engines import neighbors
from ase_kan.engines.neighbors import half_list, periodic_box
from ase_kan.potentials.tables import tabulate
from tests.shared import brute_force, lj_energy

_kernel = engines._kernel
ENGINES = ("compiled", "autograd")


@pytest.fixture(scope="module")
def exact():
    curve = PairCurve.from_function(lj_energy, r_min=0.9, r_max=2.6, n=80, seed=5)
    return fit(curve, cutoff=2.5).potential


def calculator(potential, engine, **keywords):
    return KANCalculator(potential, engine=engine, on_extrapolation="ignore", **keywords)


def fails(atoms, message):
    """A `ValueError` of one line, and a calculator that is as good as new after it."""
    with pytest.raises(ValueError, match=message) as error:
        atoms.get_potential_energy()
    assert "\n" not in str(error.value)
    calc = atoms.calc
    good = Atoms("Ar2", [[0, 0, 0], [1.1, 0, 0]])
    fresh = KANCalculator(calc.potential, engine=calc.engine)
    assert calc.get_potential_energy(good) == fresh.get_potential_energy(good)
    np.testing.assert_array_equal(calc.get_forces(good), fresh.get_forces(good))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pbc", [False, True, [False, False, True]])
@pytest.mark.parametrize("far", [1.1e9, 1e30, 1e155, 1e308])
def test_far_coordinates(exact, engine, pbc, far):
    atoms = Atoms("Ar3", [[0, 0, 0], [1.1, 0, 0], [0, 1.2, 0]], cell=[5, 5, 5], pbc=pbc)
    atoms.calc = calculator(exact, engine)
    atoms.positions[2, 2] = far
    fails(atoms, r"must be finite.*1e\+09 A.*: atom 2 is at \[")
    # As one that was good before.
    atoms.positions[2, 2] = 0.0
    atoms.get_potential_energy()
    atoms.positions[2, 2] = -far
    fails(atoms, r"must be finite.*1e\+09 A.*: atom 2 is at \[")


@pytest.mark.parametrize("engine", ENGINES)
def test_atoms_within_the_limit_keep_their_pairs(exact, engine):
    """As many cells away as an atom may be, exactly representable: the same energy as at home."""
    home = Atoms("Ar2", [[0, 0, 0], [1.125, 0, 0]], cell=[4, 4, 4], pbc=True)
    away = home.copy()
    away.positions[1, 0] += 4 * 2**27
    free = Atoms("Ar3", [[0, 0, 0], [1.125, 0, 0], [9e8, 0, 0]])
    energies = [calculator(exact, engine).get_potential_energy(atoms) for atoms in (home, away)]
    assert energies[1] == pytest.approx(energies[0], rel=1e-12)
    assert calculator(exact, engine).get_potential_energy(free) == pytest.approx(lj_energy(1.125), rel=1e-2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("cell", "pbc", "message"),
    [
        ([1e-10, 5, 5], [True, False, False], "images of the cell|cell vectors"),
        ([1e-10, 5, 5], True, "images of the cell|cell vectors"),
        ([0.02, 0.02, 0.02], True, "images of the cell are within .* A.*, more than 1e"),
        ([2e9, 5, 5], True, r"within 1e\+09 A: the cell is"),
    ],
)
def test_cells_beyond_the_limits(exact, engine, cell, pbc, message):
    started = time.monotonic()
    atoms = Atoms("Ar2", [[0, 0, 0], [1.1, 0, 0]], cell=cell, pbc=pbc, calculator=calculator(exact, engine))
    fails(atoms, message)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("engine", ENGINES)
def test_many_atoms_in_a_cell_too_small(exact, engine):
    atoms = Atoms("Ar4000", np.random.default_rng(0).uniform(0, 1, (4000, 3)), cell=[1, 1, 1], pbc=True)
    atoms.calc = calculator(exact, engine, skin=10.0)
    fails(atoms, r"about .* pairs of atoms are within .*1\d*\.?\d* A.*GB: too much")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cell_sheared_ten_million_times(exact, engine):
    """It spans the lattice of a cube."""
    cube = Atoms("Ar2", [[0, 0, 0], [1.1, 0.2, 0.1]], cell=[3.5, 3.5, 3.5], pbc=True)
    sheared = cube.copy()
    sheared.cell[1] += 10_000_000 * cube.cell[0]
    a, b = calculator(exact, engine), calculator(exact, engine)
    assert b.get_potential_energy(sheared) == pytest.approx(a.get_potential_energy(cube), rel=1e-9)
    np.testing.assert_allclose(b.get_forces(sheared), a.get_forces(cube), atol=1e-7)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("edge", [1e3, 1e7])
def test_forces_keep_their_digits_in_huge_cells(exact, engine, edge):
    """Atoms on both sides of a face of the cell, near the origin: as without the cell."""
    positions = np.array([[-0.51, 0.1, -0.3], [0.6, 0.2, -0.1], [0.1, -0.9, 0.3]])
    free = Atoms("Ar3", positions)
    periodic = Atoms("Ar3", positions, cell=edge * np.eye(3), pbc=True)
    expected = calculator(exact, engine).get_forces(free)
    np.testing.assert_allclose(calculator(exact, engine).get_forces(periodic), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("distance", [1e-24, 1e-120, 1e-308])
def test_closer_than_numbers_go(exact, engine, distance):
    atoms = Atoms("Ar3", [[0, 0, 0], [distance, 0, 0], [5, 0, 0]], calculator=calculator(exact, engine))
    fails(atoms, "atoms 0 and 1 are (only .* apart: their energy or force overflows|at the same place)")


def test_a_finite_energy_with_an_infinite_slope():
    """A wall whose value still is a number where its slope over the distance is none."""

    class Wall:
        elements, pairs, cutoff, reference_energies = (), (None,), 2.0, {}

        def domain(self, pair=None):
            return 0.5, 2.0

        def breakpoints(self, pair=None):
            return (2.0,)

        def __call__(self, r, pair=None):
            return r**-12.0

        def energy(self, r, pair=None):
            return np.asarray(r) ** -12.0

        def force(self, r, pair=None):
            return 12 * np.asarray(r) ** -13.0

    r = 3e-26  # r^-12 = 1.9e306, 12 r^-13 = inf
    assert np.isfinite(r**-12.0)
    atoms = Atoms("Ar2", [[0, 0, 0], [r, 0, 0]], calculator=calculator(Wall(), "autograd"))
    fails(atoms, "atoms 0 and 1 are only 3.0e-26 A apart: their energy or force overflows")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["float32", "big-endian", "fortran", "strided"])
def test_types_of_arrays(exact, engine, kind):
    """Whatever the memory of the atoms' arrays is like, the numbers are those of the same values as float64."""
    rng = np.random.default_rng(3)
    values = (bulk("Ar", "fcc", a=1.6, cubic=True) * 3).positions.astype(np.float32).astype(float)
    values += rng.integers(-8, 8, values.shape) / 64
    plain = Atoms(f"Ar{len(values)}", values.copy(), cell=4.8 * np.eye(3), pbc=True)
    odd = plain.copy()
    odd.arrays["positions"] = {
        "float32": lambda a: a.astype(np.float32),
        "big-endian": lambda a: a.astype(">f8"),
        "fortran": np.asfortranarray,
        "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    }[kind](values)
    odd.arrays["numbers"] = plain.numbers.astype(">i4")
    a, b = calculator(exact, engine), calculator(exact, engine)
    assert b.get_potential_energy(odd) == a.get_potential_energy(plain)
    np.testing.assert_array_equal(b.get_forces(odd), a.get_forces(plain))
    assert b.check_state(odd) == b.check_state(plain) == []
    odd.positions[0, 0] += 0.5
    assert b.check_state(odd) == ["positions"]


# The list of pairs -------------------------------------------------------------------------------------------------


def distances(positions, cell, pbc, cutoff):
    i, j, shifts = half_list(positions, np.asarray(cell, float), np.asarray(pbc), cutoff)
    return np.sort(np.linalg.norm(positions[j] - positions[i] + shifts, axis=1))


def test_a_diagonal_wire_three_thousand_angstrom_long(exact):
    """vesin ended the process for this cell, when the text of the warning was made."""
    cell = [[4.0, 0, 0], [0, 4.0, 0], [3, 3, 3]]
    atoms = Atoms("Ar2", [[0, 0, 0], [1800, 1800, 1734.0]], cell=cell, pbc=[False, False, True])
    for engine in ENGINES:
        atoms.calc = KANCalculator(exact, engine=engine)
        assert atoms.get_potential_energy() == 0.0
        close = atoms.copy()
        close.positions[1] = np.array([0.5, 0.1, 0.2]) + 600 * np.array([3.0, 3, 3])
        with pytest.warns(UserWarning, match="atoms 0, 1"):
            energy = atoms.calc.get_potential_energy(close)
        home = Atoms("Ar2", [[0, 0, 0], [0.5, 0.1, 0.2]], cell=cell, pbc=[False, False, True])
        assert energy == pytest.approx(calculator(exact, engine).get_potential_energy(home), rel=1e-9)


def test_random_wires_slabs_and_crystals_equal_a_tree(monkeypatch):
    """Skewed, unwrapped, thin: with vesin and with the tree, and as ASE for those that ASE can do."""
    rng = np.random.default_rng(7)
    for number in range(60):
        pbc = rng.random(3) < 0.6
        cell = rng.normal(0, 1, (3, 3)) * rng.choice([1.5, 4, 40], 3)[:, None] + 3 * np.eye(3)
        if np.abs(np.linalg.det(cell)) < 5:
            continue
        n = int(rng.integers(1, 12))
        positions = rng.uniform(0, 6, (n, 3)) + (rng.integers(-300, 300, (n, 3)) * pbc) @ cell
        monkeypatch.setattr(neighbors, "MOST_LOOKS", 1e10)
        found = distances(positions, cell, pbc, 2.5)
        monkeypatch.setattr(neighbors, "MOST_LOOKS", 0.0)
        np.testing.assert_allclose(found, distances(positions, cell, pbc, 2.5), atol=1e-9, err_msg=str(number))
        turns = np.where(pbc, np.floor(positions @ np.linalg.inv(cell)), 0)
        wrapped = positions - turns @ cell
        box = periodic_box(cell, pbc)
        expected = np.sort(primitive_neighbor_list("d", pbc, np.where(pbc[:, None], cell, box), wrapped, 2.5))[::2]
        np.testing.assert_allclose(found, expected, atol=1e-8, err_msg=str(number))


@pytest.mark.parametrize(
    "edges", [(25.5, 6.8e5, 35.5), (6.8e5, 25.5, 35.5), (2.6, 2.6, 1e6), (60, 60, 1e5), (700, 700, 3)]
)
def test_cells_that_are_thin_or_flat(edges):
    """With the first of them vesin ended the process: 8 x 234,571 x 12 boxes."""
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 1, (30, 3)) * edges
    positions[1] = positions[0] + [0.7, 0.3, -0.2]
    assert distances(positions, np.diag(edges), [True] * 3, 2.9)[0] <= 0.8
    assert np.sqrt(0.62) == pytest.approx(distances(positions[:2], np.diag(edges), [True] * 3, 2.5)[0], rel=1e-6)


def test_coincident_images_are_pairs(monkeypatch):
    for looks in (1e10, 0.0):
        monkeypatch.setattr(neighbors, "MOST_LOOKS", looks)
        positions = np.array([[0.0, 0, 0], [5.0, 0, 0]])
        assert distances(positions, 5 * np.eye(3), [True] * 3, 2.5).tolist() == [0.0]


@pytest.mark.parametrize(
    ("n", "size", "pbc"), [(1000, 5.0, [True] * 3), (1000, 10.0, [True, True, False]), (1000, 30.0, [False] * 3)]
)
def test_estimated_pairs(monkeypatch, n, size, pbc):
    """Within a factor of three, gas or clump."""
    rng = np.random.default_rng(1)
    for positions in (rng.uniform(0, size, (n, 3)), rng.normal(0, 1.0, (n, 3)) + rng.choice([0.0, 20.0], (n, 1))):
        i = half_list(positions, size * np.eye(3), np.array(pbc), 3.0)[0]
        monkeypatch.setattr(neighbors, "MOST_PAIRS", 1.0)
        with pytest.raises(ValueError, match="pairs of atoms are within 3 A") as error:
            half_list(positions, size * np.eye(3), np.array(pbc), 3.0)
        monkeypatch.undo()
        assert 1 / 3 < float(str(error.value).split()[1]) / len(i) < 3


# The kernel's own door ---------------------------------------------------------------------------------------------


def table(kernel, **changes):
    rows = np.zeros((4, 8))
    rows[:, 0] = 1.0
    values = {"cutoff": 2.0, "low": 0.5, "high": 1.5, "start": 0.1, "slope": 1.0, "at": [], "change": [], "rows": rows}
    kernel.add_table(**values | changes)


def structure(n, **changes):
    """Arguments of set_structure."""
    eye = 9 * np.eye(3)
    values = {
        "numbers": np.full(n, 18),
        "cell": eye,
        "pbc": np.array([True] * 3),
        "element": np.zeros(n, np.uint8),
        "box": eye,
        "inverse": eye / 81,
        "threads": 1,
    }
    return tuple((values | changes).values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, [], 2.0, 0.1), "1 to 254 elements"),
        ((255, [0] * 255**2, 2.0, 0.1), "1 to 254 elements"),
        ((2, [0, 1, 1], 2.0, 0.1), "every two elements"),
        ((2, [0, 1, 2, 0], 2.0, 0.1), "symmetric"),
        ((1, [-1], 2.0, 0.1), "negative"),
        ((1, [0], 0.0, 0.1), "cutoff and skin"),
        ((1, [0], np.nan, 0.1), "cutoff and skin"),
        ((1, [0], 2.0, -0.1), "cutoff and skin"),
        ((1, [0], 2.0, np.inf), "cutoff and skin"),
    ],
)
def test_kernel_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        _kernel.Kernel(*arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": np.zeros((0, 8))}, "rows"),
        ({"rows": np.full((1, 8), np.nan)}, "finite numbers"),
        ({"slope": np.inf}, "finite numbers"),
        ({"slope": 1e300}, "far from its rows"),
        ({"at": [1.0]}, "as many changes as places"),
        ({"at": [1.0], "change": [1e200]}, "far from its rows"),
        ({"cutoff": 2.1}, "beyond the kernel's"),
        ({"cutoff": 0.0}, "positive"),
    ],
)
def test_kernel_refuses_tables(changes, message):
    with pytest.raises(ValueError, match=message):
        table(_kernel.Kernel(1, [0], 2.0, 0.1), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"element": np.zeros(4, np.uint8)}, "one number per atom"),
        ({"element": np.array([0, 0, 1], np.uint8)}, "no tables for"),
        ({"element": np.array([0, 0, 255], np.uint8)}, "no tables for"),
        ({"threads": 0}, "threads must be 1 to"),
        ({"threads": -1}, "threads must be 1 to"),
        ({"threads": 10**6}, "threads must be 1 to"),
        ({"box": np.full((3, 3), np.nan)}, "finite"),
    ],
)
def test_kernel_refuses_structures(changes, message):
    kernel = _kernel.Kernel(1, [0], 2.0, 0.1)
    with pytest.raises(ValueError, match="tables are missing"):
        kernel.set_structure(*structure(3))
    table(kernel)
    with pytest.raises(ValueError, match=message):
        kernel.set_structure(*structure(3, **changes))
    with pytest.raises(ValueError, match="not those of the structure"):
        kernel.compute(np.zeros((3, 3)), False)


def test_kernel_refuses_positions():
    kernel = _kernel.Kernel(1, [0], 2.0, 0.1)
    table(kernel)
    kernel.set_structure(*structure(2))
    for n in (0, 1, 3, 1000):
        with pytest.raises(ValueError, match="not those of the structure"):
            kernel.compute(np.zeros((n, 3)), True)
    with pytest.raises(ValueError, match="nothing has been calculated"):
        kernel.outside()
    with pytest.raises(TypeError):
        kernel.compute(np.zeros((2, 3), np.float32), False)
    good = np.array([[0.0, 0, 0], [1, 0, 0]])
    assert kernel.compute(good, False)[0] == 1.0
    with pytest.raises(ValueError, match=r"must be finite.*atom 1 is at \[nan, 0, 0\]"):
        kernel.compute(np.array([[0.0, 0, 0], [np.nan, 0, 0]]), False)
    with pytest.raises(ValueError, match="not those of the structure"):  # it has forgotten them
        kernel.compute(good, False)
    assert kernel.last() is None
    kernel.set_structure(*structure(2))
    assert kernel.compute(good, False)[0] == 1.0


def test_pairs_outside_are_those_of_a_direct_count(exact):
    rng = np.random.default_rng(5)
    atoms = Atoms("Ar40", rng.uniform(0, 5, (40, 3)), cell=[[5, 0, 0], [1, 5, 0], [-1, 2, 5]], pbc=[1, 1, 0])
    spline = tabulate(exact).spline()
    kernel = _kernel.Kernel(1, [0], exact.cutoff, 0.3)
    rows = list(spline.at), list(spline.change), spline.rows
    kernel.add_table(spline.cutoff, 1.2, 2.2, spline.start, spline.slope, *rows)
    box = periodic_box(atoms.cell.array, atoms.pbc)
    kernel.set_structure(atoms.numbers, atoms.cell.array, atoms.pbc, np.zeros(40, np.uint8), box, np.linalg.inv(box), 2)
    _, _, _, below, above, *_ = kernel.compute(atoms.positions, False)
    i, j, r = kernel.outside()
    assert ((r < 1.2).sum(), (r > 2.2).sum()) == (below, above)
    a, b, d = primitive_neighbor_list("ijd", atoms.pbc, atoms.cell.array, atoms.positions, exact.cutoff)
    wrong = (a <= b) & ((d < 1.2) | (d > 2.2))
    once = sorted(zip(np.minimum(i, j), np.maximum(i, j), r.round(9), strict=True))
    listed = sorted(zip(a[wrong], b[wrong], d[wrong].round(9), strict=True))
    np.testing.assert_allclose(once, [x for n, x in enumerate(listed) if x[0] < x[1] or n % 2 == 0], atol=1e-8)


# Threads, memory and interrupts ------------------------------------------------------------------------------------

KERNEL = """
import numpy as np, resource, sys
from ase_kan.engines import _kernel
def kernel_of(n, threads, spread):
    kernel = _kernel.Kernel(1, [0], 2.5, 0.8)
    rows = np.zeros((4, 8)); rows[:, 0] = 1.0
    kernel.add_table(2.5, 0.5, 2.0, 0.1, 1.0, [], [], rows)
    cell = spread * np.eye(3)
    rest = np.zeros(n, np.uint8), cell, cell / spread**2, threads
    kernel.set_structure(np.full(n, 18), cell, np.array([True] * 3), *rest)
    return kernel, np.random.default_rng(0).uniform(0, spread, (n, 3))
"""


def run(code, **keywords):
    script = KERNEL + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, **keywords)


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer takes all the address space there is")
@pytest.mark.parametrize("threads", [1, 4])
def test_no_memory_is_an_error(threads):
    """The process lives on, and so does the kernel."""
    done = run(f"""
        small, few = kernel_of(100, {threads}, 8.0)
        for room in (2, 5, 10, 20, 30, 40, 60):
            kernel, positions = kernel_of(200_000, {threads}, 60.0)
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (room << 20), -1))
            try:
                kernel.compute(positions, True)
            except MemoryError:
                print("none", end=" ")
            assert small.compute(few, False)[0] > 0
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        kernel, positions = kernel_of(200_000, {threads}, 60.0)
        print(kernel.compute(positions, True)[0] > 0)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "True"
    assert done.stdout.count("none") >= 4
    assert "terminate" not in done.stderr


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer takes all the address space there is")
def test_threads_that_cannot_start():
    """No address space for their stacks: the work is done by those that there are, with the same result."""
    done = run("""
        kernel, positions = kernel_of(500, 8, 10.0)
        before = kernel.compute(positions, False)
        kernel, positions = kernel_of(500, 8, 10.0)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 30, -1))
        resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20), -1))
        after = kernel.compute(positions, False)
        print(before[0] == after[0], np.array_equal(before[1], after[1]))
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads")
def test_interrupts_are_answered_within_a_stage(exact):
    """A list of a million atoms takes seconds; a signal in the middle of it ends it, and the next call is right."""
    crystal = bulk("Ar", "fcc", a=1.6, cubic=True)
    atoms = crystal * (40, 40, 40)
    calc = calculator(exact, "compiled", threads=1)
    per_atom = calculator(exact, "compiled").get_potential_energy(crystal * (4, 4, 4)) / 256
    calc.get_potential_energy(atoms)
    kernel = calc._engine._kernel

    def several_times():
        for _ in range(3):
            kernel.forget()
            calc.get_potential_energy(atoms)

    full = time.perf_counter()
    several_times()
    full = time.perf_counter() - full
    main = threading.main_thread().ident
    timer = threading.Timer(0.1 * full, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        several_times()
    timer.join()
    assert kernel.last() is None  # it was the kernel that stopped
    assert calc.get_potential_energy(atoms) == pytest.approx(per_atom * len(atoms), rel=1e-9)


def test_brute_force_in_a_thin_periodic_slab(exact):
    """A reduced cell is the same lattice: against a sum over images of the cell as it was given."""
    cell = np.array([[2.2, 0, 0], [13.3, 2.4, 0], [0.3, 0.2, 9]])
    atoms = Atoms("Ar3", [[0, 0, 0], [1.0, 0.6, 0.3], [5.1, 1.4, 1.1]], cell=cell, pbc=[True, True, False])
    for engine in ENGINES:
        atoms.calc = calculator(exact, engine)
        energy, forces, _ = brute_force(atoms, exact)
        assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-7 * np.abs(forces).max())
