"""Beyond ASE: OpenMM, matscipy, batches in torch, and ASE's sockets."""

import sys
import threading

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.socketio import SocketClient, SocketIOCalculator

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.engines.batch import evaluate_batch
from ase_kan.exports.extras import optional
from ase_kan.exports.matscipy import MatscipyPair
from ase_kan.exports.openmm import to_openmm
from tests.shared import lj_energy


def crowd(n, pbc, seed=1, closest=0.75, symbols=("Ar", "Ne"), box=(6.4, 7.0, 8.0)):
    rng = np.random.default_rng(seed)
    box = np.array(box)
    positions = []
    while len(positions) < n:
        p = rng.uniform(0, box)
        d = np.array(positions).reshape(-1, 3) - p
        d -= np.round(d / box) * box * pbc
        if (np.linalg.norm(d, axis=1) > closest).all():
            positions.append(p)
    return Atoms(rng.choice(symbols, n), positions, cell=box, pbc=pbc)


# OpenMM


@pytest.mark.parametrize("pbc", [True, False])
@pytest.mark.parametrize("which", ["cured", "every pair"])
def test_openmm(cured_mixture, potential, which, pbc):
    import openmm

    model = cured_mixture if which == "cured" else potential
    atoms = crowd(400, pbc, closest=0.75 if which == "cured" else 0.9, box=(11.0, 11.5, 12.0))
    system = openmm.System()
    for _ in atoms:
        system.addParticle(39.948)
    lengths = atoms.cell.lengths() / 10
    system.setDefaultPeriodicBoxVectors(*np.diag(lengths).tolist())
    system.addForce(to_openmm(model, atoms))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions((atoms.positions / 10).tolist())
    state = context.getState(getEnergy=True, getForces=True)
    kj = openmm.unit.kilojoule_per_mole
    energy = state.getPotentialEnergy().value_in_unit(kj) * units.kJ / units.mol
    forces = state.getForces(asNumpy=True).value_in_unit(kj / openmm.unit.nanometer) * units.kJ / units.mol / 10
    atoms.calc = KANCalculator(model, on_extrapolation="ignore")
    lone = sum(model.reference_energies.get(s, 0.0) for s in atoms.symbols)
    assert energy == pytest.approx(atoms.get_potential_energy() - lone, rel=1e-5)
    expected = atoms.get_forces()
    np.testing.assert_allclose(forces, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_openmm_closer_than_the_tables(potential, cured_mixture):
    """Where OpenMM would take a table as zero, the energy goes on rising."""
    import openmm

    atoms = Atoms("Ar2", [[0, 0, 0], [0.3, 0, 0]])
    system = openmm.System()
    for _ in atoms:
        system.addParticle(1.0)
    system.addForce(to_openmm(cured_mixture, atoms))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    found = []
    for distance in (0.02, 0.03, 0.037, 0.0379, 0.0381, 0.04):
        context.setPositions([[0, 0, 0], [distance, 0, 0]])
        state = context.getState(getEnergy=True)
        found.append(state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole) * units.kJ / units.mol)
    np.testing.assert_allclose(
        found, cured_mixture.energy(np.array([0.2, 0.3, 0.37, 0.379, 0.381, 0.4]), ("Ar", "Ar")), rtol=0.02
    )


def test_openmm_refuses(cured_mixture):
    atoms = crowd(20, True)
    atoms.pbc[2] = False
    with pytest.raises(ValueError, match="three directions or in none"):
        to_openmm(cured_mixture, atoms)
    with pytest.raises(ValueError, match="does not know Xe"):
        to_openmm(cured_mixture, Atoms("Xe"))
    force = to_openmm(cured_mixture)
    assert force.getNumParticles() == 0


# Batches


