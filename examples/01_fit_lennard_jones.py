"""Fit 50 Lennard-Jones energies with three KANs; save the exact one and a figure of it.

Reduced units: sigma is 1, the well of r^-12 - r^-6 is 1/4 deep. ASE calls them Angstrom and eV, and wants atoms to
have a name.
"""

from ase_kan import PairCurve, fit
from ase_kan.plots.figures import save
from ase_kan.plots.fit import plot_fit

curve = PairCurve.from_function(lambda r: r**-12.0 - r**-6.0, r_min=0.95, r_max=2.0, n=50, seed=2)
print("One edge in 1/r, solved by least squares (the default):")
result = fit(curve)
print(result)
print("[1, 2, 1] in r, Levenberg-Marquardt:")
print(fit(curve, width=(1, 2, 1), grid=3, k=3, feature="r", progress=True))
print("[1, 2, 1] in r, trained by pykan:")
print(fit(curve, width=(1, 2, 1), grid=3, k=3, feature="r", optimizer="pykan", seed=2, progress=True))

potential = result.potential
for r in (1.0, 1.1225, 1.5):
    print(f"r = {r:6.4f} A   energy {potential.energy(r):8.5f} eV   force {potential.force(r):8.5f} eV/A")
potential.save("lennard_jones.kan")
save(plot_fit(potential, curve), "01_fit_lennard_jones.png")
print("wrote lennard_jones.kan and 01_fit_lennard_jones.png")
