"""Second virial coefficient of argon with its error bar: 40 noisy points of an ab initio curve, and the posterior.

python docs/benchmarks/argon_virial.py [figure]
"""

import sys

import numpy as np
from matplotlib.figure import Figure
from noise import real_argon, virial

from ase_kan import PairCurve, fit
from ase_kan.analysis.propagate import propagate
from ase_kan.plots.figures import save

TEMPERATURES = (100, 150, 200, 300, 500, 1000)
NOISE = 2e-5  # eV, 0.16 % of the depth of the well: a good quantum-chemical calculation


def main():
    rng = np.random.default_rng(0)
    r = np.sort(np.concatenate([[3.0, 12.0], rng.uniform(3.0, 12.0, 38)]))
    energy = real_argon(r)
    error = NOISE * (1 + np.abs(energy) / 0.0123)
    curve = PairCurve(r, energy + error * rng.normal(size=40), elements=("Ar", "Ar"), errors=error)
    potential = fit(curve, cutoff=40.0).potential
    found = propagate(lambda p: [virial(p.energy, t) for t in TEMPERATURES], potential, 100, progress=True)
    exact = np.array([virial(real_argon, t) for t in TEMPERATURES])
    print("| T / K | exact | KAN | standard deviation |\n|---|---|---|---|")
    for t, a, b, s in zip(TEMPERATURES, exact, found.value, found.std, strict=True):
        print(f"| {t} | {a:.2f} | {b:.2f} | {s:.2f} |")
    if len(sys.argv) > 1:
        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 1))
        top.semilogx(TEMPERATURES, exact, "o", color="black", mfc="white", label="ab initio curve itself")
        top.semilogx(TEMPERATURES, found.value, color="tab:blue", label="KAN of 40 noisy points")
        top.set(ylabel="B2 (cm³/mol)", title="Argon: second virial coefficient")
        top.legend(loc="lower right")
        bottom.axhline(0, color="tab:blue")
        bottom.fill_between(TEMPERATURES, -2 * found.std, 2 * found.std, color="tab:blue", alpha=0.25, lw=0)
        bottom.plot(TEMPERATURES, exact - found.value, "o", color="black", mfc="white")
        bottom.set(xlabel="temperature (K)", ylabel="difference (cm³/mol)\nband: 2 deviations")
        bottom.set_xticks(TEMPERATURES, [str(t) for t in TEMPERATURES])
        bottom.minorticks_off()
        save(figure, sys.argv[1])


if __name__ == "__main__":
    main()
