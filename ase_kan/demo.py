"""The main job, end to end: fit, attach, relax, run, and see where a bare KAN fails (``ase-kan demo``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE
from ase.optimize.optimize import Optimizer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ase_kan import plot
from ase_kan.calculator import KANCalculator
from ase_kan.data import Array, PairCurve
from ase_kan.fitting import fit
from ase_kan.potential import KANPotential

T = TypeVar("T")

EPSILON, SIGMA = 0.25, 1.0  # the seed's 1/r^12 - 1/r^6 in ASE's 4-epsilon form
R_MIN, R_MAX = 0.95, 2.0
STARTS = 20


def lennard_jones_energy(r: Array) -> Array:
    """r^-12 - r^-6, eV and Angstrom."""
    energy: Array = r**-12.0 - r**-6.0
    return energy


def dimer(distance: float) -> Atoms:
    """Two argon atoms."""
    return Atoms("Ar2", [[0, 0, 0], [distance, 0, 0]])


def cluster(scale: float, rattle: float, seed: int) -> Atoms:
    """The 13-atom icosahedron with its shortest bond scaled from the LJ minimum's, and displaced atoms."""
    atoms: Atoms = Icosahedron("Ar", noshells=2, latticeconstant=1.0)
    shortest = atoms.get_all_distances()[np.triu_indices(13, 1)].min()
    atoms.positions *= scale * 1.0828 / shortest
    atoms.rattle(rattle, seed=seed)
    return atoms


def shortest_distance(atoms: Atoms) -> float:
    """The smallest distance between two atoms."""
    return float(atoms.get_all_distances()[np.triu_indices(len(atoms), 1)].min())


def relax(
    atoms: Atoms, calculator: Calculator, fmax: float = 1e-5, steps: int = 500, method: type[Optimizer] = BFGS
) -> tuple[Atoms, int]:
    """A relaxed copy, and the steps that it took."""
    atoms = atoms.copy()
    atoms.calc = calculator
    optimizer = method(atoms, logfile=None)
    optimizer.run(fmax=fmax, steps=steps)
    return atoms, optimizer.nsteps


def run_nve(atoms: Atoms, calculator: Calculator, steps: int, timestep: float, kelvin: float) -> tuple[Array, Array]:
    """Time (fs) and total energy (eV) along a constant-energy trajectory; the same start for any calculator."""
    atoms = atoms.copy()
    thermalize_momenta(atoms, temperature_K=kelvin, rng=np.random.default_rng(0))
    Stationary(atoms)
    ZeroRotation(atoms)
    atoms.calc = calculator
    dynamics = VelocityVerlet(atoms, timestep=timestep * units.fs)
    time, energy = [], []

    def observe() -> None:
        time.append(dynamics.get_time() / units.fs)
        energy.append(atoms.get_total_energy())

    dynamics.attach(observe, interval=10)
    dynamics.run(steps)
    return np.array(time), np.array(energy)


def drift(time: Array, energy: Array, natoms: int) -> float:
    """Slope of a line through the total energy times the length of the run, eV per atom."""
    return float(np.polyfit(time, energy, 1)[0] * (time[-1] - time[0]) / natoms)


