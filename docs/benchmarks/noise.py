"""Fits to curves as they come: noise, few points, decades of energy, oscillations; and what lies outside the data.

python docs/benchmarks/noise.py [number of random sets, default 20]

Takes about two minutes on one core.
"""

import sys
import time
import warnings

import numpy as np
import torch
from curve_fits import argon, lennard_jones, morse
from scipy.interpolate import CubicSpline, UnivariateSpline

from ase_kan import PairCurve, fit
from ase_kan.potentials.continuations import zbl

BOLTZMANN, AVOGADRO = 8.617333262e-5, 0.602214076  # eV/K; 1/mol in cm^3/A^3
ARGON = 143.1232 * BOLTZMANN  # depth, eV
SIGMA_ARGON = 3.357


def rms(values):
    return np.sqrt(np.mean(values**2))


def lj(r):
    return 4 * lennard_jones(r)


def real_argon(r):
    return ARGON * argon(np.asarray(r) / SIGMA_ARGON)


def friedel(r):
    return np.cos(4 * r) / r**3 + r**-12.0


def lj_gauss(r):
    return r**-12.0 - 2 * r**-6.0 - 1.5 * np.exp(-((r - 1.47) ** 2) / 0.04)


def dzugutov(r):
    """M. Dzugutov, Phys. Rev. A 46, R2984 (1992)."""
    near, far = np.minimum(r, 1.87 - 1e-9), np.minimum(r, 1.94 - 1e-9)
    return np.where(r < 1.87, 5.82 * (near**-16 - 1.28) * np.exp(1.1 / (near - 1.87)), 0.0) + np.where(
        r < 1.94, 1.28 * np.exp(0.27 / (far - 1.94)), 0.0
    )


def helium(r):
    """HFDHE2: R. A. Aziz et al., J. Chem. Phys. 70, 4330 (1979)."""
    x = r / 2.9673
    damping = np.where(x < 1.241314, np.exp(-((1.241314 / x - 1) ** 2)), 1.0)
    dispersion = 1.3732412 / x**6 + 0.4253785 / x**8 + 0.178100 / x**10
    return 9.3067e-4 * (0.5448504e6 * np.exp(-13.353384 * x) - damping * dispersion)


def copper(r):
    """ZBL and a well of 0.09 eV."""
    wall = zbl(torch.from_numpy(np.asarray(r, dtype=float)), 29, 29).numpy()
    return wall + 0.2 * (np.exp(-2.7176 * (r - 3.69)) - 2 * np.exp(-1.3588 * (r - 3.69)))


def fcc_shells(reach=15.0, a=1.5496):
    """Distances and numbers of neighbors in the fcc crystal of Lennard-Jones."""
    n = int(1.5 * reach / a) + 2
    points = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3), axis=-1).reshape(-1, 3)
    d = np.linalg.norm(points[points.sum(axis=1) % 2 == 0] * (a / 2), axis=1)
    return np.unique(np.round(d[(d > 0) & (d < reach)], 9), return_counts=True)


def noise_table(sets):
    d, count = fcc_shells()
    beyond = d > 2.5
    cohesive = abs(0.5 * np.sum(count * lj(d)))
    print(f"\nLennard-Jones on [0.95, 2.5], noise over the depth; median / worst of {sets} sets")
    print("Spline: smoothing, cubic, with the noise known. Tail: its part of the fcc energy, off by % of all.\n")
    print("| noise | points | RMSE | of the spline | sets won | tail (%) | slowest fit (s) |\n" + "|---" * 7 + "|")
    for noise, n in ((0.004, 500), (0.004, 50), (0.04, 500), (0.04, 50)):
        rows = []
        for seed in range(sets):
            rng = np.random.default_rng(seed)
            r = np.sort(rng.uniform(0.95, 2.5, n))
            energy = lj(r) + noise * rng.normal(size=n)
            start = time.perf_counter()
            potential = fit(PairCurve(r, energy), cutoff=20.0, smooth=False).potential
            seconds = time.perf_counter() - start
            fine = np.linspace(r[0], r[-1], 1000)
            spline = UnivariateSpline(r, energy, w=np.full(n, 1 / noise), s=n)
            tail = 0.5 * np.sum(count[beyond] * (potential.energy(d[beyond]) - lj(d[beyond])))
            rows.append(
                [
                    rms(potential.energy(fine) - lj(fine)),
                    rms(spline(fine) - lj(fine)),
                    100 * abs(tail) / cohesive,
                    seconds,
                ]
            )
        ours, theirs, tail, seconds = np.array(rows).T
        pairs = [f"{np.median(x):.1e} / {x.max():.1e}" for x in (ours, theirs, tail)]
        won = int(np.sum(ours <= theirs))
        print(f"| {noise} | {n} | {pairs[0]} | {pairs[1]} | {won} | {pairs[2]} | {seconds.max():.2f} |", flush=True)


