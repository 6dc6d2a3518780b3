"""The edges of an embedded-atom network: B-splines of distances and densities, and what they are outside their data.

An edge is a B-spline on a uniform grid, as in a KAN without base functions (module `kan.bsplines`). Outside:

    F    a straight line with the slope at the end of its grid
    f    slope (s + (c + s/W) x) exp(-x/W): saturates, W = 0.3 Angstrom
    phi  S r0/p [(r0/r)^p - 1] and a part that fades as f does, S = max(s, K + W |c|), p = 10

x = r0 - r is the distance from the shortest one of the data, s and c are the first and second derivatives by x there:
values, slopes and (of f and phi) curvatures go on without a jump. K is the largest pull that the densities of the pair
can have on it at r0 and below: atoms that come closer than the data repel each other whatever F does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial import Polynomial
from torch import Tensor

from ase_kan.kan.bsplines import interval_polynomials, uniform_knots
from ase_kan.potentials.features import limited, value_and_slope
from ase_kan.types import Array

#: W, Angstrom.
FADING = 0.3
#: p: the power of r that phi grows with below its data.
CORE_POWER = 10
#: Points of a function looked at for its steepest slope.
SAMPLES = 400


@dataclass(frozen=True, eq=False)
class Edge:
    """A B-spline on a uniform grid.

    Parameters
    ----------
    low, high : float
        The grid.
    grid, k : int
        Its cells, and the degree.
    coefficients : ndarray, shape (grid + k,) or fewer
        Those left out at the end are zero: without the last k, k - 1 derivatives vanish at `high`.
    """

    low: float
    high: float
    grid: int
    k: int
    coefficients: Array

    @cached_property
    def rows(self) -> Tensor:
        """Polynomials of the cells, shape (grid, k + 1), in powers of the part of the cell that lies below."""
        knots = uniform_knots(self.low, self.high, self.grid, self.k)
        polynomials = interval_polynomials(knots, self.k)[self.k : self.k + self.grid]
        padded = np.zeros(self.grid + self.k)
        padded[: len(self.coefficients)] = self.coefficients
        windows = sliding_window_view(padded, self.k + 1)
        return torch.from_numpy(np.einsum("gps,gs->gp", polynomials, windows))

    def __call__(self, x: Tensor) -> Tensor:
        """Values at numbers within the grid, differentiable."""
        u = (x - self.low) * (self.grid / (self.high - self.low))
        cell = u.detach().floor().clamp(0, self.grid - 1)
        t, c = u - cell, self.rows[cell.long()]
        value = c[..., self.k]
        for power in range(self.k - 1, -1, -1):
            value = value * t + c[..., power]
        return value

    def at(self, x: float) -> tuple[float, float, float]:
        """Value, slope and curvature at a number within the grid."""
        step = (self.high - self.low) / self.grid
        cell = min(max(int((x - self.low) / step), 0), self.grid - 1)
        local = Polynomial(self.rows[cell].numpy())
        t = (x - self.low) / step - cell
        return float(local(t)), float(local.deriv()(t) / step), float(local.deriv(2)(t) / step**2)

    def breaks(self) -> Array:
        """The ends of the cells."""
        return np.linspace(self.low, self.high, self.grid + 1)


def straight_beyond(edge: Edge, density: Tensor) -> Tensor:
    """F at any density."""
    (low, low_slope, _), (high, high_slope, _) = edge.at(edge.low), edge.at(edge.high)
    below = low + low_slope * (density - edge.low)
    above = high + high_slope * (density - edge.high)
    inside = edge(limited(density, edge.low, edge.high))
    return torch.where(density < edge.low, below, torch.where(density > edge.high, above, inside))


def fading_below(edge: Edge, r0: float, r: Tensor) -> Tensor:
    """f at any distance."""
    value, slope, curvature = edge.at(r0)
    below = value + _faded(-slope, curvature, r0, r)
    return torch.where(r < r0, below, _to_cutoff(edge, r0, r))


def repulsive_below(edge: Edge, r0: float, pull: float, r: Tensor) -> Tensor:
    """phi at any distance, where densities pull with slopes up to `pull` (K), eV/Angstrom."""
    value, slope, curvature = edge.at(r0)
    steep = max(-slope, pull + FADING * abs(curvature))
    power = steep * r0 / CORE_POWER * ((r0 / limited(r, high=r0)) ** CORE_POWER - 1)
    below = value + power + _faded(-slope - steep, curvature - steep * (CORE_POWER + 1) / r0, r0, r)
    return torch.where(r < r0, below, _to_cutoff(edge, r0, r))


def steepest(function: Callable[[Tensor], Tensor], low: float, high: float) -> float:
    """The largest size of the slope of a function from `low` to `high`."""
    return float(np.abs(value_and_slope(function, np.linspace(low, high, SAMPLES))[1]).max())


def _faded(slope: float, curvature: float, r0: float, r: Tensor) -> Tensor:
    """What has these derivatives by x = r0 - r at x = 0, and the slope (s + (c + s/W) x) exp(-x/W)."""
    x = (r0 - limited(r, high=r0)) / FADING
    rest = torch.exp(-x)
    return FADING * slope * (1 - rest) + FADING**2 * (curvature + slope / FADING) * (1 - rest * (1 + x))


def _to_cutoff(edge: Edge, r0: float, r: Tensor) -> Tensor:
    """The spline from r0 to the cutoff, and zero beyond."""
    return torch.where(r < edge.high, edge(limited(r, r0, edge.high)), 0.0)
