"""Like with like: a KAN with ASE's plain energy shift beside LennardJones with the same cutoff: solid argon."""

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from matplotlib.figure import Figure

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.plots.figures import save

EPSILON, SIGMA, CUTOFF = 0.0104, 3.40, 8.5  # eV, Angstrom
# The curve to fit is the one without a cutoff; both calculators then shift it to zero at the same distance.
whole = LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=100.0)
curve = PairCurve.from_calculator(whole, ("Ar", "Ar"), r_min=3.0, r_max=9.2, n=60, seed=1)
kan = KANCalculator(fit(curve, cutoff=CUTOFF, smooth=False).potential)
lj = LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF)

lattice = np.linspace(4.95, 5.95, 16)
energies, pressures, largest = {"KAN": [], "LJ": []}, {"KAN": [], "LJ": []}, []
for a in lattice:
    atoms = bulk("Ar", "fcc", a=a, cubic=True) * (2, 2, 2)
    atoms.rattle(0.02, seed=0)
    forces = []
    for label, calculator in (("KAN", kan), ("LJ", lj)):
        atoms.calc = calculator
        energies[label].append(atoms.get_potential_energy() / len(atoms))
        pressures[label].append(-atoms.get_stress()[:3].mean() / units.GPa)
        forces.append(atoms.get_forces())
    largest.append(np.abs(forces[0] - forces[1]).max())
    print(f"a = {a:.2f} A   KAN {energies['KAN'][-1]:9.5f}   LJ {energies['LJ'][-1]:9.5f} eV per atom   "
          f"largest force difference {largest[-1]:.1e} eV/A")  # fmt: skip

figure = Figure(figsize=(9, 3.6), layout="constrained")
left, right = figure.subplots(1, 2)
for label, style in (("LJ", "k-"), ("KAN", "r.")):
    left.plot(lattice, energies[label], style, label=label)
    right.plot(lattice, pressures[label], style, label=label)
left.set(xlabel="lattice constant (Å)", ylabel="energy (eV per atom)", title="fcc crystal, displaced atoms")
right.set(xlabel="lattice constant (Å)", ylabel="pressure (GPa)")
left.legend()
save(figure, "05_compare_with_ase_lj.png")
