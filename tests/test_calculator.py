"""The calculator against independent sums, finite differences, symmetries and changes of the atoms."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.stress import full_3x3_to_voigt_6_stress
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kan import KAN

from ase_kan import KANCalculator, KANPotential
from tests.shared import brute_force

A0 = 1.55  # fcc lattice constant with bonds of 1.096


def lj13():
    atoms = Icosahedron("Ar", noshells=2, latticeconstant=1.6)
    atoms.rattle(0.05, seed=1)
    return atoms


def displaced_fcc():
    atoms = bulk("Ar", "fcc", a=A0, cubic=True) * (2, 2, 2)
    atoms.positions[3] += [0.07, -0.03, 0.05]
    return atoms


def skewed_single():
    return Atoms("Ar", [[0.2, 0.1, -0.3]], cell=[[1.1, 0, 0], [0.5, 1.0, 0], [0.4, -0.3, 1.05]], pbc=True)


def slab():
    atoms = fcc111("Ar", (2, 2, 3), a=A0, vacuum=2.0)
    atoms.rattle(0.03, seed=2)
    return atoms


def wire():
    rng = np.random.default_rng(3)
    positions = np.array([[0, 0, 1.1 * n] for n in range(4)]) + rng.normal(0, 0.05, (4, 3))
    return Atoms("Ar4", positions, cell=[8, 8, 4.4], pbc=[False, False, True])


def tiny_slab():
    """Cell far shorter than the cutoff, two directions periodic, none of the vectors orthogonal."""
    return Atoms("Ar2", [[0, 0, 0], [0.3, 0.5, 1.0]], cell=[[1.1, 0.1, 0], [0.4, 1.2, 0], [0, 0, 7]], pbc=[1, 1, 0])


SYSTEMS = {
    "dimer": lambda: Atoms("Ar2", [[0, 0, 0], [0.3, 1.1, 0.2]]),
    "LJ13": lj13,
    "fcc": displaced_fcc,
    "skewed": skewed_single,
    "slab": slab,
    "wire": wire,
    "tiny slab": tiny_slab,
}


@pytest.fixture(params=["compiled", "autograd"], autouse=True)
def engine(request, monkeypatch):
    """Every test here runs with both engines."""
    monkeypatch.setitem(KANCalculator.__init__.__kwdefaults__, "engine", request.param)
    return request.param


def summed(atoms):
    """The potential whose terms the engine adds up: the tables, compiled."""
    return atoms.calc._ready().potential


@pytest.fixture(params=SYSTEMS)
def atoms(request):
    return SYSTEMS[request.param]()


def mixed(atoms):
    """The same atoms with every other one a neon."""
    atoms = atoms.copy()
    atoms.symbols[::2] = "Ne"
    return atoms


def test_forces_and_stress_are_derivatives(atoms, potential):
    atoms.calc = KANCalculator(potential)
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-5), atol=1e-6)
    if atoms.cell.rank == 3:
        numerical = calculate_numerical_stress(atoms, eps=1e-5)
        np.testing.assert_allclose(atoms.get_stress(), numerical, atol=1e-6)
        np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), atoms.get_stress(), atol=1e-12)
    assert np.abs(atoms.get_forces().sum(axis=0)).max() < 1e-11
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)


def test_equals_a_direct_sum_with_pykan(atoms, potential, engine):
    model = potential.network()
    atoms.calc = KANCalculator(potential)
    energy, forces, virial = brute_force(atoms, potential, lambda pair: model)
    atol = 1e-10 if engine == "autograd" else 1e-7 * max(1, np.abs(forces).max())
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=atol)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=atol)
    if atoms.cell.rank == 3:
        expected = full_3x3_to_voigt_6_stress(virial) / atoms.get_volume()
        np.testing.assert_allclose(atoms.get_stress(), expected, atol=atol)


def test_mixture_equals_a_direct_sum(atoms, mixture):
    atoms = mixed(atoms)
    atoms.calc = KANCalculator(mixture)
    energy, forces, virial = brute_force(atoms, summed(atoms))
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-10)
    if atoms.cell.rank == 3:
        expected = full_3x3_to_voigt_6_stress(virial) / atoms.get_volume()
        np.testing.assert_allclose(atoms.get_stress(), expected, atol=1e-10)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()), n=st.integers(1, 5))
def test_random_cells_equal_a_direct_sum(mixture, seed, pbc, n):
    rng = np.random.default_rng(seed)
    cell = 2.0 * np.eye(3) + rng.uniform(-0.8, 0.8, (3, 3))
    atoms = Atoms(rng.choice(["Ar", "Ne"], n), rng.uniform(-3, 3, (n, 3)), cell=cell, pbc=pbc)
    atoms.calc = KANCalculator(mixture)
    energy, forces, virial = brute_force(atoms, summed(atoms))
    scale = max(1.0, np.abs(forces).max())
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-10 * scale)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-10 * scale)
    stress = full_3x3_to_voigt_6_stress(virial) / atoms.get_volume()
    np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-10 * scale)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), system=st.sampled_from(sorted(SYSTEMS)))
def test_invariances(mixture, seed, system):
    """Rotation, translation, permutation, wrapping and repetition change nothing but what they should."""
    rng = np.random.default_rng(seed)
    atoms = mixed(SYSTEMS[system]())
    atoms.rattle(0.02, seed=seed % 1000)
    atoms.calc = KANCalculator(mixture)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()

    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turned = Atoms(atoms.symbols, atoms.positions @ q, cell=atoms.cell.array @ q, pbc=atoms.pbc)
    turned.calc = KANCalculator(mixture)
    assert turned.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(turned.get_forces(), forces @ q, atol=1e-9)
    if atoms.cell.rank == 3:
        rotated = q.T @ atoms.get_stress(voigt=False) @ q
        np.testing.assert_allclose(turned.get_stress(voigt=False), rotated, atol=1e-9)

    moved = atoms.copy()
    moved.positions += rng.uniform(-20, 20, 3)
    moved.calc = KANCalculator(mixture)
    assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(moved.get_forces(), forces, atol=1e-9)

    order = rng.permutation(len(atoms))
    shuffled = atoms[order]
    shuffled.calc = KANCalculator(mixture)
    assert shuffled.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(shuffled.get_forces(), forces[order], atol=1e-9)

    wrapped = atoms.copy()
    wrapped.positions += (rng.integers(-3, 4, (len(atoms), 3)) * atoms.pbc) @ atoms.cell.array
    wrapped.calc = KANCalculator(mixture)
    assert wrapped.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(wrapped.get_forces(), forces, atol=1e-9)

    repeats = np.where(atoms.pbc, 2, 1)
    larger = atoms.repeat(repeats)
    larger.calc = KANCalculator(mixture)
    assert larger.get_potential_energy() == pytest.approx(energy * repeats.prod(), abs=1e-8)
    np.testing.assert_allclose(larger.get_forces()[: len(atoms)], forces, atol=1e-9)


def test_like_lennard_jones_with_the_same_shift(seed_curve):
    """Shapes, signs and units are those of ASE: on the fitted range the numbers agree within the error
    of a fit to 50 energies."""
    from ase_kan import fit

    lj = LennardJones(epsilon=0.25, sigma=1.0, rc=1.9)
    calc = KANCalculator(fit(seed_curve, cutoff=1.9, smooth=False).potential)
    atoms = displaced_fcc()
    results = []
    for calculator in (calc, lj):
        atoms.calc = calculator
        atoms.get_stresses()
        results.append(
            {n: atoms.calc.get_property(n, atoms) for n in ("energy", "energies", "forces", "stress", "stresses")}
        )
    ours, theirs = results
    scale = {"energy": 1e-4, "energies": 1e-5, "forces": 1e-4, "stress": 1e-4, "stresses": 1e-5}
    for name, value in theirs.items():
        assert np.shape(ours[name]) == np.shape(value)
        np.testing.assert_allclose(ours[name], value, atol=scale[name])


def test_no_lattice_no_stress(potential):
    atoms = lj13()
    atoms.calc = KANCalculator(potential)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    assert atoms.get_potential_energy() < 0


@pytest.mark.parametrize("cell", [None, [3, 3, 3]])
def test_no_atoms_and_one_atom(potential, mixture, cell):
    nothing = Atoms(cell=cell, pbc=cell is not None)
    nothing.calc = KANCalculator(potential)
    assert nothing.get_potential_energy() == 0
    assert nothing.get_forces().shape == (0, 3)
    assert nothing.get_potential_energies().shape == (0,)
    if cell:
        np.testing.assert_array_equal(nothing.get_stress(), np.zeros(6))
    one = Atoms("Ar", cell=cell, pbc=cell is not None)
    one.calc = KANCalculator(mixture)
    assert one.get_potential_energy() == -1.5
    np.testing.assert_array_equal(one.get_forces(), np.zeros((1, 3)))


CHANGES = {
    "nudge": lambda a: a.rattle(0.01, seed=5),
    "move far": lambda a: a.positions.__setitem__((0, 0), a.positions[0, 0] + 1.4),
    "strain": lambda a: a.set_cell(a.cell * [1.02, 0.99, 1.01], scale_atoms=True),
    "cell only": lambda a: a.set_cell(a.cell * [1.1, 1, 1]),
    "pbc": lambda a: a.set_pbc([True, False, True]),
    "species": lambda a: a.symbols.__setitem__(0, "Ne" if a.symbols[0] == "Ar" else "Ar"),
    "add": lambda a: a.append("Ne"),
    "remove": lambda a: a.__delitem__(2),
    "swap": lambda a: a.positions.__setitem__([0, 1], a.positions[[1, 0]]),
    "scale": lambda a: a.set_positions(a.positions * 1.01),
}


@pytest.mark.parametrize("skin", [0.0, 0.1, 0.6])
def test_changes_are_seen(mixture, skin):
    """After any sequence of changes the results are those of a fresh calculator."""
    rng = np.random.default_rng(0)
    atoms = mixed(displaced_fcc())
    atoms.calc = KANCalculator(mixture, skin=skin)
    atoms.get_forces()
    for name in rng.choice(sorted(CHANGES), 40):
        CHANGES[name](atoms)
        if np.min(atoms.get_all_distances(mic=True) + 9 * np.eye(len(atoms))) < 0.3:
            atoms = mixed(displaced_fcc())
            atoms.calc = KANCalculator(mixture, skin=skin)
        fresh = atoms.copy()
        fresh.calc = KANCalculator(mixture, skin=0.3)
        scale = max(1.0, np.abs(fresh.get_forces()).max())
        energy = pytest.approx(fresh.get_potential_energy(), abs=1e-12 * len(atoms) * scale)
        assert atoms.get_potential_energy() == energy, name
        np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), atol=1e-12 * scale, err_msg=name)
        np.testing.assert_allclose(atoms.get_stress(), fresh.get_stress(), atol=1e-12 * scale, err_msg=name)


def test_skin_saves_rebuilds_and_changes_nothing(potential):
    rng = np.random.default_rng(0)
    with_skin, without = displaced_fcc(), displaced_fcc()
    with_skin.calc, without.calc = KANCalculator(potential, skin=0.4), KANCalculator(potential, skin=0.0)
    for _ in range(30):
        with_skin.positions += rng.normal(0, 0.01, (len(with_skin), 3))
        without.positions = with_skin.positions
        assert with_skin.get_potential_energy() == pytest.approx(without.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(with_skin.get_forces(), without.get_forces(), atol=1e-12)
    assert without.calc._engine.builds == 30
    assert with_skin.calc._engine.builds < 8


def test_input_atoms_and_returned_arrays_are_safe(potential):
    atoms = displaced_fcc()
    before = atoms.positions.copy()
    atoms.calc = KANCalculator(potential)
    forces = atoms.get_forces()
    forces += 1e9
    assert np.abs(atoms.get_forces()).max() < 1e6
    np.testing.assert_array_equal(atoms.positions, before)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_and_cells_must_be_finite(potential, value):
    atoms = displaced_fcc()
    atoms.calc = KANCalculator(potential)
    atoms.positions[5, 1] = value
    with pytest.raises(ValueError, match="atom 5 is at"):
        atoms.get_potential_energy()
    atoms = displaced_fcc()
    atoms.cell[0, 0] = value
    atoms.calc = KANCalculator(potential)
    with pytest.raises(ValueError, match="the cell has NaN or inf"):
        atoms.get_potential_energy()


def test_atoms_at_the_same_place_are_named(potential):
    atoms = Atoms("Ar3", [[0, 0, 0], [1.1, 0, 0], [1.1, 0, 0]])
    atoms.calc = KANCalculator(potential)
    with pytest.raises(ValueError, match=r"atoms 1 and 2 are at the same place \(r = 0\)"):
        atoms.get_forces()


def test_unknown_elements_are_named_every_time(mixture):
    atoms = Atoms("ArKrXe", [[0, 0, 0], [1.1, 0, 0], [9, 0, 0]])
    atoms.calc = KANCalculator(mixture)
    for _ in range(2):
        with pytest.raises(ValueError, match="does not know Kr, Xe: it was fitted for Ar, Ne"):
            atoms.get_potential_energy()


def test_a_pair_without_data_is_named(potential):
    lonely = KANPotential({("Ar", "Ar"): potential.function(), ("Ne", "Ne"): potential.function()})
    atoms = Atoms("ArNe", [[0, 0, 0], [1.1, 0, 0]])
    atoms.calc = KANCalculator(lonely)
    for _ in range(2):
        with pytest.raises(ValueError, match="no pair Ar-Ne"):
            atoms.get_potential_energy()
    atoms.positions[1, 0] = 50.0  # out of reach: no such pair is needed
    assert atoms.get_potential_energy() == 0


def test_impossible_cells_are_refused(potential):
    for cell in (np.zeros((3, 3)), [[5, 0, 0], [0, 5, 0], [5, 5, 0]]):
        atoms = Atoms("Ar2", [[0, 0, 0], [1, 0, 0]], cell=cell, pbc=True)
        atoms.calc = KANCalculator(potential)
        with pytest.raises(ValueError, match="linearly independent"):
            atoms.get_potential_energy()


def test_accepts_potential_path_and_pykan_model(tmp_path, potential):
    atoms = lj13()
    path = tmp_path / "p.kan"
    potential.save(path)
    energies = []
    for thing in (potential, path, str(path)):
        atoms.calc = KANCalculator(thing)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[1] == energies[2]
    model = KAN(width=[1, 2, 1], grid=3, k=3, grid_range=[0.9, 2.5], seed=0, auto_save=False)
    calc = KANCalculator(model)
    assert calc.potential.domain() == pytest.approx((0.9, 2.5))
    atoms.calc = calc
    r = atoms.get_all_distances()[np.triu_indices(13, 1)]
    import torch

    expected = model.double()(torch.from_numpy(r)[:, None]).sum().item()
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-10)
    with pytest.raises(TypeError, match="expected a pair potential, an embedded-atom potential"):
        KANCalculator(42)
    with pytest.raises(ValueError, match="skin"):
        KANCalculator(potential, skin=-1)
    with pytest.raises(TypeError, match="no parameter cutoff"):
        KANCalculator(potential).set(cutoff=3.0)
    attached = lj13()
    KANCalculator(potential, atoms=attached)
    assert attached.get_potential_energy() == energies[0]


def test_pickle_and_deepcopy(potential):
    atoms = displaced_fcc()
    calc = KANCalculator(potential)
    atoms.calc = calc
    forces = atoms.get_forces()
    for other in (copy.deepcopy(calc), pickle.loads(pickle.dumps(calc))):
        fresh = displaced_fcc()
        fresh.calc = other
        np.testing.assert_array_equal(fresh.get_forces(), forces)


def test_two_calculators_in_two_threads(mixture):
    """One potential, a calculator per thread: the numbers are those of one thread."""

    def walk(seed):
        atoms = mixed(displaced_fcc())
        atoms.calc = KANCalculator(mixture)
        rng = np.random.default_rng(seed)
        out = []
        for _ in range(30):
            atoms.positions += rng.normal(0, 0.01, (len(atoms), 3))
            out.append(atoms.get_forces())
        return np.array(out)

    alone = [walk(0), walk(1)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(walk, (0, 1)))
    np.testing.assert_array_equal(alone, together)
