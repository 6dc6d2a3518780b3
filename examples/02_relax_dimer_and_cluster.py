"""Relax a dimer and a 13-atom cluster with a KAN and with ASE's LennardJones.

Reduced units: sigma is 1, the well of r^-12 - r^-6 is 1/4 deep. ASE calls them Angstrom and eV, and wants atoms to
have a name.
"""

import numpy as np
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.optimize import BFGS
from matplotlib.figure import Figure

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.plots.figures import save

lj = LennardJones(epsilon=0.25, sigma=1.0, rc=30.0)
curve = PairCurve.from_calculator(lj, ("Ar", "Ar"), r_min=0.9, r_max=2.5, n=60, seed=2)
kan = KANCalculator(fit(curve).potential)

cluster = Icosahedron("Ar", noshells=2, latticeconstant=1.6)
cluster.rattle(0.03, seed=0)
starts = {"dimer": Atoms("Ar2", [[0, 0, 0], [1.2, 0, 0]]), "LJ13": cluster}

figure = Figure(figsize=(6.4, 4), layout="constrained")
axes = figure.subplots()
for name, start in starts.items():
    for label, calculator in (("KAN", kan), ("LennardJones", lj)):
        atoms = start.copy()
        atoms.calc = calculator
        energies = []
        optimizer = BFGS(atoms, logfile=None)
        for _ in optimizer.irun(fmax=1e-4, steps=300):
            energies.append(atoms.get_potential_energy() / len(atoms))
        bond = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)].min()
        energy = atoms.get_potential_energy()
        print(f"{name:5s} {label:12s} bond {bond:.5f} A   energy {energy:.5f} eV   {optimizer.nsteps} steps")
        axes.plot(energies, "-" if label == "KAN" else "--", marker=".", label=f"{name}, {label}")
axes.set(xlabel="BFGS step", ylabel="energy (eV per atom)", title="Relaxation")
axes.legend()
save(figure, "02_relax_dimer_and_cluster.png")
