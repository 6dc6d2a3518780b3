"""What ``ase-kan bench`` runs, in a process of its own: atoms, an engine, and its molecular dynamics.

The liquid is that of LAMMPS's own benchmark (rho* = 0.8442, T* = 1.44 at the start, cutoff 2.5, time step 0.005, NVE)
with epsilon, sigma and mass 1; the KAN is fitted to it. The metal is the crystal of a published embedded-atom potential
at 300 K, time step 1 fs, NVE; every engine has the same file. ASE's calculators run in ASE's VelocityVerlet; LAMMPS,
OpenMM and asap3 in their own loops, ase_kan's "dynamics" in that of `ase_kan.dynamics`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.cluster import Icosahedron, Octahedron
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_kan.exports.extras import optional
from ase_kan.potentials.files import is_setfl

CUTOFF, TIMESTEP, TEMPERATURE, DENSITY = 2.5, 0.005, 1.44, 0.8442
METAL_TEMPERATURE, METAL_TIMESTEP = 300.0, 1 * units.fs
#: Clusters of least energy: an icosahedron and a truncated octahedron.
CLUSTERS: dict[int, Callable[[], Atoms]] = {
    13: lambda: Icosahedron("Ar", noshells=2, latticeconstant=1.58),
    38: lambda: Octahedron("Ar", length=4, cutoff=1, latticeconstant=1.55),
}


def lennard_jones_potential() -> Any:
    """A KAN of the Lennard-Jones potential with a smooth end."""
    from ase_kan.data.curve import PairCurve
    from ase_kan.fit import fit

    curve = PairCurve.from_function(lambda r: 4 * (r**-12.0 - r**-6.0), r_min=0.8, r_max=2.6, seed=None)
    return fit(curve, cutoff=CUTOFF).potential


def liquid(n: int) -> Atoms:
    """The benchmark's atoms: a cluster of 13 or 38, or a periodic fcc cube, at rest as a whole."""
    if n in CLUSTERS:
        atoms: Atoms = CLUSTERS[n]()
        atoms.center(vacuum=2 * CUTOFF)  # asap3 wants a cell
        temperature = 0.1  # stays together
    else:
        cells = max(1, round((n / 4) ** (1 / 3)))
        atoms = bulk("Ar", "fcc", a=(4 / DENSITY) ** (1 / 3), cubic=True) * (cells, cells, cells)
        temperature = TEMPERATURE
    atoms.set_masses(np.ones(len(atoms)))
    atoms.set_momenta(np.random.default_rng(0).normal(0, np.sqrt(temperature), (len(atoms), 3)))
    Stationary(atoms)
    return atoms


def stepper(name: str, threads: int, n: int, potential: str) -> tuple[int, Callable[[int], None]]:
    """The number of atoms, and what runs so many steps; of a metal if `potential` is a published one."""
    is_metal = is_setfl(potential)
    if name.startswith("lammps"):
        return _lammps_metal(name, n, potential) if is_metal else _lammps(name, n, potential)
    if name == "openmm":
        return _openmm(threads, n)
    atoms = metal(n, potential) if is_metal else liquid(n)
    loop: Any = VelocityVerlet
    if name in ("dynamics", "compiled", "autograd"):
        from ase_kan import dynamics
        from ase_kan.calculator import KANCalculator

        loop = dynamics.VelocityVerlet if name == "dynamics" else loop
        engine = "compiled" if name == "dynamics" else name
        atoms.calc = KANCalculator(potential, engine=engine, threads=threads, on_extrapolation="ignore")
    elif name == "ase":
        from ase.calculators.lj import LennardJones

        atoms.calc = LennardJones(epsilon=1.0, sigma=1.0, rc=CUTOFF)
    elif name == "asap3":
        atoms.calc = optional("asap3", "bench").LennardJones([18], [1.0], [1.0], rCut=CUTOFF)
        loop = optional("asap3.md.verlet", "bench").VelocityVerlet
    else:
        pairs = optional("matscipy.calculators.pair_potential", "bench")
        atoms.calc = pairs.PairPotential({(18, 18): pairs.LennardJonesCut(1.0, 1.0, CUTOFF)})
    return len(atoms), loop(atoms, METAL_TIMESTEP if is_metal else TIMESTEP).run


