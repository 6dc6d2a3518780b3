"""Points that a fit has not seen, and its errors there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ase_kan.data.curve import PairCurve
from ase_kan.fit.curve_model import CurveModel, energy_offset_and_scale
from ase_kan.potentials.features import value_and_slope
from ase_kan.types import Array

Mask = NDArray[np.bool_]

#: Fresh points that a curve with a source is tested on; evenly spaced, so that the ends count.
HOLDOUT_POINTS = 1000
#: Part of the points set aside where there is no source of fresh ones.
HOLDOUT_FRACTION = 0.1
#: Fewest points of which some can be held out.
MIN_POINTS = 5


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


def rmse(function: Callable[[Tensor], Tensor], curve: PairCurve) -> tuple[float, float]:
    """RMS errors of energies and forces (NaN where none are known)."""
    energy, force = deviations(function, curve)
    found = HeldOut(curve.energy, energy, force)
    return found.energy_rmse, found.force_rmse


def deviations(function: Callable[[Tensor], Tensor], curve: PairCurve) -> tuple[Array, Array | None]:
    """Energies and forces of a function minus those of a curve."""
    energy, slope = value_and_slope(function, curve.r)
    force = curve.force
    if force is None and curve.source is not None:
        force = curve.source(curve.r)[1]
    return energy - curve.energy, None if force is None else -slope - force


def held_out(
    function: Callable[[Tensor], Tensor],
    bare: Callable[[Tensor], Tensor],
    train: PairCurve,
    holdout: PairCurve | None,
    model: CurveModel | None,
) -> HeldOut:
    """Errors on points that a fit has not seen: held-out ones, or every one but the two ends from all others.

    Parameters
    ----------
    function, bare : callable
        What the errors are of, and the bare KAN.
    train, holdout : PairCurve
    model : CurveModel or None
        Needed where no points were held out.
    """
    if holdout is not None:
        return HeldOut(holdout.energy, *deviations(function, holdout))
    assert model is not None
    (energy, force), (seen, seen_force) = deviations(function, train), deviations(bare, train)
    # How much worse the bare KAN gets at a point without it, on top of what cutoff and fit do there.
    energy = energy + model.left_out - seen
    if force is not None and seen_force is not None and model.left_out_force is not None:
        force = (force + model.left_out_force - seen_force)[1:-1]
    return HeldOut(train.energy[1:-1], energy[1:-1], force)


def split(curve: PairCurve, seed: int) -> tuple[PairCurve, PairCurve]:
    """Training and hold-out points: fresh ones where the curve has a source, else a part of its own."""
    r = curve.r
    if curve.source is not None:
        fresh = np.linspace(r[0], r[-1], HOLDOUT_POINTS)
        return curve, PairCurve(fresh, *curve.source(fresh), curve.elements)
    if len(r) < MIN_POINTS:
        raise ValueError(f"{len(r)} points are too few to fit and to hold some out: give at least {MIN_POINTS}")
    # The two ends stay in the training set: they are the domain.
    n = max(2, round(HOLDOUT_FRACTION * len(r)))
    held = np.zeros(len(r), dtype=bool)
    held[np.random.default_rng(seed).choice(np.arange(1, len(r) - 1), min(n, len(r) - 2), replace=False)] = True

    return part(curve, ~held), part(curve, held)


def part(curve: PairCurve, mask: Mask) -> PairCurve:
    """Some points of a curve."""
    force = None if curve.force is None else curve.force[mask]
    errors = None if curve.errors is None else curve.errors[mask]
    return PairCurve(curve.r[mask], curve.energy[mask], force, curve.elements, errors=errors)
