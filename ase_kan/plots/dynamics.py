"""Figures of trajectories."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.units import kB

from ase_kan.plots.figures import KAN_COLOR, POINT_COLOR, TRUTH_COLOR, Figure
from ase_kan.types import Array


def plot_md_energy(runs: Mapping[str, tuple[Array, Array]], natoms: int, kelvin: float | None = None) -> Figure:
    """Total energy per atom minus its mean against time: ``{label: (time in fs, total energy in eV)}``.

    The drifts are in the legend, and with a temperature what the thermal energy kT is, for comparison.
    """
    figure = Figure(figsize=(6.8, 3.8), layout="constrained")
    axes = figure.subplots()
    # The first of several is broad: runs that agree lie on each other.
    styles = ((KAN_COLOR, 2.8 if len(runs) > 1 else 0.9), (TRUTH_COLOR, 0.9), (POINT_COLOR, 0.9))
    for (label, (time, energy)), (color, width) in zip(runs.items(), styles, strict=False):
        drift = np.polyfit(time, energy / natoms, 1)[0] * 1e3 if len(time) > 1 else 0.0
        told = f"{label}: drift {drift:.1e} eV per atom and ps"
        axes.plot(time, (energy - energy.mean()) / natoms * 1e6, lw=width, color=color, label=told)
    axes.set(xlabel="time (fs)", ylabel="total energy minus mean (µeV per atom)")
    thermal = "" if kelvin is None else f"; kT is {kB * kelvin * 1e3:.3g} meV"
    axes.set_title(f"Molecular dynamics at constant energy{thermal}")
    axes.legend(fontsize=9)
    return figure
