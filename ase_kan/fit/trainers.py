"""Ways of training a KAN on a curve: one linear solve, Levenberg-Marquardt, pykan.

A new one is a function from a curve and a plan to a `Trained`, and its entry in `TRAINERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from ase_kan.data.curve import PairCurve
from ase_kan.fit.curve_model import CurveModel, choose_model, choose_robust_model, laws_of_ends
from ase_kan.fit.deep import EVALUATIONS, STARTS, fit_deep, taught
from ase_kan.fit.holdout import MIN_POINTS
from ase_kan.fit.linear import count_values
from ase_kan.kan import pykan
from ase_kan.kan.network import KANNetwork, check_architecture
from ase_kan.potentials.end_laws import EndLaw
from ase_kan.potentials.features import get_feature
from ase_kan.potentials.pair import Affine, Ends, PairFunction
from ase_kan.types import Array, Report

PYKAN_STEPS = 20
DEFAULT_FEATURE = "1/r"
LOSSES = ("squares", "huber")
#: Degree from which on a KAN has a continuous curvature.
SMOOTH_DEGREE = 3


@dataclass(frozen=True)
class Plan:
    """What a fit does, every default filled in."""

    optimizer: str
    width: tuple[int, ...]
    grid: int | None  # None: fine
    k: int
    feature: str | None  # None: chosen by evidence
    seed: int
    steps: int
    loss: str = "squares"

    @classmethod
    def choose(
        cls,
        curve: PairCurve,
        optimizer: str,
        width: Sequence[int] | None,
        grid: int | None,
        k: int | None,
        feature: str | None,
        seed: int,
        steps: int | None,
        loss: str = "squares",
    ) -> Plan:
        if optimizer not in TRAINERS:
            raise ValueError(f"unknown optimizer {optimizer!r}: choose one of {', '.join(map(repr, TRAINERS))}")
        trainer = TRAINERS[optimizer]
        width = trainer.width if width is None else tuple(width)
        single = trainer.solves_single_edges and len(width) == 2
        k = trainer.k if k is None else k
        if grid is None and not single:
            grid = trainer.grid
        if steps is not None and single:
            raise ValueError("a single edge is solved for directly and takes no steps: leave steps out")
        steps = trainer.steps if steps is None else steps
        check_architecture(width, grid=grid, k=k, steps=steps)
        if feature is None and not single:
            feature = trainer.feature
        if feature not in (None, "auto"):
            get_feature(feature)
        if loss not in LOSSES:
            raise ValueError(f"unknown loss {loss!r}: choose one of {', '.join(map(repr, LOSSES))}")
        if loss != LOSSES[0] and not single:
            raise ValueError(f"loss={loss!r} is for a single edge: leave width and optimizer out")
        if curve.errors is not None and not single:
            raise ValueError("errors and weights of points are for a single edge: leave width and optimizer out")
        return cls(optimizer, width, grid, k, feature, seed, steps, loss)

    @property
    def linear(self) -> bool:
        """Whether the KAN is linear in its parameters, and solved for."""
        return TRAINERS[self.optimizer].solves_single_edges and len(self.width) == 2


def _count_parameters(plan: Plan, grid: int) -> int:
    """Spline coefficients and base weights; the linear fit has no base, and pykan's spline scales add nothing."""
    edges = sum(a * b for a, b in pairwise(plan.width))
    return edges * (grid + plan.k + (0 if plan.linear else 1))


@dataclass(frozen=True)
class Trained:
    """A bare KAN, and how it came about; with what a linear fit knows besides."""

    function: PairFunction
    plan: Plan
    history: dict[str, Array]
    interrupted: bool = False
    model: CurveModel | None = None
    wall: EndLaw | None = None
    tail: EndLaw | None = None
    tied: bool = False


