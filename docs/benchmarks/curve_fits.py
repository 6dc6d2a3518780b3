"""How exact curve fits are: the tables of docs/accuracy.md. Takes about fifteen minutes on one core.

python docs/benchmarks/curve_fits.py [number of random sets, default 20]
"""

import sys
import time
from math import factorial

import numpy as np
from scipy.interpolate import make_lsq_spline
from scipy.optimize import least_squares

from ase_kan import PairCurve, fit


def lennard_jones(r):
    return r**-12.0 - r**-6.0


def mie(r):
    return 4.0 * (r**-14.0 - r**-7.0)


def morse(r):
    return np.exp(-12 * (r - 1.122)) - 2 * np.exp(-6 * (r - 1.122))


def buckingham(r):
    return (6 * np.exp(14 * (1 - r / 1.122)) - 14 * (1.122 / r) ** 6) / 8


def argon(r):
    """Jaeger, Hellmann, Bich, Vogel, Mol. Phys. 107, 2181 (2009), in units of its depth and of 0.3357 nm."""
    x = np.asarray(r) * 0.3357
    c = {6: 4.42812017e-1, 8: 3.26707684e-2, 10: 2.45656537e-3, 12: 1.88246247e-4, 14: 1.47012192e-5, 16: 1.17006343e-6}
    b = 4.02517211e1
    v = 4.61330146e7 * np.exp(-2.98337630e1 * x - 9.71208881 * x**2 + 2.75206827e-2 / x - 1.01489050e-2 / x**2)
    for n, cn in c.items():
        v = v - cn / x**n * (1 - np.exp(-b * x) * sum((b * x) ** k / factorial(k) for k in range(n + 1)))
    return v / 143.1232


CURVES = {  # function, well depth
    "Lennard-Jones": (lennard_jones, 0.25),
    "Mie 14-7": (mie, 1.0),
    "Morse": (morse, 1.0),
    "Buckingham": (buckingham, 1.0),
    "argon": (argon, 1.0),
}
NEAR, WIDE = (0.95, 2.0), (0.8, 5.0)


def curve_of(function, span, n, seed, forces):
    """Points and, if asked, forces by five-point differences (relative error 1e-11)."""
    curve = PairCurve.from_function(function, r_min=span[0], r_max=span[1], n=n, seed=seed)
    force = curve.source(curve.r)[1] if forces else None
    return PairCurve(curve.r, curve.energy, force, source=curve.source)


def errors(predict, curve, low, high):
    """Energy RMSE and largest force error of ``predict(r) -> (energy, force)`` on 1000 fresh points."""
    r = np.linspace(low, high, 1000)
    energy, force = curve.source(r)
    found_energy, found_force = predict(r)
    return np.sqrt(np.mean((found_energy - energy) ** 2)), np.abs(found_force - force).max()


def row(label, function, depth, span, n, forces, sets, **keywords):
    """Median and worst over random sets, in units of the depth."""
    found, slowest = [], 0.0
    for seed in range(sets):
        curve = curve_of(function, span, n, seed, forces)
        start = time.perf_counter()
        p = fit(curve, seed=seed, cutoff=3 * span[1], **keywords).potential
        slowest = max(slowest, time.perf_counter() - start)
        hull = errors(lambda r, p=p: (p.energy(r), p.force(r)), curve, curve.r[0], curve.r[-1])
        whole = errors(lambda r, p=p: (p.energy(r), p.force(r)), curve, *span)
        found.append([*hull, whole[0]])
    median, worst = np.median(found, axis=0) / depth, np.max(found, axis=0) / depth
    cells = [f"{m:.0e} / {w:.0e}" for m, w in zip(median, worst, strict=True)]
    print(f"| {label} | {' | '.join(cells)} | {slowest:.2f} |", flush=True)


def header(title, first):
    columns = (
        first,
        "energy RMSE, within the points",
        "largest force error",
        "energy RMSE, whole range",
        "slowest fit (s)",
    )
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|---|---|---|---|---|")


def mlp(curve, hidden, seed):
    """A tanh MLP [1, hidden, 1] of 1/r by the same optimizer on the same targets, best of three starts."""
    x, dx = 2 * (1 / curve.r - 1 / curve.r[-1]) / (1 / curve.r[0] - 1 / curve.r[-1]) - 1, None
    scale = 2 / (1 / curve.r[0] - 1 / curve.r[-1])
    dx = -scale / curve.r**2
    mean, spread = curve.energy.mean(), curve.energy.std()

    def model(theta, x, dx):
        a, b, c = theta[:-1].reshape(3, hidden)
        t = np.tanh(np.outer(x, a) + b)
        return t @ c + theta[-1], ((1 - t**2) * a) @ c * dx

    def residuals(theta):
        y, slope = model(theta, x, dx)
        return np.concatenate([y - (curve.energy - mean) / spread, 0.1 * curve.r[0] * (slope + curve.force / spread)])

    rng = np.random.default_rng(seed)
    starts = [np.concatenate([rng.normal(0, 2, 2 * hidden), rng.normal(0, 1, hidden + 1)]) for _ in range(3)]
    best = min((least_squares(residuals, s, method="lm", max_nfev=3000) for s in starts), key=lambda f: f.cost).x

    def predict(r):
        y, slope = model(best, scale * (1 / r - 1 / curve.r[-1]) - 1, -scale / r**2)
        return mean + spread * y, -spread * slope

    return predict


