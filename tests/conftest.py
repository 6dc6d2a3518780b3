"""Potentials that many tests share: fitted once per test process, or loaded where a fit depends on the processor."""

from __future__ import annotations

import os
import signal

# Two test processes on two cores: threads of their own would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts jobs in the background with Ctrl-C ignored; tests of interrupts want Python's own handler.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from ase_kan import KANPotential, PairCurve, fit
from tests.shared import DATA, SEED_CASE, lj_energy


@pytest.fixture(scope="session")
def seed_curve() -> PairCurve:
    return PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=0)


@pytest.fixture(scope="session")
def seed_result(seed_curve):
    """A bare [1, 2, 1] trained here by pykan."""
    return fit(seed_curve, **SEED_CASE, seed=1)


@pytest.fixture(scope="session")
def bare() -> KANPotential:
    """A bare [1, 2, 1] for [0.95, 2.0] that pykan trained once, for any element (see files/make_bare_kans.py)."""
    return KANPotential.load(DATA / "bare.kan")


@pytest.fixture(scope="session")
def potential() -> KANPotential:
    """A [1, 2, 1] that pykan trained once up to its cutoff of 2.5, for any element (see files/make_bare_kans.py)."""
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
