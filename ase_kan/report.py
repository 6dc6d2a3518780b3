"""What a person should know of a fit to a curve: errors in the well, noise, ends and cutoff."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ase_kan.bsplines import Array
from ase_kan.curve_model import CurveModel, energy_offset_and_scale
from ase_kan.pair import Ends, PairFunction, truncation_energy
from ase_kan.scale import energy_scale

#: A hold-out error in the well above this part of its depth is warned of.
LARGE = 0.02
#: A well that is not so many times as deep as the noise is none.
VISIBLE = 5.0


@dataclass(frozen=True)
class HeldOut:
    """Errors on points that a fit has not seen.

    Parameters
    ----------
    target : ndarray, shape (n,)
        Energies there, eV.
    energy, force : ndarray, shape (n,)
        Errors, eV and eV/Angstrom.
    """

    target: Array
    energy: Array
    force: Array | None

    @property
    def energy_rmse(self) -> float:
        return float(np.sqrt(np.mean(self.energy**2)))

    @property
    def force_rmse(self) -> float:
        return float("nan") if self.force is None else float(np.sqrt(np.mean(self.force**2)))

    def in_well(self) -> tuple[float, float] | None:
        """RMS error where the energy is below the depth of the well, and that depth (eV); None without a well."""
        offset, depth = energy_offset_and_scale(self.target)
        inside = self.target - offset < depth
        if (self.target - offset).min() >= 0 or not inside.any():
            return None
        return float(np.sqrt(np.mean(self.energy[inside] ** 2))), depth


def describe_fit(function: PairFunction, model: CurveModel | None, held: HeldOut, ends: Ends) -> list[str]:
    """Lines of the report; warns of a large error in the well."""
    lines = []
    well = held.in_well()
    if well is not None and (model is None or well[1] > VISIBLE * np.median(model.noise)):
        error, depth = well
        lines.append(
            f"hold-out error where the energy is below the depth of the well, {depth:.4g} eV: {error / depth:.2g} of it"
        )
        if error > LARGE * depth:
            noise = "" if model is None else f"; the noise of the data there is {np.median(model.noise) / depth:.1%}"
            warnings.warn(
                f"the hold-out error in the well is {error / depth:.1%} of its depth{noise}: give more, or more "
                "exact, points",
                stacklevel=6,
            )
    if function.tail is not None and ends.cutoff is None:
        scale = energy_scale(function.bare, *function.domain)
        cost = truncation_energy(function.tail, function.cutoff.radius, scale.energy / scale.force)
        lines.append(
            f"cutoff {function.cutoff.radius:.4g} A, {function.cutoff.radius / function.domain[1]:.2f} times the end "
            f"of the data; in a liquid it leaves out {cost:.2g} eV per atom"
        )
    return lines
