"""Constant-energy molecular dynamics of solid argon with a KAN; the drift of the total energy."""

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.plots.dynamics import plot_md_energy
from ase_kan.plots.figures import save

argon = LennardJones(epsilon=0.0104, sigma=3.40, rc=100.0)  # eV, Angstrom
curve = PairCurve.from_calculator(argon, ("Ar", "Ar"), r_min=3.0, r_max=9.2, n=60, seed=1)
potential = fit(curve, cutoff=8.5, onset=7.0).potential

atoms = bulk("Ar", "fcc", a=5.26, cubic=True) * (3, 3, 3)
atoms.calc = KANCalculator(potential)
thermalize_momenta(atoms, temperature_K=80, rng=np.random.default_rng(0))
Stationary(atoms)
dynamics = VelocityVerlet(atoms, timestep=5 * units.fs)
time, energy = [], []


def observe() -> None:
    time.append(dynamics.get_time() / units.fs)
    energy.append(atoms.get_total_energy())


dynamics.attach(observe, interval=5)
dynamics.run(1000)
time, energy = np.array(time), np.array(energy)
slope = np.polyfit(time, energy / len(atoms), 1)[0]
print(f"{len(atoms)} atoms, {time[-1]:.0f} fs, at {atoms.get_temperature():.0f} K in the end")
print(f"drift {slope * 1000:.1e} eV per atom and ps; largest change {np.ptp(energy) / len(atoms):.1e} eV per atom")
save(plot_md_energy({"KAN": (time, energy)}, len(atoms), 80), "03_molecular_dynamics.png")
