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
    for (label, (time, energy)), color in zip(runs.items(), (KAN_COLOR, TRUTH_COLOR, POINT_COLOR), strict=False):
        axes.plot(time, (energy - energy[0]) / natoms * 1e6, lw=0.9, color=color, label=label)
    axes.set(xlabel="time (fs)", ylabel="change of total energy (µeV per atom)", title="NVE molecular dynamics")
    axes.legend()
    return figure
