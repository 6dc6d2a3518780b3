"""Many small clusters: one `evaluate_batch` against a `KANCalculator` call each; the table of docs/exports.md.

python docs/benchmarks/batches.py [--device cpu] [--systems 1000]

Paired rounds (A B C A B C ...), medians.
"""

import argparse
import time
from statistics import median

import numpy as np
import torch
from ase.cluster import Icosahedron

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.engines.batch import evaluate_batch


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--systems", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    curve = PairCurve.from_function(lambda r: 4 * (r**-12.0 - r**-6.0), r_min=0.8, r_max=2.6)
    potential = fit(curve, cutoff=2.5).potential
    systems = []
    for seed in range(args.systems):
        atoms = Icosahedron("Ar", noshells=2, latticeconstant=1.58)
        atoms.rattle(0.05, seed=seed)
        systems.append(atoms)

    def one_by_one(engine):
        calculator = KANCalculator(potential, engine=engine, on_extrapolation="ignore")
        return np.array([calculator.get_potential_energy(atoms) for atoms in systems])  # forces are made as well

    def batch(dtype):
        return evaluate_batch(potential, systems, device=args.device, dtype=dtype).energies

    contenders = {
        "one KANCalculator call each, autograd": lambda: one_by_one("autograd"),
        "one KANCalculator call each, compiled": lambda: one_by_one("compiled"),
        f"evaluate_batch, float64, {args.device}": lambda: batch(torch.float64),
        f"evaluate_batch, float32, {args.device}": lambda: batch(torch.float32),
    }
    reference = one_by_one("autograd")
    times = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            energies = run()
            times[name].append(time.perf_counter() - start)
            assert np.abs(energies - reference).max() < 1e-4
    slowest = median(next(iter(times.values())))
    print(f"| {args.systems} clusters of 13 atoms | ms | times as fast |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {1e3 * median(seconds):.1f} | {slowest / median(seconds):.1f} |")


if __name__ == "__main__":
    main()
