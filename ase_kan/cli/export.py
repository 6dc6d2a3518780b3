"""``ase-kan export``: files of a potential for other programs."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from ase_kan.cli.arguments import UsageError, length
from ase_kan.data.files import check_output
from ase_kan.exports import EXPORTERS


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
    print(f"wrote {args.output}, {script}")
