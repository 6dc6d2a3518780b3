"""What a fit gives, and the bar it shows while it works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from ase_kan.data.curve import PairCurve
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Array, Report


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """What a fit gives.

    Attributes
    ----------
    potential : KANPotential
    history : dict of str to ndarray
        ``"train"`` and ``"holdout"``: energy RMSE in `energy_unit` after every training step (one for a direct solve;
        Levenberg-Marquardt counts the best error so far, slopes included, and tests hold-out at the end).
    energy_rmse, force_rmse : float
        Root-mean-square errors on hold-out data. For a curve: of the potential as it will run, cutoff and
        all, in eV and eV/Angstrom. For structures: of the energy per atom and of the force components.
        NaN where nothing was held out or no forces are known.
    train_energy_rmse, train_force_rmse : float
        The same on the training data.
    report : str
        More to tell a person, lines of text.
    energy_unit : str
        Unit of the energy errors: ``"eV"`` for a curve, ``"eV/atom"`` for structures.
    curve : PairCurve, optional
        The data, of one curve.
    """

    potential: KANPotential
    history: dict[str, Array]
    energy_rmse: float
    force_rmse: float
    train_energy_rmse: float
    train_force_rmse: float
    report: str = ""
    energy_unit: str = "eV"
    curve: PairCurve | None = None

    def plot(self) -> Any:
        """The fitted functions as a figure, with the data of a curve; notebooks show it."""
        # Figures come last in the flow of data: they are imported when someone asks.
        return import_module("ase_kan.plots.results").plot_result(self)

    def __repr__(self) -> str:
        def row(name: str, energy: float, force: float) -> str:
            if np.isnan(energy) and np.isnan(force):
                return f"{name:9s} nothing"
            forces = "no forces in the data" if np.isnan(force) else f"force RMSE {force:9.2e} eV/A"
            energies = "no energies" if np.isnan(energy) else f"energy RMSE {energy:9.2e} {self.energy_unit}"
            return f"{name:9s} {energies}   {forces}"

        lines = [
            row("train", self.train_energy_rmse, self.train_force_rmse),
            row("hold-out", self.energy_rmse, self.force_rmse),
        ]
        return "\n".join([*lines, self.report] if self.report else lines)


@contextmanager
def training_bar(show: bool, steps: int | None, unit: str = "eV") -> Iterator[Report | None]:
    """A bar with loss and time left on stderr; gives ``report(step, loss)``, or None if nothing is shown.

    Without a number of steps the bar only counts.
    """
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
    # Notebooks show it as a terminal does: rich's own way needs more packages.
    console = Console(stderr=True, force_jupyter=False)
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("fit", total=steps, loss="")
        yield lambda step, loss: bar.update(
            task, completed=step, loss=f"RMSE {loss:.2e} {unit}" if loss == loss else ""
        )
