"""The unknowns of an embedded-atom potential, and where each stands in the arrays of its fit.

    E = sum_i E0[a_i] + sum_{i<j} phi_ab(r_ij) + sum_i sum_c F_a^c(rho_i^c),    rho_i^c = sum_j f_ab^c(r_ij)

phi and f are B-splines on one uniform grid of distances without its last k splines, so that k - 1 derivatives vanish
at the cutoff. F is a B-spline on a uniform grid over the densities that the training data have, and a straight line
beyond. Given f, everything else is linear:

    x = (E0 of each element | phi of each pair | F of each channel and element)        c = (f of each channel and kind)

Index letters: a, b element; c channel; d kind of density; m spline; i, j atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np

from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.potentials.eam_schema import DENSITIES
from ase_kan.types import Array, Index, Pair

#: Narrowest grid of F, in units of the standard deviation of the densities: those of perfect crystals hardly differ.
NARROWEST = 1e-3


@dataclass(frozen=True)
class Form:
    """Sizes and places of the unknowns.

    Parameters
    ----------
    elements : tuple of str
        In alphabetical order.
    densities : str
        One of `DENSITIES`.
    channels : int
        Densities per atom.
    start, cutoff : float
        The radial grid, Angstrom.
    grid, embedding_grid : int
        Cells of phi and f, and of F.
    k : int
        Degree of all splines.
    pinned : tuple of bool
        Whether F(0) = 0 for each element, since the energy of its lone atom is known.
    """

    elements: tuple[str, ...]
    densities: str
    channels: int
    start: float
    cutoff: float
    grid: int
    embedding_grid: int
    k: int
    pinned: tuple[bool, ...]

    @cached_property
    def knots(self) -> Array:
        """Of phi and f."""
        return uniform_knots(self.start, self.cutoff, self.grid, self.k)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Unordered pairs of elements, in the order of phi."""
        return list(combinations_with_replacement(self.elements, 2))

    @cached_property
    def pair_of(self) -> Index:
        """Number of the pair of two elements, shape (n, n)."""
        n = len(self.elements)
        table = np.zeros((n, n), dtype=np.int64)
        for number, (a, b) in enumerate(combinations_with_replacement(range(n), 2)):
            table[a, b] = table[b, a] = number
        return table

    @cached_property
    def density_of(self) -> Index:
        """Kind of the density that an atom (row) has from a neighbor (column), shape (n, n)."""
        n = len(self.elements)
        if self.densities == DENSITIES[0]:
            return np.tile(np.arange(n), (n, 1))
        return np.arange(n * n).reshape(n, n)

    @property
    def kinds(self) -> int:
        """Number of kinds of densities."""
        return int(self.density_of.max()) + 1

    @property
    def size(self) -> int:
        """Coefficients of each phi and f."""
        return self.grid

    @property
    def embedding_size(self) -> int:
        """Coefficients of each F."""
        return self.embedding_grid + self.k

    def pair_at(self, number: int) -> slice:
        """Place of phi of a pair in x."""
        begin = len(self.elements) + number * self.size
        return slice(begin, begin + self.size)

    def embedding_at(self, channel: int, element: int) -> slice:
        """Place of F in x."""
        begin = len(self.elements) + len(self.pairs) * self.size
        begin += (channel * len(self.elements) + element) * self.embedding_size
        return slice(begin, begin + self.embedding_size)

    @property
    def linear(self) -> int:
        """Length of x."""
        return (
            len(self.elements) + len(self.pairs) * self.size + self.channels * len(self.elements) * self.embedding_size
        )

    @property
    def nonlinear(self) -> int:
        """Length of c."""
        return self.channels * self.kinds * self.size

    def centres(self) -> Array:
        """Distances where the splines of phi and f live (their Greville abscissas), shape (size,)."""
        step = (self.cutoff - self.start) / self.grid
        return np.asarray(self.start + step * (np.arange(self.size) - (self.k - 1) / 2))


@dataclass(frozen=True)
class Ranges:
    """Densities of the training data, each array of shape (channels, elements).

    The grid of F goes from `low` to `high`, and from or to 0 where F(0) is pinned. F is counted from its value at
    `reference`: 0 there, else the mean density.
    """

    low: Array
    high: Array
    mean: Array

    def ends(self, form: Form, channel: int, element: int) -> tuple[float, float]:
        """Ends of the grid of F."""
        low, high = float(self.low[channel, element]), float(self.high[channel, element])
        if form.pinned[element]:
            low, high = min(low, 0.0), max(high, 0.0)
        missing = max(NARROWEST - (high - low), 0.0) / 2
        return low - missing, high + missing

    def knots(self, form: Form, channel: int, element: int) -> Array:
        """Knots of F."""
        return uniform_knots(*self.ends(form, channel, element), form.embedding_grid, form.k)

    def reference(self, form: Form, channel: int, element: int) -> float:
        """The density whose F is zero."""
        return 0.0 if form.pinned[element] else float(self.mean[channel, element])

    def value_at_reference(self, form: Form, channel: int, element: int, coefficients: Array) -> Array:
        """Of the spline with these coefficients, or of splines with columns of them."""
        reference = np.array([self.reference(form, channel, element)])
        values: Array = basis(self.knots(form, channel, element), form.k, reference, 0)[0] @ coefficients
        return values

    def splines(self, form: Form, channel: int, element: int, rho: Array, derivatives: int) -> list[Array]:
        """Splines of F, counted from the reference, with derivatives, each (n, embedding_size); linear outside."""
        low, high = self.ends(form, channel, element)
        knots = self.knots(form, channel, element)
        inside = np.clip(rho, low, high)
        beyond = (rho - inside)[:, None]
        at_reference = basis(knots, form.k, np.array([self.reference(form, channel, element)]), 0)[0]
        values = basis(knots, form.k, inside, max(derivatives, 1))
        values[0] = values[0] + beyond * values[1] - at_reference
        for order in range(2, derivatives + 1):
            values[order][beyond[:, 0] != 0] = 0.0
        return values[: derivatives + 1]
