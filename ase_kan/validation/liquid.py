"""The liquid at two states: energy, pressure and g(r), by molecular dynamics at constant temperature.

500 atoms, time step 0.005, thermostat of Bussi, interactions brought to zero between 3.6 and 4 sigma and corrected for
what that leaves out. Standard errors are those of 10 blocks.

Reference: Monte Carlo of NIST, energy and pressure with their own standard errors below 0.001 and 0.003,
https://www.nist.gov/mml/csd/chemical-informatics-group/lennard-jones-fluid-reference-calculations
and for g(r) the same dynamics with Lennard-Jones itself.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixCom
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from ase_kan.calculator import KANCalculator
from ase_kan.dynamics import Bussi
from ase_kan.types import Array
from ase_kan.validation.lennard_jones import Shown, exact, left_out, shortened

#: Temperature and density: energy per atom and pressure.
STATES = {(0.85, 0.776): (-5.5121, 0.0067714), (0.85, 0.82): (-5.7947, 0.55355)}
CUTOFF, TIMESTEP, TAU = 4.0, 0.005, 0.5
SETTLE, STEPS, EVERY, BLOCKS = 3_000, 20_000, 25, 10
#: No two atoms of such a liquid come as close: Lennard-Jones has 2000 epsilon there.
CLOSEST = 0.6
#: Of g(r).
EDGES = np.linspace(0.8, 3.4, 66)


class Sampled(float):
    """A number from a simulation, with its standard error."""

    error: float

    def __new__(cls, value: float, error: float) -> Sampled:
        found = super().__new__(cls, value)
        found.error = error
        return found


def reference() -> dict[str, float]:
    """NIST's values, and g(r) of Lennard-Jones by the same dynamics."""
    found: dict[str, float] = {}
    own = check(exact())
    for state, (energy, pressure) in STATES.items():
        names = _names(state)
        found |= dict(zip(names, (energy, pressure, own[names[2]], 0.0), strict=True))
    return found


def check(potential: Shown) -> dict[str, float]:
    """By the dynamics with the potential; the last number: how far g(r) is from that of Lennard-Jones."""
    found: dict[str, float] = {}
    for state in STATES:
        energy, pressure, g = _simulate(potential, *state)
        apart = float(np.abs(g - _simulate(exact(), *state)[2]).max())
        found |= dict(zip(_names(state), (energy, pressure, float(g.max()), apart), strict=True))
    return found


def _names(state: tuple[float, float]) -> list[str]:
    where = f"T = {state[0]:g}, density {state[1]:g}"
    return [f"{what}, {where}" for what in ("energy", "pressure", "g(r), peak", "g(r), difference")]


@cache
def _simulate(potential: Shown, temperature: float, density: float) -> tuple[Sampled, Sampled, Array]:
    """Energy per atom, pressure and g(r)."""
    short = shortened(potential, CUTOFF)
    kelvin = temperature / units.kB
    atoms = bulk("Ar", "fcc", a=(4 / density) ** (1 / 3), cubic=True) * (5, 5, 5)
    atoms.set_masses(np.ones(len(atoms)))
    thermalize_momenta(atoms, 2 * kelvin, rng=np.random.default_rng(0))
    Stationary(atoms, preserve_temperature=False)
    atoms.set_constraint(FixCom())
    atoms.calc = KANCalculator(short, on_extrapolation="ignore")
    dynamics = Bussi(atoms, TIMESTEP, kelvin, TAU, rng=np.random.default_rng(1))
    for _ in range(SETTLE // EVERY):
        dynamics.run(EVERY)
        if _distances(atoms).min() < CLOSEST:
            raise ValueError(f"the liquid collapses: two atoms are closer than {CLOSEST:g} sigma")
    seen: list[tuple[float, float]] = []
    counts = np.zeros(len(EDGES) - 1)

    def observe() -> None:
        if dynamics.nsteps == SETTLE:
            return  # ASE shows the first state of every run
        ideal = density * atoms.get_temperature() * units.kB
        pressure = ideal - atoms.get_stress(include_ideal_gas=False)[:3].mean()
        seen.append((atoms.get_potential_energy() / len(atoms), pressure))
        if len(seen) % 4 == 0:
            counts[:] += np.histogram(_distances(atoms), EDGES)[0]

    dynamics.attach(observe, EVERY)
    dynamics.run(STEPS)
    blocks = np.array(seen).reshape(BLOCKS, -1, 2).mean(axis=1) + left_out(potential, short, density)
    mean, error = blocks.mean(axis=0), blocks.std(axis=0, ddof=1) / np.sqrt(BLOCKS)
    shells = 4 / 3 * np.pi * np.diff(EDGES**3)
    g = counts / (len(seen) // 4) / (len(atoms) * (len(atoms) - 1) / atoms.get_volume() / 2 * shells)
    return Sampled(mean[0], error[0]), Sampled(mean[1], error[1]), g


def _distances(atoms: Atoms) -> Array:
    """Of all pairs to their nearest images, in a cubic box."""
    i, j = np.triu_indices(len(atoms), 1)
    d = (atoms.positions[i] - atoms.positions[j]) / atoms.cell[0, 0]
    return np.asarray(np.linalg.norm(d - np.round(d), axis=1) * atoms.cell[0, 0], dtype=np.float64)
