"""`fit`: one name for fitting curves and structures."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from ase import Atoms

from ase_kan.data.curve import PairCurve
from ase_kan.data.structures import Structures
from ase_kan.fit.curve import fit_curve
from ase_kan.fit.curves import fit_curves
from ase_kan.fit.eam import fit_eam
from ase_kan.fit.eam_report import EAMFitResult
from ase_kan.fit.equations import pairs_within
from ase_kan.fit.result import FitResult
from ase_kan.fit.structures import fit_structures
from ase_kan.types import Pair

if TYPE_CHECKING:
    from ase_kan.fit.baseline import Baseline


#: Where a cutoff is suggested: how many structures are looked at, how far, and the cutoff per shortest distance.
FIRST_STRUCTURES, SEARCHED, CUTOFF_PER_NEIGHBOR = 10, (1.5, 3.0, 6.0, 12.0), 2.5
#: What can be fitted.
MODELS = ("pair", "eam")


class _Common(TypedDict, total=False):
    onset: float | None
    smooth: bool
    core: str | None
    baseline: Baseline | None
    seed: int
    progress: bool


class CurveKeywords(_Common, total=False):
    """Keywords for curves; `fit.curve.fit_curve` explains them."""

    width: Sequence[int] | None
    grid: int | None
    k: int | None
    feature: str | None
    optimizer: str
    steps: int | None
    cutoff: float | None
    tail: str | None
    loss: str


class CurvesKeywords(CurveKeywords, total=False):
    """Keywords for several curves; `fit.curves.fit_curves` explains those that one curve does not have."""

    mixing: str | None


class StructureKeywords(_Common, total=False):
    """Keywords for structures; `fit.structures.fit_structures` explains them."""

    cutoff: float | Mapping[Pair, float]
    width: Sequence[int]
    grid: int
    k: int
    feature: str
    steps: int
    validation: float
    weights: Sequence[float] | Mapping[str, float] | None
    reference_energies: Mapping[str, float] | None
    elements: Sequence[str] | None
    start: float | None
    checkpoint: str | os.PathLike[str] | None
    resume: bool
    extend: bool


class EAMKeywords(TypedDict, total=False):
    """Keywords for structures with ``model="eam"``; `fit.eam.fit_eam` explains them."""

    cutoff: float
    channels: int
    densities: str
    grid: int | None
    embedding_grid: int
    k: int
    seed: int
    validation: float
    weights: Sequence[float] | Mapping[str, float] | None
    reference_energies: Mapping[str, float] | None
    checkpoint: str | os.PathLike[str] | None
    resume: bool
    progress: bool


@overload
def fit(data: PairCurve, *, ensemble: int | None = None, **keywords: Unpack[CurveKeywords]) -> FitResult: ...
@overload
def fit(data: Sequence[PairCurve], **keywords: Unpack[CurvesKeywords]) -> FitResult: ...
@overload
def fit(
    data: Structures,
    *,
    model: Literal["pair"] = "pair",
    ensemble: int | None = None,
    **keywords: Unpack[StructureKeywords],
) -> FitResult: ...
@overload
def fit(data: Structures, *, model: Literal["eam"], **keywords: Unpack[EAMKeywords]) -> EAMFitResult: ...
def fit(data: Any, *, model: str = "pair", ensemble: int | None = None, **keywords: Any) -> FitResult:
    """Fit a KAN potential to a curve, to several or to structures.

    Parameters
    ----------
    data : PairCurve, sequence of PairCurve, or Structures
        Several curves, each of another pair of elements, make one potential; keywords are for each of them, and
        ``mixing="lorentz-berthelot"`` makes the pairs that are missing.
    model : str
        ``"pair"``, or for structures ``"eam"``: an embedded-atom potential, for metals.
    ensemble : int, optional
        Of pair potentials: make so many fits to resampled data, side by side in other processes (module `ensemble`):
        the potential is their mean, its uncertainty their spread. Default: one fit, which knows its uncertainty from
        its equations.
    **keywords
        For a curve those of `fit.curve.fit_curve`, for structures those of `fit.structures.fit_structures`, and
        with ``model="eam"`` of `fit.eam.fit_eam`, where they are explained; the signature shows them all.

    Returns
    -------
    FitResult

    Raises
    ------
    TypeError
        If the data are neither, or a keyword does not exist for such data.
    ValueError
        If the data or an argument make no sense.
    """
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(map(repr, MODELS))}, got {model!r}")
    if model == "eam":
        if not isinstance(data, Structures):
            raise TypeError(f"an embedded-atom potential is fitted to Structures, got {type(data).__name__}")
        if ensemble is not None:
            raise TypeError("ensembles are of pair potentials: leave out ensemble, or model='eam'")
        _check_keywords(keywords, fit_eam, fit_structures, "embedded-atom potentials", data)
        return fit_eam(data, **keywords)
    if isinstance(data, list | tuple) and data and all(isinstance(curve, PairCurve) for curve in data):
        of_each = {name: value for name, value in keywords.items() if name != "mixing"}
        _check_keywords(of_each, fit_curve, fit_structures, "curves")
        if ensemble is not None:
            raise TypeError("ensembles are of one curve or of structures: fit the curves one by one")
        return fit_curves(data, **keywords)
    if "mixing" in keywords:
        raise TypeError("mixing is for several curves: fit([curve_a, curve_b], mixing=...)")
    if isinstance(data, PairCurve):
        _check_keywords(keywords, fit_curve, fit_structures, "curves")
        return fit_curve(data, **keywords) if ensemble is None else _ensemble(fit_curve, data, ensemble, keywords)
    if isinstance(data, Structures):
        _check_keywords(keywords, fit_structures, fit_curve, "structures", data)
        if ensemble is not None:
            return _ensemble(fit_structures, data, ensemble, keywords)
        return fit_structures(data, **keywords)
    raise TypeError(f"fit takes a PairCurve or Structures, got {type(data).__name__}: {_meant(data)}")


def _meant(data: Any) -> str:
    """What to give instead of other data."""
    if isinstance(data, Atoms):
        return "use fit(Structures([atoms, ...]), cutoff=...)"
    if isinstance(data, str | os.PathLike):
        file = os.fspath(data)
        return f"use PairCurve.read({file!r}) for columns r, E, or Structures.read({file!r}) for structures"
    if isinstance(data, Sequence) and any(isinstance(item, Atoms) for item in data):
        return "use fit(Structures(images), cutoff=...)"
    if isinstance(data, Sequence) and any(isinstance(item, Structures) for item in data):
        return "use one Structures of all images"
    return "use PairCurve(r, energy)"


def suggested_cutoff(structures: Structures) -> str:
    """A cutoff for the first structures, with what it comes from."""
    nearest = []
    for sample in islice(structures, FIRST_STRUCTURES):
        for reach in SEARCHED:
            distances = pairs_within(sample, reach)[3]
            if len(distances):
                nearest.append(float(distances.min()))
                break
    if not nearest:
        return "in Angstrom"
    apart = median(nearest)
    return (
        f"in Angstrom: nearest neighbors are {apart:.3g} A apart, so that cutoff={CUTOFF_PER_NEIGHBOR * apart:.2g} has "
        "two or three shells of them; larger ones cost more"
    )


def _ensemble(fit_one: Any, data: PairCurve | Structures, members: int, keywords: dict[str, Any]) -> FitResult:
    from ase_kan.fit.ensemble import fit_ensemble  # joblib takes a while to import

    return fit_ensemble(fit_one, data, members, keywords)


def _keywords(function: Any) -> dict[str, inspect.Parameter]:
    return {p.name: p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}


def _check_keywords(
    given: Mapping[str, Any], function: Any, other: Any, what: str, structures: Structures | None = None
) -> None:
    """`TypeError` that names the first unknown keyword, and the one that was probably meant."""
    known = _keywords(function)
    for name in given:
        if name in known:
            continue
        if name in _keywords(other):
            raise TypeError(f"fit has the keyword {name!r} for other data than {what}")
        close = get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
        raise TypeError(f"fit has no keyword {name!r} for {what}: {hint}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            told = f", {suggested_cutoff(structures)}" if structures is not None else ""
            raise TypeError(f"fit needs the keyword {name!r} for {what}{told}")


# What help() and editors show: every keyword of both.
fit.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter("data", inspect.Parameter.POSITIONAL_ONLY, annotation="PairCurve | Structures"),
        inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, default="pair", annotation="str"),
        inspect.Parameter("ensemble", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="int | None"),
        *(_keywords(fit_eam) | _keywords(fit_structures) | _keywords(fit_curve) | _keywords(fit_curves)).values(),
    ],
    return_annotation="FitResult",
)
