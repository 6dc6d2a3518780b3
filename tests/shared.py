"""What tests share besides fixtures: the reference law, the data folder, a direct sum over pairs, Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parent / "files"
#: A bare KAN as pykan trains it (the 2024 recipe, docs/extrapolation.md). Which network comes out depends on the
#: processor: tests state what holds for any of them, or load one from `DATA`.
SEED_CASE = {"width": (1, 2, 1), "grid": 3, "k": 3, "feature": "r", "optimizer": "pykan", "core": None, "tail": None}


def lj_energy(r):
    """r^-12 - r^-6: Lennard-Jones with epsilon = 0.25, sigma = 1."""
    return r**-12.0 - r**-6.0


def lj_force(r):
    return 12 * r**-13.0 - 6 * r**-7.0


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


@contextmanager
def interrupted(after):
    """Ctrl-C so many seconds into the block, which must end by it, and soon."""
    sent = []

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    # 0.2 s, and as much again for a machine that has other things to do.
    assert time.perf_counter() - sent[0] < 0.4
    timer.join()
