"""Molecular dynamics that asks for help: where distances leave the data, the reference is asked, and the fit goes on.

Argon from a cold crystal into the melt. The potential starts from three snapshots of the crystal. Whenever an atom's
grade passes 1.5 (half way from the edge of the data to where one should take care), the reference calculator is asked
for that structure alone; its rows are added to the stored equations, which are solved again. No old structure is kept.
The same number of structures drawn at random from the trajectory of the reference is fitted for comparison.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from matplotlib.figure import Figure

from ase_kan import KANCalculator, Structures, fit
from ase_kan.plots.figures import save

CUTOFF, LIMIT, STEPS, EVERY = 8.0, 1.5, 3000, 10
TEMPERATURES = np.linspace(20, 200, STEPS // EVERY)  # K


def reference():
    return LennardJones(epsilon=0.0104, sigma=3.4, rc=CUTOFF, smooth=True)


def labeled(atoms):
    """A copy with what the reference says of it."""
    copy = atoms.copy()
    copy.calc = reference()
    results = {"energy": copy.get_potential_energy(), "forces": copy.get_forces()}
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def learn(structures, checkpoint, extend):
    keywords = {"elements": ["Ar"], "start": 2.2, "grid": 30, "validation": 0.0, "weights": (1.0, 1.0, 0.0)}
    return fit(Structures(structures), cutoff=CUTOFF, checkpoint=checkpoint, extend=extend, **keywords).potential


def run(seed, folder):
    """Active learning with one seed: the potential, the number of reference calls and the trajectory's snapshots."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)
    first = []
    for _ in range(3):
        atoms.rattle(0.02, rng=rng)
        first.append(labeled(atoms))
    checkpoint = Path(folder, f"equations-{seed}")
    potential = learn(first, checkpoint, extend=False)
    atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
    thermalize_momenta(atoms, 20, rng=rng)
    calls, snapshots, grades = len(first), [], []
    dynamics = Langevin(atoms, 4 * units.fs, temperature_K=20, friction=0.02 / units.fs, fixcm=False, rng=rng)
    for temperature in TEMPERATURES:
        dynamics.set_temperature(temperature_K=temperature)
        dynamics.run(EVERY)
        snapshots.append(atoms.copy())
        grades.append(atoms.calc.uncertainty(atoms).grade)
        if grades[-1] > LIMIT:
            potential = learn([labeled(atoms)], checkpoint, extend=True)
            atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
            calls += 1
    return potential, calls, snapshots, grades


def force_error(potential, tests):
    errors, grades = [], []
    for atoms in tests:
        copy = atoms.copy()
        copy.calc = KANCalculator(potential, on_extrapolation="ignore")
        errors.append(copy.get_forces() - atoms.get_forces())
        grades.append(copy.calc.uncertainty(copy).grade)
    return float(np.sqrt(np.mean(np.square(errors)))), max(grades)


def main(seeds=2):
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            potential, calls, snapshots, grades = run(seed, folder)
            rng = np.random.default_rng(1000 + seed)
            tests = [labeled(snapshots[n]) for n in rng.choice(len(snapshots), 20, replace=False)]
            chosen = rng.choice(len(snapshots), calls, replace=False)
            random = learn([labeled(snapshots[n]) for n in chosen], Path(folder, f"random-{seed}"), extend=False)
            active, drawn = force_error(potential, tests), force_error(random, tests)
            print(
                f"seed {seed}: {calls} reference calls in {STEPS} steps; force error {active[0]:.1e} eV/A, largest "
                f"grade {active[1]:.2f}; as many at random: {drawn[0]:.1e} eV/A, {drawn[1]:.2f}"
            )
    figure = plot_grades(np.arange(len(grades)) * EVERY * 4e-3, grades)
    save(figure, "07_active_learning.png")


def plot_grades(time, grades):
    """Grades along the last trajectory, and where the reference was asked."""
    grades = np.array(grades)
    asked = grades > LIMIT
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(time, grades, color="tab:blue", lw=1, label="largest grade of all atoms")
    label = f"the reference was asked ({asked.sum()} times)"
    axes.plot(time[asked], grades[asked], "o", color="tab:red", ms=4, label=label)
    axes.axhline(LIMIT, color="gray", lw=0.8, ls="--")
    heat = axes.twinx()
    heat.plot(time, TEMPERATURES, color="tab:orange", lw=1, alpha=0.6)
    axes.set(xlabel="time (ps)", ylabel="grade: 1 is the edge of the data")
    axes.set_title("Argon from crystal to melt, learned on the way")
    heat.set_ylabel("thermostat (K)", color="tab:orange")
    axes.legend(loc="upper center")
    return figure


if __name__ == "__main__":
    main()
