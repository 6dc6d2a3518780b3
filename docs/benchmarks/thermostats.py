"""Langevin and Bussi dynamics of the Lennard-Jones liquid at T* = 0.85, rho* = 0.776, against NIST's values.

python docs/benchmarks/thermostats.py [--steps 100000] [--thermostats Langevin Bussi ASE]

500 atoms, cutoff 4, time step 0.005. Energy and pressure get a correction for what the cutoff leaves out, with g(r) = 1
there. Standard errors are those of 20 blocks. NIST (Monte Carlo, cutoff 3 with the same kind of correction): energy
-5.5121(4), pressure 0.0068(17), https://www.nist.gov/mml/csd/chemical-informatics-group/lennard-jones-fluid-reference-calculations
"ASE" is `ase.md.langevin.Langevin` with the same calculator.
"""

import argparse

import numpy as np
from ase import units
from ase.build import bulk
from ase.constraints import FixCom
from ase.md import langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.dynamics import Bussi, Langevin

TEMPERATURE, DENSITY, CUTOFF, TIMESTEP, TAU = 0.85, 0.776, 4.0, 0.005, 2.0
KELVIN = TEMPERATURE / units.kB


def lennard_jones(r):
    return 4 * (r**-12.0 - r**-6.0), 4 * (12 * r**-13.0 - 6 * r**-7.0)


def corrections(potential):
    """Energy per atom and pressure of the difference to Lennard-Jones."""
    r = np.linspace(0.9, 100, 2_000_000)
    energy, force = lennard_jones(r)
    inside = r < potential.cutoff
    energy[inside] -= potential.energy(r[inside])
    force[inside] -= potential.force(r[inside])
    return 2 * np.pi * DENSITY * np.trapezoid(r**2 * energy, r), (
        2 / 3 * np.pi * DENSITY**2 * np.trapezoid(r**3 * force, r)
    )


def run(name, potential, steps):
    """Mean and standard error of temperature, energy per atom and pressure."""
    atoms = bulk("Ar", "fcc", a=(4 / DENSITY) ** (1 / 3), cubic=True) * (5, 5, 5)
    atoms.set_masses(np.ones(len(atoms)))
    thermalize_momenta(atoms, 2 * KELVIN, rng=np.random.default_rng(0))
    atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
    rng = np.random.default_rng(1)
    if name == "Bussi":
        # It scales the velocity of the center of mass with all others, so that would keep its share of the energy.
        Stationary(atoms, preserve_temperature=False)
        atoms.set_constraint(FixCom())
        dynamics = Bussi(atoms, TIMESTEP, KELVIN, TAU, rng=rng)
    elif name == "Langevin":
        dynamics = Langevin(atoms, TIMESTEP, temperature_K=KELVIN, friction=1 / TAU, rng=rng)
    else:
        dynamics = langevin.Langevin(atoms, TIMESTEP, temperature_K=KELVIN, friction=1 / TAU, fixcm=False, rng=rng)
    dynamics.run(5000)
    found = []

    def observe():
        temperature = atoms.get_temperature() * units.kB
        pressure = len(atoms) / atoms.get_volume() * temperature - atoms.get_stress()[:3].mean()
        found.append((temperature, atoms.get_potential_energy() / len(atoms), pressure))

    dynamics.attach(observe, 10)
    dynamics.run(steps)
    found = np.array(found) + np.array([0, *corrections(potential)])
    blocks = found[: len(found) // 20 * 20].reshape(20, -1, 3).mean(axis=1)
    return found.mean(axis=0), blocks.std(axis=0, ddof=1) / np.sqrt(20)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--thermostats", nargs="*", default=["Langevin", "Bussi", "ASE"])
    args = parser.parse_args()
    curve = PairCurve.from_function(lambda r: lennard_jones(r)[0], r_min=0.8, r_max=CUTOFF, n=400, seed=None)
    potential = fit(curve, cutoff=CUTOFF).potential
    for name in args.thermostats:
        mean, error = run(name, potential, args.steps)
        told = ", ".join(
            f"{what} {m:.5f} +- {e:.5f}"
            for what, m, e in zip(("temperature", "energy", "pressure"), mean, error, strict=True)
        )
        print(f"{name}: {told}", flush=True)


if __name__ == "__main__":
    main()
