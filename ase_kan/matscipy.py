"""A pair potential as matscipy's calculator for Hessians and elastic constants takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ase_kan.features import Array, two_derivatives, value_and_slope
from ase_kan.potential import Pair, PairPotential


class MatscipyPair:
    """One pair of elements for `matscipy.calculators.pair_potential.PairPotential`.

    The interaction protocol of matscipy: energy (eV) and derivatives by autograd, at distances (Angstrom) of any
    shape; what follows the distances (charges) is not used.

    Parameters
    ----------
    potential : PairPotential
    pair : (str, str), optional
        May be left out if there is only one.
    """

    def __init__(self, potential: PairPotential, pair: Pair | None = None) -> None:
        self.potential = potential
        self.pair = pair
        self.cutoff = potential.breakpoints(pair)[-1]

    def get_cutoff(self) -> float:
        """Angstrom."""
        return self.cutoff

    def __call__(self, r: Array, *charges: Any) -> Array:
        return self._derivatives(r, 0)

    def first_derivative(self, r: Array, *charges: Any) -> Array:
        """dphi/dr, eV/Angstrom."""
        return self._derivatives(r, 1)

    def second_derivative(self, r: Array, *charges: Any) -> Array:
        """d2phi/dr2, eV/Angstrom^2."""
        return self._derivatives(r, 2)

    def derivative(self, n: int = 1) -> Callable[..., Array]:
        """The first or the second derivative as a function."""
        if n not in (1, 2):
            raise ValueError(f"there are derivatives of order 1 and 2, got {n}")
        return self.first_derivative if n == 1 else self.second_derivative

    def _derivatives(self, r: Array, order: int) -> Array:
        def phi(x: torch.Tensor) -> torch.Tensor:
            return self.potential(x, self.pair)

        distances = np.array(r, dtype=float)
        if order == 0:
            return self.potential.energy(distances, self.pair)
        return value_and_slope(phi, distances)[1] if order == 1 else two_derivatives(phi, distances)[2]
