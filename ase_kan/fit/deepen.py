"""Deeper KANs for structures: taught by the single-edge one, whose fit is exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ase_kan.fit.deep import Targets, fit_deep
from ase_kan.fit.linear import FORCE_WEIGHT
from ase_kan.potentials.features import get_feature, value_and_slope
from ase_kan.potentials.pair import Affine, PairFunction


def deepen(function: PairFunction, width: Sequence[int], grid: int, k: int, seed: int, steps: int) -> PairFunction:
    """A deeper KAN taught by the single-edge one, evenly in r and in 1/r."""
    low, high = function.domain
    r = np.concatenate([np.linspace(low, high, 200), 1 / np.linspace(1 / low, 1 / high, 200)]).clip(low, high)
    energy, slope = value_and_slope(function.learned, r)
    x, dx = value_and_slope(get_feature(function.feature).of_r, r)
    e = Affine(float(energy.mean()), float(energy.std()) or 1.0)
    du = dx / function.x.scale
    targets = Targets(
        (x - function.x.shift) / function.x.scale,
        (energy - e.shift) / e.scale,
        slope / e.scale / du,
        np.abs(du) * FORCE_WEIGHT * low,
    )
    network, _, _ = fit_deep(width, grid, k, targets, seed, steps)
    return PairFunction(
        network,
        function.domain,
        function.cutoff,
        function.feature,
        function.x,
        e,
        coverage=function.coverage,
        baseline=function.baseline,
    )
