"""An ensemble: the same fit to resampled data and from other starts, side by side.

A single-edge fit knows its errors from its own equations, which is cheaper and no worse (docs/uncertainty.md).
Ensembles are for those who want to see it, and for networks whose training ends somewhere else each time. What comes
out is one potential, the mean, which costs no more to run; the spread of the members is its posterior.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from ase_kan.data.curve import PairCurve
from ase_kan.data.structures import Sample, Structures
from ase_kan.fit.groups import group_errors
from ase_kan.fit.holdout import HeldOut, deviations
from ase_kan.fit.result import FitResult, training_bar
from ase_kan.potentials.added import CELLS, DEGREE, AddedSplines
from ase_kan.potentials.pair import PairFunction
from ase_kan.potentials.posterior import PairPosterior, Posterior
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Array


def fit_ensemble(
    fit_one: Callable[..., FitResult], data: PairCurve | Structures, members: int, keywords: Mapping[str, Any]
) -> FitResult:
    """The mean of fits to resampled data (the bootstrap: B. Efron, Ann. Statist. 7, 1, 1979).

    Parameters
    ----------
    fit_one : callable
        `fit_curve` or `fit_structures`.
    data : PairCurve or Structures
        Points are drawn as often as there are, with replacement, both ends always; structures get random weights from a
        Poisson distribution of mean one.
    members : int
    keywords : mapping
        Of the fits; the seed is that of the first member and of the resampling.

    Returns
    -------
    FitResult
        Its errors are those of the mean: on points that members have not seen (curves), on all structures.

    Raises
    ------
    ValueError
        For fewer than two members, and checkpoints, which are for single fits.
    """
    if isinstance(members, bool) or not isinstance(members, int) or members < 2:
        raise ValueError(f"an ensemble has 2 members or more, got {members!r}")
    if keywords.get("checkpoint") is not None:
        raise ValueError("an ensemble writes no checkpoints: leave checkpoint out")
    seed = int(keywords.get("seed", 0))
    base = fit_one(data, **{**keywords, "progress": False})
    fixed = {**keywords, "progress": False}
    if isinstance(data, PairCurve):
        function = base.potential.function()
        fixed |= {"cutoff": function.cutoff.radius, "onset": function.cutoff.onset}
    counts = [_counts(data, seed, number) for number in range(members)]
    jobs = (
        delayed(_quietly)(fit_one, _resampled(data, count, fixed), {**fixed, "seed": seed + number})
        for number, count in enumerate(counts)
    )
    found: list[FitResult] = []
    with training_bar(bool(keywords.get("progress")), members) as report:
        for result in Parallel(n_jobs=-1, return_as="generator")(jobs):
            found.append(result)
            if report:
                report(len(found), result.energy_rmse)
    potential = _mean(base.potential, [result.potential for result in found])
    potential.info = {**base.potential.info, "ensemble": members}
    spread = f"mean of {members} fits to resampled data; its uncertainty is their spread"
    result = replace(base, potential=potential, report="\n".join([base.report, spread]))
    if isinstance(data, PairCurve):
        return _curve_errors(result, data, counts, found)
    errors = group_errors(data, potential, lambda sample: sample.weight > 0)
    energy, force = (_rms([e[name] for e in errors.values()]) for name in ("energy", "forces"))
    return replace(result, train_energy_rmse=energy, train_force_rmse=force, energy_rmse=np.nan, force_rmse=np.nan)


def _quietly(fit_one: Callable[..., FitResult], data: Any, keywords: Mapping[str, Any]) -> FitResult:
    """A fit in a process of its own: what it warns of, the fit to all data has said."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit_one(data, **keywords)


def _counts(data: PairCurve | Structures, seed: int, number: int) -> Array | tuple[int, int]:
    """How often each point is drawn; for structures the seed of their weights."""
    if isinstance(data, Structures):
        return seed, number
    rng = np.random.default_rng([seed, number])
    counts = np.bincount(rng.integers(0, len(data), len(data)), minlength=len(data)).astype(float)
    counts[[0, -1]] = np.maximum(counts[[0, -1]], 1)
    return counts


