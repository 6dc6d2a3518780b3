"""The fcc crystal: lattice constant, energy, elastic constants, and phonons at two points of the zone boundary.

References are lattice sums of Lennard-Jones. What a potential gives comes from the calculator as a user would have it:
stress for the lattice constant and the elastic constants, ASE's `Phonons` for frequencies.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.phonons import Phonons
from scipy.optimize import brentq

from ase_kan.calculator import KANCalculator
from ase_kan.types import Array
from ase_kan.validation import lennard_jones
from ase_kan.validation.lennard_jones import Shown

#: Sums of r^-12 and r^-6 over the fcc lattice with neighbors at 1 (J. O. Hirschfelder et al., 1954, table 13.9-1).
A12, A6 = 12.131880196545, 14.453920772
#: Half a strain, and the largest distance of sums over the lattice; what is beyond is an integral.
STRAIN, FAR = 1e-4, 40.0
#: Zone boundary, in units of the reciprocal primitive cell, where both transverse branches are one.
POINTS = {"X": (0.5, 0.5, 0.0), "L": (0.5, 0.0, 0.0)}
#: eV of hbar omega, with omega^2 in eV/A^2/u.
HBAR = units._hbar * 1e10 / np.sqrt(units._e * units._amu)
NAMES = (
    "nearest distance",
    "energy per atom",
    "C11",
    "C12",
    "C44",
    *(f"phonon {p}, {b}" for p in POINTS for b in "TL"),
)


@cache
def reference() -> dict[str, float]:
    """By lattice sums."""
    nearest = (2 * A12 / A6) ** (1 / 6)
    sites = _sites(FAR) * nearest
    r = np.linalg.norm(sites, axis=1)
    first, second = lennard_jones.slope(r), lennard_jones.curvature(r)
    volume = nearest**3 / np.sqrt(2)
    bond = second / r**2 - first / r**3
    # M. Born and K. Huang, Dynamical Theory of Crystal Lattices (1954), chapter III: pressure is zero here. Beyond FAR
    # 168 r^-8 of the curvature and the slope 24 r^-7 remain: -192 r^-10 x^4 and the like, averaged over directions.
    beyond = -192 * 4 * np.pi / volume * r.max() ** -3 / 3 / 2 / volume
    elastic = [
        0.5 / volume * float(np.sum(bond * sites[:, 0] ** 2 * sites[:, axis] ** 2)) + beyond * part
        for axis, part in ((0, 1 / 5), (1, 1 / 15))
    ]
    found = [nearest, -(A6**2) / (2 * A12), elastic[0], elastic[1], elastic[1]]
    primitive = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * nearest / np.sqrt(2)
    for point in POINTS.values():
        wave = 2 * np.pi * np.linalg.solve(primitive, point)
        stiffness = bond[:, None, None] * sites[:, :, None] * sites[:, None, :]
        stiffness += (first / r)[:, None, None] * np.eye(3)
        squares = np.linalg.eigvalsh(np.einsum("n,nij->ij", 1 - np.cos(sites @ wave), stiffness))
        found += [float(np.sqrt(squares[0])), float(np.sqrt(squares[2]))]
    return dict(zip(NAMES, found, strict=True))


def check(potential: Shown) -> dict[str, float]:
    """By stress and forces of the calculator; `ValueError` where no crystal is at rest between 1.0 and 1.25 sigma."""
    calculator = KANCalculator(potential, on_extrapolation="ignore")

    def crystal(nearest: float) -> Atoms:
        atoms = bulk("Ar", "fcc", a=nearest * np.sqrt(2))
        atoms.set_masses([1.0])
        atoms.calc = calculator
        return atoms

    def pull(nearest: float) -> float:
        return float(crystal(nearest).get_stress()[:3].sum())

    if not pull(1.0) < 0 < pull(1.25):
        raise ValueError("no crystal is at rest between nearest-neighbor distances of 1.0 and 1.25 sigma")
    nearest = float(brentq(pull, 1.0, 1.25, xtol=1e-12))
    atoms = crystal(nearest)
    axial, shear = _stress_of_strain(atoms, 0, 0), _stress_of_strain(atoms, 1, 2)
    found = [nearest, float(atoms.get_potential_energy()), axial[0], axial[1], shear[3]]
    return dict(zip(NAMES, found + _phonons(atoms, calculator), strict=True))


def _sites(reach: float) -> Array:
    """The fcc lattice with neighbors at 1, but for the origin, up to a distance."""
    n = int(reach * np.sqrt(2)) + 1
    one = np.arange(-n, n + 1)
    x, y, z = np.meshgrid(one, one, one)
    keep = ((x + y + z) % 2 == 0) & (x**2 + y**2 + z**2 <= 2 * reach**2) & (x**2 + y**2 + z**2 > 0)
    return np.asarray(np.stack([x[keep], y[keep], z[keep]], axis=1) / np.sqrt(2), dtype=np.float64)


def _stress_of_strain(atoms: Atoms, i: int, j: int) -> Array:
    """Change of the stress (Voigt) with one component of the strain, by central differences."""
    stress = []
    for size in (STRAIN, -STRAIN):
        strain = np.eye(3)
        strain[[i, j], [j, i]] += size if i == j else size / 2
        strained = atoms.copy()
        strained.calc = atoms.calc
        strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        stress.append(strained.get_stress())
    return np.asarray((stress[0] - stress[1]) / (2 * STRAIN), dtype=np.float64)


def _phonons(atoms: Atoms, calculator: KANCalculator) -> list[float]:
    """Lowest and highest frequency at each point. A supercell 2 x 2 x 2 is exact there: its images are summed over."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        phonons = Phonons(atoms, calculator, supercell=(2, 2, 2), delta=1e-3, name=Path(folder, "phonon"))
        phonons.run()
        phonons.read(acoustic=False)
        for point in POINTS.values():
            energy = phonons.band_structure([point])[0]  # eV, hbar omega
            found += [float(energy[0]) / HBAR, float(energy[-1]) / HBAR]
    return found
