"""What uncertainties cost: the figures of docs/uncertainty.md. Takes about two minutes on one core.

python docs/benchmarks/uncertainty_cost.py
"""

import statistics
import time
import warnings

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from ase_kan import KANCalculator, PairCurve, Structures, fit
from ase_kan.fit import posteriors, solve

warnings.simplefilter("ignore")
ROUNDS = 7


def lennard_jones(r):
    return 4 * 0.0104 * ((3.4 / r) ** 12 - (3.4 / r) ** 6)


def liquid(n):
    """n^3 cells of four argon atoms, warm, with velocities."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (n, n, n)
    atoms.rattle(0.1, seed=0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=80, rng=np.random.default_rng(0))
    return atoms


def dynamics(potential, steps, every):
    """Seconds for so many steps of 1372 atoms, with the uncertainty every few of them (0: never)."""
    atoms = liquid(7)
    atoms.calc = KANCalculator(potential, threads=1, on_extrapolation="ignore")
    atoms.get_forces()
    atoms.calc.uncertainty(atoms)
    run = VelocityVerlet(atoms, 4 * units.fs)
    if every:
        run.attach(lambda: atoms.calc.uncertainty(atoms).grade, every)
    start = time.perf_counter()
    run.run(steps)
    return time.perf_counter() - start


def main():
    r = np.random.default_rng(0).uniform(3.2, 8.5, 200)
    noise = 1e-4 * np.random.default_rng(1).normal(size=200)
    curve = PairCurve(r, lennard_jones(r) + noise, elements=("Ar", "Ar"))
    potential = fit(curve, cutoff=8.5).potential
    times = [(dynamics(potential, 500, 0), dynamics(potential, 500, 10)) for _ in range(ROUNDS)]
    ratio = statistics.median(b / a for a, b in times)
    print(f"MD of 1372 atoms with the uncertainty every 10 steps: {ratio:.2f} times as long")
    atoms = liquid(14)
    atoms.calc = KANCalculator(potential, threads=1, on_extrapolation="ignore")
    atoms.get_forces()
    for what, ask in (
        ("energy and grades", lambda: atoms.calc.uncertainty(atoms).energy),
        ("forces and stress too", lambda: atoms.calc.uncertainty(atoms).forces),
    ):
        ask()
        found = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            ask()
            found.append(time.perf_counter() - start)
        print(f"{len(atoms)} atoms, {what}: {1e3 * statistics.median(found):.1f} ms")

    spent = []

    def timed(function):
        def wrapped(*args, **keywords):
            start = time.perf_counter()
            result = function(*args, **keywords)
            spent[-1] += time.perf_counter() - start
            return result

        return wrapped

    import sys

    curve_module = sys.modules["ase_kan.fit.curve"]
    curve_module.curve_posterior = timed(posteriors.curve_posterior)
    solve.LeastSquares.posterior = timed(solve.LeastSquares.posterior)
    for name, keywords in (("curve, one edge", {}), ("curve, [1, 2, 1]", {"width": (1, 2, 1)})):
        spent.append(0.0)
        start = time.perf_counter()
        fit(curve, **keywords)
        print(f"fit of {name}, 200 points: posterior {spent[-1]:.2f} of {time.perf_counter() - start:.2f} s")
    images = []
    for seed in range(20):
        structure = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)
        structure.rattle(0.2, seed=seed)
        structure.calc = KANCalculator(potential, on_extrapolation="ignore")
        structure.get_forces()
        images.append(structure)
    spent.append(0.0)
    start = time.perf_counter()
    fit(Structures(images), cutoff=8.0)
    print(f"fit of 20 structures: posterior {spent[-1]:.2f} of {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
