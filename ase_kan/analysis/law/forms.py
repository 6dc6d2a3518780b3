"""The library of laws: sums of one to three terms, with shapes that are known, tied to each other, or to be found.

A piece is a term r^-n exp(-b r - g r^2), damped or not (module `formula`), without its coefficient. Each of its shapes
n, b, g and d is a number or a multiple of a free one. A form is a sum of pieces, and its cost is minus twice the log of
its prior: every term pays for its kind, and powers for their exponent. Dispersion (6) is what neutral atoms have, 12 is
its customary partner, charges have 1: these are likelier than others (`EXPONENTS`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations, combinations_with_replacement
from math import log

import numpy as np
from scipy.special import gammainc, gammaln

from ase_kan.types import Array

#: Whole exponents that are tried, and their weights; the others have 1.
EXPONENTS = dict.fromkeys(range(1, 17), 1.0) | {1: 4.0, 6: 8.0, 12: 6.0, 8: 2.0, 9: 2.0, 10: 2.0}
#: Powers that go with an exponential in sums of three.
DISPERSION = (1, 4, 6, 8, 10, 12)
#: Free exponents, and free rates and widths in units of the geometric mean of the ends of the data.
RANGES = {"power": (0.5, 24.0), "rate": (0.3, 40.0), "gauss": (0.1, 40.0)}


@dataclass(frozen=True)
class Free:
    """A multiple of the free shape of a number."""

    number: int
    times: float = 1.0


Shape = float | Free


@dataclass(frozen=True)
class Piece:
    """A term without its coefficient (see `Term`)."""

    power: Shape = 0.0
    rate: Shape = 0.0
    gauss: Shape = 0.0
    damping: Shape | None = None


@dataclass(frozen=True)
class Form:
    """A sum of pieces.

    Parameters
    ----------
    pieces : tuple of Piece
    shapes : tuple of str
        Kind of each free shape: a key of `RANGES`.
    cost : float
        Minus twice the log of the prior.
    """

    pieces: tuple[Piece, ...]
    shapes: tuple[str, ...] = ()
    cost: float = 0.0

    def contains(self, other: Form, theta: Array) -> bool:
        """Whether another form, with its shapes at `theta`, is a special case of this one."""

        def match(left: tuple[Piece, ...], bound: dict[int, float], used: frozenset[int]) -> bool:
            if not left:
                return True
            for place, mine in enumerate(self.pieces):
                if place in used:
                    continue
                found = _bind(mine, left[0], theta, bound)
                if found is not None and match(left[1:], found, used | {place}):
                    return True
            return False

        return match(other.pieces, {}, frozenset())


def _bind(mine: Piece, other: Piece, theta: Array, bound: Mapping[int, float]) -> dict[int, float] | None:
    """What the free shapes must be for one piece to be another; None if it cannot be."""
    found = dict(bound)
    for name in ("power", "rate", "gauss", "damping"):
        a, b = getattr(mine, name), getattr(other, name)
        if a is None or b is None:
            if a is not b:
                return None
        elif isinstance(a, Free):
            wanted = value_of(b, theta) / a.times
            if abs(found.setdefault(a.number, wanted) - wanted) > 1e-6 * abs(wanted):
                return None
        elif isinstance(b, Free) or a != b:
            return None
    return found


def value_of(shape: Shape, theta: Array) -> float:
    """The number that a shape is."""
    return shape.times * float(theta[shape.number]) if isinstance(shape, Free) else shape


@dataclass(frozen=True)
class Columns:
    """Pieces at distances r (p,) for b sets of shapes: arrays of shape (b, p, pieces).

    Parameters
    ----------
    value, slope : ndarray
        Pieces relative to what they are at the scale r0 (except for the damping), and their derivatives by r.
    """

    value: Array
    slope: Array


def columns(form: Form, theta: Array, r: Array, r0: float) -> Columns:
    """The pieces of a form for shapes `theta` (b, shapes)."""
    parts = [_piece(piece, theta, r, r0) for piece in form.pieces]
    value = np.stack([value for value, _, _ in parts], axis=2)
    log_slope = np.stack([log_slope for _, log_slope, _ in parts], axis=2)
    return Columns(value, value * log_slope)


def changes(form: Form, theta: Array, r: Array, r0: float) -> Columns:
    """Derivatives of the columns by the logarithms of the shapes, for one set of them: (shapes, p, pieces)."""
    value = np.zeros((len(form.shapes), len(r), len(form.pieces)))
    slope = np.zeros_like(value)
    for t, piece in enumerate(form.pieces):
        (one,), (log_slope,), by_shape = _piece(piece, theta[None], r, r0)
        for number, (log_change, slope_change) in by_shape.items():
            value[number, :, t] += one * log_change[0]
            slope[number, :, t] += one * (log_change[0] * log_slope + slope_change[0])
    return Columns(value, slope)


def _piece(piece: Piece, theta: Array, r: Array, r0: float) -> tuple[Array, Array, dict[int, tuple[Array, Array]]]:
    """Value and log slope (b, p), and changes of the log of the value and of the log slope by log shapes."""
    log_value = np.zeros((len(theta), len(r)))
    log_slope = np.zeros((len(theta), len(r)))
    found: dict[int, tuple[Array, Array]] = {}

    def add(shape: Shape, log_change: Array, slope_change: Array) -> None:
        if isinstance(shape, Free):
            before = found.get(shape.number, (0.0, 0.0))
            found[shape.number] = before[0] + log_change, before[1] + slope_change

    for shape, basis, slope in (
        (piece.power, -np.log(r / r0), -1 / r),
        (piece.rate, r0 - r, np.full(len(r), -1.0)),
        (piece.gauss, r0**2 - r**2, -2 * r),
    ):
        if shape != 0.0:
            numbers = _numbers(shape, theta)
            log_value += numbers * basis
            log_slope += numbers * slope
            add(shape, numbers * basis, numbers * slope)
    value = np.exp(np.minimum(log_value, 600.0))
    if piece.damping is not None:
        n, d = _numbers(piece.power, theta), _numbers(piece.damping, theta)
        x = d * r
        damped = np.maximum(gammainc(n + 1, x), 1e-300)
        density = np.exp(n * np.log(x) - x - gammaln(n + 1)) / damped
        value, log_slope = value * damped, log_slope + d * density
        add(piece.damping, x * density, d * density * (1 + n - x - x * density))
    return value, log_slope, found


def _numbers(shape: Shape, theta: Array) -> Array:
    """A shape for every set, shape (b, 1)."""
    if isinstance(shape, Free):
        return shape.times * theta[:, shape.number, None]
    return np.full((len(theta), 1), shape)


def _exponent(n: int) -> float:
    """Cost of a whole exponent."""
    return -2 * log(EXPONENTS[n] / sum(EXPONENTS.values()))


#: Cost of the kind of a term (power, exponential, Yukawa, Gaussian), of a tie between two terms, and of damping, which
#: makes many terms of one.
KIND, TIE, DAMPING = 2 * log(5), 2 * log(2), 2 * log(5)


@cache
def library() -> tuple[Form, ...]:
    """Every form that is tried."""
    return tuple(_library())


def _library() -> Iterator[Form]:
    a, b = Free(0), Free(1)
    whole = {n: (Piece(power=float(n)), KIND + _exponent(n)) for n in EXPONENTS}
    # Whole powers.
    for size in (1, 2, 3):
        for chosen in combinations(whole, size):
            yield Form(tuple(whole[n][0] for n in reversed(chosen)), (), sum(whole[n][1] for n in chosen))
    # Powers to be found.
    yield Form((Piece(power=a),), ("power",), KIND)
    yield Form((Piece(power=a), Piece(power=b)), ("power", "power"), 2 * KIND)
    yield Form((Piece(power=Free(0, 2.0)), Piece(power=a)), ("power",), 2 * KIND + TIE)
    # An exponential, Yukawa's law or a Gaussian, alone, with one like it, with a power.
    shaped = {"exponential": ("rate", {}), "yukawa": ("rate", {"power": 1.0}), "gaussian": ("gauss", {})}

    def piece(kind: str, shape: Free) -> Piece:
        name, more = shaped[kind]
        return Piece(**{name: shape}, **more)

    for kind, (name, _) in shaped.items():
        yield Form((piece(kind, a),), (name,), KIND)
        for power, cost in whole.values():
            yield Form((piece(kind, a), power), (name,), KIND + cost)
    for one, two in combinations_with_replacement(shaped, 2):
        yield Form((piece(one, a), piece(two, b)), (shaped[one][0], shaped[two][0]), 2 * KIND)
    yield Form((piece("exponential", a), Piece(power=b)), ("rate", "power"), 2 * KIND)
    # Morse: exponentials with rates 2 to 1.
    yield Form((Piece(rate=Free(0, 2.0)), Piece(rate=a)), ("rate",), 2 * KIND + TIE)
    # Born-Mayer with two powers: charges and dispersion, Born-Mayer-Huggins.
    for chosen in combinations(DISPERSION, 2):
        cost = KIND + sum(whole[n][1] for n in chosen)
        yield Form((piece("exponential", a), *(whole[n][0] for n in chosen)), ("rate",), cost)
    # Tang-Toennies: the rate of the repulsion damps the dispersion.
    for chosen in ((6,), (6, 8), (6, 8, 10)):
        damped = tuple(Piece(power=float(n), damping=a) for n in chosen)
        cost = KIND + DAMPING + sum(whole[n][1] for n in chosen)
        yield Form((piece("exponential", a), *damped), ("rate",), cost)
        yield Form((piece("exponential", a), *damped, whole[1][0]), ("rate",), cost + whole[1][1])
