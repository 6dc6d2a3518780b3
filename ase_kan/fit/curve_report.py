"""What a person should know of a fit to a curve: errors in the well, noise, ends and cutoff."""

from __future__ import annotations

import numpy as np

from ase_kan.data.curve import PairCurve
from ase_kan.fit.curve_model import CurveModel
from ase_kan.fit.holdout import HeldOut
from ase_kan.potentials.continuations import SLOWEST, STRETCH
from ase_kan.potentials.end_laws import VAGUE, EndLaw
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.pair import SUMMABLE, Ends, PairFunction, truncation_energy
from ase_kan.potentials.scale import energy_scale, well_of
from ase_kan.warn import warn_user

#: A hold-out error in the well above this part of its depth is warned of.
LARGE = 0.02
#: A well that is not so many times as deep as the noise is none.
VISIBLE = 5.0
#: A tail is spoken of if the energy there exceeds this part of the data's median deviation, and 3 times the error.
NOTABLE = 1e-2


def check_tail(
    function: PairFunction, curve: PairCurve, error: float, law: EndLaw | None, made_up: bool, laws: bool
) -> None:
    """Warn of a tail that the data do not determine, or contradict because the energy does not head for zero."""
    if function.tail is None:
        return
    low, end = function.domain
    # Over a stretch, since noise makes the slope at the end itself anything.
    ends = np.array([max(low, end * (1 - STRETCH)), end])
    before, energy = value_and_slope(function.learned, ends)[0]
    slope = (energy - before) / (ends[1] - ends[0])
    spread = float(np.median(np.abs(curve.energy - np.median(curve.energy))))
    notable = abs(energy) > max(3 * error, NOTABLE * spread)
    heads_for_zero = before / energy >= (ends[1] / ends[0]) ** SLOWEST if energy else True
    cure = "give data to longer distances, or end at a cutoff within the data"
    if made_up and notable and not heads_for_zero:
        warn_user(
            f"the energy does not head for zero at the longest distance of the data, {end:g} A (energy {energy:.6g} "
            f"eV, slope {slope:.3g} eV/A), so the tail beyond is made up: take off what far atoms have (--subtract, in "
            f"Python PairCurve.read(..., subtract=): a number, or limit), {cure}",
        )
    elif made_up and notable and laws:
        exponent = -slope * end / energy
        charges = "; if it is that of charges, say tail='coulomb'" if exponent < SUMMABLE else ""
        warn_user(
            f"no law (dispersion, a power from 3 to 12, an exponential) fits the energies up to {end:g} A, where they "
            f"fall like r^-{exponent:.2g}: the tail follows value and slope at the end alone{charges}; else {cure}",
        )
    elif law is not None and law.vague > VAGUE:
        warn_user(
            f"the data do not determine the tail beyond {end:g} A: its energy is known to {law.vague:.0%}; {cure}",
        )


def describe_fit(function: PairFunction, model: CurveModel | None, held: HeldOut, ends: Ends) -> list[str]:
    """Lines of the report; warns of a large error in the well."""
    lines = []
    if model is not None and len(model.outliers):
        lines.append("points far off the others: r = " + ", ".join(f"{r:.6g}" for r in model.outliers) + " A")
    if (minimum := well_of(function, function.domain[0], min(function.domain[1], function.cutoff.radius))) is not None:
        lines.append(f"well: depth {minimum[1]:.6g} eV at {minimum[0]:.5g} A")
    well = held.in_well()
    if well is not None and (model is None or well[1] > VISIBLE * np.median(model.noise)):
        error, depth = well
        lines.append(
            f"hold-out error where the energy is below the depth of the well, {depth:.4g} eV: {error / depth:.2g} of it"
        )
        if error > LARGE * depth:
            noise = "" if model is None else f"; the noise of the data there is {np.median(model.noise) / depth:.1%}"
            warn_user(
                f"the hold-out error in the well is {error / depth:.1%} of its depth{noise}: give more, or more "
                "exact, points",
            )
    if function.tail is None and ends.tail and function.cutoff.radius == function.domain[1]:
        lines.append(f"the data end at zero within their noise: so does the potential, at {function.domain[1]:.4g} A")
    if function.tail is not None and ends.cutoff is None:
        scale = energy_scale(function.bare, *function.domain)
        cost = truncation_energy(function.beyond, function.cutoff.radius, scale.energy / scale.force)
        lines.append(
            f"cutoff {function.cutoff.radius:.4g} A, {function.cutoff.radius / function.domain[1]:.2f} times the end "
            f"of the data; in a liquid it leaves out {cost:.2g} eV per atom"
        )
    return lines
