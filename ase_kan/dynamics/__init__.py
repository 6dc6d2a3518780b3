"""Molecular dynamics at the speed of the compiled engine: ASE's interface, and a loop without Python."""

from ase_kan.dynamics.integrators import VelocityVerlet

__all__ = ["VelocityVerlet"]
