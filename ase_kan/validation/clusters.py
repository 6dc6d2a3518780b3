"""Clusters: lowest energies by basin hopping up to 20 atoms, three famous larger ones, and the way between two minima.

Reference: Cambridge Cluster Database; D. J. Wales and J. P. K. Doye, J. Phys. Chem. A 101, 5111 (1997). The barrier of
the cluster of 7 has ASE's `LennardJones` as reference, by the same nudged elastic band.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron, Octahedron
from ase.mep import NEB
from ase.optimize import FIRE
from scipy.optimize import linear_sum_assignment  # type: ignore[attr-defined]
from scipy.spatial.transform import Rotation

from ase_kan.calculator import KANCalculator
from ase_kan.dynamics import relax_many
from ase_kan.types import Array
from ase_kan.validation.lennard_jones import Shown

#: epsilon, by the number of atoms.
MINIMA = {
    2: -1.0, 3: -3.0, 4: -6.0, 5: -9.103852, 6: -12.712062, 7: -16.505384, 8: -19.821489, 9: -24.113360,
    10: -28.422532, 11: -32.765970, 12: -37.967600, 13: -44.326801, 14: -47.845157, 15: -52.322627, 16: -56.815742,
    17: -61.317995, 18: -66.530949, 19: -72.659782, 20: -77.177043, 38: -173.928427, 55: -279.248470, 147: -876.461207,
}  # fmt: skip
#: Searched from random starts; the larger ones are relaxed from their known shapes.
SEARCHED = range(2, 21)
WALKERS, ROUNDS, TEMPERATURE, STEP = 6, 60, 0.8, 0.36
#: The second minimum of 7 atoms, a capped octahedron, from the lowest, a pentagonal bipyramid.
BARRIER, SECOND = "barrier of 7 atoms", "second minimum of 7 atoms"
IMAGES = 9


def reference() -> dict[str, float]:
    """Of the database, and ASE's `LennardJones` for the barrier."""
    return {f"minimum of {n} atoms": energy for n, energy in MINIMA.items()} | barrier(
        LennardJones(epsilon=1, sigma=1, rc=1e3)
    )


def check(potential: Shown) -> dict[str, float]:
    """Of the potential; ends early where a number of atoms has been found as low as in the database."""
    calculator = KANCalculator(potential, on_extrapolation="ignore")
    found = {n: _hop(n, calculator, MINIMA[n]) for n in SEARCHED}
    shapes = {38: Octahedron("Ar", 4, cutoff=1, latticeconstant=1.55), 55: Icosahedron("Ar", 3, 1.55),
              147: Icosahedron("Ar", 4, 1.55)}  # fmt: skip
    found |= {n: _relaxed([shape], calculator)[0][1] for n, shape in shapes.items()}
    return {f"minimum of {n} atoms": energy for n, energy in found.items()} | barrier(calculator)


def _relaxed(clusters: list[Atoms], calculator: KANCalculator) -> list[tuple[Array, float]]:
    """Positions and energies at rest."""
    for atoms in clusters:
        atoms.calc = calculator
    found = relax_many(clusters, fmax=1e-4, steps=3000)
    return [(atoms.positions.copy(), one.energy) for atoms, one in zip(clusters, found, strict=True)]


def _hop(n: int, calculator: KANCalculator, known: float) -> float:
    """Lowest energy of `WALKERS` side by side (D. J. Wales and J. P. K. Doye); atoms that leave are pulled back."""
    rng = np.random.default_rng(n)
    radius = 0.6 * n ** (1 / 3) + 0.3

    def relaxed(starts: list[Array]) -> list[tuple[Array, float]]:
        clusters = []
        for r in starts:
            centered = r - r.mean(axis=0)
            distance = np.linalg.norm(centered, axis=1, keepdims=True)
            clusters.append(Atoms(f"Ar{n}", centered * np.minimum(1, 1.3 * radius / np.maximum(distance, 1e-9))))
        return _relaxed(clusters, calculator)

    walkers = relaxed(list(rng.uniform(-radius, radius, (WALKERS, n, 3))))
    best = min(energy for _, energy in walkers)
    for _ in range(ROUNDS):
        if best < known + 1e-4 * abs(known):
            break
        trials = relaxed([r + rng.uniform(-STEP, STEP, (n, 3)) for r, _ in walkers])
        for number, ((_, old), new) in enumerate(zip(walkers, trials, strict=True)):
            if rng.random() < np.exp(min(0.0, (old - new[1]) / TEMPERATURE)):
                walkers[number] = new
        best = min(best, *(energy for _, energy in trials))
    return float(best)


def barrier(calculator: Calculator) -> dict[str, float]:
    """Energies of the second minimum and of the highest point between it and the lowest, above the lowest.

    By a climbing-image nudged elastic band: G. Henkelman et al., J. Chem. Phys. 113, 9901 (2000).
    """
    first, second = _bipyramid(), _capped_octahedron()
    for atoms in (first, second):
        atoms.calc = calculator
        FIRE(atoms, logfile=None).run(fmax=1e-4, steps=1000)
    second.positions = _alike(second.positions, first.positions)
    images = [first, *(first.copy() for _ in range(IMAGES)), second]
    for atoms in images[1:-1]:
        atoms.calc = calculator
    band = NEB(images, method="improvedtangent", allow_shared_calculator=True, remove_rotation_and_translation=True)
    band.interpolate("idpp")
    FIRE(band, logfile=None).run(fmax=0.2, steps=300)
    band.climb = True
    FIRE(band, logfile=None).run(fmax=5e-3, steps=2000)
    low, *between, high = (float(atoms.get_potential_energy()) for atoms in images)
    return {SECOND: high - low, BARRIER: max(between) - low}


def _bipyramid() -> Atoms:
    angle = 2 * np.pi * np.arange(5) / 5
    ring = np.stack([0.95 * np.cos(angle), 0.95 * np.sin(angle), 0 * angle], axis=1)
    return Atoms("Ar7", [*ring, [0, 0, 0.56], [0, 0, -0.56]])


def _capped_octahedron() -> Atoms:
    corners = 0.79 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1], [1.1, 1.1, 1.1]])
    return Atoms("Ar7", corners)


def _alike(moved: Array, fixed: Array) -> Array:
    """Atoms of one cluster, rotated and numbered so that each is near one of the other."""
    moved, center = moved - moved.mean(axis=0), fixed.mean(axis=0)
    target = fixed - center
    best, least = moved, np.inf
    for start in Rotation.random(300, rng=np.random.default_rng(0)).as_matrix():
        turned = moved @ start
        for _ in range(10):
            _, order = linear_sum_assignment(np.linalg.norm(target[:, None] - turned[None], axis=2) ** 2)
            rotation, _ = Rotation.align_vectors(target, turned[order])
            turned = rotation.apply(turned[order])
        distance = float(np.sum((turned - target) ** 2))
        if distance < least:
            best, least = turned, distance
    return np.asarray(best + center, dtype=np.float64)
