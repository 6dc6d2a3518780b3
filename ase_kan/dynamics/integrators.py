"""Velocity Verlet, Langevin and Bussi dynamics, with the arguments of ASE's classes."""

from __future__ import annotations

from ase_kan.dynamics.base import KernelDynamics


class VelocityVerlet(KernelDynamics):
    """Constant energy, by velocity Verlet; the trajectory is that of `ase.md.verlet.VelocityVerlet`.

    Parameters
    ----------
    atoms : Atoms
        With a `KANCalculator` and its compiled engine, and no constraints but `FixAtoms` or `FixCom`.
    timestep : float
        ASE's units of time (`ase.units.fs`).
    trajectory, logfile, loginterval, append_trajectory
        As in ASE.
    """

    elsewhere = "ase.md.verlet.VelocityVerlet"
