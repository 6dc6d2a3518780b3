"""Kolmogorov-Arnold pair potentials for ASE: fit, attach, run, and see where they can be trusted.

The names below are imported on first use, so that ``import ase_kan`` stays as cheap as ``import ase``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ase_kan.version import __version__

if TYPE_CHECKING:
    from ase_kan.analysis.extrapolation import analyze as analyze
    from ase_kan.analysis.law import Law as Law
    from ase_kan.analysis.law import discover as discover
    from ase_kan.calculator import KANCalculator as KANCalculator
    from ase_kan.data.curve import PairCurve as PairCurve
    from ase_kan.data.structures import Structures as Structures
    from ase_kan.engines.batch import evaluate_batch as evaluate_batch
    from ase_kan.engines.guard import ExtrapolationError as ExtrapolationError
    from ase_kan.engines.guard import ExtrapolationWarning as ExtrapolationWarning
    from ase_kan.fit import fit as fit
    from ase_kan.fit.result import FitResult as FitResult
    from ase_kan.potentials.eam import KANEAM as KANEAM
    from ase_kan.potentials.law import LawPotential as LawPotential
    from ase_kan.potentials.potential import KANPotential as KANPotential
    from ase_kan.potentials.protocol import EmbeddedAtomPotential as EmbeddedAtomPotential
    from ase_kan.potentials.protocol import PairPotential as PairPotential
    from ase_kan.potentials.setfl import from_setfl as from_setfl
    from ase_kan.potentials.tables import tabulate as tabulate

_HOME = {
    "PairCurve": "data.curve",
    "Structures": "data.structures",
    "fit": "fit",
    "FitResult": "fit.result",
    "KANPotential": "potentials.potential",
    "KANEAM": "potentials.eam",
    "PairPotential": "potentials.protocol",
    "EmbeddedAtomPotential": "potentials.protocol",
    "from_setfl": "potentials.setfl",
    "tabulate": "potentials.tables",
    "KANCalculator": "calculator",
    "evaluate_batch": "engines.batch",
    "ExtrapolationError": "engines.guard",
    "ExtrapolationWarning": "engines.guard",
    "analyze": "analysis.extrapolation",
    "discover": "analysis.law",
    "Law": "analysis.law",
    "LawPotential": "potentials.law",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ase_kan' has no attribute {name!r}")
    value = getattr(import_module(f"ase_kan.{_HOME[name]}"), name)
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """The package's own class: ``ase_kan.fit`` is the function, also once the folder of that name has been imported."""

    def __setattr__(self, name: str, value: object) -> None:
        # Python binds a sub-package to its name in the package after importing it.
        super().__setattr__(name, value.fit if name == "fit" and isinstance(value, ModuleType) else value)


sys.modules[__name__].__class__ = _Package
