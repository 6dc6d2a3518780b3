"""What potentials are: calculators, tables, exporters and plots take any of a kind, and know none by name.

Units are eV and Angstrom. A pair potential is

    E = sum_i E0[Z_i] + sum_{i<j} phi_{Z_i Z_j}(r_ij)

and an embedded-atom potential adds functions F of the densities rho at each atom (several channels c of them, or one):

    E = sum_i E0[Z_i] + sum_{i<j} phi_{Z_i Z_j}(r_ij) + sum_i sum_c F^c_{Z_i}(rho^c_i)
    rho^c_i = sum_{j != i} f^c_{Z_i Z_j}(r_ij)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from ase_kan.potentials.features import value_and_slope
from ase_kan.types import Array, Pair, sorted_pair

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class PairPotential(Protocol):
    """The protocol of a pair potential. Units are eV and Angstrom."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols it knows; empty if it serves every element."""

    @property
    def pairs(self) -> tuple[Pair | None, ...]:
        """The pairs it knows, each in alphabetical order; ``(None,)`` if one function serves every pair."""

    @property
    def cutoff(self) -> float:
        """Largest distance at which any pair interacts."""

    @property
    def reference_energies(self) -> Mapping[str, float]:
        """Energy E0 of a lone atom per symbol; a symbol left out has 0."""

    def domain(self, pair: Pair | None = None) -> tuple[float, float]:
        """Smallest and largest distance that the data of a pair covered."""

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]:
        """Distances, ascending, where phi is less smooth than elsewhere; the last is the pair's own cutoff."""

    def __call__(self, r: Tensor, pair: Pair | None = None) -> Tensor:
        """phi(r), differentiable, for a float64 tensor of any shape."""

    def energy(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """phi(r) for an array of any shape."""

    def force(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """-dphi/dr for an array of any shape; positive is repulsive."""


@runtime_checkable
class EmbeddedAtomPotential(Protocol):
    """The protocol of an embedded-atom potential. Units are eV and Angstrom; densities have none.

    M. S. Daw and M. I. Baskes, Phys. Rev. B 29, 6443 (1984). With densities f that depend on the atom they come from
    alone this is LAMMPS's ``eam/alloy``, else ``eam/fs`` (M. W. Finnis and J. E. Sinclair, Phil. Mag. A 50, 45, 1984).
    """

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols it knows, in alphabetical order; at least one."""

    @property
    def cutoff(self) -> float:
        """Largest distance at which any pair interacts."""

    @property
    def channels(self) -> int:
        """How many densities each atom has."""

    @property
    def reference_energies(self) -> Mapping[str, float]:
        """Energy E0 per symbol; a symbol left out has 0. A lone atom has E0 + sum_c F^c(0)."""

    def domain(self, pair: Pair) -> tuple[float, float]:
        """Smallest and largest distance that the data of a pair covered."""

    def density_domain(self, element: str, channel: int = 0) -> tuple[float, float]:
        """Smallest and largest density that the data of an element covered."""

    def breakpoints(self, pair: Pair) -> tuple[float, ...]:
        """Distances, ascending, where phi or f of a pair are less smooth than elsewhere; the last is its cutoff."""

    def density_breakpoints(self, element: str, channel: int = 0) -> tuple[float, ...]:
        """Densities, ascending, where F is less smooth than elsewhere."""

    def pair_energy(self, r: Tensor, pair: Pair) -> Tensor:
        """phi(r), differentiable, for a float64 tensor of any shape."""

    def density(self, r: Tensor, atom: str, neighbor: str, channel: int = 0) -> Tensor:
        """f(r): what a neighbor at r adds to the density of an atom, differentiable."""

    def embedding(self, density: Tensor, element: str, channel: int = 0) -> Tensor:
        """F(rho), differentiable, for a float64 tensor of any shape."""


#: What a calculator takes.
Potential = PairPotential | EmbeddedAtomPotential


def require_pair_potential(potential: object, who: str, instead: str) -> None:
    """`TypeError` for an embedded-atom potential, of those that take pair potentials only."""
    if isinstance(potential, EmbeddedAtomPotential):
        raise TypeError(f"{who} takes pair potentials, not embedded-atom potentials: use {instead}")


def missing_pairs(potential: PairPotential) -> list[Pair]:
    """Pairs of the potential's elements that it has no function for, since its data had none."""
    if None in potential.pairs:
        return []
    known = {sorted_pair(pair) for pair in potential.pairs if pair}
    return [pair for pair in combinations_with_replacement(sorted(potential.elements), 2) if pair not in known]


def distances(r: ArrayLike) -> Array:
    """A float64 copy of distances; `ValueError` that names the first one that is not finite and positive."""
    try:
        if np.iscomplexobj(r):
            raise TypeError
        array = np.array(r, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"distances must be numbers, got {r!r}") from None
    bad = array[~(np.isfinite(array) & (array > 0))]
    if bad.size:
        raise ValueError(f"distances must be positive and finite, got {bad.flat[0]}")
    return array


def energies(phi: Callable[[Tensor], Tensor], r: ArrayLike) -> Array:
    """A torch function at distances of any shape, through the door that all potentials share."""
    import torch

    array = distances(r)
    with torch.no_grad():
        energy: Array = phi(torch.from_numpy(array)).numpy()
    return _finite("energy", energy, array)


def forces(phi: Callable[[Tensor], Tensor], r: ArrayLike) -> Array:
    """Minus its derivative there."""
    array = distances(r)
    return _finite("force", -value_and_slope(phi, array)[1], array)


def _finite(what: str, values: Array, r: Array) -> Array:
    bad = r[~np.isfinite(values)]
    if bad.size:
        raise ValueError(f"the {what} at r = {bad.flat[0]} A overflows")
    return values
