"""How honest the uncertainties are: the tables of docs/uncertainty.md. Takes about five minutes on one core.

python docs/benchmarks/calibration.py [number of seeds, default 20]
"""

import sys
import warnings

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, PairCurve, Structures, fit

warnings.simplefilter("ignore")
SEEDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20


def lennard_jones(r):
    return 4 * (r**-12.0 - r**-6.0)


def morse(r):
    return np.exp(-12 * (r - 1.122)) - 2 * np.exp(-6 * (r - 1.122))


def buckingham(r):
    return (6 * np.exp(14 * (1 - r / 1.122)) - 14 * (1.122 / r) ** 6) / 8


def argon(r):
    """Shape of an ab initio curve: R. A. Aziz, J. Chem. Phys. 99, 4518 (1993), in units of its depth and of sigma."""
    x = r / 1.1205
    damping = np.where(x < 1.07, np.exp(-((1.07 / x - 1) ** 2)), 1.0)
    repulsion = 8.739e4 * np.exp(-9.032 * x - 2.371 * x**2)
    return repulsion - damping * (1.0978 / x**6 + 0.5283 / x**8 + 0.3929 / x**10)


LAWS = {"Lennard-Jones": lennard_jones, "Morse": morse, "Buckingham": buckingham, "argon": argon}


def share(error, std, times):
    """Part of the errors within so many standard deviations, %."""
    return 100 * float(np.mean(np.abs(error) <= times * std))


def inside(law, noise, points):
    """Coverage of the true curve between the data, and its errors in units of noise."""
    rows = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        r = np.sort(rng.uniform(0.95, 2.5, points))
        result = fit(PairCurve(r, law(r) + noise * rng.normal(size=points)))
        x = rng.uniform(r[0], r[-1], 200)
        x = x[x < result.potential.function().cutoff.onset]
        error, std = result.potential.energy(x) - law(x), result.potential.uncertainty(x)
        rows.append((share(error, std, 1), share(error, std, 2)))
    return np.mean(rows, axis=0)


def outside(law, noise, points, factors, gap=None):
    """Parts of random distances where the error is within two deviations or the grade above 1; and of the first."""
    covered, within = [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        r = np.sort(rng.uniform(0.95, 2.5, points))
        if gap:
            r = r[(r < gap[0]) | (r > gap[1])]
        result = fit(PairCurve(r, law(r) + noise * rng.normal(size=len(r))), cutoff=5.0, onset=4.0)
        unit = 1.0 if gap else r[0] if factors[1] <= 1 else r[-1]
        x = unit * rng.uniform(*factors, 50)
        error, std = result.potential.energy(x) - law(x), result.potential.uncertainty(x)
        good = np.abs(error) <= 2 * std
        covered.append(np.mean(good | (result.potential.grade(x) > 1)))
        within.append(np.mean(good))
    return 100 * np.mean(covered), 100 * np.mean(within)


def structures(noise):
    """Coverage of labels of held-out crystals: energy and forces."""
    rows = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        images = []
        for _ in range(40):
            atoms = bulk("Ar", "fcc", a=1.6 + 0.1 * rng.random(), cubic=True) * (2, 2, 2)
            atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
            atoms.calc = LennardJones(rc=2.5, smooth=True)
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            energy += noise * len(atoms) * rng.normal()
            forces += noise * 10 * rng.normal(size=forces.shape)
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            images.append(atoms)
        result = fit(Structures(images[:30]), cutoff=2.5, grid=20)
        energies, forces = [], []
        for atoms in images[30:]:
            copy: Atoms = atoms.copy()
            copy.calc = KANCalculator(result.potential, on_extrapolation="ignore")
            found = copy.calc.uncertainty(copy)
            energies.append((copy.get_potential_energy() - atoms.get_potential_energy()) / found.energy)
            forces.append(((copy.get_forces() - atoms.get_forces()) / found.forces).ravel())
        z, f = np.array(energies), np.concatenate(forces)
        rows.append((share(z, 1, 1), share(z, 1, 2), share(f, 1, 1), share(f, 1, 2)))
    return np.mean(rows, axis=0)


def main():
    print("Between the data: % of true energies within 1 and 2 standard deviations (normal: 68, 95)")
    for name, law in LAWS.items():
        for points in (50, 500):
            for noise in (1e-4, 1e-3, 1e-2):
                one, two = inside(law, noise, points)
                print(f"{name:14s} {points:4d} points, noise {noise:g}: {one:5.1f} {two:5.1f}", flush=True)
    print("Without noise (50 points)")
    for name, law in LAWS.items():
        print(f"{name:14s} {inside(law, 0.0, 50)}", flush=True)
    print("Outside: % within 2 standard deviations or graded above 1; within 2 standard deviations")
    places = {
        "10 % below": (0.9, 1.0),
        "30 to 10 % below": (0.7, 0.9),
        "to 10 % beyond": (1.0, 1.1),
        "10 to 60 % beyond": (1.1, 1.6),
    }
    for name, law in LAWS.items():
        for noise in (0.0, 1e-3, 1e-2):
            for place, factors in places.items():
                print(f"{name:14s} noise {noise:g}, {place:18s}", outside(law, noise, 50, factors), flush=True)
            found = outside(law, noise, 80, (1.3, 1.7), gap=(1.25, 1.75))
            print(f"{name:14s} noise {noise:g}, in a gap          ", found, flush=True)
    print("Labels of structures: energies within 1, 2; forces within 1, 2 (%)")
    for noise in (1e-4, 1e-3, 1e-2):
        print(f"noise {noise:g}", structures(noise).round(1), flush=True)


if __name__ == "__main__":
    main()
