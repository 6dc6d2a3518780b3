"""Figures of trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from ase_kan.types import Array

if TYPE_CHECKING:
    pass


from ase_kan.plots.figures import KAN_COLOR, POINT_COLOR, TRUTH_COLOR


def plot_md_energy(runs: Mapping[str, tuple[Array, Array]], natoms: int) -> Figure:
    """Change of the total energy per atom against time: ``{label: (time in fs, total energy in eV)}``."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    # The first of several is broad: runs that agree lie on each other.
    styles = ((KAN_COLOR, 2.8 if len(runs) > 1 else 0.9), (TRUTH_COLOR, 0.9), (POINT_COLOR, 0.9))
    for (label, (time, energy)), (color, width) in zip(runs.items(), styles, strict=False):
        axes.plot(time, (energy - energy[0]) / natoms * 1e6, lw=width, color=color, label=label)
    axes.set(xlabel="time (fs)", ylabel="change of total energy (µeV per atom)", title="NVE molecular dynamics")
    axes.legend()
    return figure
