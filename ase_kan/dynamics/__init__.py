"""Molecular dynamics and relaxation at the speed of the compiled engine: ASE's interface, and a loop without Python."""

from ase_kan.dynamics.integrators import Bussi, Langevin, VelocityVerlet
from ase_kan.dynamics.relax import FIRE, LBFGS, Relaxed, relax_many
from ase_kan.dynamics.restart import load, save

__all__ = ["FIRE", "LBFGS", "Bussi", "Langevin", "Relaxed", "VelocityVerlet", "load", "relax_many", "save"]
