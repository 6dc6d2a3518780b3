"""A pair potential as matscipy's calculator for Hessians and elastic constants takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import ArrayLike

from ase_kan.exports.pairs import is_missing, without_data
from ase_kan.potentials.features import two_derivatives, value_and_slope
from ase_kan.potentials.protocol import PairPotential, distances, require_pair_potential
from ase_kan.types import Array, Pair


class MatscipyPair:
    """One pair of elements for `matscipy.calculators.pair_potential.PairPotential`.

    The interaction protocol of matscipy: energy (eV) and derivatives by autograd, at distances (Angstrom) of any
    shape; what follows the distances (charges) is not used.

    Parameters
    ----------
    potential : PairPotential
    pair : (str, str), optional
        May be left out if there is only one. A pair without data, of elements that the potential knows, is taken with
        a warning, and a `ValueError` is raised when two such atoms come within the cutoff of the potential. (matscipy
        itself lets pairs that it is given no interaction for pass through each other.)

    Raises
    ------
    TypeError
        For an embedded-atom potential.
    ValueError
        For elements that the potential does not know, a pair left out where there are several, and at evaluation for
        distances that are not positive and finite.
    """

    def __init__(self, potential: PairPotential, pair: Pair | None = None) -> None:
        require_pair_potential(potential, "MatscipyPair", "KANCalculator")
        self.potential = potential
        self.pair = pair
        self.missing = is_missing(potential, pair)
        if self.missing and pair is not None:
            without_data(potential, pair, f"an error when such atoms come within {potential.cutoff:g} A")
        self.cutoff = potential.cutoff if self.missing else potential.breakpoints(pair)[-1]

    def get_cutoff(self) -> float:
        """Angstrom."""
        return self.cutoff

    def __call__(self, r: ArrayLike, *charges: Any) -> Array:
        return self._derivatives(r, 0)

    def first_derivative(self, r: ArrayLike, *charges: Any) -> Array:
        """dphi/dr, eV/Angstrom."""
        return self._derivatives(r, 1)

    def second_derivative(self, r: ArrayLike, *charges: Any) -> Array:
        """d2phi/dr2, eV/Angstrom^2."""
        return self._derivatives(r, 2)

    def derivative(self, n: int = 1) -> Callable[..., Array]:
        """The first or the second derivative as a function."""
        if n not in (1, 2):
            raise ValueError(f"there are derivatives of order 1 and 2, got {n}")
        return self.first_derivative if n == 1 else self.second_derivative

    def _derivatives(self, r: ArrayLike, order: int) -> Array:
        array = distances(r)
        if self.missing:
            near = array[array < self.cutoff]
            if near.size and self.pair:
                raise ValueError(
                    f"two atoms are {near.min():.4g} A apart whose pair has no data: {'-'.join(self.pair)}"
                )
            return array * 0

        def phi(x: torch.Tensor) -> torch.Tensor:
            return self.potential(x, self.pair)

        if order == 0:
            return self.potential.energy(array, self.pair)
        return value_and_slope(phi, array)[1] if order == 1 else two_derivatives(phi, array)[2]
