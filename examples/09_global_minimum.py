"""Find the global minimum of the cluster LJ38 by basin hopping; it is a truncated octahedron.

Wales and Doye, J. Phys. Chem. A 101, 5111 (1997). The energy in the Cambridge Cluster Database is -173.928427 epsilon.
"""

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.dynamics import relax_many
from ase_kan.plots.figures import save

N, BEST, WALKERS, ROUNDS, TEMPERATURE, STEP = 38, -173.928427, 8, 3000, 0.8, 0.36

# The clusters are smaller than the cutoff, so the energies are those of Lennard-Jones without one.
curve = PairCurve.from_function(lambda r: 4 * (r**-12.0 - r**-6.0), r_min=0.8, r_max=8.0, n=800, seed=None)
calculator = KANCalculator(fit(curve, grid=60).potential, on_extrapolation="ignore")

rng = np.random.default_rng(0)
radius = 0.6 * N ** (1 / 3)
relaxations, best, record = 0, np.inf, []


def relaxed(positions):
    """Relax clusters that start at these positions; what has evaporated is pulled back first."""
    global relaxations
    clusters = []
    for r in positions:
        r = r - r.mean(axis=0)
        distance = np.linalg.norm(r, axis=1, keepdims=True)
        clusters.append(Atoms(f"Ar{N}", r * np.minimum(1, 1.3 * radius / distance), calculator=calculator))
    found = relax_many(clusters, fmax=1e-2, steps=1000)
    relaxations += len(clusters)
    return [(atoms.positions, result.energy) for atoms, result in zip(clusters, found, strict=True)]


walkers = relaxed(rng.uniform(-radius, radius, (WALKERS, N, 3)))
for _ in range(ROUNDS):
    trials = relaxed([r + rng.uniform(-STEP, STEP, (N, 3)) for r, _ in walkers])
    for number, ((_, old), new) in enumerate(zip(walkers, trials, strict=True)):
        if rng.random() < np.exp(min(0, (old - new[1]) / TEMPERATURE)):
            walkers[number] = new
        if new[1] < best - 1e-3:
            best = new[1]
            record.append((relaxations, best))
            print(f"{relaxations:6d} relaxations: {best:.6f}")
    if best < BEST + 0.01:
        break
print(f"lowest energy {best:.4f} after {relaxations} relaxations; Lennard-Jones has {BEST:.4f}")

figure = Figure(figsize=(6.4, 4), layout="constrained")
axes = figure.subplots()
axes.step(*zip(*record, (relaxations, best), strict=True), where="post")
axes.axhline(BEST, color="k", lw=0.8, ls="--")
axes.set(xscale="log", xlabel="relaxations", ylabel="lowest energy (epsilon)", title="Global minimum of LJ38")
save(figure, "09_global_minimum.png")
