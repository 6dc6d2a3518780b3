"""Tables of several functions on common knots: rows of quintic polynomials, with a certificate of their errors.

The knots are evenly spaced in x between two places where the functions are less smooth, and are at such places too if
these are evenly spaced themselves, as the knots of a spline are: splines of up to fifth degree are then exact. Row
number and place in the row follow from

    u(x) = slope (x - start) + sum_k change_k max(0, x - at_k),    row = floor(u),    t = u - row

Values and slopes at both ends and in the middle of a row fix its quintic c0 + c1 t + ... + c5 t^5. So the tables have
continuous slopes, and need no curvatures, which jump at the knots of a cubic spline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.scale import Scale
from ase_kan.types import Array

if TYPE_CHECKING:
    from torch import Tensor

#: Tables of distances start at this part of the shortest one in the data; a Lennard-Jones energy is 60,000 there.
INNER = 0.4
#: Most rows of a table.
MOST_ROWS = 1 << 16
#: Places within a row where the error is measured, and what the largest one found is multiplied with.
PROBES = (0.06, 0.19, 0.32, 0.5, 0.71, 0.83, 0.95)
SAFETY = 2.0
DEFAULT_TOLERANCE = 1e-8
#: Rows of the first try between two breaks.
FIRST_ROWS = 4
#: Breaks closer than this part of the whole table are one: what is between them is rounding.
APART = 1e-9
#: Breaks are evenly spaced if none is farther from its place than this part of the spacing.
EVEN = 1e-7
#: Functions may jump at the ends of a table, and right at breaks autograd may add up the slopes of both sides: they are
#: looked at so much of a row away from the knots, and at least so much of the place itself.
NUDGE, ROUNDING = 1e-12, 1e-15

Function = Callable[["Tensor"], "Tensor"]


def _from_values_and_slopes() -> Array:
    """The matrix that makes c0 ... c5 of values at 0, 1/2, 1 and of slopes there."""
    t, k = np.array([[0.0], [0.5], [1.0]]), np.arange(6)
    slopes = k * t ** np.maximum(k - 1, 0)
    inverse: Array = np.linalg.inv(np.concatenate([t**k, slopes]))
    return inverse


_QUINTIC = _from_values_and_slopes()


@dataclass(frozen=True, eq=False)
class Table:
    """Several functions of one number on common knots.

    Attributes
    ----------
    start, end : float
        What the rows reach from and to.
    slope, at, change
        The map u(x) (see the module).
    rows : ndarray, shape (n, functions, 8)
        c0 to c5, du/dx, and an unused number.
    errors : ndarray, shape (functions, 2)
        Certified: largest |error| / (scale + |value|) of values and slopes against the original, on fresh places,
        times a safety factor.
    scales : tuple of Scale
        Those of each function and its slope.
    """

    start: float
    end: float
    slope: float
    at: tuple[float, ...]
    change: tuple[float, ...]
    rows: Array
    errors: Array
    scales: tuple[Scale, ...]

    def __call__(self, x: Tensor, function: int) -> Tensor:
        """One of the functions at places between the ends."""
        return evaluate(self, self.rows[:, function], 1.0, x)


class Map(Protocol):
    """u(x), see the module."""

    @property
    def start(self) -> float: ...
    @property
    def slope(self) -> float: ...
    @property
    def at(self) -> tuple[float, ...]: ...
    @property
    def change(self) -> tuple[float, ...]: ...


def evaluate(table: Map, rows: Array, factor: float, x: Tensor) -> Tensor:
    """Quintics, of rows (n, 8), at places x, differentiable; du/dx is `factor` times the seventh number of a row."""
    import torch

    u = table.slope * (x - table.start)
    for at, change in zip(table.at, table.change, strict=True):
        u = u + change * (x - at).clamp(min=0)
    row = u.detach().floor().clamp(0, len(rows) - 1)
    c = torch.from_numpy(rows).to(x.device)[row.long()]
    # The slope of t is that of its row: beside a break, rounding may give u the slope of the row before.
    t = (u - row).detach() + factor * c[..., 6] * (x - x.detach())
    value = c[..., 5]
    for k in range(4, -1, -1):
        value = value * t + c[..., k]
    return value


def tabulate_functions(
    functions: Sequence[Function], scales: Sequence[Scale], breaks: Sequence[float], tol: float, what: str
) -> Table:
    """Tabulate functions between the first and the last of their breaks.

    Parameters
    ----------
    functions : sequence of callable
        Of a float64 tensor, differentiable; smooth between breaks, with continuous slopes at those inside.
    scales : sequence of Scale
        Of each function.
    breaks : sequence of float
        Ascending, two at least.
    tol : float
        Largest certified error, relative to scale plus value.
    what : str
        Names the functions in messages.

    Raises
    ------
    ValueError
        If more than 65536 rows would be needed.
    """
    parts: list[Array] = []
    errors, slopes, ends = np.zeros((len(functions), 2)), [], [float(breaks[0])]
    for left, right, cells in _even_spans(_apart(breaks)):
        n = cells
        while n < FIRST_ROWS:
            n *= 2
        while True:
            rows = np.stack([_rows(f, left, right, n) for f in functions], axis=1)
            error = SAFETY * np.array([_errors(f, left, right, rows[:, k], scales[k]) for k, f in enumerate(functions)])
            if (error <= tol).all() or sum(map(len, parts)) + 2 * n > MOST_ROWS:
                break
            n *= 2
        if not (error <= tol).all():
            raise ValueError(
                f"tol={tol:g} is out of reach with {MOST_ROWS} rows between {left:.4g} and {right:.4g} of {what}: the "
                f"errors are {error[:, 0].max():.1e} (values) and {error[:, 1].max():.1e} (slopes); give a larger tol"
            )
        parts.append(rows)
        errors = np.maximum(errors, error)
        slopes.append(n / (right - left))
        ends.append(right)
    changes = tuple(b - a for a, b in pairwise(slopes))
    return Table(ends[0], ends[-1], slopes[0], tuple(ends[1:-1]), changes, np.concatenate(parts), errors, tuple(scales))


def _apart(breaks: Sequence[float]) -> Array:
    """Breaks without those beside others; the ends stay."""
    b = np.asarray(breaks, dtype=float)
    least = APART * (b[-1] - b[0])
    inside = b[1:-1][(np.diff(b)[:-1] > least) & (b[-1] - b[1:-1] > least)]
    return np.concatenate([b[:1], inside, b[-1:]])


def _even_spans(b: Array) -> list[tuple[float, float, int]]:
    """Breaks that are evenly spaced, joined: from, to and the number of spaces."""
    spans, first = [], 0
    while first < len(b) - 1:
        h = b[first + 1] - b[first]
        misplaced = np.abs(b[first:] - b[first] - h * np.arange(len(b) - first)) > EVEN * h
        cells = int(misplaced.argmax()) - 1 if misplaced.any() else len(misplaced) - 1
        spans.append((float(b[first]), float(b[first + cells]), cells))
        first += cells
    return spans


def _rows(function: Function, left: float, right: float, n: int) -> Array:
    """The rows of one function, shape (n, 8)."""
    h = (right - left) / n
    x: Array = np.linspace(left, right, 2 * n + 1)
    knots = x[::2].copy()
    nudges = np.maximum(NUDGE * h, ROUNDING * np.abs(knots))
    nudges[-1] *= -1
    x[::2] += nudges
    value, slope = value_and_slope(function, x)
    value[::2] -= (x[::2] - knots) * slope[::2]
    slope = slope * h
    # From differences, which have more digits than values do over steps so small.
    first, middle, last = value[:-1:2], value[1::2], value[2::2]
    known = [np.zeros(n), middle - first, last - first, slope[:-1:2], slope[1::2], slope[2::2]]
    rows = np.zeros((n, 8))
    rows[:, :6] = np.stack(known, axis=1) @ _QUINTIC.T
    rows[:, 0] = first
    rows[:, 6] = 1 / h
    return rows


def _errors(function: Function, left: float, right: float, rows: Array, scale: Scale) -> Array:
    """Largest errors of values and slopes."""
    t = np.tile(PROBES, (len(rows), 1))
    x: Array = left + (right - left) / len(rows) * (np.arange(len(rows))[:, None] + t)
    value, slope = value_and_slope(function, x)
    c = [rows[:, k, None] for k in range(7)]
    table = c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * c[5]))))
    rise = c[6] * (c[1] + t * (2 * c[2] + t * (3 * c[3] + t * (4 * c[4] + t * 5 * c[5]))))
    value_error = np.abs(table - value) / (scale.energy + np.abs(value))
    slope_error = np.abs(rise - slope) / (scale.force + np.abs(slope))
    return np.array([value_error.max(), slope_error.max()])
