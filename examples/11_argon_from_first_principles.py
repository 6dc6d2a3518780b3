"""Argon from first principles: from 40 energies of a dimer to gas, crystal and liquid, with error bars.

The 40 energies are those of an ab initio curve of the argon dimer with the noise of a good calculation. One fit of them
gives the second virial coefficient of the gas, the vibration of the dimer, the crystal at 0 K and the liquid at 94.4 K.
What pairs alone cannot give is told too: in the crystal three atoms together repel a little, and atoms never rest.
"""

from math import factorial

import numpy as np
from ase import units
from ase.build import bulk
from ase.constraints import FixCom
from ase.md.velocitydistribution import thermalize_momenta
from matplotlib.figure import Figure
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import minimize_scalar

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.analysis.propagate import propagate
from ase_kan.dynamics import Bussi
from ase_kan.plots.figures import save

MASS = 39.948  # u
LJ = 119.8 * units.kB, 3.405  # eV and A: A. Rahman, Phys. Rev. 136, A405 (1964)
TEMPERATURES = np.array([85, 100, 120, 150, 200, 300, 500, 1000])
CM3_PER_MOL = units.mol * 1e-24
PER_CM = units.invcm


def ab_initio(r):
    """Energy of two argon atoms (eV).

    B. Jaeger, R. Hellmann, E. Bich and E. Vogel, Mol. Phys. 107, 2181 (2009), with C16 of Mol. Phys. 108, 3335 (2010).
    """
    x = np.asarray(r) / 10  # nm
    b, c = 40.2517211, (0.442812017, 3.26707684e-2, 2.45656537e-3, 1.88246247e-4, 1.47012192e-5, 1.17006343e-6)
    energy = 4.61330146e7 * np.exp(-29.8337630 * x - 9.71208881 * x**2 + 2.75206827e-2 / x - 1.01489050e-2 / x**2)
    for n, cn in zip(range(6, 17, 2), c, strict=True):
        energy -= cn / x**n * (1 - np.exp(-b * x) * sum((b * x) ** k / factorial(k) for k in range(n + 1)))
    return energy * units.kB  # from K


def lennard_jones(r):
    epsilon, sigma = LJ
    return 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)


def virial(energy, quantum=True):
    """B2(T) in cm^3/mol, hard inside 2.2 A, with the first quantum correction (Hirschfelder et al., 1954)."""
    r = np.concatenate([np.linspace(2.2, 12, 6000), np.geomspace(12, 400, 1500)[1:]])
    v, kt = energy(r), units.kB * TEMPERATURES[:, None]
    boltzmann = np.exp(-v / kt)
    b2 = -2 * np.pi * (np.trapezoid((boltzmann - 1) * r**2, r) - 2.2**3 / 3)
    if quantum:
        hbar2 = (units._hbar * units.J * units.s) ** 2  # eV A^2 u
        force = np.gradient(v, r)
        b2 += 2 * np.pi * hbar2 / (12 * MASS) * np.trapezoid(force**2 * boltzmann * r**2, r) / kt[:, 0] ** 3
    return b2 * CM3_PER_MOL


def dimer(energy):
    """Harmonic frequency, and the transition from the lowest level to the next (1/cm), by finite differences."""
    r = np.linspace(2.8, 15, 3000)
    v, step = energy(r), r[1] - r[0]
    kinetic = (units._hbar * units.J * units.s) ** 2 / MASS / step**2  # hbar^2 / (2 mu step^2), mu = m / 2
    levels = eigh_tridiagonal(v + 2 * kinetic, np.full(len(r) - 1, -kinetic), select="i", select_range=(0, 1))[0]
    place = r[v.argmin()] + np.linspace(-0.05, 0.05, 21)
    stiffness = 2 * np.polyfit(place - place.mean(), energy(place), 4)[2]
    harmonic = units._hbar * units.J * units.s * np.sqrt(2 * stiffness / MASS)
    return harmonic / PER_CM, (levels[1] - levels[0]) / PER_CM


