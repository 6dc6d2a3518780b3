"""``ase-kan validate``: does a potential of Lennard-Jones give its physics?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ase_kan.cli.arguments import UsageError, length

#: Those of `ase_kan.validation.suite`, which takes a while to import.
CHECKS = ("virial", "crystal", "clusters", "liquid")


def add(commands: Any) -> None:
    """The command and its arguments."""
    validate = commands.add_parser("validate", help="gas, crystal, clusters and liquid of Lennard-Jones potentials")
    validate.add_argument(
        "potentials",
        type=Path,
        nargs="*",
        help="files of potentials fitted to Lennard-Jones (default: Lennard-Jones itself, the default fit to 50 "
        "energies between 0.95 and 2 sigma, and a bare KAN)",
    )
    validate.add_argument("--epsilon", type=length, default=1.0, help="depth of their well, eV (default: %(default)s)")
    validate.add_argument("--sigma", type=length, default=1.0, help="where they are zero, A (default: %(default)s)")
    validate.add_argument("--checks", nargs="+", choices=CHECKS, default=list(CHECKS), help="default: all")
    validate.set_defaults(command=run_validate)


def run_validate(args: argparse.Namespace) -> None:
    """``ase-kan validate``."""
    from rich.console import Console

    from ase_kan.potentials.files import load_potential
    from ase_kan.potentials.potential import KANPotential
    from ase_kan.validation import suite
    from ase_kan.validation.lennard_jones import reduced

    if not args.potentials and (args.epsilon, args.sigma) != (1.0, 1.0):
        raise UsageError("--epsilon and --sigma are units of the potentials of files: give a file")
    loaded = {}
    for path in args.potentials:
        potential = load_potential(path)
        if not isinstance(potential, KANPotential):
            raise ValueError(f"the checks are of pair potentials, and {path} is none")
        loaded[str(path)] = reduced(potential, args.epsilon, args.sigma)
    with Console(stderr=True).status("fitting ...") as status:
        potentials = loaded or suite.standard_potentials()
        rows = suite.validate(potentials, args.checks, status.update)
    print(suite.as_table(rows, list(potentials)))
