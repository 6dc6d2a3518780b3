"""Outside its data a bare KAN fails: the failure, the explanation and the cure, one figure each.

Reduced units: sigma is 1, the well of r^-12 - r^-6 is 1/4 deep. ASE calls them Angstrom and eV, and wants atoms to
have a name.
"""

import numpy as np
from ase import Atoms
from ase.optimize import BFGS

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.analysis.extrapolation import analyze
from ase_kan.plots.extrapolation import plot_extrapolation, plot_range
from ase_kan.plots.figures import save


def lennard_jones(r):
    return r**-12.0 - r**-6.0


def relaxed_dimer(potential, start):
    # Outside the data on purpose: no warnings.
    atoms = Atoms("Ar2", [[0, 0, 0], [start, 0, 0]], calculator=KANCalculator(potential, on_extrapolation="ignore"))
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=300)
    return atoms.get_distance(0, 1)


curve = PairCurve.from_function(lennard_jones, r_min=0.95, r_max=2.0, n=50, seed=5)
# The 2024 recipe of pykan (docs/extrapolation.md): its own training, on r itself.
recipe = {"width": (1, 2, 1), "grid": 3, "k": 3, "feature": "r", "optimizer": "pykan", "seed": 5, "cutoff": 10.0}

print("1. The failure: a bare KAN")
bare = fit(curve, **recipe, core=None, tail=None).potential
r_min, r_max = bare.domain()
print(f"the data cover {r_min:.3f} to {r_max:.3f} A")
save(plot_range(bare, lennard_jones), "04_extrapolation_failure.png")

print("\n2. The explanation, computed from its parameters")
print(analyze(bare)[None])
save(plot_extrapolation(bare, lennard_jones), "04_extrapolation_explanation.png")

print("\n3. The cure: the same KAN with a core and a tail, and the exact fit with them")
potentials = {
    "bare KAN": bare,
    "same KAN, core and tail": fit(curve, **recipe).potential,
    "exact fit, core and tail": fit(curve, cutoff=10.0).potential,
}
print(potentials["exact fit, core and tail"].describe(), "\n")
print(f"{'r (A)':>8s} {'Lennard-Jones':>14s}", *(f"{name:>26s}" for name in potentials))
for r in (0.3, 0.5, 0.7, 0.9, 1.1225, 3.0, 5.0):
    print(f"{r:8.4f} {lennard_jones(r):14.5g}", *(f"{float(p.energy(r)):26.5g}" for p in potentials.values()))

starts, collapsed = np.linspace(0.3, 1.9, 17), {}
for name, potential in potentials.items():
    ends = [relaxed_dimer(potential, start) for start in starts]
    collapsed[name] = sum(abs(end - 2 ** (1 / 6)) > 0.1 for end in ends), len(starts)
    print(f"{name}: {collapsed[name][0]} of {len(starts)} dimers end in the wrong place")
figure = plot_range(potentials["exact fit, core and tail"], lennard_jones, bare=[bare], collapsed=collapsed)
save(figure, "04_extrapolation_cure.png")
