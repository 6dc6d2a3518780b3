"""A metal: an embedded-atom potential beside the pair potential, for copper with vacancies, surfaces and strain."""

import numpy as np
from ase.build import bulk, fcc100, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, Structures, fit
from ase_kan.plots.eam import plot_functions
from ase_kan.plots.figures import save

# The reference is ASE's effective medium theory; it could be DFT data: Structures.read("train.extxyz").
rng = np.random.default_rng(0)
crystal = bulk("Cu", a=3.6, cubic=True) * (2, 2, 2)
vacancy = crystal.copy()
del vacancy[0]
kinds = {
    "crystal": crystal,
    "vacancy": vacancy,
    "surface 100": fcc100("Cu", (2, 2, 6), a=3.6, vacuum=7),
    "surface 111": fcc111("Cu", (2, 2, 6), a=3.6, vacuum=7),
}


def structure(kind):
    """Strained and rattled, with the energy and forces of the reference."""
    atoms = kinds[kind].copy()
    atoms.set_cell(atoms.cell * rng.uniform(0.95, 1.06), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.12, atoms.positions.shape)
    atoms.calc = EMT()
    labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    atoms.info["kind"] = kind
    return atoms


train = [structure(kind) for kind in kinds for _ in range(12)]
test = [structure(kind) for kind in kinds for _ in range(4)]

# EMT interacts up to 5.9 Angstrom; the fit's cutoff must reach as far.
result = fit(Structures(train, group_key="kind"), model="eam", cutoff=5.9)
print(result)

print("\nstructures that neither has seen, root-mean-square errors:")
for name, potential in (("pair potential", result.pair.potential), ("embedded atom", result.potential)):
    calculator = KANCalculator(potential, on_extrapolation="ignore")
    energies, forces = [], []
    for atoms in test:
        copy = atoms.copy()
        copy.calc = calculator
        energies.append((copy.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
        forces.append((copy.get_forces() - atoms.get_forces()).ravel())
    e, f = np.sqrt(np.mean(np.square(energies))), np.sqrt(np.mean(np.concatenate(forces) ** 2))
    print(f"{name}: {1e3 * e:8.3f} meV/atom {1e3 * f:8.2f} meV/A")

result.potential.save("cu.kan")
save(plot_functions(result.potential), "08_metal.png")
