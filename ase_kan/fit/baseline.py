"""What is known of a pair energy before the fit: taken off the data, added to the KAN, and saved with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers
from ase.units import Bohr, Hartree

from ase_kan.data.curve import PairCurve
from ase_kan.fit.trainers import Plan, train
from ase_kan.potentials.continuations import Continuation, charges_of
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.pair import Ends, PairFunction
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Pair, pair_name

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator

    #: What ``baseline=`` takes.
    Baseline = str | Mapping[str, float] | KANPotential | BaseCalculator

#: Points at which an ASE calculator is asked, from a little below the data to a little beyond the cutoff.
SAMPLES, MARGIN = 400, 0.02
#: The function that stands for a calculator is cut off at so many times the distance that it is needed to.
BEYOND = 2.0


def baseline_of(given: Baseline, pair: Pair | None, low: float, high: float) -> Continuation | PairFunction:
    """The baseline of one pair.

    Parameters
    ----------
    given : "zbl", mapping of str to float, KANPotential or ASE calculator
        The universal repulsion of nuclei; charges of the elements (in e) for their Coulomb energy; a fitted potential;
        or a calculator, whose energies of dimers (less the lone atoms) a fit of its own stands for.
    pair : (str, str) or None
        Chemical symbols; only a potential that serves every pair can do without.
    low, high : float
        Range where it is needed, Angstrom.

    Raises
    ------
    ValueError
        If elements are needed and not known, a charge is missing or not finite, the potential lacks the pair or has a
        baseline of its own.
    TypeError
        For anything else.
    """
    if isinstance(given, KANPotential):
        function = given.function(pair)
        if function.baseline is not None:
            raise ValueError("the potential given as the baseline has a baseline of its own: fit it without one")
        return function
    if not (given == "zbl" or isinstance(given, Mapping) or hasattr(given, "implemented_properties")):
        raise TypeError(
            "baseline must be 'zbl', charges by element such as {'Na': 1, 'Cl': -1}, a KANPotential or an ASE "
            f"calculator, got {given!r}"
        )
    if pair is None:
        raise ValueError("this baseline needs the elements of the curve: say PairCurve(..., elements=('A', 'B'))")
    if isinstance(given, Mapping):
        return _coulomb(given, pair)
    if isinstance(given, str):
        nuclei = charges_of(pair)
        if nuclei is None:
            raise ValueError(f"the pair {pair_name(pair)} has no nuclear charges: baseline='zbl' needs real elements")
        return Continuation(1.0, charges=nuclei)
    return _sampled(given, pair, low, high)


def without(curve: PairCurve, baseline: Continuation | PairFunction | None) -> PairCurve:
    """What a baseline leaves of a curve."""
    if baseline is None:
        return curve
    energy, slope = value_and_slope(baseline, curve.r)
    force = None if curve.force is None else curve.force + slope
    return PairCurve(curve.r, curve.energy - energy, force, curve.elements, errors=curve.errors)


def _coulomb(charges: Mapping[str, float], pair: Pair) -> Continuation:
    for symbol, charge in charges.items():
        if symbol not in atomic_numbers or not np.isfinite(charge):
            raise ValueError(f"charges map chemical symbols to finite numbers of e, got {symbol!r}: {charge}")
    if missing := [symbol for symbol in pair if symbol not in charges]:
        raise ValueError(f"the baseline has no charge of {missing[0]}: give one for each element")
    return Continuation(1.0, ((Hartree * Bohr * charges[pair[0]] * charges[pair[1]], 1.0),))


def _sampled(calculator: BaseCalculator, pair: Pair, low: float, high: float) -> PairFunction:
    """A fit to the dimer of a calculator."""
    low, high = low * (1 - MARGIN), high * (1 + MARGIN)
    curve = PairCurve.from_calculator(calculator, pair, r_min=low, r_max=high, n=SAMPLES, seed=None)
    plan = Plan.choose(curve, "least-squares", None, None, None, None, 0, None)
    ends = Ends(cutoff=BEYOND * high, core="power", tail="power")
    function = train(curve, None, plan, ends).function
    return ends.attach(function, pair)
