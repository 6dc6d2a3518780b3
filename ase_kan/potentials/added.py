"""A function added to a pair function, from well below the data to the cutoff: samples and means of potentials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.kan.network import KANNetwork
from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.pair import Affine, PairFunction
from ase_kan.types import Array

#: Cells and degree of the splines of 1/r that stand for what is added, and points per cell that they are fitted to.
CELLS, DEGREE, POINTS = 120, 5, 5
#: They begin at this part of the shortest distance in the data.
INNER = 0.5


@dataclass(frozen=True)
class AddedSplines:
    """The splines for one pair.

    Parameters
    ----------
    start, radius : float
        The range, Angstrom.
    """

    start: float
    radius: float

    @classmethod
    def of(cls, function: PairFunction) -> AddedSplines:
        radius = function.cutoff.radius
        return cls(min(max(INNER * function.domain[0], 1e-3 * radius), 0.9 * radius), radius)

    @property
    def _u(self) -> Array:
        return np.linspace(-1, 1, POINTS * CELLS + 1)

    @property
    def _feature(self) -> Affine:
        low, high = 1 / self.radius, 1 / self.start
        return Affine((low + high) / 2, (high - low) / 2)

    def points(self) -> Array:
        """Distances (n,) at which functions are to be known, from the cutoff inwards."""
        x = self._feature
        return np.minimum(1 / (x.shift + x.scale * self._u), self.radius * (1 - 1e-12))

    def coefficients(self, values: Array) -> Array:
        """Spline coefficients (splines, ...) of functions from their values (n, functions) at `points`.

        Least squares with weights: at short distances values are larger by decades, and must not decide what the
        splines are farther out.
        """
        matrix = basis(uniform_knots(-1.0, 1.0, CELLS, DEGREE), DEGREE, self._u, derivatives=0)[0]
        size = np.abs(values).max(axis=1)
        weight = 1 / (size + 1e-3 * np.median(size) + 1e-300)
        found = np.linalg.lstsq(matrix * weight[:, None], values * weight[:, None], rcond=None)[0]
        return np.asarray(found, dtype=np.float64)

    def added_to(self, base: PairFunction, coefficients: Array) -> PairFunction:
        """The pair function plus one function of these coefficients; both are zero at the cutoff."""
        return PairFunction(
            KANNetwork.of_spline(uniform_knots(-1.0, 1.0, CELLS, DEGREE), coefficients),
            base.domain,
            Cutoff(self.radius, None),
            "1/r",
            self._feature,
            coverage=base.coverage,
            baseline=base,
        )
