"""Fits to structures whose distances have gaps, under noise (docs/accuracy.md). About three minutes on one core.

python docs/benchmarks/gaps.py [number of seeds, default 20] [extxyz file of a metal: its first five frames are fitted]

The printed gaps are those between the first shells of neighbors. "Peak" is the largest |phi| there over the largest at
both ends of the gap. A file of a metal is fitted with and without its stresses too, and errors are those of held-out
structures.
"""

import sys
import warnings
from itertools import islice

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import iread
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from ase_kan import KANCalculator, Structures, fit
from ase_kan.engines.guard import ExtrapolationError
from ase_kan.engines.neighbors import half_list

CUTOFF = 6.0
#: Between the first and the second, and the second and the third shell of fcc copper.
GAPS = ((2.8, 3.35), (3.85, 4.2))


def morse(r):
    """Copper of L. A. Girifalco, V. G. Weizer, Phys. Rev. 114, 687 (1959), switched off from 4.8 A."""
    x = np.exp(-1.3588 * (r - 2.866))
    e, de = 0.3429 * (x * x - 2 * x), -2 * 1.3588 * 0.3429 * (x * x - x)
    u = np.clip((r - 4.8) / 1.2, 0, 1)
    s, ds = 1 - u**3 * (10 - 15 * u + 6 * u * u), -30 * u**2 * (1 - u) ** 2 / 1.2
    return e * s, de * s + e * ds


def crystals(seed, number, displacement, noise):
    """Crystals of 32 atoms with energies, and forces with noise."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(number):
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


def peak(potential, low, high):
    """Largest |phi| in a gap over that at its ends, and its largest error, eV."""
    r = np.linspace(low, high, 200)
    energy = potential.energy(r)
    return np.abs(energy).max() / np.abs(energy[[0, -1]]).max(), np.abs(energy - morse(r)[0]).max()


def cold_crystals(seeds):
    print("fcc copper, exact pair potential, displacements 0.03 A, noise of the forces 0.01 eV/A; median / worst\n")
    print("| structures | gap (A) | peak | error in the gap (eV) | force RMSE / noise | gap known |")
    print("|---|---|---|---|---|---|")
    for number in (2, 3, 10):
        fits = [fit(Structures(crystals(seed, number, 0.03, 0.01)), cutoff=CUTOFF) for seed in range(seeds)]
        rmse = np.array([result.train_force_rmse for result in fits]) / 0.01
        for low, high in GAPS:
            peaks, errors = np.transpose([peak(result.potential, low, high) for result in fits])
            known = np.mean([any(a < high and b > low for a, b in result.potential.gaps()) for result in fits])
            print(
                f"| {number} | {low} to {high} | {np.median(peaks):.2f} / {peaks.max():.2f} | "
                f"{np.median(errors):.2f} / {errors.max():.2f} | {np.median(rmse):.2f} | {known:.0%} |",
                flush=True,
            )


def hot(name, images, cutoff, temperature=1500.0):
    """0.4 ps of Langevin dynamics, far hotter than the data."""
    potential = fit(Structures(images), cutoff=cutoff).potential
    for mode in ("ignore", "raise"):
        rng = np.random.default_rng(0)
        atoms = images[0].copy()
        atoms.calc = KANCalculator(potential, on_extrapolation=mode)
        thermalize_momenta(atoms, temperature, rng=rng)
        dynamics = Langevin(atoms, units.fs, temperature_K=temperature, friction=0.01 / units.fs, fixcm=False, rng=rng)
        hottest, inside = 0.0, []
        try:
            for _ in range(400):
                dynamics.run(1)
                hottest = max(hottest, atoms.get_temperature())
                inside.append(atoms.calc.extrapolation.inside_gaps)
        except ExtrapolationError as error:
            print(f"{name}, on_extrapolation='raise', step {len(inside)}: {error}")
            continue
        print(f"{name}: at most {hottest:.0f} K, {np.mean(inside):.0f} pairs in gaps per step (of {potential.gaps()})")


def metal(path):
    """Five frames, and what the weights do for all of them."""
    frames = list(islice(iread(path), 5))
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
    hot(path, frames, 5.5)
    print("\n| weights | energy RMSE (meV/atom) | force RMSE (eV/A) |\n|---|---|---|")
    for name, weights in (("1, 1, 1", (1, 1, 1)), ("default", None), ('{"virial": 0}', {"virial": 0})):
        result = fit(Structures.read(path), cutoff=6.5, weights=weights)
        print(f"| {name} | {1e3 * result.energy_rmse:.1f} | {result.force_rmse:.3f} |", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    cold_crystals(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print("\nThree of these crystals, molecular dynamics at 1500 K")
    hot("copper", crystals(0, 3, 0.03, 0.01), CUTOFF)
    if len(sys.argv) > 2:
        metal(sys.argv[2])
