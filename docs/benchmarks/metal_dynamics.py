"""Energy drift of molybdenum with an embedded-atom fit, far above its melting point. About two minutes on one core.

python docs/benchmarks/metal_dynamics.py FOLDER [channels, default 1]        FOLDER as for metals.py

250 atoms at constant energy for 20 ps with steps of 1 fs, after 2 ps of equilibration at the temperature. The drift is
the slope of a line through the total energy. An atom is lost where the shortest distance falls below 1 Angstrom.
"""

import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_kan import KANCalculator, Structures, fit

folder, channels = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
train = read(folder / "mo_train.xyz", ":")
weights = {"energy": 900, "forces": 1, "virial": 0}
potential = fit(Structures(train), model="eam", cutoff=6.0, channels=channels, validation=0, weights=weights).potential
for temperature in (2000, 6000, 12000):
    rng = np.random.default_rng(0)
    atoms = bulk("Mo", cubic=True) * (5, 5, 5)
    atoms.calc = calculator = KANCalculator(potential, on_extrapolation="ignore")
    thermalize_momenta(atoms, 2 * temperature, rng=rng)
    Langevin(atoms, units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng).run(2000)
    dynamics = VelocityVerlet(atoms, units.fs)
    times, energies, shortest = [], [], np.inf
    for step in range(400):
        dynamics.run(50)
        times.append(0.05 * (step + 1))
        energies.append(atoms.get_total_energy() / len(atoms))
        shortest = min(shortest, calculator.extrapolation.shortest)
    slope, _ = np.polyfit(times, energies, 1)
    print(
        f"{temperature} K: {1e3 * slope:+.4f} meV/atom/ps, spread {1e3 * np.std(energies):.3f} meV/atom, "
        f"mean {atoms.get_temperature():.0f} K at the end, shortest distance {shortest:.2f} A "
        f"(data: {potential.domain(('Mo', 'Mo'))[0]:.2f} A)",
        flush=True,
    )
