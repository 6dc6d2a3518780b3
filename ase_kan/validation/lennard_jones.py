"""Lennard-Jones itself, and any potential in its units.

E(r) = 4 (r^-12 - r^-6). Potentials here know a function phi(r) and where it ends; `Shown` adds what a protocol wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ase_kan.potentials.cutoff import ONSET_FRACTION, Cutoff
from ase_kan.potentials.protocol import PairPotential, energies, forces
from ase_kan.types import Array, Pair

#: Beyond these distances neither the exact potential nor the fits that are compared with it interact, unless a check
#: says otherwise: the lattice energy then lacks 0.01 %.
REACH = 20.0


def energy(r: ArrayLike) -> Array:
    """4 (r^-12 - r^-6)."""
    inverse = np.asarray(r, dtype=float) ** -6.0
    return np.asarray(4 * (inverse**2 - inverse), dtype=np.float64)


def slope(r: Array) -> Array:
    """dE/dr."""
    return np.asarray(24 * r**-7.0 - 48 * r**-13.0, dtype=np.float64)


def curvature(r: Array) -> Array:
    """d2E/dr2."""
    return np.asarray(624 * r**-14.0 - 168 * r**-8.0, dtype=np.float64)


class Shown:
    """One function phi(r) for all elements, as a pair potential.

    Parameters
    ----------
    phi : callable
        Takes and gives float64 tensors; differentiable.
    cutoff : Cutoff
        How phi goes to zero.
    domain : (float, float)
        The range of the data.
    breakpoints : sequence of float
        Where phi is less smooth than elsewhere.
    """

    elements: tuple[str, ...] = ()
    pairs: tuple[Pair | None, ...] = (None,)
    reference_energies: Mapping[str, float] = {}

    def __init__(
        self,
        phi: Callable[[Tensor], Tensor],
        cutoff: Cutoff,
        domain: tuple[float, float],
        breakpoints: tuple[float, ...] = (),
    ) -> None:
        self._phi, self._cutoff, self._domain = phi, cutoff, domain
        self.cutoff = cutoff.radius
        ends = [cutoff.radius] if cutoff.onset is None else [cutoff.onset, cutoff.radius]
        self._breakpoints = tuple(sorted({*(r for r in breakpoints if r < cutoff.radius), *ends}))

    def domain(self, pair: Pair | None = None) -> tuple[float, float]:
        """Smallest and largest distance of the data."""
        return self._domain

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]:
        """Distances where phi is less smooth than elsewhere; the last is the cutoff."""
        return self._breakpoints

    def __call__(self, r: Tensor, pair: Pair | None = None) -> Tensor:
        """phi(r), cut off."""
        return self._cutoff.apply(self._phi, r)

    def energy(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """phi(r) for an array of any shape."""
        return energies(self, r)

    def force(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """-dphi/dr for an array of any shape."""
        return forces(self, r)


@cache
def exact(cutoff: float = REACH) -> Shown:
    """Lennard-Jones, brought to zero between 0.9 of the cutoff and the cutoff."""

    def phi(r: Tensor) -> Tensor:
        inverse = r**-6.0
        return 4 * (inverse**2 - inverse)

    return Shown(phi, Cutoff(cutoff, ONSET_FRACTION * cutoff), (0.5, cutoff))


def reduced(potential: PairPotential, epsilon: float = 1.0, sigma: float = 1.0) -> Shown:
    """A potential of one kind of atoms, in units of a depth and a size.

    Parameters
    ----------
    potential : PairPotential
        For every element, or for one.
    epsilon, sigma : float
        Unit of energy, eV, and of length, Angstrom.

    Raises
    ------
    ValueError
        If the potential has several pairs, or a unit is no positive number.
    """
    if len(potential.pairs) != 1:
        raise ValueError(f"the checks are of one kind of atoms, and the potential has {', '.join(potential.elements)}: "
                         "give a potential of one pair")  # fmt: skip
    for name, unit in (("epsilon", epsilon), ("sigma", sigma)):
        if not (np.isfinite(unit) and unit > 0):
            raise ValueError(f"{name} must be a positive number, got {unit}")
    (pair,) = potential.pairs
    low, high = potential.domain(pair)
    # The potential's own cutoff has acted already; subtracting its value there, which is zero, does nothing more.
    whole = Cutoff(potential.breakpoints(pair)[-1] / sigma, None)
    breakpoints = tuple(r / sigma for r in potential.breakpoints(pair))
    return Shown(lambda r: potential(r * sigma, pair) / epsilon, whole, (low / sigma, high / sigma), breakpoints)


def shortened(potential: Shown, cutoff: float) -> Shown:
    """The same, brought to zero between 0.9 `cutoff` and `cutoff` if it reaches farther."""
    if potential.cutoff <= cutoff:
        return potential
    onset = ONSET_FRACTION * cutoff
    return Shown(potential, Cutoff(cutoff, onset), potential.domain(), potential.breakpoints())


def left_out(potential: Shown, short: Shown, density: float) -> tuple[float, float]:
    """Energy per atom and pressure of what `short` lacks of `potential`, with g(r) = 1 beyond the onset.

    u = 2 pi rho int (phi - phi_s) r^2 dr,  p = 2/3 pi rho^2 int (f - f_s) r^3 dr  with the forces f = -dphi/dr
    (M. P. Allen and D. J. Tildesley, Computer Simulation of Liquids, 2nd ed., section 2.8).
    """
    if short is potential:
        return 0.0, 0.0
    r = np.linspace(0.85 * short.cutoff, potential.cutoff, 200_001)
    difference, force = potential.energy(r) - short.energy(r), potential.force(r) - short.force(r)
    return (
        float(2 * np.pi * density * np.trapezoid(r**2 * difference, r)),
        float(2 / 3 * np.pi * density**2 * np.trapezoid(r**3 * force, r)),
    )
