"""Molecular dynamics at the speed of the compiled engine: ASE's interface, and a loop without Python."""

from ase_kan.dynamics.integrators import Bussi, Langevin, VelocityVerlet

__all__ = ["Bussi", "Langevin", "VelocityVerlet"]
