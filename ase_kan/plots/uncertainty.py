"""Figures of uncertainties: whether they hold what they promise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf

from ase_kan.plots.figures import KAN_COLOR, POINT_COLOR, Figure


def plot_calibration(errors: ArrayLike, deviations: ArrayLike, what: str = "energies") -> Figure:
    """Errors against the standard deviations that were predicted for them.

    Parameters
    ----------
    errors, deviations : array_like, any shape, the same
        Predicted minus true values, and their standard deviations; those that are infinite are left out.
    what : str
        For the labels.

    Raises
    ------
    ValueError
        If the shapes differ, or no deviation is positive and finite.
    """
    error, std = np.asarray(errors, dtype=float), np.asarray(deviations, dtype=float)
    if error.shape != std.shape:
        raise ValueError(f"errors and deviations must have the same shape, got {error.shape} and {std.shape}")
    known = np.isfinite(std) & (std > 0) & np.isfinite(error)
    if not known.any():
        raise ValueError("there is no error with a positive, finite standard deviation")
    error, std = np.abs(error[known]), std[known]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    times = np.linspace(0, 4, 200)
    found = np.searchsorted(np.sort(error / std), times, side="right") / len(error)
    left.plot(times, 100 * erf(times / np.sqrt(2)), color="gray", lw=1, label="normal distribution")
    left.plot(times, 100 * found, color=KAN_COLOR, label=f"{len(error)} {what}")
    left.set(xlabel="standard deviations", ylabel="part of the errors within (%)", title="Calibration", ylim=(0, 101))
    left.legend(loc="lower right")
    right.loglog(std, np.maximum(error, 1e-3 * std), ".", ms=4, color=POINT_COLOR, alpha=0.6)
    ends = np.array([std.min(), std.max()])
    for factor, style in ((1, "-"), (2, "--")):
        label = f"{factor} standard deviation{'s' * (factor > 1)}"
        right.loglog(ends, factor * ends, style, color=KAN_COLOR, lw=1, label=label)
    right.set(xlabel="predicted standard deviation", ylabel="size of the error", title="Errors and what was predicted")
    right.legend(loc="upper left")
    return figure
