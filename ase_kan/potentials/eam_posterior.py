"""How well the linear part of an embedded-atom potential is known: E0, phi and F, with the densities as they are.

Noise and prior of the fit leave a normal distribution of their coefficients, with covariance L L^T; see module
`posterior` for what its columns, the modes, do. The spread of f is left out: of what f may be, phi and F make up for
most, and what they cannot is in the residual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.potentials.eam_edges import Edge
from ase_kan.potentials.posterior import Modes
from ase_kan.types import Array


@dataclass(frozen=True, eq=False)
class EAMPosterior:
    """The posterior of an embedded-atom potential.

    Parameters
    ----------
    factor : ndarray, shape (coefficients, modes)
        L, eV: of E0 of each element, phi of each pair, F of each element channel by channel.
    residual : mapping of str to float
        RMS errors of the fit: ``"energy"`` (eV per atom), ``"forces"`` (eV/Angstrom), ``"virial"`` (eV per atom).
    """

    factor: Array
    residual: Mapping[str, float]

    @classmethod
    def restore(cls, header: Mapping[str, Any], factor: NDArray[Any]) -> EAMPosterior:
        """From a file."""
        return cls(factor.astype(float), dict(header["residual"]))

    def modes(self, edge: Edge, first: int, x: Array, low: float, high: float) -> Modes:
        """The modes of an edge whose coefficients begin at row `first`, at numbers (n,); straight outside low to high.

        Those of an edge that ends at zero are zero beyond.
        """
        size = len(edge.coefficients)
        factor = self.factor[first : first + size]
        at = x.clip(low, high)
        splines = basis(uniform_knots(edge.low, edge.high, edge.grid, edge.k), edge.k, at, 1)
        value, slope = (part[:, :size] @ factor for part in splines)
        return Modes(value + slope * (x - at)[:, None], slope)
