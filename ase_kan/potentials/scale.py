"""The scale of a pair energy: what "small" means for errors of tables and exports, and where a tail has died out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ase_kan.types import Array

if TYPE_CHECKING:
    from torch import Tensor

#: A well shallower than this part of the largest energy in the data is rounding, or an error of the fit.
NEGLIGIBLE = 1e-6
SAMPLES = 400


class Scale(NamedTuple):
    """An energy (eV), and that over the distance where it is found (eV/Angstrom)."""

    energy: float
    force: float


def energy_scale(phi: Callable[[Tensor], Tensor], low: float, high: float) -> Scale:
    """The depth of the well in the data; where there is none, the median energy there.

    Parameters
    ----------
    phi : callable
        Pair energy (eV) of a float64 tensor of distances (Angstrom).
    low, high : float
        The range of the data, Angstrom. Energies are looked at every 1/400 of it.

    Returns
    -------
    Scale
        The median is that of absolute energies, without those below 1e-6 of the largest: data may well end in zeros.
        An energy that is zero everywhere has the scale 1 eV.
    """
    import torch

    r: Array = np.linspace(max(low, 1e-3 * high), high, SAMPLES)
    with torch.no_grad():
        energy: Array = phi(torch.from_numpy(r)).numpy()
    at = typical(energy)
    if at is None:
        return Scale(1.0, 1.0 / float(r[-1]))
    size = float(abs(energy[at]))
    return Scale(size, size / float(r[at]))


def well_of(phi: Callable[[Tensor], Tensor], low: float, high: float) -> tuple[float, float] | None:
    """Distance (Angstrom) and depth (eV) of the deepest minimum between two distances; None where there is none."""
    import torch
    from scipy.optimize import minimize_scalar

    def energy(r: Array) -> Array:
        with torch.no_grad():
            found: Array = phi(torch.from_numpy(r)).numpy()
        return found

    r: Array = np.linspace(low, high, SAMPLES)
    at = int(energy(r).argmin())
    if not 0 < at < SAMPLES - 1:
        return None
    found = minimize_scalar(
        lambda x: float(energy(np.array([x]))[0]),
        bounds=(r[at - 1], r[at + 1]),
        method="bounded",
        options={"xatol": 1e-9 * high},
    )
    return (float(found.x), -float(found.fun)) if found.fun < 0 else None


def typical(energy: Array) -> int | None:
    """Which of some energies tells their scale: the deepest, else the median by size; None where all are zero."""
    size = np.abs(energy)
    at = int(energy.argmin())
    if -energy[at] > NEGLIGIBLE * size.max():
        return at
    ranked = [int(n) for n in size.argsort() if size[n] > NEGLIGIBLE * size.max()]
    return ranked[len(ranked) // 2] if ranked else None
