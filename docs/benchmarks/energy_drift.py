"""Energy conservation of `ase_kan.dynamics.VelocityVerlet`: 500 argon atoms, 100,000 steps of 2 fs, NVE at about 90 K.

python docs/benchmarks/energy_drift.py [--steps 100000]

The drift is the slope of a line through the total energy, times the length of the run.
"""

import argparse

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.dynamics import VelocityVerlet


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100_000)
    steps = parser.parse_args().steps
    curve = PairCurve.from_function(
        lambda r: 4 * 0.0104 * ((3.4 / r) ** 12 - (3.4 / r) ** 6), r_min=2.7, r_max=9.0, n=200
    )
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (5, 5, 5)
    thermalize_momenta(atoms, 180, rng=np.random.default_rng(0))
    Stationary(atoms)
    atoms.calc = KANCalculator(fit(curve, cutoff=8.5).potential, engine="compiled")
    energies, temperatures = [], []

    def observe():
        energies.append(atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())

    dynamics = VelocityVerlet(atoms, 2 * units.fs)
    dynamics.attach(observe, interval=20)
    dynamics.run(steps)
    e = np.array(energies)
    slope = np.polyfit(np.arange(len(e)), e, 1)[0]
    print(f"{len(atoms)} atoms, {steps} steps, mean temperature {np.mean(temperatures):.0f} K")
    print(f"drift {slope * len(e):.1e} eV per atom, fluctuation {np.std(e):.1e} eV per atom")


if __name__ == "__main__":
    main()