def fcc(energy):
    """Lattice constant (A) and cohesive energy (meV per atom) of atoms at rest, by a sum over shells of neighbors."""
    n = np.arange(-15, 16)
    x, y, z = (a.ravel() for a in np.meshgrid(n, n, n))
    square = (x**2 + y**2 + z**2)[(x + y + z) % 2 == 0]
    square, count = np.unique(square[(square > 0) & (square <= 15**2)], return_counts=True)
    found = minimize_scalar(lambda a: 0.5 * count @ energy(a / 2 * np.sqrt(square)), bounds=(5, 5.7), method="bounded")
    return found.x, -1000 * found.fun


def everything(energy):
    return np.concatenate([virial(energy), dimer(energy), fcc(energy)])


def liquid(potential, kelvin=94.4, density=1.374):
    """g(r) of the liquid of Rahman, and its pressure in bar."""
    volume = MASS / density / CM3_PER_MOL  # of an atom
    atoms = bulk("Ar", "fcc", a=(4 * volume) ** (1 / 3), cubic=True) * (6, 6, 6)
    thermalize_momenta(atoms, 2 * kelvin, rng=np.random.default_rng(0))
    atoms.set_constraint(FixCom())
    atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
    run = Bussi(atoms, 5 * units.fs, kelvin, 500 * units.fs, rng=np.random.default_rng(1))
    run.run(3000)
    edges, counts, pressures = np.linspace(2.5, 15, 126), [], []
    i, j = np.triu_indices(len(atoms), 1)

    def observe():
        d = (atoms.positions[i] - atoms.positions[j]) / atoms.cell[0, 0]
        counts.append(np.histogram(np.linalg.norm(d - np.round(d), axis=1) * atoms.cell[0, 0], edges)[0])
        ideal = len(atoms) * units.kB * atoms.get_temperature() / atoms.get_volume()
        pressures.append((ideal - atoms.get_stress()[:3].mean()) / units.bar)

    run.attach(observe, 100)
    run.run(8000)
    shells = 4 / 3 * np.pi * np.diff(edges**3) * len(atoms) / volume / 2
    return (edges[1:] + edges[:-1]) / 2, np.mean(counts, axis=0) / shells, np.mean(pressures)


rng = np.random.default_rng(0)
r = np.sort(np.concatenate([[3.0, 12.0], rng.uniform(3.0, 12.0, 38)]))
error = 2e-5 * (1 + np.abs(ab_initio(r)) / 0.0123)  # eV: 0.16 % of the depth of the well, and of the energy on the wall
curve = PairCurve(r, ab_initio(r) + error * rng.normal(size=40), elements=("Ar", "Ar"), errors=error)
result = fit(curve, cutoff=40.0)
print(result)
potential = result.potential

found = propagate(lambda p: everything(lambda r: p.energy(r)), potential, 60)
exact, lj = everything(ab_initio), everything(lennard_jones)
names = [f"B2 at {t} K (cm3/mol)" for t in TEMPERATURES]
names += ["dimer, harmonic (1/cm)", "dimer, 0 to 1 (1/cm)", "fcc lattice constant (A)", "cohesive energy (meV)"]
print(f"{'':28s}{'the curve':>10s}{'KAN':>10s}{'+-':>8s}{'LJ':>10s}")
for row in zip(names, exact, found.value, found.std, lj, strict=True):
    print("{:28s}{:10.3f}{:10.3f}{:8.3f}{:10.3f}".format(*row))
classical = virial(potential.energy, quantum=False)[1]
print(f"B2 at 100 K without the quantum term: {classical:.2f}")
print(
    "measured: dimer 0 to 1 25.69 1/cm (Herman, LaRocque and Stoicheff, J. Chem. Phys. 89, 4535, 1988); crystal 5.31 A,"
)
zero_point = 1000 * 9 / 8 * units.kB * 92
static = 80.2 + zero_point
print(f"80.2 meV (Kittel), and {static:.1f} without the zero-point motion (9/8 k times the Debye temperature of 92 K).")
print(f"So pairs bind {found.value[-1] - static:.1f} meV too much: the repulsion of three atoms at a time is missing.")