def _openmm(threads: int, n: int) -> tuple[int, Callable[[int], None]]:
    """Its own Lennard-Jones force on the CPU platform, in single precision, and its own loop.

    With nm, amu and kJ/mol as units of length, mass and energy, that of time is ps.
    """
    mm: Any = optional("openmm", "openmm")
    atoms = liquid(n)
    system, force = mm.System(), mm.NonbondedForce()
    for _ in atoms:
        system.addParticle(1.0)
        force.addParticle(0.0, 1.0, 1.0)
    force.setCutoffDistance(CUTOFF)
    force.setUseDispersionCorrection(False)
    force.setNonbondedMethod(force.CutoffNonPeriodic if n in CLUSTERS else force.CutoffPeriodic)
    system.addForce(force)
    system.setDefaultPeriodicBoxVectors(*atoms.cell.array.tolist())
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, integrator := mm.VerletIntegrator(TIMESTEP), platform, {"Threads": str(threads)})
    context.setPositions(atoms.positions)
    context.setVelocities(atoms.get_velocities())

    def run(steps: int) -> None:
        integrator.step(steps)
        context.getState(getEnergy=True)  # waits for all of them

    return len(atoms), run


def _lammps(name: str, n: int, potential: str) -> tuple[int, Callable[[int], None]]:
    """Pair style lj/cut, or with "-opt" lj/cut/opt; with "-bench" the neighbor settings of LAMMPS's own benchmark,
    in.lj, which builds the list every 20 steps whether atoms have moved or not, else LAMMPS's default ones.
    """
    lmp = optional("lammps", "lammps").lammps(cmdargs=["-log", "none", "-screen", "none"])
    atoms = liquid(n)
    side = atoms.cell.lengths()[0]
    lmp.commands_string(f"""units lj
        atom_style atomic
        lattice fcc {DENSITY}
        boundary {"s s s" if n in CLUSTERS else "p p p"}
        region box block 0 {side:.17g} 0 {side:.17g} 0 {side:.17g} units box
        create_box 1 box
    """)
    if n in CLUSTERS:
        lmp.create_atoms(n, list(range(1, n + 1)), [1] * n, atoms.positions.ravel().tolist())
    else:
        lmp.command("create_atoms 1 box")
    lmp.command("mass 1 1.0")
    if name == "lammps-table":
        from ase_kan.exports.lammps import write_table
        from ase_kan.potentials.potential import KANPotential

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lj.table"
            _, commands = write_table(KANPotential.load(potential), path, units="lj")
            for command in commands:
                lmp.command(command.replace("lj.table", str(path)))
    else:
        lmp.commands_string(
            f"pair_style lj/cut{'/opt' if '-opt' in name else ''} {CUTOFF}\npair_coeff 1 1 1.0 1.0 {CUTOFF}"
        )
    lmp.commands_string(f"""velocity all create {0.1 if n in CLUSTERS else TEMPERATURE} 87287 loop geom
        neighbor 0.3 bin
        neigh_modify delay 0 {"every 20 check no" if name.endswith("-bench") else "every 1 check yes"}
        fix 1 all nve
        timestep {TIMESTEP}
        thermo 1000000
    """)
    return lmp.get_natoms(), lambda steps: lmp.command(f"run {steps} post no")


def metal(n: int, potential: str) -> Atoms:
    """A periodic cube of the first element of a published potential, in ASE's structure, at rest as a whole.

    Its velocities are those of twice the temperature, half of which goes into the crystal.
    """
    from ase_kan.potentials.setfl import from_setfl

    element = from_setfl(potential).elements[0]
    cell = bulk(element, cubic=True)
    cells = max(1, round((n / len(cell)) ** (1 / 3)))
    atoms: Atoms = cell * (cells, cells, cells)
    thermalize_momenta(atoms, temperature_K=2 * METAL_TEMPERATURE, rng=np.random.default_rng(0))
    Stationary(atoms)
    return atoms


def _lammps_metal(name: str, n: int, potential: str) -> tuple[int, Callable[[int], None]]:
    """With the neighbor settings of LAMMPS's own benchmark of metals, in.eam."""
    atoms = metal(n, potential)
    style = "eam/fs" if potential.endswith(".fs") else "eam/alloy"
    side = atoms.cell.lengths()[0]
    lmp = optional("lammps", "lammps").lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(f"""units metal
        atom_style atomic
        boundary p p p
        region box block 0 {side:.17g} 0 {side:.17g} 0 {side:.17g}
        create_box 1 box
    """)
    lmp.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), [1] * len(atoms), atoms.positions.ravel().tolist())
    lmp.commands_string(f"""pair_style {style}{"/opt" if name == "lammps-opt" else ""}
        pair_coeff * * {potential} {atoms.symbols[0]}
        mass 1 {atoms.get_masses()[0]:.17g}
        velocity all create {2 * METAL_TEMPERATURE} 87287 loop geom
        neighbor 1.0 bin
        neigh_modify every 1 delay 5 check yes
        fix 1 all nve
        timestep {METAL_TIMESTEP / units.fs / 1000:.17g}
        thermo 1000000
    """)
    return lmp.get_natoms(), lambda steps: lmp.command(f"run {steps} post no")
