"""Read the law: from data or a KAN to a formula with error bars."""

from __future__ import annotations

from ase_kan.analysis.law.find import discover as discover
from ase_kan.analysis.law.functions import discover_functions as discover_functions
from ase_kan.analysis.law.law import Law as Law