def systems(symbols):
    rng = np.random.default_rng(2)
    found = [
        crowd(int(n), pbc, seed=int(n), symbols=symbols) for n, pbc in ((5, True), (40, False), (90, False), (60, True))
    ]
    found.append(
        Atoms(rng.choice(symbols, 1), [[0.1, 0.2, 0.3]], cell=[[1.1, 0, 0], [0.5, 1.0, 0], [0.4, -0.3, 1.05]], pbc=True)
    )
    found.append(Atoms())
    found += [Atoms(symbols[0]), Atoms(rng.choice(symbols, 2), [[0, 0, 0], [1.1, 0, 0]])]
    slab = crowd(30, np.array([True, True, False]), seed=8, symbols=symbols)
    slab.cell[0] = [0.0, 6.4, 1.0]
    slab.cell[1] = [7.0, 0.0, 0.0]
    return [*found, slab, Atoms()]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("which", ["cured", "every pair"])
def test_batches_are_single_calculations(cured_mixture, potential, which, dtype):
    model = cured_mixture if which == "cured" else potential
    many = systems(("Ar", "Ne"))
    batch = evaluate_batch(model, many, dtype=dtype)
    rtol = 1e-12 if dtype == torch.float64 else 2e-5
    calculator = KANCalculator(model, engine="autograd", on_extrapolation="ignore")
    assert batch.energies.shape == (len(many),)
    assert batch.stresses.shape == (len(many), 6)
    for atoms, energy, forces, stress in zip(many, batch.energies, batch.forces, batch.stresses, strict=True):
        scale = max(1.0, np.abs(calculator.get_forces(atoms)).max(initial=0.0))
        assert forces.shape == (len(atoms), 3)
        assert energy == pytest.approx(calculator.get_potential_energy(atoms), rel=rtol, abs=rtol * scale)
        np.testing.assert_allclose(forces, calculator.get_forces(atoms), rtol=0, atol=rtol * scale)
        if atoms.cell.rank == 3:
            expected = calculator.get_stress(atoms)
            np.testing.assert_allclose(stress, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))
        else:
            assert np.isnan(stress).all()
    assert next(model.function(model.pairs[0]).parameters()).dtype == torch.float64


def test_batches_refuse(cured_mixture):
    good, bad = crowd(5, True), crowd(5, True)
    bad.positions[1, 2] = np.nan
    with pytest.raises(ValueError, match="those of system 1 are not"):
        evaluate_batch(cured_mixture, [good, bad])
    with pytest.raises(ValueError, match="atoms 0 and 1 of system 1 are at the same place"):
        evaluate_batch(cured_mixture, [good, Atoms("Ar2", [[1, 1, 1], [1, 1, 1]])])
    with pytest.raises(ValueError, match="does not know Xe"):
        evaluate_batch(cured_mixture, [Atoms("Xe2", [[0, 0, 0], [1, 1, 1]])])
    with pytest.raises(ValueError, match="dtype must be"):
        evaluate_batch(cured_mixture, [good], dtype=torch.float16)
    assert evaluate_batch(cured_mixture, []).energies.shape == (0,)


# matscipy


@pytest.fixture(scope="module")
def long_lj():
    """Lennard-Jones of epsilon = 1 from data on [0.9, 6], continued to a cutoff of 25 sigma."""
    curve = PairCurve.from_function(lambda r: 4 * lj_energy(r), r_min=0.9, r_max=6.0, n=400)
    return fit(curve, cutoff=25.0).potential


def test_matscipy_elastic_constants(long_lj):
    """Published: exact lattice sums for fcc at zero pressure."""
    from matscipy.calculators.pair_potential import PairPotential
    from matscipy.elasticity import full_3x3x3x3_to_Voigt_6x6

    atoms = bulk("Ar", "fcc", a=1.0901730 * 2**0.5)
    atoms.calc = PairPotential({(18, 18): MatscipyPair(long_lj)})
    born = full_3x3x3x3_to_Voigt_6x6(atoms.calc.get_property("elastic_constants", atoms))
    found = [born[0, 0], born[0, 1], born[3, 3], (born[0, 0] + 2 * born[0, 1]) / 3]
    np.testing.assert_allclose(found, [105.182, 60.187, 60.187, 75.185], rtol=1e-4)