# The box of the liquid is smaller than the cutoff of the gas: the same energies, brought to zero at 12 A.
distance, g, pressure = liquid(fit(curve, cutoff=12.0).potential)
print(f"liquid at 94.4 K and 1.374 g/cm3: first peak of g(r) {g.max():.2f} at {distance[g.argmax()]:.2f} A, "
      f"pressure {pressure:.0f} bar; Rahman's Lennard-Jones has a peak at 3.7 A")  # fmt: skip

figure = Figure(figsize=(10, 7), layout="constrained")
(top, gas), (crystal, fluid) = figure.subplots(2, 2)
x = np.linspace(2.95, 9, 500)
band = 2000 * potential.uncertainty(x)
top.axhline(0, color="0.8", lw=0.8)
top.plot(x, 1000 * ab_initio(x), "k", lw=4, alpha=0.25, label="ab initio curve")
top.plot(x, 1000 * potential.energy(x), "tab:blue", label="KAN")
top.plot(r, 1000 * curve.energy, "o", color="tab:orange", ms=4, label="40 energies with noise")
top.set(xlim=(3, 9), ylim=(-14, 16), xlabel="distance (Å)", ylabel="energy (meV)", title="Two atoms")
top.legend(loc="lower right")
inset = top.inset_axes((0.42, 0.56, 0.56, 0.4))
inset.fill_between(x, -band, band, color="tab:blue", alpha=0.3, lw=0)
inset.errorbar(r, 1000 * (curve.energy - potential.energy(r)), 1000 * error, fmt="o", color="tab:orange", ms=3, lw=1)
inset.plot(x, 1000 * (ab_initio(x) - potential.energy(x)), "k", lw=1)
inset.set(xlim=(3.3, 9), ylim=(-0.35, 0.35))
inset.text(0.97, 0.85, "difference to the KAN (meV)\nband: two deviations", transform=inset.transAxes, ha="right",
           va="center", fontsize=8)  # fmt: skip
inset.tick_params(labelsize=8)
n = len(TEMPERATURES)
gas.fill_between(
    TEMPERATURES, -2 * found.std[:n], 2 * found.std[:n], color="tab:blue", alpha=0.3, lw=0, label="2 deviations"
)
gas.axhline(0, color="tab:blue", label="KAN")
gas.semilogx(TEMPERATURES, exact[:n] - found.value[:n], "ko", mfc="white", label="ab initio curve")
gas.plot(TEMPERATURES, lj[:n] - found.value[:n], "tab:red", ls="--", label="Lennard-Jones")
gas.set(xlabel="temperature (K)", ylabel="difference to the KAN (cm³/mol)")
gas.set_title(f"The gas: B₂ is {found.value[1]:.0f} ± {found.std[1]:.0f} cm³/mol at 100 K")
gas.set_xticks(TEMPERATURES[[1, 3, 4, 5, 6, 7]], [str(t) for t in TEMPERATURES[[1, 3, 4, 5, 6, 7]]])
gas.minorticks_off()
gas.legend()
start = 0.0
for text, size, colour, place in (
    ("measured", 80.2, "0.5", 40),
    ("motion at 0 K", zero_point, "tab:green", 72),
    ("three atoms at a time", found.value[-1] - static, "tab:red", 93),
):
    crystal.barh("measured, and what\npairs do not know", size, 0.5, left=start, color=colour)
    crystal.text(place, -0.3, f"{text}\n{size:.1f}".replace(" at", "\nat"), ha="center", va="top", color=colour)
    start += size
crystal.barh("pairs (KAN)", found.value[-1], 0.5, xerr=2 * found.std[-1], color="tab:blue")
crystal.set(ylim=(-1, 1.4), xlim=(0, 108), xlabel="cohesive energy (meV per atom)")
crystal.set_title(f"The crystal at 0 K: {found.value[-1]:.1f} ± {found.std[-1]:.1f} meV per atom")
fluid.axhline(1, color="0.8", lw=0.8)
fluid.plot(distance, g, "tab:blue")
fluid.axvline(3.7, color="tab:red", ls="--", lw=1, label="first peak of Rahman (1964)")
fluid.set(xlim=(2.5, 15), ylim=(0, None), xlabel="distance (Å)", ylabel="g(r)", title="The liquid at 94.4 K")
fluid.legend()
save(figure, "11_argon_from_first_principles.png")
