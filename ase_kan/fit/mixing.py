"""Pairs of unlike elements from those of like ones, where no data are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from ase_kan.data.curve import PairCurve
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.pair import PairFunction
from ase_kan.types import Array, Pair, pair_name, sorted_pair

RULES = ("lorentz-berthelot",)
#: Points of a mixed curve, and distances looked at for the well.
POINTS, SEARCH = 200, 1000


def mixed_curves(functions: Mapping[Pair, PairFunction]) -> dict[Pair, PairCurve]:
    """Curves of the pairs of elements that have functions with themselves but not with each other.

    Both functions are brought to the same distance sigma where the energy is zero, the mean of theirs (H. A. Lorentz,
    Ann. Phys. 248, 127, 1881), and to the same depth epsilon, the geometric mean (D. Berthelot, C. R. Acad. Sci. 126,
    1703, 1898), and averaged:

        phi_ab(r) = (1/2) sum over c = a, b of  (eps_ab / eps_c) phi_cc(r sig_c / sig_ab)

    Of two Lennard-Jones functions this is the one with the mixed parameters.

    Raises
    ------
    ValueError
        If an element has no function with itself, or one without a well.
    """
    elements = sorted({symbol for pair in functions for symbol in pair})
    missing = [pair for pair in combinations(elements, 2) if sorted_pair(pair) not in functions]
    wells = {}
    for symbol in sorted({symbol for pair in missing for symbol in pair}):
        if (symbol, symbol) not in functions:
            raise ValueError(f"to mix {symbol} with others its own curve {symbol}-{symbol} is needed")
        wells[symbol] = functions[symbol, symbol], *_well(functions[symbol, symbol], symbol)
    return {pair: _mixed(pair, [wells[symbol] for symbol in pair]) for pair in missing}


def _well(function: PairFunction, symbol: str) -> tuple[float, float]:
    """Depth (eV), and the distance (Angstrom) where the energy is zero on the way to the well."""

    def energy(r: float) -> float:
        return float(value_and_slope(function.uncut, np.array([r]))[0][0])

    r = np.geomspace(0.5 * function.domain[0], function.domain[1], SEARCH)
    energies = value_and_slope(function.uncut, r)[0]
    at = int(energies.argmin())
    if not (energies[at] < 0 < energies[0] and 0 < at < len(r) - 1):
        name = pair_name((symbol, symbol))
        raise ValueError(f"{name} has no well from which to mix: give curves of all pairs of its elements")
    found = minimize_scalar(energy, bounds=(r[at - 1], r[at + 1]), method="bounded", options={"xatol": 1e-12})
    return -float(found.fun), float(brentq(energy, r[0], r[at], xtol=1e-14))


def _mixed(pair: Pair, wells: list[tuple[PairFunction, float, float]]) -> PairCurve:
    depth = float(np.sqrt(np.prod([depth for _, depth, _ in wells])))
    zero = float(np.mean([zero for _, _, zero in wells]))

    def source(r: Array) -> tuple[Array, Array]:
        energy, slope = np.zeros_like(r), np.zeros_like(r)
        for function, own_depth, own_zero in wells:
            e, s = value_and_slope(function.uncut, r * (own_zero / zero))
            energy += depth / own_depth * e / 2
            slope += depth / own_depth * s * (own_zero / zero) / 2
        return energy, -slope

    low = max(function.domain[0] * zero / own for function, _, own in wells)
    high = min(function.domain[1] * zero / own for function, _, own in wells)
    r = np.linspace(low, high, POINTS)
    return PairCurve(r, *source(r), pair, source)
