"""Several curves, each of another pair of elements, to one potential."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ase_kan.data.curve import PairCurve
from ase_kan.fit.curve import fit_curve
from ase_kan.fit.mixing import RULES, mixed_curves
from ase_kan.fit.posteriors import joined
from ase_kan.fit.result import FitResult
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import pair_name, sorted_pair


def fit_curves(curves: Sequence[PairCurve], *, mixing: str | None = None, **keywords: Any) -> FitResult:
    """One potential of several curves.

    Parameters
    ----------
    curves : sequence of PairCurve
        Each of another pair of elements.
    mixing : "lorentz-berthelot", optional
        Make the pairs of unlike elements that have no curve (module `mixing`). Default: they are missing, and an error
        where two such atoms meet.
    **keywords
        Those of `fit_curve`, for each of them.

    Returns
    -------
    FitResult
        Its errors, and the last of their histories, are RMS over the curves; of mixed ones over their formula.

    Raises
    ------
    ValueError
        If a curve has no elements, or two have the same; or if there is nothing to mix from.
    """
    pairs = [None if curve.elements is None else sorted_pair(curve.elements) for curve in curves]
    for number, pair in enumerate(pairs):
        if pair is None and len(pairs) > 1:
            raise ValueError(f"curve {number} of {len(pairs)} has no elements: say PairCurve(..., elements=('A', 'B'))")
        if pair in pairs[:number]:
            same = f"curves {pairs.index(pair)} and {number}"
            raise ValueError(f"{same} are both of {pair_name(pair)}: join their points")
    if mixing is not None and mixing not in RULES:
        raise ValueError(f"unknown mixing {mixing!r}: choose {', '.join(map(repr, RULES))} or None")
    results = [fit_curve(curve, **keywords) for curve in curves]
    functions = {pair: r.potential.function(pair) for pair, r in zip(pairs, results, strict=True)}
    mixed = mixed_curves({pair: f for pair, f in functions.items() if pair}) if mixing else {}
    for pair, curve in mixed.items():
        results.append(fit_curve(curve, **keywords))
        functions[pair] = results[-1].potential.function(pair)
        results[-1].potential.info["mixing"] = mixing
    names = [pair_name(pair) + (f", by {mixing} mixing" if pair in mixed else "") for pair in functions]
    info = {"pairs": {pair_name(pair): r.potential.info for pair, r in zip(functions, results, strict=True)}}

    def together(values: Iterable[float]) -> float:
        return float(np.sqrt(np.mean(np.square(list(values)))))

    posteriors = [r.potential.posterior for r in results if r.potential.posterior]
    known = joined(posteriors, [pair in mixed for pair in functions])
    return FitResult(
        KANPotential(functions, info=info, posterior=known),
        {key: np.array([together(r.history[key][-1] for r in results)]) for key in ("train", "holdout")},
        together(r.energy_rmse for r in results),
        together(r.force_rmse for r in results),
        together(r.train_energy_rmse for r in results),
        together(r.train_force_rmse for r in results),
        report="\n".join(f"{name}:\n{r}" for name, r in zip(names, results, strict=True)),
    )
