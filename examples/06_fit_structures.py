"""Fit to structures: snapshots of molecular dynamics with energies and forces, in one streaming pass."""

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from ase_kan import KANCalculator, Structures, fit
from ase_kan.plots.figures import save
from ase_kan.plots.fit import plot_parity

# Argon-like atoms at 60 K; the reference could be any ASE calculator, or a file: Structures.read("train.extxyz").
rng = np.random.default_rng(0)
atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)
atoms.calc = LennardJones(epsilon=0.0104, sigma=3.4, rc=8.0, smooth=True)
thermalize_momenta(atoms, 60, rng=rng)
dynamics = Langevin(atoms, 4 * units.fs, temperature_K=60, friction=0.01 / units.fs, fixcm=False, rng=rng)
snapshots = []
for _ in range(60):
    dynamics.run(10)
    snapshot = atoms.copy()
    snapshot.calc = SinglePointCalculator(
        snapshot, energy=atoms.get_potential_energy(), forces=atoms.get_forces(), stress=atoms.get_stress()
    )
    snapshots.append(snapshot)

result = fit(Structures(snapshots[:50]), cutoff=8.0)
print(result)

calculator = KANCalculator(result.potential)
energies, forces = ([], []), ([], [])
for snapshot in snapshots[50:]:
    copy = snapshot.copy()
    copy.calc = calculator
    for side, who in enumerate((snapshot, copy)):
        energies[side].append(who.get_potential_energy() / len(who))
        forces[side].append(who.get_forces().ravel())
figure = plot_parity(tuple(map(np.array, energies)), tuple(map(np.concatenate, forces)))
save(figure, "06_fit_structures.png")