def train_linear(curve: PairCurve, plan: Plan, ends: Ends) -> Trained:
    """All points, smoothness by evidence, the ends tied to the laws that the data support."""
    if (curve.force is None and len(curve) < MIN_POINTS) or count_values(curve) <= min(plan.k, 5):
        raise ValueError(f"{len(curve)} points are too few to fit: give at least {max(MIN_POINTS, plan.k + 1)}")
    choose = choose_model if plan.loss == "squares" else choose_robust_model
    problem, smoothness = choose(curve, plan.feature, plan.grid, plan.k)
    smooth = plan.k >= SMOOTH_DEGREE  # else there is no curvature to tie
    wall, tail = laws_of_ends(
        problem,
        smoothness,
        wall=smooth and ends.core == "auto",
        tail=smooth and ends.tail in ("auto", "coulomb") and ends.rule(float(curve.r[-1])).radius > curve.r[-1],
        coulomb=ends.tail == "coulomb",
    )
    model = problem.solve(smoothness, [law for law in (wall, tail) if law is not None and law.exact])
    function = _bare(model.network, curve, model.feature, model.x, model.e)
    plan = replace(plan, grid=model.grid, feature=model.feature)
    return Trained(
        function, plan, {}, model=model, wall=wall, tail=tail, tied=smooth and ends.tail in ("auto", "coulomb")
    )


def train(curve: PairCurve, holdout: PairCurve | None, plan: Plan, ends: Ends, report: Report | None = None) -> Trained:
    """A bare KAN for a curve; `holdout` is only looked at. Of the ends, a linear fit ties those that are "auto"."""
    if plan.linear:
        return train_linear(curve, plan, ends)
    assert plan.grid is not None
    trainer = TRAINERS[plan.optimizer]
    needed = _count_parameters(plan, plan.grid)
    values = count_values(curve) if trainer.uses_forces else len(curve)
    if values < needed:
        raise ValueError(
            f"{values} training values cannot fix the {needed} parameters of a KAN {plan.width} with "
            f"grid={plan.grid}, k={plan.k}: give more points or a smaller network"
        )
    return trainer.train(curve, holdout, plan, report)


def train_deep(curve: PairCurve, holdout: PairCurve | None, plan: Plan, report: Report | None) -> Trained:
    """Levenberg-Marquardt, taught by a single edge (module `deep`)."""
    assert plan.grid is not None
    assert plan.feature is not None
    reduction, targets = taught(curve, plan.feature)
    unit = reduction.e.scale
    # The bar shows eV: the reduced error times the unit of energy.
    scaled = None if report is None else lambda n, loss: report(n, loss * unit)
    network, loss, interrupted = fit_deep(plan.width, plan.grid, plan.k, targets, plan.seed, plan.steps, scaled)
    function = _bare(network, curve, plan.feature, reduction.x, reduction.e)
    return Trained(function, plan, {"train": loss * unit}, interrupted)


def train_by_pykan(curve: PairCurve, holdout: PairCurve | None, plan: Plan, report: Report | None) -> Trained:
    """pykan's own LBFGS on the energies as they are."""
    assert plan.grid is not None
    assert plan.feature is not None
    model = pykan.new_model(plan.width, plan.grid, plan.k, plan.seed)
    of_r = get_feature(plan.feature).of_r
    columns = [tuple(torch.from_numpy(a)[:, None] for a in (c.r, c.energy)) for c in (curve, holdout or curve)]
    points, test = ((of_r(r), energy) for r, energy in columns)
    history = pykan.train(model, points, test, plan.steps, report)
    return Trained(_bare(pykan.from_pykan(model), curve, plan.feature, Affine(), Affine()), plan, history)


def _bare(network: KANNetwork, curve: PairCurve, feature: str, x: Affine, e: Affine) -> PairFunction:
    domain = (float(curve.r[0]), float(curve.r[-1]))
    return PairFunction(network, domain, Ends().rule(domain[1]), feature, x, e)


@dataclass(frozen=True)
class Trainer:
    """A way of training, and its defaults for what the user leaves out."""

    train: Callable[[PairCurve, PairCurve | None, Plan, Report | None], Trained]
    width: tuple[int, ...]
    grid: int
    k: int
    feature: str
    steps: int
    #: How often `steps` are taken.
    starts: int
    uses_forces: bool
    #: Whether a KAN of one edge is solved for instead.
    solves_single_edges: bool


#: By the name that `optimizer=` takes.
TRAINERS = {
    "least-squares": Trainer(train_deep, (1, 1), 5, 5, DEFAULT_FEATURE, EVALUATIONS, STARTS, True, True),
    "pykan": Trainer(train_by_pykan, (1, 2, 1), 3, 3, "r", PYKAN_STEPS, 1, False, False),
}