def _resampled(data: Any, counts: Any, keywords: Mapping[str, Any]) -> Any:
    if isinstance(data, Structures):
        return _Weighted(data, counts)
    drawn = counts > 0
    force = None if data.force is None else data.force[drawn]
    if keywords.get("width") is None and keywords.get("optimizer", "least-squares") == "least-squares":
        errors = np.ones(len(data)) if data.errors is None else data.errors
        return PairCurve(
            data.r[drawn], data.energy[drawn], force, data.elements, errors=errors[drawn] / np.sqrt(counts[drawn])
        )
    often = np.repeat(np.arange(len(data)), counts.astype(int))
    force = None if data.force is None else data.force[often]
    return PairCurve(data.r[often], data.energy[often], force, data.elements)


class _Weighted(Structures):
    """Structures with random weights, the same on every pass."""

    def __init__(self, structures: Structures, seeds: tuple[int, int]) -> None:
        self.__dict__.update(structures.__dict__)
        self._seeds = seeds

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(super().__iter__()):
            weight = np.random.default_rng([*self._seeds, number]).poisson()
            yield replace(sample, weight=sample.weight * float(weight))


def _mean(base: KANPotential, members: list[KANPotential]) -> KANPotential:
    """The mean, written as the base and what is added to it; pairs that a member lacks are those of the base there."""
    functions: dict[Any, PairFunction] = {}
    pairs, factors, at = [], [], 0
    for pair in base.pairs:
        function = base.function(pair)
        splines = AddedSplines.of(function)
        r = splines.points()
        energy = base.energy(r, pair)
        values = np.stack([(m.energy(r, pair) if pair in m.pairs else energy) - energy for m in members], axis=1)
        coefficients = splines.coefficients(values)
        mean = coefficients.mean(axis=1)
        functions[pair] = splines.added_to(function, mean)
        factors.append((coefficients - mean[:, None]) / np.sqrt(len(members) - 1))
        pairs.append(PairPosterior(at, -1.0, 1.0, CELLS, DEGREE, whole=True))
        at += CELLS + DEGREE
    energies = dict(base.reference_energies)
    lone = sorted(energies)
    rows = np.array([[m.reference_energies.get(s, energies[s]) for m in members] for s in lone]).reshape(
        len(lone), len(members)
    )
    energies |= {symbol: float(row.mean()) for symbol, row in zip(lone, rows, strict=True)}
    factors.append((rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(len(members) - 1))
    residual = {} if base.posterior is None else base.posterior.residual
    posterior = Posterior.of(np.concatenate(factors), pairs, lone, residual)
    return KANPotential(functions, energies, posterior=posterior)


def _curve_errors(result: FitResult, curve: PairCurve, counts: list[Any], found: list[FitResult]) -> FitResult:
    energy, force = deviations(result.potential.function(), curve)
    train = HeldOut(curve.energy, energy, force)
    if curve.source is not None:
        fresh = np.linspace(curve.r[0], curve.r[-1], 1000)
        held = HeldOut(fresh, *deviations(result.potential.function(), PairCurve(fresh, *curve.source(fresh))))
    else:
        unseen = np.array([count == 0 for count in counts])
        some = unseen.any(axis=0)
        each = [deviations(member.potential.function(), curve) for member in found]
        part = unseen[:, some] / unseen[:, some].sum(axis=0)
        energies = np.einsum("mp,mp->p", part, np.array([e for e, _ in each])[:, some])
        forces = None
        if curve.force is not None:
            forces = np.einsum("mp,mp->p", part, np.array([f for _, f in each])[:, some])
        held = HeldOut(curve.energy[some], energies, forces)
    return replace(
        result,
        energy_rmse=held.energy_rmse,
        force_rmse=held.force_rmse,
        train_energy_rmse=train.energy_rmse,
        train_force_rmse=train.force_rmse,
    )


def _rms(values: list[Any]) -> float:
    known = [value for value in values if value is not None]
    return float(np.sqrt(np.mean(np.square(known)))) if known else float("nan")
