"""Potentials that many tests share: fitted once per test process, or loaded where a fit depends on the processor."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

# Two test processes on two cores: threads of their own would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from ase_kan import KANPotential, PairCurve, fit

DATA = Path(__file__).parent / "data"
#: A bare KAN as pykan trains it (the 2024 recipe). Which network comes out depends on the processor: tests state what
#: holds for any of them, or load one from `DATA`.
SEED_CASE = {"width": (1, 2, 1), "grid": 3, "k": 3, "feature": "r", "optimizer": "pykan", "core": None, "tail": None}


def lj_energy(r):
    """r^-12 - r^-6, the seed's form: epsilon = 0.25, sigma = 1."""
    return r**-12.0 - r**-6.0


def lj_force(r):
    return 12 * r**-13.0 - 6 * r**-7.0


@pytest.fixture(scope="session")
def seed_curve() -> PairCurve:
    return PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=0)


@pytest.fixture(scope="session")
def seed_result(seed_curve):
    """A bare [1, 2, 1] trained here by pykan."""
    return fit(seed_curve, **SEED_CASE, seed=1)


@pytest.fixture(scope="session")
def bare() -> KANPotential:
    """A bare [1, 2, 1] for [0.95, 2.0] that pykan trained once, for any element (see data/make_bare_kans.py)."""
    return KANPotential.load(DATA / "bare.kan")


@pytest.fixture(scope="session")
def potential() -> KANPotential:
    """A [1, 2, 1] that pykan trained once up to its cutoff of 2.5, for any element (see data/make_bare_kans.py)."""
    return KANPotential.load(DATA / "bare_cutoff.kan")


@pytest.fixture(scope="session")
def mixture(potential, bare) -> KANPotential:
    """Ar-Ar, Ar-Ne and Ne-Ne with different functions, cutoffs and lone-atom energies."""
    a, b = potential.function(), bare.function()
    return KANPotential({("Ar", "Ar"): a, ("Ar", "Ne"): b, ("Ne", "Ne"): a}, {"Ar": -1.5, "Ne": 0.25})


@pytest.fixture(scope="session")
def cured_mixture() -> KANPotential:
    """Ar-Ar, Ar-Ne and Ne-Ne of different sizes and cutoffs, with cores and tails."""
    pairs = {}
    for pair, size, cutoff in ((("Ar", "Ar"), 1.0, 2.5), (("Ar", "Ne"), 0.95, 2.2), (("Ne", "Ne"), 0.9, None)):
        curve = PairCurve.from_function(
            lambda r, s=size: lj_energy(r / s), r_min=0.95 * size, r_max=2.0, n=50, seed=3, elements=pair
        )
        pairs[pair] = fit(curve, cutoff=cutoff).potential.function()
    return KANPotential(pairs, {"Ar": -1.5, "Ne": 0.25})


def brute_force(atoms, potential, model=None):
    """Energy, forces and stress (3x3) by a direct sum over all pairs and periodic images, in plain numpy.

    `model(pair)` gives pykan's own network of a pair, which then replaces ours (with the cutoff's switching
    written out here once more); otherwise the potential's own energy and force are summed.
    """
    from itertools import product

    cell, n = atoms.cell.array, len(atoms)
    energy = sum(potential.reference_energies.get(s, 0.0) for s in atoms.symbols)
    forces, virial = np.zeros((n, 3)), np.zeros((3, 3))
    spacing = [1 / np.linalg.norm(np.linalg.pinv(cell)[:, c]) if atoms.pbc[c] else np.inf for c in range(3)]
    fractional = atoms.positions @ np.linalg.pinv(cell)
    spread = np.ceil(np.ptp(fractional, axis=0)) if n else np.zeros(3)
    reach = [int(np.ceil(potential.cutoff / s) + spread[c]) if np.isfinite(s) else 0 for c, s in enumerate(spacing)]
    for shift in product(*(range(-m, m + 1) for m in reach)):
        for i in range(n):
            for j in range(n):
                if i == j and not any(shift):
                    continue
                d = atoms.positions[j] + np.array(shift) @ cell - atoms.positions[i]
                r = np.linalg.norm(d)
                if r >= potential.cutoff:
                    continue
                pair = (atoms.symbols[i], atoms.symbols[j])
                e, f = pair_terms(potential, pair, r, model)
                energy += e / 2
                forces[i] -= f * d / r
                virial -= f * np.outer(d, d) / r / 2
    return energy, forces, virial


def pair_terms(potential, pair, r, model=None):
    """phi(r) and -dphi/dr of one distance."""
    if model is None:
        return potential.energy(r, pair), potential.force(r, pair)
    import torch

    cutoff = potential.function(pair).cutoff
    if r >= cutoff.radius:
        return 0.0, 0.0
    x = torch.tensor([[r]], dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pykan takes the standard deviation of this one value
        bare = model(pair)(x)
    (slope,) = torch.autograd.grad(bare.sum(), x)
    bare, slope = bare.item(), slope.item()
    u = np.clip((r - cutoff.onset) / (cutoff.radius - cutoff.onset), 0, 1)
    s = 1 - 10 * u**3 + 15 * u**4 - 6 * u**5
    ds = (-30 * u**2 + 60 * u**3 - 30 * u**4) / (cutoff.radius - cutoff.onset)
    return bare * s, -(slope * s + bare * ds)