def run(output: Path, seed: int, console: Console) -> None:
    """Run the demo: print to `console`, write figures and the potential to the folder `output`."""
    output.mkdir(parents=True, exist_ok=True)
    curve = PairCurve.from_function(lennard_jones_energy, r_min=R_MIN, r_max=R_MAX, n=50, seed=seed)

    console.rule("1. Fit a KAN \\[1, 2, 1] to 50 Lennard-Jones energies")
    # A cutoff far outside the data, so that step 4 sees the KAN itself and not the cutoff.
    recipe: dict[str, Any] = {"width": (1, 2, 1), "grid": 3, "k": 3, "feature": "r", "optimizer": "pykan"}
    bare: dict[str, Any] = {"core": None, "tail": None, "cutoff": 10.0}
    result = fit(curve, **recipe, **bare, seed=seed, progress=True)
    potential = result.potential
    potential.save(output / "potential.kan")
    console.print(str(result), highlight=False)
    lj: Calculator = LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=30.0)

    console.rule("2. Relax a dimer and a 13-atom cluster")
    table = Table("system", "calculator", "shortest bond (A)", "energy (eV)", "BFGS steps")
    relaxed = {}
    for name, start in (("dimer", dimer(1.3)), ("LJ13", cluster(1.03, 0.03, seed))):
        for label, calculator in (("KAN", KANCalculator(potential, on_extrapolation="ignore")), ("LennardJones", lj)):
            atoms, steps = relax(start, calculator)
            relaxed[name, label] = atoms
            energy = atoms.get_potential_energy()
            table.add_row(name, label, f"{shortest_distance(atoms):.5f}", f"{energy:.5f}", str(steps))
    console.print(table)
    longest = relaxed["LJ13", "LennardJones"].get_all_distances().max()
    console.print(f"the data end at {potential.domain()[1]:.3f} A; the longest distance in LJ13 is {longest:.3f} A")

    console.rule("3. Constant-energy molecular dynamics of the cluster")
    runs = {}
    table = Table("calculator", "drift (eV per atom)", "largest change (eV per atom)")
    for label, calculator in _track(
        [("KAN", KANCalculator(potential, on_extrapolation="ignore")), ("LennardJones", lj)], "MD", console
    ):
        runs[label] = time, energy = run_nve(relaxed["LJ13", label], calculator, 2000, timestep=0.5, kelvin=200)
        table.add_row(label, f"{drift(time, energy, 13):.1e}", f"{np.abs(energy - energy[0]).max() / 13:.1e}")
    console.print(table)

    console.rule("4. Outside the training range")
    # The default fit goes on as a repulsive core below the data and as a tail beyond them.
    both = {"bare KAN": potential, "default fit": fit(curve, cutoff=10.0).potential}
    _print_failures(both, seed, console)
    _print_values(both, console)

    figures = {
        "fit": plot.plot_fit(potential, curve),
        "force": plot.plot_force(potential, curve),
        "extrapolation": plot.plot_range(potential, lennard_jones_energy),
        "edges": plot.plot_edges(potential.function().network, np.linspace(*potential.domain(), 200)),
        "md_energy": plot.plot_md_energy(runs, 13),
    }
    console.rule("5. Figures")
    for name, figure in figures.items():
        plot.save(figure, output / f"{name}.png")
        console.print(f"{output / name}.png", highlight=False, soft_wrap=True)


def _track(items: Sequence[T], what: str, console: Console) -> Iterable[T]:
    """A progress bar that is gone when done."""
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)


def _print_failures(potentials: Mapping[str, KANPotential], seed: int, console: Console) -> None:
    """Count, over relaxations from random starts, those that end with atoms closer than the data go."""
    rng = np.random.default_rng(seed)
    make: dict[str, Callable[[], Atoms]] = {
        "dimer, inside": lambda: dimer(rng.uniform(R_MIN, R_MAX)),
        "dimer, below": lambda: dimer(rng.uniform(0.3, R_MIN)),
        "LJ13, inside": lambda: cluster(rng.uniform(1.0, 1.1), 0.02, int(rng.integers(2**31))),
        "LJ13, below": lambda: cluster(rng.uniform(0.4, 0.8), 0.02, int(rng.integers(2**31))),
    }
    starts = {name: [make_one() for _ in range(STARTS)] for name, make_one in make.items()}
    columns = [f"{label}: {what}" for label in potentials for what in ("collapsed", "shortest (A)")]
    table = Table("start", *columns, title=f"{STARTS} random starts each")
    r_min = next(iter(potentials.values())).domain()[0]
    for name, systems in starts.items():
        row = []
        for potential in potentials.values():
            calculator = KANCalculator(potential, on_extrapolation="ignore")
            ends = [
                # Far up the wall BFGS may need hundreds of steps with any potential.
                shortest_distance(relax(atoms, calculator, fmax=1e-3, steps=1000, method=FIRE)[0])
                for atoms in _track(systems, f"relaxing: {name}", console)
            ]
            row += [f"{sum(end < 0.9 * r_min for end in ends)} of {STARTS}", f"{min(ends):.3f} to {max(ends):.3f}"]
        table.add_row(name, *row)
    console.print(table)
    console.print(f"collapsed: two atoms end closer than {0.9 * r_min:.3f} A, 0.9 of the smallest distance in the data")


def _print_values(potentials: Mapping[str, KANPotential], console: Console) -> None:
    table = Table("r (A)", *potentials, "Lennard-Jones", "", title="Energy (eV)")
    r_min, r_max = next(iter(potentials.values())).domain()
    for r in (0.3, 0.5, 0.7, 0.9, 1.0, 1.1225, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0):
        where = "" if r_min <= r <= r_max else "extrapolated"
        energies = [*(p.energy(r) for p in potentials.values()), lennard_jones_energy(np.array(r))]
        table.add_row(f"{r:g}", *(f"{v:.4g}" for v in energies), where)
    console.print(table)
