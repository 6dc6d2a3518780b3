"""Fits to structures: speed and memory of the pass, errors on a mixture, EMT copper (docs/accuracy.md).

python docs/benchmarks/structure_fits.py [number of structures, default 10000]      about five minutes on one core
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from ase_kan import KANCalculator, Structures, fit
from ase_kan.engines.neighbors import half_list

PAIRS = {("Ne", "Ne"): (0.0031, 2.78, 7.0), ("Ne", "Xe"): (0.0057, 3.3, 8.0), ("Xe", "Xe"): (0.0192, 3.96, 9.0)}
CUTOFFS = {pair: values[2] for pair, values in PAIRS.items()}


class MixtureLJ(Calculator):
    """Lennard-Jones with a cutoff per pair: ASE's smooth switching from 0.66 of the cutoff, or its plain shift."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, smooth):
        super().__init__()
        self.smooth = smooth

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties or ["energy"], system_changes)
        a = self.atoms
        i, j, shifts = half_list(a.positions, a.cell.array, a.pbc, 9.0)
        d = a.positions[j] - a.positions[i] + shifts
        r = np.linalg.norm(d, axis=1)
        symbols = np.array(a.get_chemical_symbols())
        forces, total = np.zeros((len(a), 3)), 0.0
        for (first, second), (epsilon, sigma, rc) in PAIRS.items():
            kind = ((symbols[i] == first) & (symbols[j] == second)) | ((symbols[i] == second) & (symbols[j] == first))
            m = kind & (r < rc)
            x = r[m]
            c6 = (sigma / x) ** 6
            e, de = 4 * epsilon * (c6**2 - c6), -24 * epsilon * (2 * c6**2 - c6) / x
            if self.smooth:
                q, qc, qo = x**2, rc**2, (0.66 * rc) ** 2
                f = np.where(q < qo, 1, (qc - q) ** 2 * (qc + 2 * q - 3 * qo) / (qc - qo) ** 3)
                df = np.where(q < qo, 0, 12 * x * (qc - q) * (qo - q) / (qc - qo) ** 3)
                e, de = e * f, de * f + e * df
            else:
                e = e - 4 * epsilon * ((sigma / rc) ** 12 - (sigma / rc) ** 6)
            total += e.sum()
            pull = (de / x)[:, None] * d[m]
            np.add.at(forces, i[m], pull)
            np.add.at(forces, j[m], -pull)
        self.results = {"energy": total, "forces": forces}


def snapshots(calculator, number, seed):
    """Every tenth step of Langevin dynamics of 32 Ne-Xe atoms at 150 K, from several starts."""
    images = []
    while len(images) < number:
        rng = np.random.default_rng([seed, len(images)])
        atoms = bulk("Xe", "fcc", a=6.1, cubic=True) * (2, 2, 2)
        atoms.symbols[rng.permutation(32)[:12]] = "Ne"
        atoms.calc = calculator
        thermalize_momenta(atoms, 150, rng=rng)
        dynamics = Langevin(atoms, 4 * units.fs, temperature_K=150, friction=0.01 / units.fs, fixcm=False, rng=rng)
        dynamics.run(50)
        for _ in range(50):
            dynamics.run(10)
            copy = atoms.copy()
            copy.calc = SinglePointCalculator(copy, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
            images.append(copy)
    return images[:number]


def mixture():
    print("Ne-Xe mixture, cutoff per pair, 300 MD snapshots of 32 atoms; errors on 100 snapshots of another run\n")
    print("| reference at its cutoffs | energy RMSE (eV/atom) | force RMSE (eV/A) | time (s) |\n|---|---|---|---|")
    for smooth in (True, False):
        train, test = snapshots(MixtureLJ(smooth), 300, 0), snapshots(MixtureLJ(smooth), 100, 1)
        start = time.perf_counter()
        calculator = KANCalculator(fit(Structures(train), cutoff=CUTOFFS).potential)
        elapsed = time.perf_counter() - start
        energy, force = [], []
        for atoms in test:
            copy = atoms.copy()
            copy.calc = calculator
            energy.append((copy.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
            force.append(copy.get_forces() - atoms.get_forces())
        rms = [np.sqrt(np.mean(np.square(v))) for v in (energy, force)]
        print(f"| {'smooth' if smooth else 'plain shift'} | {rms[0]:.1e} | {rms[1]:.1e} | {elapsed:.1f} |", flush=True)


def copper():
    images = []
    for number in range(200):
        atoms = bulk("Cu", "fcc", a=3.5 + 0.02 * (number % 10), cubic=True) * (2, 2, 2)
        atoms.rattle(0.12, seed=number)
        del atoms[: number % 6]
        atoms.calc = EMT()
        forces = atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=forces)
        images.append(atoms)
    result = fit(Structures(images), cutoff=6.0)
    print(f"\nEMT copper, 200 crystals with vacancies, no pair potential:\n\n```\n{result}\n```", flush=True)


def large(number):
    """One pass over a file of 64-atom structures, read as a stream."""
    calculator = MixtureLJ(True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.extxyz"
        rng = np.random.default_rng(0)
        for begin in range(0, number, 500):
            images = []
            for _ in range(min(500, number - begin)):
                scale = rng.uniform(0.97, 1.06)
                grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3) * 3.9 * scale
                atoms = Atoms("Xe64", grid + rng.normal(0, 0.25, (64, 3)), cell=[15.6 * scale] * 3, pbc=True)
                calculator.calculate(atoms)
                atoms.calc = SinglePointCalculator(atoms, **calculator.results)
                images.append(atoms)
            write(path, images, append=begin > 0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu = time.perf_counter(), time.process_time()
        result = fit(Structures.read(path), cutoff=9.0)
        elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        in_memory = list(Structures.read(path, index=f":{min(number, 1000)}"))
        reading = (time.perf_counter() - start) / len(in_memory) * number
    print(f"\n{number} structures of 64 atoms from an extxyz file, cutoff 9 A\n\n```")
    print(f"whole fit {elapsed:.1f} s, {number * 64 / elapsed:.0f} atoms/s (CPU {cpu:.1f} s)")
    print(f"of this ASE reads the file for {reading:.1f} s")
    print(f"peak memory {peak / 1024:.0f} MB, before the fit {before / 1024:.0f} MB\n{result}\n```", flush=True)


if __name__ == "__main__":
    large(int(sys.argv[1]) if len(sys.argv) > 1 else 10000)
    mixture()
    copper()