def spline(curve, coefficients, degree):
    """A least-squares B-spline in r on a uniform mesh, energies only (the UF3 way for degree 3)."""
    inner = np.linspace(curve.r[0], curve.r[-1], coefficients - degree + 1)
    knots = np.concatenate([[inner[0]] * degree, inner, [inner[-1]] * degree])
    s = make_lsq_spline(curve.r, curve.energy, knots, degree)
    return lambda r: (s(r), -s.derivative()(r))


def comparison(sets):
    """About the same number of parameters, 200 points with forces on [0.95, 2.0]."""
    print("\nLennard-Jones, 200 random points with forces on [0.95, 2.0]")
    print(f"Median / worst of {sets} sets, eV and eV/A\n")
    print("| model | parameters | energy RMSE | largest force error |\n|---|---|---|---|")

    def kan(**keywords):
        def train(curve, seed):
            p = fit(curve, seed=seed, **keywords).potential
            return lambda r: (p.energy(r), p.force(r))

        return train

    models = [
        ("KAN [1, 1] of 1/r, k = 5", 44, kan(grid=39)),
        ("KAN [1, 2, 1] of 1/r, k = 5", 44, kan(width=(1, 2, 1), grid=5)),
        ("KAN [1, 2, 1] of r, k = 5", 44, kan(width=(1, 2, 1), grid=5, feature="r")),
        ("MLP [1, 14, 1] of 1/r, tanh", 43, lambda c, s: mlp(c, 14, s)),
        ("cubic B-spline in r", 44, lambda c, s: spline(c, 44, 3)),
        ("quintic B-spline in r", 44, lambda c, s: spline(c, 44, 5)),
    ]
    for label, parameters, train in models:
        found = []
        for seed in range(sets):
            curve = curve_of(lennard_jones, NEAR, 200, seed, True)
            found.append(errors(train(curve, seed), curve, curve.r[0], curve.r[-1]))
        median, worst = np.median(found, axis=0), np.max(found, axis=0)
        print(
            f"| {label} | {parameters} | "
            + " | ".join(f"{m:.0e} / {w:.0e}" for m, w in zip(median, worst, strict=True))
            + " |",
            flush=True,
        )


def main(sets):
    header("Default fit, 200 random points with forces, [0.95, 2.0]; median / worst over the well depth", "curve")
    for name, (function, depth) in CURVES.items():
        row(name, function, depth, NEAR, 200, True, sets)
    header("The same on [0.8, 5.0]", "curve")
    for name, (function, depth) in CURVES.items():
        row(name, function, depth, WIDE, 200, True, sets)
    header("Default fit, 200 evenly spaced points with forces, [0.8, 5.0]", "curve")
    for name, (function, depth) in CURVES.items():
        even = curve_of(function, WIDE, 200, None, True)
        p = fit(even).potential
        energy, force = errors(lambda r, p=p: (p.energy(r), p.force(r)), even, *WIDE)
        print(f"| {name} | {energy / depth:.0e} | {force / depth:.0e} | the same | |")
    header("Default fit, 50 random energies, [0.95, 2.0]", "curve")
    for name, (function, depth) in CURVES.items():
        row(name, function, depth, NEAR, 50, False, sets)
    header("The 2024 recipe's network: [1, 2, 1] of r, grid 3, k = 3, 50 random energies, [0.95, 2.0]", "curve")
    for name, (function, depth) in CURVES.items():
        row(name, function, depth, NEAR, 50, False, sets, width=(1, 2, 1), grid=3, k=3, feature="r")
    row("Lennard-Jones by pykan", lennard_jones, 0.25, NEAR, 50, False, sets, optimizer="pykan")
    header("[1, 2, 1] of 1/r, grid 5, k = 5, 200 random points with forces, [0.95, 2.0]", "curve")
    for name, (function, depth) in CURVES.items():
        row(name, function, depth, NEAR, 200, True, sets, width=(1, 2, 1))
    comparison(min(sets, 5))  # the MLP takes half a minute a set


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
