"""The name ``kan`` in ASE's own lists of calculators.

The entry point of the group ``ase.plugins`` is this module. That collection is experimental in ASE 3.29 (``ase._4``):
without it there is only `register`.
"""

from __future__ import annotations

try:
    from ase._4.plugins.plugin import CalculatorPlugin
except ImportError:
    pass
else:
    __ase_plugins__ = {CalculatorPlugin("kan", implementation="ase_kan.calculator.KANCalculator")}


def register() -> None:
    """Let ASE's `get_calculator_class`, and so its ``ase run``, know the calculator ``kan``; twice is no harm."""
    from ase.calculators.calculator import external_calculators, register_calculator_class

    from ase_kan.calculator import KANCalculator

    if "kan" not in external_calculators:
        register_calculator_class("kan", KANCalculator)
