"""Fit a KAN pair potential to a curve: the choice of trainer, hold-out points, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from ase_kan.data.curve import PairCurve
from ase_kan.fit.baseline import baseline_of, without
from ase_kan.fit.curve_model import energy_offset_and_scale, wall_of
from ase_kan.fit.curve_report import check_tail, describe_fit
from ase_kan.fit.holdout import MIN_POINTS, held_out, part, rmse, split
from ase_kan.fit.linear import FOLDS
from ase_kan.fit.posteriors import curve_posterior
from ase_kan.fit.result import FitResult, training_bar
from ase_kan.fit.trainers import DEFAULT_FEATURE, SMOOTH_DEGREE, TRAINERS, Plan, train
from ase_kan.potentials.continuations import Continuation, ends_at_zero
from ase_kan.potentials.coverage import Coverage
from ase_kan.potentials.cutoff import FARTHEST
from ase_kan.potentials.features import FEATURES, value_and_slope
from ase_kan.potentials.pair import Ends, PairFunction
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Array
from ase_kan.version import __version__

if TYPE_CHECKING:
    from ase_kan.fit.baseline import Baseline

#: Cells of the finest histogram of the distances of a curve.
COVERAGE_CELLS = 400
#: Energies are not told apart below this part of the depth of the well.
SAME = 1e-8


def fit_curve(
    curve: PairCurve,
    *,
    width: Sequence[int] | None = None,
    grid: int | None = None,
    k: int | None = None,
    feature: str | None = None,
    optimizer: str = "least-squares",
    seed: int = 0,
    steps: int | None = None,
    cutoff: float | None = None,
    onset: float | None = None,
    smooth: bool = True,
    core: str | None = "auto",
    tail: str | None = "auto",
    loss: str = "squares",
    baseline: Baseline | None = None,
    progress: bool = False,
) -> FitResult:
    """Fit a KAN pair potential to a curve.

    Without options: a single-edge KAN with k = 5, linear in its coefficients, on a fine grid; its smoothness and the
    noise of the data are chosen by their evidence (module `evidence`), and all points are used.

    Parameters
    ----------
    curve : PairCurve
        With its `errors`, the noise is theirs; else it is the same everywhere or grows like the depth of the well plus
        the size of the energy, whichever has more evidence.
    width : sequence of int, optional
        Nodes per layer, from 1 to 1; default (1, 1), with pykan (1, 2, 1).
    grid, k : int, optional
        Grid intervals and spline degree of every edge. The grid spans the data. Defaults: k = 5; for a single edge
        two intervals per point, from 24 to 120, and two beyond the data on each side; for deeper networks 5. With
        pykan 3 and 3.
    feature : str, optional
        What the network sees of r: ``"r"``, ``"1/r"``, ``"log r"``, ``"r^-3"``, ``"r^-6"``, or ``"auto"``: all are
        tried by five-fold cross-validation (so it takes 25 fits more), and 1/r is taken unless another is better by
        more than one standard error. Default: for a single edge 1/r, or log r where the evidence for that is strong;
        with pykan r; else 1/r.
    optimizer : str
        ``"least-squares"``: linear for (1, 1), Levenberg-Marquardt on energies and slopes for deeper networks
        (modules `evidence` and `deep`). ``"pykan"``: pykan's own LBFGS on the energies alone, as they
        are (the 2024 recipe of docs/extrapolation.md).
    seed : int
        Seed of the starts and of the hold-out points; the result is deterministic for a seed.
    steps : int, optional
        Most evaluations per Levenberg-Marquardt start (default 150), or LBFGS steps of pykan (default 20). The
        linear solve has none.
    cutoff : float, optional
        Angstrom; default: where what is left out is 1 % of the scale of the energy (`scale.energy_scale`) per atom of a
        liquid, from 1.11 to 1.3 times the largest distance in the data. Dense systems run faster with less. Where the
        data end at zero within the error of the fit: their end.
    onset : float, optional
        Where switching to zero starts; default 0.9 of the cutoff.
    smooth : bool
        True switches between onset and cutoff; False subtracts the energy at the cutoff, as ASE's
        `LennardJones(rc=cutoff, smooth=False)` does.
    core : str or None
        What takes over below the data. ``"auto"``: the wall that up to 30 % of the range supports, powers or
        exponentials (module `end_laws`), going over to the ZBL repulsion where the elements are known and energies pass
        some 10 eV; ``"power"``: a power law that joins smoothly; ``"zbl"``: the ZBL repulsion of the two elements;
        None, nothing: the bare KAN (module `continuations`).
    tail : str or None
        What takes over beyond the data. ``"auto"``: the law that up to 40 % of the range supports, with an exponent
        above 3; ``"coulomb"``: the same with s^1; ``"power"``: a power law that joins smoothly; None, the bare KAN.
        Deeper networks are not tied to laws: with them ``"auto"`` is ``"power"``.
    loss : str
        ``"squares"``, or ``"huber"``: points far off the others count less (P. J. Huber, Ann. Math. Stat. 35, 73,
        1964); the report names them. For a single edge.
    baseline : "zbl", mapping of str to float, KANPotential or ASE calculator, optional
        What is known before: it is taken off the data, added to the KAN and to the tail, and saved with them. The
        universal repulsion of nuclei; charges by element (in e) for their Coulomb energy, ``{"Na": 1, "Cl": -1}``; a
        potential; or what a calculator says of dimers, within the error of a fit to 400 of them.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        If an argument makes no sense, the curve has fewer data than the network has parameters, or a cutoff leaves
        fewer than 5 points as they are.

    Warns
    -----
    UserWarning
        If the fitted energy is not repulsive at the shortest distance of the data (see `continuations.match_core`),
        or does not head for zero at the longest one, as total energies do not; if the data do not determine the tail;
        if the hold-out error in the well exceeds 2 % of its depth.

    Notes
    -----
    Global random states, the default dtype and the current directory are left as they were.
    """
    ends = Ends(cutoff, onset, smooth, core, tail)
    ends.rule(float(curve.r[-1]))  # refuses impossible ones before the work
    plan = Plan.choose(curve, optimizer, width, grid, k, feature, seed, steps, loss)
    if tail == "coulomb" and not (plan.linear and plan.k >= SMOOTH_DEGREE):
        raise ValueError(
            f"tail='coulomb' is for a single edge of k >= {SMOOTH_DEGREE}: leave width, optimizer or k out"
        )
    _check_cutoff(curve, ends)
    base = None
    if baseline is not None:
        farthest = max(FARTHEST * float(curve.r[-1]), cutoff or 0.0)
        base = baseline_of(baseline, curve.elements, float(curve.r[0]), farthest)
    if feature != "auto":
        return _fit(curve, base, plan, ends, progress)
    best, errors = _choose_feature(without(curve, base), plan, progress)
    result = _fit(curve, base, replace(plan, feature=best), ends, progress)
    result.potential.info["feature_trials"] = errors
    tried = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    chosen = f"feature {best}, of the cross-validated energy RMSE (eV): {tried}"
    return replace(result, report="\n".join(filter(None, [result.report, chosen])))


def _check_cutoff(curve: PairCurve, ends: Ends) -> None:
    rule = ends.rule(float(curve.r[-1]))
    end = rule.radius if rule.onset is None else rule.onset
    left = int(np.count_nonzero(curve.r < end))
    if left < min(MIN_POINTS, len(curve)):
        onset = "" if rule.onset is None else f" with switching from {rule.onset:g} A on"
        raise ValueError(
            f"cutoff {rule.radius:g} A{onset} leaves {left} of {len(curve)} points of data (from {curve.r[0]:g} to "
            f"{curve.r[-1]:g} A) as they are: at least {MIN_POINTS} are needed, give a larger cutoff"
        )


def _choose_feature(curve: PairCurve, plan: Plan, progress: bool) -> tuple[str, dict[str, float]]:
    """The feature, and the energy RMSE (eV) of each, a mean over folds.

    The one-standard-error rule (L. Breiman et al., Classification and Regression Trees, 1984) with the default feature
    for the simplest model: another must beat it by more than the spread of their difference over the folds.
    """
    fold = np.arange(len(curve)) % FOLDS
    fold[[0, -1]] = -1  # the two ends stay in every training set: they are the domain
    numbers = np.unique(fold[fold >= 0])
    if len(numbers) < 2:
        raise ValueError(f"{len(curve)} points are too few to choose a feature with: give at least {MIN_POINTS}")
    errors: dict[str, list[float]] = {name: [] for name in FEATURES}
    with training_bar(progress, len(FEATURES) * len(numbers)) as report:
        for name in FEATURES:
            for number in numbers:
                held = part(curve, fold == number)
                trained = train(
                    part(curve, fold != number), held, replace(plan, feature=name), Ends(core=None, tail=None)
                )
                if trained.interrupted:
                    raise KeyboardInterrupt
                predicted = value_and_slope(trained.function.bare, held.r)[0]
                errors[name].append(_rms(predicted - held.energy))
                if report:
                    report(sum(map(len, errors.values())), errors[name][-1])
    means = {name: float(np.mean(values)) for name, values in errors.items()}
    best = min(means, key=lambda name: means[name])
    gain = np.array(errors[DEFAULT_FEATURE]) - np.array(errors[best])
    clear = gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain))
    return (best if clear else DEFAULT_FEATURE), means


def _fit(
    curve: PairCurve, baseline: Continuation | PairFunction | None, plan: Plan, ends: Ends, progress: bool
) -> FitResult:
    learned, holdout = (curve, None) if plan.linear and curve.source is None else split(curve, plan.seed)
    rest = without(learned, baseline)
    unseen = None if holdout is None else without(holdout, baseline)
    with training_bar(progress and not plan.linear, plan.steps * TRAINERS[plan.optimizer].starts) as report:
        # The law of a wall is that of all of the energy.
        of_rest = ends if baseline is None or ends.core != "auto" else replace(ends, core="power")
        trained = train(rest, unseen, plan, of_rest, report)
    trained.function.baseline = baseline
    trained.function.coverage = coverage_of(learned)
    wall = trained.wall
    if trained.model is not None and of_rest is not ends and plan.k >= SMOOTH_DEGREE:
        wall = wall_of(learned, trained.model.noise)
    bare_held = held_out(trained.function.bare, trained.function.bare, learned, holdout, trained.model)
    error = max(
        rmse(trained.function.bare, learned)[0],
        float(np.median(np.abs(bare_held.energy))),
        SAME * energy_offset_and_scale(learned.energy)[1],
    )
    last_slope = float(value_and_slope(trained.function.learned, rest.r[-1:])[1][0])
    far = trained.tail
    nothing = far is not None and not (far.law.terms or far.law.exponentials)
    over = nothing or (far is None and ends_at_zero(rest.r, rest.energy, last_slope, error))
    function = ends.attach(trained.function, curve.elements, error if over else None, wall, None if nothing else far)
    check_tail(function, rest, error, None if over else far, made_up=far is None and not over, laws=trained.tied)
    held = held_out(function, trained.function.bare, learned, holdout, trained.model)
    bare_train = rmse(function.bare, learned)
    errors = (held.energy_rmse, held.force_rmse, *rmse(function, learned))
    history = trained.history
    history.setdefault("train", np.array([bare_train[0]]))
    history.setdefault("holdout", np.array([bare_held.energy_rmse]))
    info = {
        "ase_kan": __version__,
        **asdict(trained.plan),
        "width": list(plan.width),
        "points": len(learned),
        "energy_rmse": errors[0],
        "force_rmse": None if np.isnan(errors[1]) else errors[1],
    }
    if curve.subtracted:
        info["subtracted"] = curve.subtracted
    told = ["interrupted: the best network so far"] if trained.interrupted else []
    if function.cutoff.onset is None or function.cutoff.onset < learned.r[-1]:
        told.append(
            f"these errors are with the cutoff at {function.cutoff.radius:g} A, which changes energies within the data "
            f"(to {learned.r[-1]:g} A); the fit alone: energy RMSE {bare_train[0]:.2e} eV, hold-out "
            f"{bare_held.energy_rmse:.2e} eV"
        )
    told += describe_fit(function, trained.model, bare_held, ends)
    known = curve_posterior(function, trained.model, learned, rest, error, wall, far)
    potential = KANPotential({curve.elements: function}, info=info, posterior=known)
    return FitResult(potential, history, *errors, report="\n".join(told), curve=curve)


def coverage_of(curve: PairCurve) -> Coverage:
    """Which distances a curve has."""
    edges = np.linspace(curve.r[0], curve.r[-1], COVERAGE_CELLS + 1)
    counts = np.histogram(curve.r, edges)[0].astype(np.int64)
    return Coverage.of(edges, counts, float(curve.r[0]))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
