"""``ase-kan export``: files of a potential for other programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ase_kan.cli.arguments import UsageError, length
from ase_kan.data.files import check_output, replacing
from ase_kan.exports import EXPORTERS

#: One femtosecond in the units of LAMMPS.
TIMESTEPS = {"metal": 0.001, "real": 1.0}


def add(commands: Any) -> None:
    """The command and its arguments."""
    export = commands.add_parser("export", help="tables of a potential for other programs")
    export.add_argument("potential", type=Path)
    export.add_argument("--format", choices=tuple(EXPORTERS), default="lammps", help="default: %(default)s")
    export.add_argument("-o", "--output", type=Path, required=True, help="e.g. ar.table; its commands go to in.ar")
    export.add_argument("--elements", nargs="+", help="the element of each atom type (default: alphabetical)")
    export.add_argument(
        "--units", choices=("metal", "real", "lj"), default="metal", help="of the input (default: %(default)s)"
    )
    export.add_argument("--tol", type=length, default=1e-7, help="relative error of LAMMPS's splines (default: 1e-7)")
    export.add_argument(
        "--structure", type=Path, help="atoms that ASE reads: a whole run of them for LAMMPS goes to run.ar and ar.data"
    )
    export.set_defaults(command=run)


def run(args: argparse.Namespace) -> None:
    """``ase-kan export``."""
    from ase_kan.potentials.files import load_potential

    check_output(args.output, "LAMMPS table", args.potential)
    potential = load_potential(args.potential)
    commands_file = args.output.with_name(f"in.{args.output.stem}")
    if commands_file == args.output:
        raise UsageError(f"{args.output} is where the commands go: call the table otherwise, e.g. ar.table")
    check_output(commands_file, "LAMMPS script", args.potential)
    write_table = import_module(EXPORTERS[args.format]).write_table
    try:
        script, commands = write_table(potential, args.output, args.elements, args.units, args.tol)
    except TypeError as error:  # of the other kind of potential
        raise UsageError(str(error)) from None
    print("\n".join(commands))
    written = [args.output, script]
    if args.structure is not None:
        elements = args.elements or sorted(potential.elements)
        written += write_run(args.structure, args.output, Path(script), elements, args.units)
    print(f"wrote {', '.join(map(str, written))}")


def write_run(structure: Path, table: Path, commands: Path, elements: Sequence[str], units: str) -> list[Path]:
    """An input of LAMMPS that is complete, beside the table: 1,000 steps at constant energy of the last structure.

    Raises
    ------
    ValueError
        For elements that the potential lacks, and units whose masses and times nobody knows.
    """
    from ase import Atoms
    from ase.io import read
    from ase.io.lammpsdata import write_lammps_data

    if units not in TIMESTEPS:
        raise ValueError(f"a whole run needs masses and times: use --units {' or '.join(TIMESTEPS)}")
    found = read(structure)
    assert isinstance(found, Atoms)
    atoms = found.copy()
    elements = list(elements) or sorted(set(atoms.symbols))
    if missing := set(atoms.symbols) - set(elements):
        raise ValueError(f"{structure} has {', '.join(sorted(missing))}, and the potential {', '.join(elements)}")
    if not atoms.pbc.all() and atoms.cell.rank < 3:
        atoms.center(vacuum=10.0)
    data, script = table.with_suffix(".data"), table.with_name(f"run.{table.stem}")
    check_output(data, "LAMMPS data", structure)
    check_output(script, "LAMMPS script", structure)
    with replacing(data) as temporary, temporary.open("w") as file:
        write_lammps_data(file, atoms, specorder=elements, masses=True, units=units, atom_style="atomic")
    boundary = " ".join("p" if periodic else "m" for periodic in atoms.pbc)
    with replacing(script) as temporary:
        temporary.write_text(
            f"""# written by ase_kan: lmp -in {script.name}
units           {units}
atom_style      atomic
boundary        {boundary}
read_data       {data.name}
include         {commands.name}
velocity        all create 300 1 mom yes rot yes
fix             1 all nve
timestep        {TIMESTEPS[units]}
thermo          100
run             1000
"""
        )
    return [script, data]
