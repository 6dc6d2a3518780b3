"""Bare KANs against the same with core and tail, outside the data: the tables of docs/extrapolation.md.

    python docs/benchmarks/extrapolation.py [values] [starts] [clusters] [md] [--seeds 20]

`values`: energies far outside the data. `starts`: relaxations of random dimers, LJ13 and LJ38. `clusters`: global
minima against the Cambridge Cluster Database. `md`: hot molecular dynamics. Without a name, all
four. Everything is in units of r^-12 - r^-6 (epsilon = 1/4, sigma = 1).
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron, Octahedron
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.engines.guard import ExtrapolationWarning

REFERENCE = Path(__file__).parents[2] / "tests" / "files" / "lj_clusters_ccd.csv"
EPSILON = 0.25
BARE = {"core": None, "tail": None}
PYKAN = {"width": (1, 2, 1), "grid": 3, "k": 3, "feature": "r", "optimizer": "pykan"}


def lennard_jones(r):
    return r**-12.0 - r**-6.0


def curve(r_min, r_max, n=50, seed=0):
    return PairCurve.from_function(lennard_jones, r_min=r_min, r_max=r_max, n=n, seed=seed)


def values(seeds):
    def clean(seed):
        return curve(0.95, 2.0, seed=seed)

    def noisy(seed):
        r = np.sort(np.random.default_rng(seed).uniform(0.95, 2.0, 50))
        return PairCurve(r, lennard_jones(r) + np.random.default_rng(seed + 1000).normal(0, 1e-3, 50))

    recipes = {
        "default fit": ({}, clean),
        "[1, 2, 1], Levenberg-Marquardt": ({"width": (1, 2, 1)}, clean),
        "[1, 2, 1], pykan": (PYKAN, clean),
        "the same, bare": (PYKAN | BARE, clean),
        "default fit, noise of 1e-3 eV": ({}, noisy),
    }
    print("| potential of [0.95, 2.0] | energy / Lennard-Jones at r = 0.5 | at r = 5 |\n|---|---|---|")
    for name, (keywords, data) in recipes.items():
        r = np.array([0.5, 5.0])
        ratios = np.array(
            [
                fit(data(seed=seed), **keywords, seed=seed, cutoff=10.0).potential.energy(r) / lennard_jones(r)
                for seed in range(seeds)
            ]
        )
        low, middle, high = np.quantile(ratios, [0, 0.5, 1], axis=0)
        columns = [f"{m:.3g} ({a:.3g} to {b:.3g})" for m, a, b in zip(middle, low, high, strict=True)]
        print(f"| {name} | {' | '.join(columns)} |", flush=True)


def random_cluster(n, rng, closest=0.3):
    """Atoms at random in a sphere of about the density of the solid, none closer than `closest`."""
    radius = 0.62 * n ** (1 / 3)
    positions = []
    while len(positions) < n:
        p = rng.uniform(-radius, radius, 3)
        if np.linalg.norm(p) < radius and all(np.linalg.norm(p - q) > closest for q in positions):
            positions.append(p)
    return Atoms(f"Ar{n}", positions)


def random_dimer(rng):
    return Atoms("Ar2", [[0, 0, 0], [rng.uniform(0.2, 3.0), 0, 0]])


def distances(atoms):
    return atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]


def in_one_piece(atoms, link=2.0):
    """Whether every atom can be reached through steps shorter than `link`."""
    near = atoms.get_all_distances() < link
    seen = np.zeros(len(atoms), dtype=bool)
    front = [0]
    while front:
        i = front.pop()
        if not seen[i]:
            seen[i] = True
            front += list(np.flatnonzero(near[i] & ~seen))
    return bool(seen.all())


def ends(make, calculators, starts, optimizer, fmax):
    """(energy, shortest distance, in one piece) after relaxations from random starts."""
    rows = []
    for number in range(starts):
        rng = np.random.default_rng(number)
        atoms = make(rng)
        atoms.calc = calculators[number % len(calculators)]
        try:
            optimizer(atoms, logfile=None).run(fmax=fmax, steps=1000)
            rows.append((atoms.get_potential_energy() / EPSILON, distances(atoms).min(), in_one_piece(atoms)))
        except (ValueError, FloatingPointError, np.linalg.LinAlgError):
            rows.append((-np.inf, 0.0, False))  # atoms on top of each other: exploded
    return np.array(rows, dtype=float)


def random_starts(seeds):
    sets = [curve(0.95, 2.0, seed=seed) for seed in range(seeds)]
    recipes = {
        "Lennard-Jones itself (ASE's)": None,
        "bare [1, 2, 1], pykan": PYKAN | BARE,
        "the same with core and tail": PYKAN,
        "bare default fit": BARE,
        "default fit with core and tail": {},
    }
    print("| potential | system | starts | optimizer | collapsed | in pieces | too deep | icosahedra: number, error |")
    print("|---|---|---|---|---|---|---|---|")
    cases = (
        # Some tails are so steep that a dimer which starts at 3 feels a force of 1e-5 only.
        ("dimer", random_dimer, 1000, BFGS, 1e-6, -1.0),
        ("LJ13", lambda rng: random_cluster(13, rng), 1000, FIRE, 1e-3, -44.326801),
        ("LJ38", lambda rng: random_cluster(38, rng), 1000, FIRE, 1e-3, -173.928427),
    )
    for name, keywords in recipes.items():
        calculators = [
            LennardJones(sigma=1.0, epsilon=EPSILON, rc=10.0)
            if keywords is None
            else KANCalculator(fit(c, **keywords, seed=n, cutoff=10.0).potential, on_extrapolation="ignore")
            for n, c in enumerate(sets)
        ]
        for system, make, starts, optimizer, fmax, minimum in cases:
            if "bare" in name and system != "dimer":
                starts //= 5  # collapsed clusters are slow
            energy, shortest, whole = ends(make, calculators, starts, optimizer, fmax).T
            ico = np.abs(energy - minimum) < 0.5 if system == "LJ13" else np.zeros(1, dtype=bool)
            error = f"{ico.sum()}, {np.abs(energy[ico] - minimum).max():.1e} epsilon" if ico.any() else ""
            print(
                f"| {name} | {system} | {starts} | {optimizer.__name__} | {np.mean(shortest < 0.9):.1%} | "
                f"{1 - whole.mean():.1%} | {np.mean(energy < minimum * 1.001):.1%} | {error} |",
                flush=True,
            )


def basin_hop(n, calculator, known, rng, hops=1000):
    """The lowest minimum found; stops at the known energy."""
    best = None
    atoms = random_cluster(n, rng, closest=0.8)
    atoms.calc = calculator
    current = None
    for _ in range(hops):
        trial = atoms.copy()
        if current is not None:
            trial.positions += rng.uniform(-0.4, 0.4, (n, 3))
            # Take the worst-bound atom to a random place of the surface: what traps small clusters.
            if rng.random() < 0.3:
                trial.calc = calculator
                worst = trial.get_potential_energies().argmax()
                d = rng.normal(size=3)
                centre = trial.positions.mean(0)
                trial.positions[worst] = (
                    centre + d / np.linalg.norm(d) * np.linalg.norm(trial.positions - centre, axis=1).max()
                )
        trial.calc = calculator
        FIRE(trial, logfile=None).run(fmax=0.02, steps=300)
        energy = trial.get_potential_energy()
        if current is None or energy < current + rng.exponential(0.2):
            atoms, current = trial, energy
        if best is None or energy < best.get_potential_energy():
            best = trial
        if best.get_potential_energy() / EPSILON < known * (1 - 5e-5):
            break
    BFGS(best, logfile=None).run(fmax=1e-5, steps=500)
    return best


def clusters(seeds):
    known = {
        int(n): float(e)
        for n, e in (line.split(",") for line in REFERENCE.read_text().splitlines() if line[0].isdigit())
    }
    good = fit(curve(0.9, 6.0, n=400), cutoff=20.0).potential
    poor = fit(curve(0.95, 2.0), cutoff=20.0).potential
    default = fit(curve(0.95, 2.0)).potential
    print(f"\ntail: {poor.function().tail.describe()}; default cutoff {default.cutoff:.3f}")
    print(
        "| N | reference | [0.9, 6.0] | [0.95, 2.0], cutoff 20 | [0.95, 2.0], default cutoff |\n|---|---|---|---|---|"
    )
    worst = np.zeros(3)
    for n, reference in known.items():
        if n > 20 and n not in (38, 55):
            continue
        calculators = [KANCalculator(p, on_extrapolation="ignore") for p in (good, poor, default)]
        if n in (13, 55):
            atoms = Icosahedron("Ar", noshells=2 if n == 13 else 3, latticeconstant=1.6)
        elif n == 38:
            atoms = Octahedron("Ar", 4, cutoff=1, latticeconstant=1.56)
        elif n == 2:
            atoms = Atoms("Ar2", [[0, 0, 0], [1.2, 0, 0]])
        else:
            atoms = basin_hop(n, calculators[0], reference, np.random.default_rng(n))
        errors = []
        for calculator in calculators:
            relaxed = atoms.copy()
            relaxed.calc = calculator
            BFGS(relaxed, logfile=None).run(fmax=1e-6, steps=500)
            errors.append(relaxed.get_potential_energy() / EPSILON / reference - 1)
        worst = np.maximum(worst, np.abs(errors))
        print(f"| {n} | {reference} | {errors[0]:.1e} | {errors[1]:.1e} | {errors[2]:.1e} |", flush=True)
    print(f"| worst | | {worst[0]:.1e} | {worst[1]:.1e} | {worst[2]:.1e} |")


def hot_md(seeds):
    print(
        "\n| run | dynamics | mean T* | drift of the total energy (epsilon per atom) | shortest distance | "
        "extrapolating pairs per step |"
    )
    print("|---|---|---|---|---|---|")
    # Mass of argon, energies in eV, distances in Angstrom: the unit of time is sigma sqrt(m / epsilon).
    tau = np.sqrt(39.948 / EPSILON)
    for run in range(seeds):
        potential = fit(curve(0.95, 2.0, seed=run), cutoff=2.5).potential
        rng = np.random.default_rng(run)
        atoms = bulk("Ar", "fcc", a=(4 / 0.8442) ** (1 / 3), cubic=True) * (3, 3, 3)
        atoms.set_masses([39.948] * 108)
        atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
        kelvin = 5 * EPSILON / units.kB
        # Twice: half of it goes into potential energy as the crystal melts.
        thermalize_momenta(atoms, 2 * kelvin, rng=rng)
        Stationary(atoms)
        nve = run % 2 == 0
        step = 0.001 * tau
        if nve:
            dynamics = VelocityVerlet(atoms, step)
        else:
            dynamics = Langevin(atoms, step, temperature_K=kelvin, friction=1 / tau, fixcm=False, rng=rng)
        energies, temperatures, below, above, shortest = [], [], [], [], []

        def observe(atoms=atoms, rows=(energies, temperatures, below, above, shortest)):
            found = atoms.calc.extrapolation
            values = (atoms.get_total_energy(), atoms.get_temperature(), found.below, found.above, found.shortest)
            for row, value in zip(rows, values, strict=True):
                row.append(value)

        dynamics.attach(observe)
        dynamics.run(20_000)
        e = np.array(energies) / EPSILON / 108
        assert np.isfinite(e).all()
        drift = f"{np.polyfit(np.arange(len(e)), e, 1)[0] * len(e):.1e}" if nve else ""
        print(
            f"| {run} | {'NVE' if nve else 'Langevin'} | {np.mean(temperatures) * units.kB / EPSILON:.2f} | {drift} | "
            f"{min(shortest):.3f} | {np.mean(below):.2f} closer, {np.mean(above):.0f} farther |",
            flush=True,
        )


if __name__ == "__main__":
    parts = {"values": values, "starts": random_starts, "clusters": clusters, "md": hot_md}
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ExtrapolationWarning)
    for part in args.parts or parts:
        parts[part](args.seeds)
