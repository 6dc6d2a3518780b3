"""Kolmogorov-Arnold pair potentials for ASE: fit, attach, run, and see where they can be trusted.

The names below are imported on first use, so that ``import ase_kan`` stays as cheap as ``import ase``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase_kan.calculator import KANCalculator as KANCalculator
    from ase_kan.data.curve import PairCurve as PairCurve
    from ase_kan.fit import fit as fit
    from ase_kan.potentials.potential import KANPotential as KANPotential
    from ase_kan.potentials.potential import PairPotential as PairPotential
    from ase_kan.fit.result import FitResult as FitResult
    from ase_kan.data.structures import Structures as Structures

__version__ = "0.1.0"

_HOME = {
    "PairCurve": "data",
    "fit": "fitting",
    "FitResult": "result",
    "Structures": "structures",
    "KANPotential": "potential",
    "PairPotential": "potential",
    "KANCalculator": "calculator",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ase_kan' has no attribute {name!r}")
    value = getattr(import_module(f"ase_kan.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
