"""B-splines on a pykan grid, in numpy: the polynomials of every knot interval, and the matrices fits need.

A grid of G intervals and degree k has G + k splines on G + 2k + 1 knots: k knots extend the grid on each side.
Source of the recursion: C. de Boor, A Practical Guide to Splines, ch. IX. Index letters: m interval, p power.
"""

from __future__ import annotations

import numpy as np

from ase_kan.types import Array, Index


def uniform_knots(low: float, high: float, grid: int, k: int) -> Array:
    """Knots of `grid` equal intervals on [low, high], extended by k on each side; shape (grid + 2k + 1,)."""
    step = (high - low) / grid
    knots: Array = low + step * np.arange(-k, grid + k + 1, dtype=float)
    # The ends exactly where they were asked for, not a rounding error away.
    knots[k], knots[-k - 1] = low, high
    return knots


def local_basis(
    knots: Array, k: int, x: Array, derivatives: int = 1, table: Array | None = None
) -> tuple[Index, list[Array]]:
    """Values at each x of the k + 1 B-splines that are not zero there.

    Parameters
    ----------
    knots : ndarray, shape (G + 2k + 1,)
    k : int
    x : ndarray, shape (n,)
    derivatives : int
        Highest derivative wanted.
    table : ndarray, optional
        ``interval_polynomials(knots, k)``, for callers with many batches.

    Returns
    -------
    columns : ndarray of int, shape (n, k + 1)
        Numbers of the splines; some may not exist (negative, or G + k and more) where x is outside the grid.
    values : list of ndarray, each of shape (n, k + 1)
        Values, first derivatives, ...; zero outside the extended grid.
    """
    m = np.searchsorted(knots, x, side="right") - 1
    inside = (m >= 0) & (m < len(knots) - 1)
    m = np.where(inside, m, 0)
    width = knots[m + 1] - knots[m]
    u = ((x - knots[m]) / width)[:, None]
    local = (interval_polynomials(knots, k) if table is None else table)[m] * inside[:, None, None]
    values = []
    for order in range(derivatives + 1):
        if order:  # d/dx of sum_p c_p u^p
            local = local[:, 1:] * np.arange(1, local.shape[1])[:, None] / width[:, None, None]
        value = np.zeros((len(x), k + 1))
        for p in range(local.shape[1] - 1, -1, -1):
            value = value * u + local[:, p]
        values.append(value)
    return m[:, None] - k + np.arange(k + 1), values


def basis(knots: Array, k: int, x: Array, derivatives: int = 1) -> list[Array]:
    """All splines at x: values, first derivatives, ..., each of shape (n, G + k). Arguments as `local_basis`."""
    n_splines = len(knots) - 1 - k
    columns, values = local_basis(knots, k, x, derivatives)
    exists = (columns >= 0) & (columns < n_splines)
    rows = np.broadcast_to(np.arange(len(x))[:, None], columns.shape)
    result = []
    for value in values:
        matrix = np.zeros((len(x), n_splines))
        matrix[rows[exists], columns[exists]] = value[exists]
        result.append(matrix)
    return result


def interval_polynomials(knots: Array, k: int) -> Array:
    """The polynomials of the k + 1 B-splines that are not zero on each interval between knots.

    Returns shape (intervals, k + 1 powers, k + 1 splines): spline c on interval m is number m - k + c, and
    the powers are of u = (x - knots[m]) / (knots[m+1] - knots[m]). Splines that do not exist (beyond the
    ends of the knots) get whatever padding gives: their coefficients are zero.
    """
    n = len(knots) - 1
    step = knots[-1] - knots[-2]
    padded = np.concatenate([knots[0] - step * np.arange(k, 0, -1), knots, knots[-1] + step * np.arange(1, k + 1)])
    m = np.arange(n) + k
    h = padded[m + 1] - padded[m]
    # splines[:, :, c]: polynomial of B_{m - degree + c, degree} on interval m, here of degree 0
    splines = np.zeros((n, k + 1, 1))
    splines[:, 0, 0] = 1.0
    for degree in range(1, k + 1):
        raised = np.zeros((n, k + 1, degree + 1))
        for c in range(degree + 1):
            j = m - degree + c
            if c > 0:  # (x - t_j) / (t_{j+degree} - t_j) * B_{j, degree-1}
                lower, span = padded[j], padded[j + degree] - padded[j]
                raised[:, :, c] += _times_line(splines[:, :, c - 1], (padded[m] - lower), h, span)
            if c < degree:  # (t_{j+degree+1} - x) / (t_{j+degree+1} - t_{j+1}) * B_{j+1, degree-1}
                upper, span = padded[j + degree + 1], padded[j + degree + 1] - padded[j + 1]
                raised[:, :, c] += _times_line(splines[:, :, c], upper - padded[m], -h, span)
        splines = raised
    return splines


def _times_line(poly: Array, constant: Array, slope: Array, span: Array) -> Array:
    """poly(u) * (constant + slope u) / span, with pykan's 0/0 = 0 where knots coincide."""
    product = poly * constant[:, None]
    product[:, 1:] += poly[:, :-1] * slope[:, None]
    scale = np.divide(1.0, span, out=np.zeros_like(span), where=span > 0)
    return product * scale[:, None]
