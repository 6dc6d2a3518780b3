"""`fit`: one name for fitting curves and structures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ase_kan.data import PairCurve
from ase_kan.fit_curve import fit_curve
from ase_kan.fit_structures import fit_structures
from ase_kan.potential import KANPotential, sorted_pair
from ase_kan.result import FitResult as FitResult
from ase_kan.structures import Structures


def fit(data: PairCurve | Structures | Sequence[PairCurve], **keywords: Any) -> FitResult:
    """Fit a KAN pair potential.

    Parameters
    ----------
    data : PairCurve, Structures or sequence of PairCurve
        Several curves, each of another pair of elements, make one potential; keywords are for each of them.
    **keywords
        Those of `fit_curve.fit_curve` or of `fit_structures.fit_structures`.

    Returns
    -------
    FitResult

    Raises
    ------
    TypeError
        If the data are neither, or a keyword does not exist.
    ValueError
        If the data or an argument make no sense.
    """
    if isinstance(data, list | tuple) and data and all(isinstance(curve, PairCurve) for curve in data):
        return _fit_several(data, keywords)
    if isinstance(data, PairCurve):
        return fit_curve(data, **keywords)
    if isinstance(data, Structures):
        return fit_structures(data, **keywords)
    raise TypeError(f"fit takes a PairCurve or Structures, got {type(data).__name__}: use PairCurve(r, energy)")


def _fit_several(curves: Sequence[PairCurve], keywords: dict[str, Any]) -> FitResult:
    """One potential of several curves. Errors and their histories are RMS over all curves, the last of each."""
    pairs = [None if curve.elements is None else sorted_pair(curve.elements) for curve in curves]
    for number, pair in enumerate(pairs):
        if pair is None and len(pairs) > 1:
            raise ValueError(f"curve {number} of {len(pairs)} has no elements: say PairCurve(..., elements=('A', 'B'))")
        if pair in pairs[:number]:
            both = f"curves {pairs.index(pair)} and {number}"
            raise ValueError(f"{both} are both of {'-'.join(pair or ())}: join their points")
    results = [fit_curve(curve, **keywords) for curve in curves]
    names = ["every pair" if pair is None else "-".join(pair) for pair in pairs]
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
