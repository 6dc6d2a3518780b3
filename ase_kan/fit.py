"""Fit a KAN pair potential to a curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ase_kan import pykan
from ase_kan.cutoff import Cutoff
from ase_kan.data import Array, PairCurve
from ase_kan.pair import PairFunction, energy_and_slope
from ase_kan.potential import KANPotential

#: Fresh points that a curve with a source is tested on; evenly spaced, so that the ends count.
HOLDOUT_POINTS = 1000
#: Part of the points set aside where there is no source of fresh ones.
HOLDOUT_FRACTION = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """What a fit gives.

    Attributes
    ----------
    potential : KANPotential
    history : dict of str to ndarray
        ``"train"`` and ``"holdout"``: energy RMSE in eV after every training step.
    energy_rmse, force_rmse : float
        Root-mean-square errors on the hold-out points, of the fitted function before the cutoff is applied,
        in eV and eV/Angstrom. The force error is NaN if no forces are known.
    train_energy_rmse, train_force_rmse : float
        The same on the training points.
    """

    potential: KANPotential
    history: dict[str, Array]
    energy_rmse: float
    force_rmse: float
    train_energy_rmse: float
    train_force_rmse: float

    def __repr__(self) -> str:
        def row(name: str, energy: float, force: float) -> str:
            return f"{name:9s} energy RMSE {energy:9.2e} eV   force RMSE {force:9.2e} eV/A"

        return "\n".join(
            [
                row("train", self.train_energy_rmse, self.train_force_rmse),
                row("hold-out", self.energy_rmse, self.force_rmse),
            ]
        )


def fit(
    curve: PairCurve,
    *,
    width: Sequence[int] = (1, 2, 1),
    grid: int = 3,
    k: int = 3,
    seed: int = 0,
    steps: int = 20,
    cutoff: float | None = None,
    onset: float | None = None,
    smooth: bool = True,
    progress: bool = False,
) -> FitResult:
    """Fit a KAN to the energies of a curve with pykan's own training (LBFGS).

    Parameters
    ----------
    curve : PairCurve
    width : sequence of int
        Nodes per layer, from 1 to 1.
    grid, k : int
        Grid intervals and spline degree of every edge.
    seed : int
        Seed of the initial network and of the hold-out points; the result is deterministic for a seed.
    steps : int
        LBFGS steps, each of up to 20 function evaluations.
    cutoff : float, optional
        Angstrom; default 1.5 times the largest distance in the data.
    onset : float, optional
        Where switching to zero starts; default 0.9 of the cutoff.
    smooth : bool
        True switches between onset and cutoff; False subtracts the energy at the cutoff, as ASE's
        `LennardJones(rc=cutoff, smooth=False)` does.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        If an argument makes no sense, or the curve has fewer points than the network has parameters.

    Notes
    -----
    Global random states, the default dtype and the current directory are left as they were.
    """
    if not isinstance(curve, PairCurve):
        raise TypeError(f"fit takes a PairCurve, got {type(curve).__name__}: use PairCurve(r, energy)")
    _check_architecture(width, grid, k, steps)
    rule = Cutoff.choose(float(curve.r[-1]), cutoff, onset, smooth)
    train, holdout = _split(curve, seed)
    needed = count_parameters(width, grid, k)
    if len(train) < needed:
        raise ValueError(
            f"{len(train)} training points cannot fix the {needed} parameters of a KAN {tuple(width)} with "
            f"grid={grid}, k={k}: give more points or a smaller network"
        )
    model = pykan.new_model(width, grid, k, seed)
    with _bar(progress, steps) as report:
        history = pykan.train(model, _columns(train), _columns(holdout), steps, report)
    network = pykan.from_pykan(model)
    function = PairFunction(network, (float(curve.r[0]), float(curve.r[-1])), rule)
    errors = [*_errors(function, holdout), *_errors(function, train)]
    info = {
        "width": list(width),
        "grid": grid,
        "k": k,
        "seed": seed,
        "points": len(train),
        "energy_rmse": errors[0],
        "force_rmse": None if np.isnan(errors[1]) else errors[1],
    }
    return FitResult(KANPotential({curve.elements: function}, info=info), history, *errors)


def count_parameters(width: Sequence[int], grid: int, k: int) -> int:
    """Independent parameters: spline coefficients and a base weight per edge (the spline's scale duplicates them)."""
    edges = sum(a * b for a, b in pairwise(width))
    return edges * (grid + k + 1)


def _check_architecture(width: Sequence[int], grid: int, k: int, steps: int) -> None:
    if len(width) < 2 or width[0] != 1 or width[-1] != 1 or any(n < 1 for n in width):
        raise ValueError(f"width must go from 1 to 1 through positive numbers, such as (1, 2, 1), got {tuple(width)}")
    for name, value in (("grid", grid), ("k", k), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _split(curve: PairCurve, seed: int) -> tuple[PairCurve, PairCurve]:
    """Training and hold-out points: fresh ones where the curve has a source, else a part of its own."""
    r = curve.r
    if curve.source is not None:
        fresh = np.linspace(r[0], r[-1], HOLDOUT_POINTS)
        return curve, PairCurve(fresh, *curve.source(fresh), curve.elements)
    # The two ends stay in the training set: they are the domain.
    n = max(2, round(HOLDOUT_FRACTION * len(r)))
    held = np.zeros(len(r), dtype=bool)
    held[np.random.default_rng(seed).choice(np.arange(1, len(r) - 1), min(n, len(r) - 2), replace=False)] = True

    def part(mask: Any) -> PairCurve:
        return PairCurve(
            r[mask], curve.energy[mask], None if curve.force is None else curve.force[mask], curve.elements
        )

    return part(~held), part(held)


def _columns(curve: PairCurve) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(curve.r)[:, None], torch.from_numpy(curve.energy)[:, None]


def _errors(function: PairFunction, curve: PairCurve) -> tuple[float, float]:
    energy, slope = energy_and_slope(function.bare, curve.r)
    force = curve.force
    if force is None and curve.source is not None:
        force = curve.source(curve.r)[1]
    force_rmse = float("nan") if force is None else _rms(-slope - force)
    return _rms(energy - curve.energy), force_rmse


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


@contextmanager
def _bar(show: bool, steps: int) -> Iterator[pykan.Report | None]:
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("RMSE {task.fields[loss]:.2e} eV"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=steps, loss=float("nan"))
        yield lambda step, loss: bar.update(task, completed=step, loss=loss)
