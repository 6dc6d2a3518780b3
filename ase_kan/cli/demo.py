"""The main job, end to end: fit, attach, relax, run, and see where a bare KAN fails (``ase-kan demo``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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

from ase_kan.calculator import KANCalculator
from ase_kan.data.curve import PairCurve
from ase_kan.fit import fit
from ase_kan.plots.dynamics import plot_md_energy
from ase_kan.plots.extrapolation import plot_range
from ase_kan.plots.figures import save
from ase_kan.plots.fit import plot_fit, plot_force
from ase_kan.plots.network import plot_network
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Array

T = TypeVar("T")

EPSILON, SIGMA = 0.25, 1.0  # r^-12 - r^-6 in ASE's form 4 epsilon ((sigma/r)^12 - (sigma/r)^6)
R_MIN, R_MAX = 0.95, 2.0
#: The noisy example: its end and its gap (Angstrom), and the noise (eV), 1 % of the depth.
R_NOISY, GAP, NOISE = 2.5, (1.4, 1.65), 0.0025
#: The exhibit: so many KANs as pykan trains them, each from so many random starts of every kind.
SEEDS, STARTS = 5, 6
#: A KAN [1, 2, 1] of r trained by pykan, without core or tail. The cutoff lies far outside the data, so that what is
#: seen is the KAN itself.
BARE: dict[str, Any] = {
    "width": (1, 2, 1),
    "grid": 3,
    "k": 3,
    "feature": "r",
    "optimizer": "pykan",
    "core": None,
    "tail": None,
    "cutoff": 10.0,
}
OUTCOMES = ("at rest", "collapsed", "fused", "apart", "moving")


def lennard_jones_energy(r: Array) -> Array:
    """r^-12 - r^-6, eV and Angstrom."""
    energy: Array = r**-12.0 - r**-6.0
    return energy


def noisy_curve(seed: int) -> PairCurve:
    """40 random points on [0.95, 2.5] with noise, none of them in `GAP`; the noiseless function is its source."""
    rng = np.random.default_rng(seed)
    r = np.sort(rng.uniform(R_MIN, R_NOISY - np.ptp(GAP), 40))
    r = np.where(r < GAP[0], r, r + np.ptp(GAP))
    exact = PairCurve.from_function(lennard_jones_energy, r_min=r[0], r_max=r[-1], n=40)
    return PairCurve(r, lennard_jones_energy(r) + rng.normal(0, NOISE, len(r)), source=exact.source)


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


def outcome(start: Atoms, calculator: Calculator, r_min: float, reach: float) -> str:
    """How a relaxation ends, whatever the potential does: one of `OUTCOMES`.

    ``fused``: two atoms at one place, or energies without bound, where the calculator refuses to go on;
    ``collapsed``: two atoms closer than 0.9 `r_min`; ``apart``: an atom farther than `reach` from every other one;
    ``moving``: none of these, but forces above 1e-3 eV/Angstrom after 1000 steps.
    """
    atoms = start.copy()
    atoms.calc = calculator
    optimizer = FIRE(atoms, logfile=None)
    try:
        # Far up a wall an optimizer may need hundreds of steps with any potential.
        converged = optimizer.run(fmax=1e-3, steps=1000)
    except (ValueError, ArithmeticError):
        return "fused"
    if shortest_distance(atoms) < 0.9 * r_min:
        return "collapsed"
    distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
    if distances.min(axis=1).max() > reach:
        return "apart"
    return "at rest" if converged else "moving"


def run(output: Path, seed: int, console: Console) -> None:
    """Run the demo: print to `console`, write figures and the potential to the folder `output`."""
    output.mkdir(parents=True, exist_ok=True)
    curve = PairCurve.from_function(lennard_jones_energy, r_min=R_MIN, r_max=R_MAX, n=50, seed=seed)

    console.rule("1. Fit a KAN to 50 Lennard-Jones energies")
    console.print("reduced units, called A and eV: sigma is 1, the well of r^-12 - r^-6 is 0.25 deep", highlight=False)
    result = fit(curve, cutoff=10.0)
    potential = result.potential
    potential.save(output / "potential.kan")
    console.print(str(result), highlight=False)
    lj: Calculator = LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=30.0)
    calculators: dict[str, Calculator] = {
        "KAN": KANCalculator(potential, on_extrapolation="ignore"),
        "LennardJones": lj,
    }

    console.rule("2. Relax a dimer and a 13-atom cluster")
    table = Table("system", "calculator", "shortest bond (A)", "energy (eV)", "BFGS steps")
    relaxed = {}
    for name, start in (("dimer", dimer(1.3)), ("LJ13", cluster(1.03, 0.03, seed))):
        for label, calculator in calculators.items():
            atoms, steps = relax(start, calculator)
            relaxed[name, label] = atoms
            energy = atoms.get_potential_energy()
            table.add_row(name, label, f"{shortest_distance(atoms):.5f}", f"{energy:.5f}", str(steps))
    console.print(table)
    longest = relaxed["LJ13", "LennardJones"].get_all_distances().max()
    console.print(
        f"the data end at {potential.domain()[1]:.3f} A and the longest distance in LJ13 is {longest:.3f} A: "
        "the tail of the potential is part of this energy"
    )

    console.rule("3. Constant-energy molecular dynamics of the cluster")
    runs = {}
    table = Table("calculator", "drift (eV per atom)", "largest change (eV per atom)")
    for label, calculator in _track(list(calculators.items()), "MD", console):
        runs[label] = time, energy = run_nve(relaxed["LJ13", label], calculator, 2000, timestep=0.5, kelvin=200)
        table.add_row(label, f"{drift(time, energy, 13):.1e}", f"{np.abs(energy - energy[0]).max() / 13:.1e}")
    console.print(table)

    console.rule("4. Forty noisy points with a gap")
    noisy = noisy_curve(seed)
    rough = fit(noisy, cutoff=10.0)
    console.print(str(rough), highlight=False)
    table = Table("r (A)", "points", "error of the fit (eV)", title=f"Errors; the noise of the points is {NOISE:g} eV")
    for what, low, high in (("the points", R_MIN, R_NOISY), ("the gap", *GAP), ("beyond the points", R_NOISY, 5.0)):
        r = np.linspace(low, high, 200)
        error = float(np.sqrt(np.mean((rough.potential.energy(r) - lennard_jones_energy(r)) ** 2)))
        table.add_row(
            f"{low:g} to {high:g}, {what}", str(int(((noisy.r > low) & (noisy.r < high)).sum())), f"{error:.1e}"
        )
    console.print(table)

    console.rule("5. What a bare KAN does outside its data")
    console.print(
        f"{SEEDS} KANs \\[1, 2, 1] of r, trained by pykan on the same points, without the core and the tail "
        "of the fit above. Inside the data they are good; outside, each does something else. On another "
        "processor each is another KAN, because pykan's training amplifies the last digit.",
        highlight=False,
    )
    bare = [
        fit(curve, **BARE, seed=seed + number).potential
        for number in _track(range(SEEDS), "training bare KANs", console)
    ]
    _print_outcomes(potential, bare, seed, console)
    _print_values(potential, bare, console)

    figures = {
        "fit": plot_fit(potential, curve),
        "force": plot_force(potential, curve),
        "noisy": plot_fit(rough.potential, noisy),
        "extrapolation": plot_range(potential, lennard_jones_energy, bare=bare),
        "network": plot_network(bare[0].function().network, reduced_distances(bare[0])),
        "md_energy": plot_md_energy(runs, 13, kelvin=200),
    }
    console.rule("6. Figures")
    for name, figure in figures.items():
        save(figure, output / f"{name}.png")
        console.print(f"{output / name}.png", highlight=False, soft_wrap=True)


def reduced_distances(potential: KANPotential) -> Array:
    """What the network of a potential of r sees within its data."""
    function = potential.function()
    return np.asarray((np.linspace(*function.domain, 200) - function.x.shift) / function.x.scale)


def _track(items: Sequence[T], what: str, console: Console) -> Iterable[T]:
    """A progress bar that is gone when done."""
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)


def _print_outcomes(potential: KANPotential, bare: Sequence[KANPotential], seed: int, console: Console) -> None:
    """Count how relaxations end from random starts: inside the data, and closer than the data go."""
    rng = np.random.default_rng(seed)
    make: dict[str, Callable[[], Atoms]] = {
        "dimer, inside": lambda: dimer(rng.uniform(R_MIN, R_MAX)),
        "dimer, closer": lambda: dimer(rng.uniform(0.3, R_MIN)),
        "LJ13, inside": lambda: cluster(rng.uniform(1.0, 1.1), 0.02, int(rng.integers(2**31))),
        "LJ13, closer": lambda: cluster(rng.uniform(0.4, 0.8), 0.02, int(rng.integers(2**31))),
    }
    groups = {"default fit": [potential], f"{SEEDS} bare KANs": bare}
    heads = [f"{label} ({len(group) * STARTS} runs)" for label, group in groups.items()]
    table = Table("start", *heads, title="How relaxations end")
    r_min = potential.domain()[0]
    for name, make_one in make.items():
        starts = [make_one() for _ in range(STARTS)]
        cells = []
        for group in groups.values():
            runs = [(one, start) for one in group for start in starts]
            ends = Counter(
                outcome(start, KANCalculator(one, on_extrapolation="ignore"), r_min, 2 * R_MAX)
                for one, start in _track(runs, f"relaxing: {name}", console)
            )
            cells.append(", ".join(f"{ends[how]} {how}" for how in OUTCOMES if ends[how]))
        table.add_row(name, *cells)
    console.print(table)
    console.print(
        f"closer: starting below the data. collapsed: two atoms end closer than {0.9 * r_min:.3f} A, 0.9 of the "
        "shortest distance in the data. fused: two atoms at one place. apart: an atom leaves. moving: after 1000 "
        "steps.",
        highlight=False,
    )


def _print_values(potential: KANPotential, bare: Sequence[KANPotential], console: Console) -> None:
    table = Table("r (A)", "default fit", "LennardJones", "bare: lowest", "highest", "", title="Energy (eV)")
    r_min, r_max = potential.domain()
    for r in (0.3, 0.5, 0.7, 0.9, 1.0, 1.1225, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0):
        spread = [float(one.energy(r)) for one in bare]
        energies = [float(potential.energy(r)), float(lennard_jones_energy(np.array(r))), min(spread), max(spread)]
        # Adding zero turns a rounded -0.0 into 0.0.
        shown = (f"{round(v, 6) + 0.0:.4g}" for v in energies)
        table.add_row(f"{r:g}", *shown, "data" if r_min <= r <= r_max else "outside")
    console.print(table)
