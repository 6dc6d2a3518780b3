"""``ase-kan relax`` and ``ase-kan md``: relaxation and molecular dynamics in the compiled engine, without Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase_kan.cli.arguments import UsageError, count, length, number, seed
from ase_kan.data.files import check_output, replacing

if TYPE_CHECKING:
    from ase import Atoms

#: Formats that are written, by suffix.
FORMATS = {".xyz": "extxyz", ".extxyz": "extxyz", ".traj": "traj"}
#: Degrees Kelvin, from 0 on.
kelvin = number(float, 0, or_low=True)


def add(commands: Any) -> None:
    """The commands and their arguments."""
    relax = commands.add_parser("relax", help="relax structures to where their forces are small")
    _add_files(relax, "relaxed structures, .xyz, .extxyz or .traj")
    relax.add_argument("--fmax", type=length, default=0.01, help="largest force left, eV/A (default: %(default)s)")
    relax.add_argument("--steps", type=count, default=10_000, help="most for each structure (default: %(default)s)")
    relax.set_defaults(command=run_relax)

    md = commands.add_parser("md", help="molecular dynamics of a structure, at constant energy or temperature")
    _add_files(md, "trajectory, .xyz, .extxyz or .traj")
    md.add_argument("--steps", type=count, required=True)
    md.add_argument("--timestep", type=length, default=1.0, help="fs (default: %(default)s)")
    md.add_argument("--every", type=count, default=100, help="steps between two frames (default: %(default)s)")
    md.add_argument("--ensemble", choices=("nve", "langevin", "bussi"), default="nve", help="default: %(default)s")
    md.add_argument("--temperature", type=kelvin, help="K; of the thermostat, and of velocities if the file has none")
    md.add_argument("--time-constant", type=length, default=100.0, help="of the thermostat, fs (default: %(default)s)")
    md.add_argument("--seed", type=seed, default=0, help="of random numbers (default: %(default)s)")
    md.set_defaults(command=run_md)


def _add_files(parser: argparse.ArgumentParser, output: str) -> None:
    parser.add_argument("structures", type=Path, help="a file that ASE reads")
    parser.add_argument(
        "--potential", type=Path, required=True, help="a .kan file, or a published .eam.alloy or .fs file"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help=output)
    parser.add_argument("--threads", type=count, help="default: chosen by the size of the structures")


def run_relax(args: argparse.Namespace) -> None:
    """``ase-kan relax``."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    from ase_kan.dynamics import relax_many

    kind = _output_format(args)
    structures = _read(args)
    found = relax_many(structures, args.fmax, args.steps, threads=args.threads, progress=len(structures) > 1)
    for atoms in structures:
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    with replacing(args.output) as temporary:
        write(temporary, structures, format=kind)
    for number_, relaxed in enumerate(found):
        left = "relaxed" if relaxed.converged else f"NOT relaxed to {args.fmax:g} eV/A"
        print(f"structure {number_}: {left} after {relaxed.steps} steps, energy {relaxed.energy:.6f} eV")
    print(f"wrote {args.output}")
    if not all(relaxed.converged for relaxed in found):
        raise ValueError(f"some structures are not relaxed to {args.fmax:g} eV/A: give more --steps")


def run_md(args: argparse.Namespace) -> None:
    """``ase-kan md``."""
    import numpy as np
    from ase import units
    from ase.io import Trajectory, write
    from ase.md.velocitydistribution import Stationary, thermalize_momenta

    from ase_kan.dynamics import Bussi, Langevin, VelocityVerlet

    if args.ensemble != "nve" and args.temperature is None:
        raise UsageError(f"--ensemble {args.ensemble} needs a --temperature")
    kind = _output_format(args)
    structures = _read(args)
    if len(structures) > 1:
        raise ValueError(f"{args.structures} has {len(structures)} structures, and md moves one: give a file of one")
    atoms, rng = structures[0], np.random.default_rng(args.seed)
    if not atoms.has("momenta"):
        if args.temperature is None:
            raise UsageError(f"{args.structures} has no velocities: give a --temperature")
        thermalize_momenta(atoms, args.temperature, rng=rng)
        Stationary(atoms)
    step, tau = args.timestep * units.fs, args.time_constant * units.fs
    run: VelocityVerlet | Langevin | Bussi
    if args.ensemble == "langevin":
        run = Langevin(atoms, step, temperature_K=args.temperature, friction=1 / tau, rng=rng)
    elif args.ensemble == "bussi":
        run = Bussi(atoms, step, args.temperature, tau, rng=rng)
    else:
        run = VelocityVerlet(atoms, step)
    print(f"{'time (ps)':>10} {'energy (eV)':>16} {'per atom':>12} {'T (K)':>9}")

    def tell() -> None:
        # A frame is written as soon as it is there, so that what a long run has found is not lost with it.
        if kind == "traj":
            with Trajectory(args.output, "a" if run.nsteps else "w") as trajectory:
                trajectory.write(atoms)
        else:
            write(args.output, atoms, format=kind, append=run.nsteps > 0)
        energy = atoms.get_total_energy()
        time = run.get_time() / (1000 * units.fs)
        print(f"{time:>10.3f} {energy:>16.6f} {energy / len(atoms):>12.6f} {atoms.get_temperature():>9.2f}")

    run.attach(tell, args.every)
    run.run(args.steps)
    print(f"wrote {args.output}")


def _output_format(args: argparse.Namespace) -> str:
    """ASE's name of it, before any work is done."""
    if args.output.suffix not in FORMATS:
        raise UsageError(f"{args.output} must end with {', '.join(FORMATS)}")
    check_output(args.output, "file of structures", args.structures, args.potential)
    return FORMATS[args.output.suffix]


def _read(args: argparse.Namespace) -> list[Atoms]:
    """The structures of the file, with one calculator for all."""
    from ase.io import read

    from ase_kan.calculator import KANCalculator

    if not args.structures.exists():
        raise FileNotFoundError(f"no file of structures at {args.structures}")
    try:
        structures: list[Atoms] = list(read(args.structures, ":"))
    except Exception as error:  # whatever ASE's many readers raise
        raise ValueError(f"{args.structures}: ASE cannot read it: {type(error).__name__}: {error}") from error
    if not structures or not all(len(atoms) for atoms in structures):
        raise ValueError(f"{args.structures} has no atoms")
    calculator = KANCalculator(args.potential, engine="compiled", threads=args.threads)
    for atoms in structures:
        atoms.calc = calculator
    return structures
