"""``ase-kan inspect`` and ``ase-kan plot``: what is in a file of a potential."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ase_kan.data.files import check_output
from ase_kan.types import pair_name


def add(commands: Any) -> None:
    """The commands and their arguments."""
    inspect = commands.add_parser("inspect", help="elements, domains, cutoffs, errors and data of a potential")
    inspect.add_argument("potential", type=Path)
    inspect.add_argument("--extrapolation", action="store_true", help="what its KANs do outside their data")
    inspect.set_defaults(command=run_inspect)

    plot = commands.add_parser("plot", help="figure of all functions of a potential")
    plot.add_argument("potential", type=Path)
    plot.add_argument("--extrapolation", action="store_true", help="the bare KAN outside its data instead")
    plot.add_argument("-o", "--output", type=Path, required=True)
    plot.set_defaults(command=run_plot)


def run_inspect(args: argparse.Namespace) -> None:
    """``ase-kan inspect``."""
    from ase_kan.potentials.files import load_potential
    from ase_kan.potentials.potential import KANPotential
    from ase_kan.potentials.setfl import TabulatedEAM

    potential = load_potential(args.potential)
    if not args.extrapolation:
        print(potential if isinstance(potential, TabulatedEAM) else potential.describe())
        return
    if not isinstance(potential, KANPotential):
        raise ValueError(f"what KANs do outside their data is told of pair potentials, and {args.potential} has none")
    from ase_kan.analysis.extrapolation import analyze

    for pair, found in analyze(potential).items():
        print(f"{pair_name(pair)}:\n{found}")


def run_plot(args: argparse.Namespace) -> None:
    """``ase-kan plot``."""
    from ase_kan.plots.eam import plot_functions
    from ase_kan.plots.extrapolation import plot_extrapolation
    from ase_kan.plots.figures import save
    from ase_kan.plots.fit import plot_pairs
    from ase_kan.potentials.files import load_potential
    from ase_kan.potentials.potential import KANPotential
    from ase_kan.potentials.protocol import EmbeddedAtomPotential

    check_output(args.output, "figure", args.potential)
    potential = load_potential(args.potential)
    if not isinstance(potential, KANPotential):
        if args.extrapolation:
            raise ValueError(f"the extrapolation is plotted for KANs of pair energies, and {args.potential} has none")
        if isinstance(potential, EmbeddedAtomPotential):
            save(plot_functions(potential), args.output)
        else:
            save(plot_pairs(potential, potential.pairs), args.output)
        print(f"wrote {args.output}")
        return
    if args.extrapolation and len(potential.pairs) > 1:
        raise ValueError(f"the extrapolation is plotted for one pair, and {args.potential} has several: use Python")
    figure = plot_extrapolation(potential) if args.extrapolation else plot_pairs(potential, potential.pairs)
    save(figure, args.output)
    print(f"wrote {args.output}")
