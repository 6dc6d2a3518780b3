"""``ase-kan inspect`` and ``ase-kan plot``: what is in a file of a potential."""

from __future__ import annotations

import argparse
import json
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from ase_kan.cli.arguments import UsageError
from ase_kan.data.files import check_output
from ase_kan.types import pair_name


def add(commands: Any) -> None:
    """The commands and their arguments."""
    inspect = commands.add_parser("inspect", help="elements, domains, cutoffs, errors and data of a potential")
    inspect.add_argument("potential", type=Path)
    inspect.add_argument("--extrapolation", action="store_true", help="what its KANs do outside their data")
    inspect.add_argument("--json", action="store_true", help="for programs: ranges, cutoffs, wells and what a fit told")
    inspect.set_defaults(command=run_inspect)

    plot = commands.add_parser("plot", help="figure of all functions of a potential")
    plot.add_argument("potential", type=Path)
    plot.add_argument("--extrapolation", action="store_true", help="the bare KAN outside its data instead")
    plot.add_argument("-o", "--output", type=Path, required=True)
    plot.set_defaults(command=run_plot)


def run_inspect(args: argparse.Namespace) -> None:
    """``ase-kan inspect``."""
    from ase_kan.potentials.compiled import EmbeddedTables, SplinePotential, original_of
    from ase_kan.potentials.stored import load_running

    if args.json and args.extrapolation:
        raise UsageError("--json does not tell what KANs do outside their data: leave out --extrapolation")
    running: Any = load_running(args.potential)
    plain = not (args.json or args.extrapolation)
    if plain and isinstance(running, SplinePotential | EmbeddedTables):
        original: Any = running.original
        print(original.describe())  # without torch, which takes a second to import
        return
    from ase_kan.potentials.potential import KANPotential
    from ase_kan.potentials.setfl import TabulatedEAM

    potential = original_of(running)
    if args.json:
        print(json.dumps(_facts(potential), indent=1))
        return
    if not args.extrapolation:
        print(potential if isinstance(potential, TabulatedEAM) else potential.describe())
        return
    if not isinstance(potential, KANPotential):
        raise ValueError(f"what KANs do outside their data is told of pair potentials, and {args.potential} is none")
    from ase_kan.analysis.extrapolation import analyze

    for pair, found in analyze(potential).items():
        print(f"{pair_name(pair)}:\n{found}")


def _facts(potential: Any) -> dict[str, Any]:
    """What a program may want to know, in eV and Angstrom."""
    from functools import partial

    from ase_kan.potentials.coverage import density_gaps_of, gaps_of
    from ase_kan.potentials.identity import fingerprint
    from ase_kan.potentials.protocol import EmbeddedAtomPotential
    from ase_kan.potentials.scale import well_of

    embedded = isinstance(potential, EmbeddedAtomPotential)
    elements = sorted(potential.elements)
    pairs = list(combinations_with_replacement(elements, 2)) if embedded else potential.pairs
    known = [pair for pair in pairs if not embedded or pair in getattr(potential, "pairs", pairs)]
    found: dict[str, Any] = {
        "kind": type(potential).__name__,
        "fingerprint": fingerprint(potential),
        "elements": elements,
        "cutoff": potential.cutoff,
        "reference_energies": dict(potential.reference_energies),
        "pairs": [],
        "info": getattr(potential, "info", {}),
    }
    for pair in known:
        phi = partial(potential.pair_energy, pair=pair) if embedded else partial(potential, pair=pair)
        low, high = potential.domain(pair)
        cutoff = potential.breakpoints(pair)[-1]
        well = None if embedded else well_of(phi, low, min(high, cutoff))
        entry = {"elements": pair, "domain": (low, high), "cutoff": cutoff, "gaps": gaps_of(potential, pair)}
        if not embedded:
            entry["well"] = None if well is None else {"r": well[0], "depth": well[1]}
        found["pairs"].append(entry)
    if embedded:
        found["densities"] = [
            {
                "element": element,
                "channel": channel,
                "domain": potential.density_domain(element, channel),
                "gaps": density_gaps_of(potential, element, channel),
            }
            for element in elements
            for channel in range(potential.channels)
        ]
    return found


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
