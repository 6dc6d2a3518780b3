"""Figure of the distances that the data of a potential have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ase_kan.plots.figures import KAN_COLOR, Figure
from ase_kan.potentials.coverage import Coverage


def plot_coverage(known: Mapping[str, Coverage]) -> Figure:
    """Histograms by name; cells with hardly anything between others are gaps, told by `inspect`."""
    figure = Figure(figsize=(7.2, 1.0 + 1.7 * max(1, len(known))), layout="constrained")
    for axes, (name, coverage) in zip(
        figure.subplots(max(1, len(known)), 1, squeeze=False)[:, 0], known.items(), strict=False
    ):
        axes.stairs(coverage.counts, coverage.edges, fill=True, color=KAN_COLOR, alpha=0.6)
        axes.set(ylabel="number", xlabel=f"{name}: distances in the data (Å)", xlim=(coverage.edges[0], None))
        axes.set_ylim(0, 1.1 * max(np.max(coverage.counts), 1))
    return figure