def test_matscipy_phonons(long_lj):
    from matscipy.calculators.pair_potential import PairPotential

    primitive = bulk("Ar", "fcc", a=1.0901730 * 2**0.5)
    atoms = primitive * (2, 2, 2)
    atoms.calc = PairPotential({(18, 18): MatscipyPair(long_lj)})
    hessian = atoms.calc.get_property("hessian", atoms).toarray().reshape(8, 3, 8, 3)
    # In units of the reciprocal vectors of the primitive cell; both points fit the 2 x 2 x 2 cell.
    for point, expected in (
        ([0.5, 0.5, 0.0], [19.2157, 19.2157, 28.1863]),
        ([0.5, 0.5, 0.5], [12.7383, 12.7383, 28.1739]),
    ):
        phase = np.exp(2j * np.pi * (atoms.positions @ np.linalg.inv(primitive.cell.array)) @ point)
        dynamical = np.einsum("j,xjy->xy", phase / phase[0], hessian[0])
        np.testing.assert_allclose(np.sqrt(np.linalg.eigvalsh(dynamical)), expected, rtol=1e-4)


def test_matscipy_mixture(cured_mixture):
    from matscipy.calculators.pair_potential import PairPotential

    atoms = crowd(100, True)
    numbers = {"Ar": 18, "Ne": 10}
    pairs = {tuple(numbers[s] for s in pair): MatscipyPair(cured_mixture, pair) for pair in cured_mixture.pairs}
    theirs = PairPotential(pairs)
    ours = KANCalculator(cured_mixture, engine="autograd", on_extrapolation="ignore")
    lone = sum(cured_mixture.reference_energies[s] for s in atoms.symbols)
    assert theirs.get_potential_energy(atoms) == pytest.approx(ours.get_potential_energy(atoms) - lone, rel=1e-10)
    np.testing.assert_allclose(theirs.get_forces(atoms), ours.get_forces(atoms), rtol=1e-9, atol=1e-9)


def test_matscipy_derivatives(potential):
    interaction = MatscipyPair(potential)
    r, h = np.linspace(0.9, 2.4, 30), 1e-5
    slope = (interaction(r + h) - interaction(r - h)) / (2 * h)
    curvature = (interaction.first_derivative(r + h) - interaction.first_derivative(r - h)) / (2 * h)
    np.testing.assert_allclose(interaction.derivative(1)(r), slope, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(interaction.derivative(2)(r), curvature, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match="order 1 and 2, got 3"):
        interaction.derivative(3)


# ASE


def test_socket(potential):
    """The calculator behind a socket, as i-PI and ASE's own server use it."""
    atoms = bulk("Ar", "fcc", a=1.6, cubic=True) * (2, 2, 2)
    atoms.rattle(0.02, seed=1)
    server = SocketIOCalculator(unixsocket="ase_kan_test", timeout=60)
    behind = atoms.copy()
    behind.calc = KANCalculator(potential, on_extrapolation="ignore")

    def serve():
        SocketClient(unixsocket="ase_kan_test", timeout=60).run(behind, use_stress=True)

    with server:
        thread = threading.Thread(target=serve)
        thread.start()
        for _ in range(3):
            atoms.rattle(0.01, rng=np.random.default_rng(3))
            expected = KANCalculator(potential, on_extrapolation="ignore")
            assert server.get_potential_energy(atoms) == pytest.approx(expected.get_potential_energy(atoms), rel=1e-9)
            np.testing.assert_allclose(server.get_forces(atoms), expected.get_forces(atoms), atol=1e-8)
            np.testing.assert_allclose(server.get_stress(atoms), expected.get_stress(atoms), atol=1e-8)
    thread.join()


def test_missing_packages_name_the_extra(monkeypatch, potential):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ImportError, match=r"pip install 'ase-kan\[openmm\]'"):
        to_openmm(potential)
    with pytest.raises(ImportError, match=r"pip install 'ase-kan\[bench\]'"):
        optional("no_such_package", "bench")
