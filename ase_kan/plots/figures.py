"""What all figures share: colors, the shading of the data, and how they are saved."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import figure as mpl

from ase_kan.data.files import replacing
from ase_kan.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


#: Energies (eV) of an array of distances (Angstrom).
EnergyFunction = Callable[[Array], Array]

KAN_COLOR, TRUTH_COLOR, POINT_COLOR, RANGE_COLOR = "#c1272d", "#222222", "#1f77b4", "#dfe9f3"
TRANSITION_COLOR, BASE_COLOR, CURE_COLOR = "#fdf0d5", "#f0e6ef", "#2a7f3f"


class Figure(mpl.Figure):
    """A figure that notebooks show as the value of a cell, whether they know matplotlib or not."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def save(figure: mpl.Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure (PNG, PDF, ... by the suffix) atomically; `ValueError` lists the suffixes."""
    known = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in known:
        raise ValueError(f"{path} has no suffix of a figure: choose one of {', '.join(known)}")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def shade_domain(axes: Axes, r_min: float, r_max: float) -> None:
    """Shade the range that the data covered."""
    axes.axvspan(r_min, r_max, color=RANGE_COLOR, label="training range", zorder=0)
