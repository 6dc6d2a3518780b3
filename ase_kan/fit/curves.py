"""Several curves, each of another pair of elements, to one potential."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ase_kan.data.curve import PairCurve
from ase_kan.fit.curve import fit_curve
from ase_kan.fit.result import FitResult
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import pair_name, sorted_pair


def fit_curves(curves: Sequence[PairCurve], **keywords: Any) -> FitResult:
    """One potential of several curves.

    Parameters
    ----------
    curves : sequence of PairCurve
        Each of another pair of elements.
    **keywords
        Those of `fit_curve`, for each of them.

    Returns
    -------
    FitResult
        Its errors, and the last of their histories, are RMS over the curves.

    Raises
    ------
    ValueError
        If a curve has no elements, or two have the same.
    """
    pairs = [None if curve.elements is None else sorted_pair(curve.elements) for curve in curves]
    for number, pair in enumerate(pairs):
        if pair is None and len(pairs) > 1:
            raise ValueError(f"curve {number} of {len(pairs)} has no elements: say PairCurve(..., elements=('A', 'B'))")
        if pair in pairs[:number]:
            same = f"curves {pairs.index(pair)} and {number}"
            raise ValueError(f"{same} are both of {pair_name(pair)}: join their points")
    results = [fit_curve(curve, **keywords) for curve in curves]
    names = [pair_name(pair) for pair in pairs]
    functions = {pair: r.potential.function(pair) for pair, r in zip(pairs, results, strict=True)}
    info = {"pairs": {name: r.potential.info for name, r in zip(names, results, strict=True)}}

    def together(values: Iterable[float]) -> float:
        return float(np.sqrt(np.mean(np.square(list(values)))))

    return FitResult(
        KANPotential(functions, info=info),
        {key: np.array([together(r.history[key][-1] for r in results)]) for key in ("train", "holdout")},
        together(r.energy_rmse for r in results),
        together(r.force_rmse for r in results),
        together(r.train_energy_rmse for r in results),
        together(r.train_force_rmse for r in results),
        report="\n".join(f"{name}:\n{r}" for name, r in zip(names, results, strict=True)),
    )
