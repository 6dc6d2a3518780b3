"""`fit`: one name for fitting curves and structures."""

from __future__ import annotations

from typing import Any

from ase_kan.data.curve import PairCurve
from ase_kan.data.structures import Structures
from ase_kan.fit.curve import fit_curve
from ase_kan.fit.result import FitResult as FitResult
from ase_kan.fit.structures import fit_structures


def fit(data: PairCurve | Structures, **keywords: Any) -> FitResult:
    """Fit a KAN pair potential.

    Parameters
    ----------
    data : PairCurve or Structures
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
    if isinstance(data, PairCurve):
        return fit_curve(data, **keywords)
    if isinstance(data, Structures):
        return fit_structures(data, **keywords)
    raise TypeError(f"fit takes a PairCurve or Structures, got {type(data).__name__}: use PairCurve(r, energy)")
