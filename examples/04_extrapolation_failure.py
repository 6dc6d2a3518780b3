"""A bare KAN outside its data: atoms that come closer than the data fall in."""

import numpy as np
from ase import Atoms
from ase.optimize import BFGS

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.plot import plot_range, save


def lennard_jones(r):
    return r**-12.0 - r**-6.0


curve = PairCurve.from_function(lennard_jones, r_min=0.95, r_max=2.0, n=50, seed=5)
# The recipe of 2024: pykan's own training on r itself.
result = fit(curve, width=(1, 2, 1), grid=3, k=3, feature="r", optimizer="pykan", seed=5, cutoff=10.0)
potential = result.potential
r_min, r_max = potential.domain()
print(f"the data cover {r_min:.3f} to {r_max:.3f} A")

for r in (0.3, 0.5, 0.7, 0.9, 1.1225, 3.0, 5.0):
    print(f"r = {r:6.4f} A   KAN {potential.energy(r):9.4f} eV   Lennard-Jones {lennard_jones(r):12.4f} eV")

for start in np.linspace(0.3, 1.9, 9):
    atoms = Atoms("Ar2", [[0, 0, 0], [start, 0, 0]], calculator=KANCalculator(potential))
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=200)
    end = atoms.get_distance(0, 1)
    print(f"dimer from {start:.2f} A relaxes to {end:.3f} A   {'collapsed' if end < 0.9 * r_min else ''}")
save(plot_range(potential, lennard_jones), "04_extrapolation_failure.png")
