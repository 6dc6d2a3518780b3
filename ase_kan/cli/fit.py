"""``ase-kan fit``: from a data file to a potential, a report and figures.

Imports are in the functions: ``ase-kan --help`` must not wait for torch.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ase_kan.cli.arguments import (
    UsageError,
    add_columns,
    add_labels,
    baseline,
    count,
    labels_of,
    length,
    names,
    numbers,
    part,
    seed,
)
from ase_kan.data.files import check_output
from ase_kan.types import Array

if TYPE_CHECKING:
    from ase_kan.data.structures import Structures
    from ase_kan.potentials.eam import KANEAM
    from ase_kan.potentials.potential import KANPotential

#: Options of embedded-atom potentials only, and of pair potentials only.
OF_EAM = ("channels", "densities", "embedding_grid")
OF_PAIRS = ("optimizer", "onset", "width", "feature", "elements", "baseline", "core", "tail", "smooth")
#: How files of data are called, whose names that of a potential may begin with.
DATA_SUFFIXES = (".csv", ".dat", ".txt", ".tsv", ".tab", ".asc", ".xyz", ".extxyz", ".traj", ".db", ".json")
#: Part of the structures that a fit holds out unless asked otherwise.
VALIDATION = 0.1
#: Structures in the parity figure.
PARITY_STRUCTURES = 200


def add(commands: Any) -> None:
    """The command and its arguments."""
    fit = commands.add_parser("fit", help="fit a potential to a curve or to structures")
    fit.add_argument("data", type=Path, help="a text file of columns r, E, F, or structures that ASE reads")
    fit.add_argument("-o", "--output", type=Path, required=True, help="file of the potential; figures go beside it")
    fit.add_argument(
        "--model", choices=("pair", "eam"), default="pair", help="structures: eam for metals (default: pair)"
    )
    fit.add_argument("--channels", type=count, help="eam: densities per atom (default 1)")
    fit.add_argument(
        "--densities", help="eam: alloy (default) or finnis-sinclair: of the neighbor, or of both elements"
    )
    fit.add_argument("--embedding-grid", type=count, help="eam: grid intervals of F")
    fit.add_argument("--cutoff", type=length, help="Angstrom; required for structures")
    fit.add_argument("--onset", type=length, help="start of switching: Angstrom; for structures a part of the cutoff")
    fit.add_argument("--width", type=count, nargs="+", help="nodes per layer, e.g. 1 2 1 (default: 1 1)")
    fit.add_argument("--grid", type=count, help="grid intervals per edge")
    fit.add_argument("--feature", help="what the KAN sees of r (default: 1/r); for curves also auto")
    fit.add_argument("--no-smooth", action="store_true", help="subtract the energy at the cutoff, do not switch")
    fit.add_argument(
        "--baseline", type=baseline, metavar="zbl|FILE|CHARGES", help="known before: zbl, a potential, or Na=1,Cl=-1"
    )
    fit.add_argument("--core", help="below the data: auto, power, zbl (default: as the data); none: the bare KAN")
    fit.add_argument("--tail", help="curves: beyond the data: auto, coulomb, power; none: the bare KAN")
    fit.add_argument("--optimizer", help="curves: least-squares (default) or pykan")
    fit.add_argument("--loss", help="curves: huber where some points are far off the others")
    fit.add_argument("--seed", type=seed, default=0)
    fit.add_argument("--elements", nargs="+", help="a curve: one symbol or two; structures: all")
    add_columns(fit)
    fit.add_argument("--validation", type=part, help="structures: part held out (default 0.1)")
    add_labels(fit)
    fit.add_argument("--weight-key", help="structures: info key of their weights (default weight)")
    fit.add_argument(
        "--weights", type=numbers, metavar="energy=W,forces=W,virial=W", help="structures: of the mean squared errors"
    )
    fit.add_argument(
        "--property-weight-keys", type=names, metavar="energy=KEY,...", help="structures: keys of weights of each label"
    )
    fit.add_argument("--resume", action="store_true", help="structures: go on from the checkpoint OUTPUT.checkpoint")
    fit.set_defaults(command=run)


def run(args: argparse.Namespace) -> None:
    """``ase-kan fit``."""
    from ase_kan.data.columns import is_curve

    of_curves = ("columns", "units", "subtract")
    of_both = ("cutoff", "onset", "width", "grid", "feature", "seed", "elements", "baseline")
    known = (*of_both, "validation", "weights", "loss", "optimizer", *of_curves, *OF_EAM)
    given = {name: getattr(args, name) for name in known if getattr(args, name) is not None}
    given |= {name: None if end == "none" else end for name in ("core", "tail") if (end := getattr(args, name))}
    if args.no_smooth:
        given["smooth"] = False
    weights = ("weight_key", "property_weight_keys")
    keys = labels_of(args) | {name: getattr(args, name) for name in weights if getattr(args, name)}
    if isinstance(args.baseline, Path):
        from ase_kan.potentials.potential import KANPotential

        given["baseline"] = KANPotential.load(args.baseline)
    check_output(args.output, "potential", args.data)
    if args.model == "eam":
        if unused := [name for name in OF_PAIRS if name in given]:
            raise UsageError(f"{', '.join(unused)} is for pair potentials, not for --model eam")
        given["model"] = "eam"
    elif unused := [name for name in OF_EAM if name in given]:
        raise UsageError(f"{', '.join(unused)} is for embedded-atom potentials: add --model eam")
    if is_curve(args.data):
        unused = [name for name in ("model", "validation", "weights", *keys) if name in given or name in keys]
        if unused or args.resume:
            raise UsageError(f"{', '.join(unused) or 'resume'} is for structures, and {args.data} is a curve")
        if args.elements and len(args.elements) == 1:
            given["elements"] = args.elements * 2
        if args.columns:
            given["columns"] = args.columns.split(",")
        check_output(figure(args.output, "fit"), "figure", args.data)
        written = curve(args.data, args.output, given)
    else:
        if "tail" in given:
            raise UsageError("tail is for curves: structures reach to their cutoff")
        if unused := [name for name in ("loss", "optimizer", *of_curves) if name in given]:
            raise UsageError(f"{', '.join(unused)} is for curves, and {args.data} is not a table of numbers")
        if "cutoff" not in given:
            from ase_kan.data.structures import Structures
            from ase_kan.fit import suggested_cutoff

            raise UsageError(f"structures need a --cutoff, {suggested_cutoff(Structures.read(args.data, **keys))}")
        check_output(checkpoint(args.output), "potential", args.data)
        for name in ("functions" if args.model == "eam" else "pairs", "parity"):
            check_output(figure(args.output, name), "figure", args.data)
        written = structures(args.data, args.output, keys, given, args.resume)
    print(f"wrote {', '.join(map(str, written))}")


def figure(output: Path, name: str) -> Path:
    """The file of a figure beside a potential."""
    stem = Path(output.stem)  # x.csv.kan becomes x-fit.png
    return output.with_name(f"{stem.stem if stem.suffix in DATA_SUFFIXES else stem}-{name}.png")


def checkpoint(output: Path) -> Path:
    """The file of a pass over structures that is not complete."""
    return output.with_name(f"{output.name}.checkpoint")


def curve(data: Path, output: Path, keywords: dict[str, Any]) -> list[Path]:
    """Fit a curve file; returns the files written."""
    from ase_kan.data.curve import PairCurve
    from ase_kan.fit import fit
    from ase_kan.plots.figures import save
    from ase_kan.plots.fit import plot_fit

    reading = {name: keywords.pop(name, None) for name in ("elements", "columns", "units", "subtract")}
    points = PairCurve.read(data, **reading)
    if points.subtracted:
        print(f"subtracted {points.subtracted:.10g} eV, the energy of two atoms far apart")
    result = fit(points, progress=True, **keywords)
    print(result)
    save_compiled(result.potential, output)
    path = figure(output, "fit")
    save(plot_fit(result.potential, points), path)
    return [output, path]


def structures(data: Path, output: Path, keys: dict[str, str], keywords: dict[str, Any], resume: bool) -> list[Path]:
    """Fit a file of structures; returns the files written. The checkpoint is removed once the pass is complete."""
    from ase_kan.data.structures import Structures
    from ase_kan.fit import fit
    from ase_kan.plots.figures import save

    unfinished = checkpoint(output)
    read = Structures.read(data, **keys)
    result = fit(read, checkpoint=unfinished, resume=resume, progress=True, **keywords)
    print(result)
    save_compiled(result.potential, output)
    split = keywords["seed"], keywords.get("validation", VALIDATION)
    written = [output]
    for name, drawn in (drawn_functions(result.potential), ("parity", parity(read, result.potential, *split))):
        path = figure(output, name)
        save(drawn, path)
        written.append(path)
    if result.potential.info["interrupted"]:
        return [*written, unfinished]
    unfinished.unlink(missing_ok=True)
    return written


def save_compiled(potential: KANPotential | KANEAM, output: Path) -> None:
    """Write a potential with its tables, where it can be tabulated: calculators then start without torch."""
    from ase_kan.potentials.tables import tabulate_once

    try:
        tables = tabulate_once(potential)
    except ValueError:
        potential.save(output)
    else:
        tables.save(output)


def drawn_functions(potential: KANPotential | KANEAM) -> tuple[str, Any]:
    """The figure of all functions of a potential, and what it is called."""
    from ase_kan.plots.eam import plot_functions
    from ase_kan.plots.fit import plot_pairs
    from ase_kan.potentials.eam import KANEAM

    if isinstance(potential, KANEAM):
        return "functions", plot_functions(potential)
    return "pairs", plot_pairs(potential, potential.pairs)


def parity(
    read: Structures, potential: KANPotential | KANEAM, seed: int | None = None, validation: float = VALIDATION
) -> Any:
    """The parity figure of the first structures of a file; with a seed, of those of the fit and those held out."""
    from ase_kan.calculator import KANCalculator
    from ase_kan.fit.structures import held_out
    from ase_kan.plots.fit import plot_parity

    calculator = KANCalculator(potential)
    energies: tuple[list[Array], list[Array]] = ([], [])
    forces: tuple[list[Array], list[Array]] = ([], [])
    for number, sample in enumerate(islice(read, PARITY_STRUCTURES)):
        which = int(seed is not None and held_out(number, seed, validation))
        atoms = sample.atoms.copy()
        atoms.calc = calculator
        if sample.energy is not None and len(atoms):
            energies[which].append(np.array([[sample.energy], [atoms.get_potential_energy()]]) / len(atoms))
        if sample.forces is not None:
            known = sample.labeled
            forces[which].append(np.stack([sample.forces[known].ravel(), atoms.get_forces()[known].ravel()]))
    e, f = (
        [(both[0], both[1]) for both in (np.concatenate([np.empty((2, 0)), *part], axis=1) for part in parts)]
        for parts in (energies, forces)
    )
    return plot_parity(e[0], f[0], (e[1], f[1]) if len(e[1][0]) + len(f[1][0]) else None)
