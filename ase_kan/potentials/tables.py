"""Any pair potential as a table of quintic polynomials in r^2, with a certificate of its error.

The function is less smooth at a few distances (ends of the data, onset): those become knots, and between two of them
the knots are evenly spaced in x = r^2; where that takes too many, over decades of distance, in several parts. Row
number and place in the row follow from

    u(x) = slope (x - start) + sum_k change_k max(0, x - at_k),    row = floor(u),    t = u - row

Values, slopes and curvatures at the knots (from autograd) fix the quintic E = c0 + c1 t + ... + c5 t^5 of each row;
the force is its exact derivative, -dE/dr = r f with f = -2 du/dx dE/dt. Below `start`, closer than any simulation
should come, the original is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload
from weakref import ref

import numpy as np

from ase_kan.potentials import embedded_tables
from ase_kan.potentials.compiled import EmbeddedTables, Spline, SplinePotential
from ase_kan.potentials.features import two_derivatives, value_and_slope
from ase_kan.potentials.protocol import EmbeddedAtomPotential, PairPotential, Potential
from ase_kan.potentials.quintics import DEFAULT_TOLERANCE, INNER, MOST_ROWS, PROBES, SAFETY
from ase_kan.potentials.scale import Scale, energy_scale
from ase_kan.types import Array, Pair

if TYPE_CHECKING:
    from torch import Tensor

#: Rows of the first try per segment.
FIRST_ROWS = 16
#: A segment over more than this factor of distance that would need more than so many rows is two: a wall of decades of
#: energy wants rows where a well has long enough of them.
SPLIT, SPLIT_ROWS = 1.5, 1 << 13
#: Distances at which `tabulate_once` compares a potential with what it compiled before.
FINGERPRINT = 97
#: By the identity of the potential, which may not be hashable: a weak reference to it, its fingerprint and tables.
_COMPILED: dict[int, tuple[ref[Potential], bytes, tuple[Any, ...]]] = {}


@overload
def tabulate(potential: PairPotential, tol: float = ...) -> SplinePotential: ...
@overload
def tabulate(potential: EmbeddedAtomPotential, tol: float = ...) -> EmbeddedTables: ...
def tabulate(potential: Potential, tol: float = DEFAULT_TOLERANCE) -> SplinePotential | EmbeddedTables:
    """Tabulate a potential.

    Parameters
    ----------
    potential : PairPotential or EmbeddedAtomPotential
    tol : float
        Largest certified error of energies and forces, relative to their scale plus their size (see `Spline`); of an
        embedded-atom potential, of each of its functions and their slopes.

    Returns
    -------
    SplinePotential or EmbeddedTables
        The same kind of potential.

    Raises
    ------
    ValueError
        If `tol` is not positive, or more than 65536 rows would be needed.
    """
    if not tol > 0:
        raise ValueError(f"tol must be positive, got {tol}")
    if isinstance(potential, EmbeddedAtomPotential):
        return embedded_tables.tabulate_embedded(potential, tol)
    return SplinePotential(potential, tol, {pair: _tabulate_pair(potential, pair, tol) for pair in potential.pairs})


@overload
def tabulate_once(potential: PairPotential) -> SplinePotential: ...
@overload
def tabulate_once(potential: EmbeddedAtomPotential) -> EmbeddedTables: ...
def tabulate_once(potential: Potential) -> SplinePotential | EmbeddedTables:
    """`tabulate` for calculators: the tables of the last call if the potential is still the same."""
    if isinstance(potential, EmbeddedAtomPotential):
        now = embedded_tables.fingerprint(potential)
        if (known := _known_tables(potential, now)) is not None:
            return EmbeddedTables(potential, DEFAULT_TOLERANCE, *known)
        tables = tabulate(potential)
        _remember(potential, now, (tables.pair_tables, tables.embeddings))
        return tables
    now = fingerprint(potential)
    if (known := _known_tables(potential, now)) is not None:
        return SplinePotential(potential, DEFAULT_TOLERANCE, *known)
    splines = tabulate(potential)
    _remember(potential, now, (splines.splines,))
    return splines


def fingerprint(potential: PairPotential) -> bytes:
    """Samples of all its functions: potentials that are different have different ones."""
    probes = []
    for pair in potential.pairs:
        breaks, domain = potential.breakpoints(pair), potential.domain(pair)
        r = np.linspace(max(INNER * domain[0], 0.02 * breaks[-1]), breaks[-1], FINGERPRINT)
        probes += [repr(pair).encode(), np.array([*breaks, *domain]).tobytes(), potential.energy(r, pair).tobytes()]
    return b"".join(probes)


def _known_tables(potential: Potential, now: bytes) -> tuple[Any, ...] | None:
    known = _COMPILED.get(id(potential))
    return known[2] if known is not None and known[0]() is potential and known[1] == now else None


def _remember(potential: Potential, now: bytes, tables: tuple[Any, ...]) -> None:
    key = id(potential)
    with suppress(TypeError):  # a class with slots may have no weak references: compiled each time
        # Only what makes the tables is kept: the value must not hold on to the potential.
        _COMPILED[key] = ref(potential, lambda _: _COMPILED.pop(key, None)), now, tables


def _tabulate_pair(potential: PairPotential, pair: Pair | None, tol: float) -> Spline:
    def phi(r: Tensor) -> Tensor:
        return potential(r, pair)

    low, high = potential.domain(pair)
    *inside, cutoff = potential.breakpoints(pair)
    start = max(INNER * low, 0.02 * cutoff)
    breaks = [start, *(b for b in inside if start * (1 + 1e-6) < b < cutoff * (1 - 1e-6)), cutoff]
    breaks = [b for a, b in pairwise([0.0, *breaks]) if b > a * (1 + 1e-9)]
    scale = energy_scale(phi, low, min(high, cutoff))
    tables, errors = [], np.zeros(2)
    waiting, ends = [(a, b, b == cutoff) for a, b in pairwise(breaks)][::-1], [start]
    while waiting:
        left, right, last = waiting.pop()
        splits = right > SPLIT * left
        rows, error = _segment(phi, left, right, last, tol / SAFETY, scale, SPLIT_ROWS if splits else MOST_ROWS)
        if splits and not (error <= tol / SAFETY).all():
            middle = (left * right) ** 0.5
            waiting += [(middle, right, last), (left, middle, False)]
            continue
        tables.append(rows)
        ends.append(right)
        errors = np.maximum(errors, error)
        if sum(map(len, tables)) > MOST_ROWS or not (errors <= tol / SAFETY).all():
            name = "" if pair is None else f" of {'-'.join(pair)}"
            raise ValueError(
                f"tol={tol:g} is out of reach with {MOST_ROWS} rows between {left:.4g} and {right:.4g} A{name}: "
                f"the errors are {SAFETY * error[0]:.1e} (energy) and {SAFETY * error[1]:.1e} (force); "
                "give a larger tol"
            )
    slopes = [len(rows) / (right**2 - left**2) for rows, (left, right) in zip(tables, pairwise(ends), strict=True)]
    return Spline(
        cutoff,
        (low, high),
        start**2,
        slopes[0],
        tuple(b**2 for b in ends[1:-1]),
        tuple(b - a for a, b in pairwise(slopes)),
        np.concatenate(tables),
        float(SAFETY * errors[0]),
        float(SAFETY * errors[1]),
        scale,
    )


def _segment(
    phi: Callable[[Tensor], Tensor],
    left: float,
    right: float,
    last: bool,
    tol: float,
    scale: Scale,
    most: int,
) -> tuple[Array, Array]:
    """At most `most` rows between two breaks, doubled until energy and force are good enough, and their errors."""
    n = FIRST_ROWS
    while True:
        rows = _rows(phi, left, right, last, n)
        error = _errors(phi, left, right, rows, scale)
        if (error <= tol).all() or 2 * n > most:
            return rows, error
        # The force converges with the fifth power of the spacing where the function is smooth: aim a little short.
        n *= 2


def _rows(phi: Callable[[Tensor], Tensor], left: float, right: float, last: bool, n: int) -> Array:
    x = np.linspace(left**2, right**2, n + 1)
    r = np.sqrt(x)
    r[0], r[-1] = left, right
    energy, slope, curvature = two_derivatives(phi, r)
    # The second derivative may jump at both ends, at the cutoff all may: take them from inside.
    nudged = np.array([left * (1 + 1e-9), right * (1 - 1e-9)])
    inner_energy, inner_slope, inner_curvature = two_derivatives(phi, nudged)
    curvature[[0, -1]] = inner_curvature
    if last:
        gap = right - nudged[1]
        energy[-1] = inner_energy[1] + inner_slope[1] * gap
        slope[-1] = inner_slope[1] + inner_curvature[1] * gap
    h = x[1] - x[0]
    first = slope / (2 * r) * h
    second = (curvature - slope / r) / (4 * r**2) * h**2
    # Quintic Hermite interpolation on [0, 1].
    e0, e1, d0, d1, s0, s1 = energy[:-1], energy[1:], first[:-1], first[1:], second[:-1], second[1:]
    gap = e1 - e0
    rows = np.zeros((n, 8))
    rows[:, 0], rows[:, 1], rows[:, 2] = e0, d0, s0 / 2
    rows[:, 3] = 10 * gap - 6 * d0 - 4 * d1 + (s1 - 3 * s0) / 2
    rows[:, 4] = -15 * gap + 8 * d0 + 7 * d1 + (3 * s0 - 2 * s1) / 2
    rows[:, 5] = 6 * gap - 3 * (d0 + d1) + (s1 - s0) / 2
    rows[:, 6] = -2 / h
    return rows


def _errors(phi: Callable[[Tensor], Tensor], left: float, right: float, rows: Array, scale: Scale) -> Array:
    h = (right**2 - left**2) / len(rows)
    t = np.tile(PROBES, (len(rows), 1))
    r = np.sqrt(left**2 + h * (np.arange(len(rows))[:, None] + t))
    energy, slope = value_and_slope(phi, r)
    c = [rows[:, k, None] for k in range(7)]
    table = c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * c[5]))))
    rise = c[1] + t * (2 * c[2] + t * (3 * c[3] + t * (4 * c[4] + t * 5 * c[5])))
    force_error = np.abs(r * c[6] * rise + slope)
    return np.array(
        [
            (np.abs(table - energy) / (scale.energy + np.abs(energy))).max(),
            (force_error / (scale.force + np.abs(slope))).max(),
        ]
    )
