"""The strength of the smoothing: its evidence, and pair energies where there were no data."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, Structures, fit
from ase_kan.fit.smoothness import START, Block, Evidence, Strength

CUTOFF = 6.0


def morse(r):
    """Girifalco and Weizer's copper, switched off from 4.8 A: energy and slope."""
    x = np.exp(-1.3588 * (r - 2.866))
    e, de = 0.3429 * (x * x - 2 * x), -2 * 1.3588 * 0.3429 * (x * x - x)
    u = np.clip((r - 4.8) / 1.2, 0, 1)
    s, ds = 1 - u**3 * (10 - 15 * u + 6 * u * u), -30 * u**2 * (1 - u) ** 2 / 1.2
    return e * s, de * s + e * ds


def copper(seed, structures, displacement, noise):
    """Crystals labelled by `morse`, with Gaussian noise on the forces."""
    from ase_kan.engines.neighbors import half_list

    rng, images = np.random.default_rng(seed), []
    for _ in range(structures):
        atoms = bulk("Cu", "fcc", a=3.615, cubic=True) * (2, 2, 2)
        atoms.positions += rng.normal(0, displacement, atoms.positions.shape)
        i, j, shifts = half_list(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
        vectors = atoms.positions[j] - atoms.positions[i] + shifts
        r = np.linalg.norm(vectors, axis=1)
        energy, slope = morse(r)
        forces = rng.normal(0, noise, (len(atoms), 3))
        np.add.at(forces, i, (slope / r)[:, None] * vectors)
        np.add.at(forces, j, -(slope / r)[:, None] * vectors)
        atoms.calc = SinglePointCalculator(atoms, energy=energy.sum(), forces=forces)
        images.append(atoms)
    return images


@pytest.mark.parametrize("flat", [0, 2])
def test_the_evidence_is_the_marginal_likelihood(flat):
    """Against the density of the data themselves, a Gaussian, free of the flat columns."""
    rng, n, size = np.random.default_rng(0), 60, 12
    columns, data = rng.normal(size=(n, flat + size)), rng.normal(size=n)
    block = Block(flat, np.linspace(5.0, 2.0, size))
    evidence = Evidence(columns.T @ columns, columns.T @ data, data @ data, [block], 3, n)
    own = np.linalg.qr(np.column_stack([columns[:, :flat], rng.normal(size=(n, n - flat))]))[0][:, flat:].T

    def direct(strength):
        q = evidence.penalty(strength)[0][flat:, flat:]
        seen = own @ columns[:, flat:]
        covariance = np.eye(n - flat) + seen @ np.linalg.solve(q, seen.T)
        y = own @ data
        square = y @ np.linalg.solve(covariance, y)
        return -(n - flat) / 2 * np.log(square) - np.linalg.slogdet(covariance)[1] / 2

    places = [Strength(-2, 0, 1), Strength(0, -3, 0), Strength(-4, 2, 2), Strength(1, 1, 4)]
    found = np.array([evidence.solve(place)[1] for place in places])
    expected = np.array([direct(place) for place in places])
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-6, atol=1e-6)
    q = evidence.penalty(places[0])[0]
    known = np.trace(np.linalg.solve(evidence.matrix + q, evidence.matrix))
    assert evidence.determined(places[0]) == pytest.approx(known, rel=1e-8)


def test_the_noise_decides_how_smooth():
    """A function of known roughness under more and more noise: fewer and fewer parameters are determined."""
    from ase_kan.kan.bsplines import basis, uniform_knots

    x = np.linspace(-1, 1, 400)
    rows = basis(uniform_knots(-1, 1, 30, 5), 5, x, 0)[0]
    truth, noise = np.sin(4 * x), np.random.default_rng(1).normal(size=400)
    counts = []
    for size in (1e-6, 1e-3, 1e-1):
        data = truth + size * noise
        block = Block(0, np.linspace(5.0, 2.0, rows.shape[1]))
        evidence = Evidence(rows.T @ rows / 400, rows.T @ data / 400, data @ data / 400, [block], 5, 400)
        strength = evidence.choose()
        fitted = rows @ evidence.solve(strength)[0]
        # Of n data, the fit keeps the part p/n of the variance of their noise if it keeps p parameters.
        counts.append(evidence.determined(strength))
        assert np.sqrt(np.mean((fitted - truth) ** 2)) < 1.5 * size * np.sqrt(counts[-1] / 400)
    assert counts[0] > counts[1] > counts[2]
    assert counts[2] < 12


@pytest.mark.parametrize("seed", range(5))
def test_a_gap_between_shells_is_bridged(seed):
    """Three cold crystals with noise: between the shells of neighbors no distance was seen."""
    result = fit(Structures(copper(seed, 3, 0.03, 0.01)), cutoff=CUTOFF)
    r = np.linspace(*result.potential.domain(), 500)[:-1]
    energy = result.potential.energy(r)
    for low, high in ((2.75, 3.4), (3.85, 4.2)):
        gap = (r > low) & (r < high)
        ends = np.abs(np.interp([low, high], r, energy)).max()
        assert np.abs(energy[gap]).max() < 1.5 * ends
        assert ends < 1.0
    assert 0.008 < result.train_force_rmse < 0.011


def test_clean_data_are_followed():
    """The same without noise and warmer: the penalty steps back."""
    result = fit(Structures(copper(0, 40, 0.15, 0.0)), cutoff=CUTOFF, grid=80)
    assert result.force_rmse < 5e-4
    calculator = KANCalculator(result.potential)
    for atoms in copper(1, 3, 0.1, 0.0):
        copy = atoms.copy()
        copy.calc = calculator
        np.testing.assert_allclose(copy.get_forces(), atoms.get_forces(), atol=2e-3)


def test_the_penalty_vanishes_at_the_cutoff_only():
    """Of all constants only zero is free of penalty; the cutoff is at whichever end of the grid it is."""
    for r in (np.linspace(5.0, 2.0, 8), np.linspace(2.0, 5.0, 8)):
        evidence = Evidence(np.eye(8), np.ones(8), 8.0, [Block(0, r)], 2, 10)
        q = evidence.penalty(Strength(0, -18, 0))[0]
        edge = np.zeros(8)
        edge[r.argmin()] = 1.0  # free to rise at the wall: one step
        np.testing.assert_allclose([np.ones(8) @ q @ np.ones(8), edge @ q @ edge], [1, 1], rtol=1e-6)
    assert START.exists()
    assert not Strength(5, 0, 0).exists()