def resolution_table():
    print("\nRMSE and largest error below the depth of the well, over it; beside the best of fixed grids (1/r)")
    print("and a cubic spline through the points\n")
    print(
        "| curve | points | RMSE | best grid | largest error | of the spline | told (hold-out) |\n" + "|---" * 7 + "|"
    )
    cases = {
        "Friedel": (friedel, np.linspace(0.9, 6, 200), None),
        "Dzugutov": (dzugutov, np.linspace(0.9, 2.2, 200), None),
        "LJ-Gauss": (lj_gauss, np.linspace(0.85, 2.5, 50), None),
        "Morse": (morse, np.linspace(0.9, 3, 50), None),
        "helium from 0.5 A": (helium, np.linspace(0.5, 8, 60), ("He", "He")),
        "ZBL + Morse": (copper, np.linspace(0.1, 6, 200), ("Cu", "Cu")),
    }
    for name, (function, r, elements) in cases.items():
        energy = function(r)
        depth = -energy.min()
        fine = np.linspace(r[0], r[-1], 4000)
        fine = fine[function(fine) < depth]
        curve = PairCurve(r, energy, elements=elements)
        result = fit(curve)
        error = (result.potential.energy(fine) - function(fine)) / depth
        grids = [g for g in (10, 16, 24, 32, 40, 60, 80, 120, 160) if g < 2 * len(r)]
        best = (
            min(rms(fit(curve, grid=g, feature="1/r").potential.energy(fine) - function(fine)) for g in grids) / depth
        )
        spline = np.abs(CubicSpline(r, energy)(fine) - function(fine)).max() / depth
        told = next(line for line in result.report.splitlines() if "hold-out error where" in line).split(": ")[1]
        print(
            f"| {name} | {len(r)} | {rms(error):.1e} | {best:.1e} | {np.abs(error).max():.1e} | {spline:.1e} "
            f"| {told} |",
            flush=True,
        )


def virial(energy, temperature):
    """B2 in cm^3/mol, hard inside 2.2 A."""
    r = np.concatenate([np.linspace(2.2, 30, 40_000), np.linspace(30, 400, 40_000)[1:]])
    y = (np.exp(-energy(r) / (BOLTZMANN * temperature)) - 1) * r**2
    return -2 * np.pi * AVOGADRO * (np.sum((y[1:] + y[:-1]) / 2 * np.diff(r)) - 2.2**3 / 3)


def argon_table():
    temperatures = (100, 150, 200, 300, 500, 1000)
    print("\nArgon, ab initio, 200 points without noise: walls over the true one, and B2 (cm^3/mol)\n")
    print(f"| data (A) | cutoff (A) | 2.2 A | 1.8 A | 1.0 A / ZBL | {' | '.join(f'{t} K' for t in temperatures)} |")
    print("|---|---|---|---|---|" + "---|" * len(temperatures))
    exact = " | ".join(f"{virial(real_argon, t):.2f}" for t in temperatures)
    print(f"| the true curve | | 1 | 1 | | {exact} |")
    nuclear = zbl(torch.tensor([1.0], dtype=torch.float64), 18, 18).item()
    for end, cutoff in ((9.0, None), (15.0, None), (9.0, 40.0)):
        r = np.linspace(3.0, end, 200)
        potential = fit(PairCurve(r, real_argon(r), elements=("Ar", "Ar")), cutoff=cutoff).potential
        walls = [potential.energy(x) / real_argon(x) for x in (2.2, 1.8)] + [potential.energy(1.0) / nuclear]
        b2 = " | ".join(f"{virial(potential.energy, t):.2f}" for t in temperatures)
        print(f"| 3 to {end:g} | {potential.cutoff:.3g} | {' | '.join(f'{w:.3f}' for w in walls)} | {b2} |", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    noise_table(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    resolution_table()
    argon_table()
