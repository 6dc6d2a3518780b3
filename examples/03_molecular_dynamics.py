"""Constant-energy molecular dynamics of a periodic crystal with a KAN; the drift of the total energy."""

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.plots.dynamics import plot_md_energy
from ase_kan.plots.figures import save

curve = PairCurve.from_function(lambda r: r**-12.0 - r**-6.0, r_min=0.95, r_max=2.6, n=60, seed=1)
potential = fit(curve, cutoff=2.5, onset=2.0).potential

atoms = bulk("Ar", "fcc", a=1.55, cubic=True) * (3, 3, 3)
atoms.calc = KANCalculator(potential)
thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
Stationary(atoms)
dynamics = VelocityVerlet(atoms, timestep=0.5 * units.fs)
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
save(plot_md_energy({"KAN": (time, energy)}, len(atoms), 300), "03_molecular_dynamics.png")
