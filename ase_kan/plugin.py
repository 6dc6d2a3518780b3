"""Entry point of the group ``ase.plugins``: lists the calculator as ``kan`` in ASE's plugin collection.

The collection is experimental in ASE 3.29 (``ase._4``): without it this module defines nothing.
"""

try:
    from ase._4.plugins.plugin import CalculatorPlugin
except ImportError:
    pass
else:
    __ase_plugins__ = {CalculatorPlugin("kan", implementation="ase_kan.calculator.KANCalculator")}
