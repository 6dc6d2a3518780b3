"""The figure of a fit, whatever was fitted."""

from __future__ import annotations

from ase_kan.fit.result import FitResult
from ase_kan.plots.eam import plot_functions
from ase_kan.plots.figures import Figure
from ase_kan.plots.fit import plot_fit, plot_pairs
from ase_kan.potentials.protocol import EmbeddedAtomPotential


def plot_result(result: FitResult) -> Figure:
    """A curve with its fit, or all functions of a potential that was fitted to several curves or to structures."""
    if isinstance(result.potential, EmbeddedAtomPotential):
        return plot_functions(result.potential)
    if result.curve is not None:
        return plot_fit(result.potential, result.curve)
    return plot_pairs(result.potential, result.potential.pairs)
