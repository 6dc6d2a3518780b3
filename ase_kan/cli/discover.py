"""``ase-kan discover``: the law in a curve, in structures or in a fitted potential."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ase_kan.cli.arguments import UsageError, add_columns, length
from ase_kan.cli.fit import figure
from ase_kan.data.files import check_output


def add(commands: Any) -> None:
    """The command and its arguments."""
    discover = commands.add_parser("discover", help="find the law in a curve, in structures or in a potential")
    discover.add_argument("data", type=Path, help="a text file of columns r, E, F, structures, or a .kan file")
    discover.add_argument("-o", "--output", type=Path, required=True, help="file of the law as a potential")
    discover.add_argument("--cutoff", type=length, help="of the law's potential, Angstrom (default: where it is small)")
    discover.add_argument("--onset", type=length, help="start of switching, Angstrom")
    discover.add_argument("--no-smooth", action="store_true", help="subtract the energy at the cutoff, do not switch")
    discover.add_argument("--elements", nargs=2, help="curves and potentials: the two symbols of the pair")
    add_columns(discover)
    discover.add_argument("--errors", type=length, help="potentials: how far the law may be off, eV")
    discover.set_defaults(command=run)


def run(args: argparse.Namespace) -> None:
    """``ase-kan discover``."""
    from ase_kan.data.columns import is_curve

    check_output(args.output, "potential", args.data)
    of_curve = args.data.suffix != ".kan" and is_curve(args.data)
    of_potential = args.data.suffix == ".kan"
    for name, allowed, whose in (
        ("columns", of_curve, "curves"),
        ("units", of_curve, "curves"),
        ("subtract", of_curve, "curves"),
        ("elements", of_curve or of_potential, "curves and potentials"),
        ("errors", of_potential, "potentials"),
    ):
        if getattr(args, name) is not None and not allowed:
            raise UsageError(f"{name} is for {whose}, and {args.data} is none")
    ends: dict[str, Any] = {"cutoff": args.cutoff, "onset": args.onset, "smooth": not args.no_smooth}
    if of_curve:
        _curve(args, ends)
        return

    from ase_kan.analysis.law import discover
    from ase_kan.data.structures import Structures
    from ase_kan.potentials.files import load_potential
    from ase_kan.potentials.potential import KANPotential

    if of_potential:
        potential = load_potential(args.data)
        if not isinstance(potential, KANPotential):
            raise ValueError(f"laws are read from KANs of pair energies, and {args.data} is none")
        pair = None if args.elements is None else tuple(args.elements)
        law = discover(potential, pair=pair, errors=args.errors, **ends)
    else:
        law = discover(Structures.read(args.data), **ends)
    print(law)
    law.potential.save(args.output)
    print(f"wrote {args.output}")


def _curve(args: argparse.Namespace, ends: dict[str, Any]) -> None:
    """The law of a curve, and a figure of it beside a KAN of the same data."""
    from ase_kan.analysis.law import discover
    from ase_kan.data.curve import PairCurve
    from ase_kan.fit import fit
    from ase_kan.plots.figures import save
    from ase_kan.plots.law import OUTER, plot_law
    from ase_kan.potentials.cutoff import ONSET_FRACTION

    drawn = figure(args.output, "law")
    check_output(drawn, "figure", args.data)
    columns = args.columns.split(",") if args.columns else None
    units = tuple(args.units) if args.units else None
    elements = tuple(args.elements) if args.elements else None
    curve = PairCurve.read(args.data, elements, columns=columns, units=units, subtract=args.subtract)
    law = discover(curve, **ends)
    print(law)
    law.potential.save(args.output)
    # Its tail is drawn as far as the law: switching starts beyond.
    kan = fit(curve, cutoff=1.01 * OUTER / ONSET_FRACTION * float(curve.r[-1])).potential
    save(plot_law(law, curve, kan), drawn)
    print(f"wrote {args.output}, {drawn}")
