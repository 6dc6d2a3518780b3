"""Second virial coefficient and Boyle temperature: the whole curve, from the wall to the tail, in one integral.

B2(T) / sigma^3 = -2 pi int (exp(-phi/T) - 1) r^2 dr. For Lennard-Jones a series in Gamma functions is exact,

    B2 / (2 pi/3) = -sum_j 2^(j - 3/2) / j!  Gamma((2j - 1)/4)  T^(-(2j + 1)/4)

(J. O. Hirschfelder, C. F. Curtiss and R. B. Bird, Molecular Theory of Gases and Liquids, 1954, eq. 3.6-3).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import factorial, gamma

from ase_kan.types import Array
from ase_kan.validation.lennard_jones import Shown

TEMPERATURES = (0.7, 1.0, 2.0, 5.0, 10.0, 50.0)
#: Closer than this no pair comes at these temperatures: Lennard-Jones has a million epsilon.
INNER = 0.35


def series(temperature: float) -> float:
    """B2 of Lennard-Jones in units of 2 pi sigma^3 / 3; 100 terms are exact to double precision from T = 0.5 on."""
    j = np.arange(100)
    return float(-np.sum(2 ** (j - 1.5) / factorial(j) * gamma(j / 2 - 0.25) * temperature ** (-j / 2 - 0.25)))


def integral(potential: Shown) -> Callable[[float], float]:
    """B2(T) of a potential in the same units, by Gauss-Legendre panels between its breakpoints."""
    inner = np.geomspace(INNER, 3, 40)
    edges = np.unique([*inner, *np.geomspace(3, potential.cutoff, 20), *potential.breakpoints()])
    edges = edges[(edges >= INNER) & (edges <= potential.cutoff)]
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(edges)[:, None] / 2
    r: Array = (edges[:-1, None] + half * (1 + nodes)).ravel()
    dr: Array = (half * weights).ravel()
    phi = potential.energy(r)

    def b2(temperature: float) -> float:
        with np.errstate(over="ignore"):
            bonded = np.expm1(-phi / temperature)
        return float(-3 * (bonded * r**2 * dr).sum() + INNER**3)

    return b2


def reference() -> dict[str, float]:
    """By the series."""
    found = {f"B2, T = {t:g}": series(t) for t in TEMPERATURES}
    return found | {"Boyle temperature": boyle(series)}


def check(potential: Shown) -> dict[str, float]:
    """By the integral; nan where B2 does not change its sign between T = 2 and 6."""
    b2 = integral(potential)
    return {f"B2, T = {t:g}": b2(t) for t in TEMPERATURES} | {"Boyle temperature": boyle(b2)}


def boyle(b2: Callable[[float], float]) -> float:
    """Where B2 is zero."""
    low, high = 2.0, 6.0
    return float(brentq(b2, low, high, xtol=1e-10)) if b2(low) < 0 < b2(high) else math.nan
