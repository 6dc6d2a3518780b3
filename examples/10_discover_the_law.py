"""Read the law: from noisy energies to a formula with error bars that runs as a potential and as a pykan model."""

import numpy as np
import torch
from ase import Atoms
from ase.optimize import BFGS

from ase_kan import KANCalculator, PairCurve, discover, fit
from ase_kan.plots.figures import save
from ase_kan.plots.law import plot_law


def lennard_jones(r):
    return r**-12.0 - r**-6.0


rng = np.random.default_rng(0)
r = np.sort(rng.uniform(0.95, 2.0, 50))
curve = PairCurve(r, lennard_jones(r) + 1e-3 * rng.normal(size=50))

print("1. The law in 50 energies with a noise of 1e-3\n")
law = discover(curve)
print(law)
print("\nin sympy:", law.expression)
print("in LaTeX:", law.latex())

print("\n2. Outside the data, where a KAN needs a core and a tail")
kan = fit(curve, cutoff=20.0, smooth=False).potential
for distance in (0.7, 5.0):
    true, std = lennard_jones(distance), float(law.potential.uncertainty(distance))
    told = f"{float(law.energy(distance)):.6g} +- {std:.2g}"
    print(f"E({distance}) = {told} (true {true:.6g}, KAN with core and tail {float(kan.energy(distance)):.6g})")
save(plot_law(law, curve, kan, lennard_jones), "10_discover_the_law.png")

print("\n3. It is a potential like any other")
atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 0.9]], calculator=KANCalculator(law.potential, on_extrapolation="ignore"))
BFGS(atoms, logfile=None).run(fmax=1e-6)
print(f"bond length {atoms.get_distance(0, 1):.5f}, true {2 ** (1 / 6):.5f}")
law.potential.save("law.kan")

print("\n4. And a pykan model with symbolic edges")
model = law.network()
x = torch.linspace(0.9, 5.0, 100, dtype=torch.float64)[:, None]
with torch.no_grad():
    print(f"largest difference {np.abs(model(x)[:, 0].numpy() - law.energy(x[:, 0].numpy())).max():.1e}")

print("\n5. A curve that is no law of the library is not taken for one")
bump = 0.1 * np.exp(-(((r - 1.5) / 0.2) ** 2))
print(str(discover(PairCurve(r, curve.energy + bump))).splitlines()[0])
