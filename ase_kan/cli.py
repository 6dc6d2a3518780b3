"""The command ``ase-kan``."""

from __future__ import annotations

import argparse
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ase_kan import __version__
from ase_kan.files import check_output, replacing


class UsageError(ValueError):
    """Options that do not go together."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    The exit code is 0; 1 after an error of data or files and 2 after one of usage, each told in one line; 130 after
    Ctrl-C.
    """
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            args.command(args)
            sys.stdout.flush()
    except BrokenPipeError:  # of "ase-kan ... | head"; Python's own flush at the end would complain once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        print(f"ase-kan: not enough memory: {error or 'give less data or a smaller cutoff'}", file=sys.stderr)
        return 1
    except (ValueError, OSError, ImportError) as error:
        print(f"ase-kan: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("ase-kan: interrupted", file=sys.stderr)
        return 130
    return 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line; the place in the code says nothing to who gave the command."""
    print(f"ase-kan: warning: {message}", file=sys.stderr)


def _number(
    convert: Callable[[str], float], low: float, high: float = math.inf, *, or_low: bool = False
) -> Callable[[str], float]:
    """A finite number within (low, high), or [low, high), for argparse."""

    def parse(text: str) -> float:
        value = convert(text)
        if not (low <= value if or_low else low < value):
            raise argparse.ArgumentTypeError(f"must be {'at least' if or_low else 'above'} {low:g}, got {text}")
        if not value < high:
            bound = "finite" if high == math.inf else f"below {high:g}"
            raise argparse.ArgumentTypeError(f"must be {bound}, got {text}")
        return value

    parse.__name__ = "number" if convert is float else "whole number"  # argparse: "invalid number value: 'x'"
    return parse


_length = _number(float, 0)
_count = _number(int, 1, 2**31, or_low=True)
_seed = _number(int, 0, 2**32, or_low=True)
_part = _number(float, 0, 1, or_low=True)


def _energy(text: str) -> float | str:
    """A number or "limit"."""
    try:
        return text if text == "limit" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or limit, got {text}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ase-kan", description="Kolmogorov-Arnold pair potentials for ASE.")
    parser.add_argument("--version", action="version", version=f"ase-kan {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    demo = commands.add_parser("demo", help="fit Lennard-Jones, relax, run MD, and show where a bare KAN fails")
    demo.add_argument("-o", "--output", type=Path, default=Path("ase-kan-demo"), help="folder (default: %(default)s)")
    demo.add_argument("--seed", type=_seed, default=0, help="of the points and the starts (default: %(default)s)")
    demo.set_defaults(command=_demo)

    fit = commands.add_parser("fit", help="fit a potential to a curve or to structures")
    fit.add_argument("data", type=Path, help="a text file of columns r, E, F, or structures that ASE reads")
    fit.add_argument("-o", "--output", type=Path, required=True, help="file of the potential; figures go beside it")
    fit.add_argument("--cutoff", type=_length, help="Angstrom; required for structures")
    fit.add_argument("--onset", type=_length, help="start of switching: Angstrom; for structures a part of the cutoff")
    fit.add_argument("--width", type=_count, nargs="+", help="nodes per layer, e.g. 1 2 1 (default: 1 1)")
    fit.add_argument("--grid", type=_count, help="grid intervals per edge")
    fit.add_argument("--feature", help="r, 1/r (default), 'log r', r^-3, r^-6; for curves also auto")
    fit.add_argument(
        "--core", choices=("auto", "power", "zbl", "none"), help="below the data (default: as the data; none: bare KAN)"
    )
    fit.add_argument(
        "--tail", choices=("auto", "power", "coulomb", "none"), help="curves: beyond the data (default: as the data)"
    )
    fit.add_argument("--loss", choices=("squares", "huber"), help="curves: huber where some points are far off")
    fit.add_argument("--seed", type=_seed, default=0)
    fit.add_argument("--elements", nargs="+", help="two symbols for a curve; all symbols of the structures")
    fit.add_argument("--columns", help="curves: what each is, e.g. r,energy,skip,force or r,energy,gradient")
    fit.add_argument(
        "--units", nargs=2, metavar=("LENGTH", "ENERGY"), help="curves: e.g. bohr hartree (default: Angstrom eV)"
    )
    fit.add_argument(
        "--subtract", type=_energy, metavar="ENERGY", help="curves: that of two atoms far apart, a number or limit"
    )
    fit.add_argument(
        "--validation", type=_number(float, 0, 1, or_low=True), help="structures: part held out (default 0.1)"
    )
    fit.add_argument("--energy-key", help="structures: info key of the energy")
    fit.add_argument("--forces-key", help="structures: arrays key of the forces")
    fit.add_argument("--stress-key", help="structures: info key of the stress (eV/A^3)")
    fit.add_argument("--virial-key", help="structures: info key of the virial, -stress * volume in eV")
    fit.add_argument("--resume", action="store_true", help="structures: go on from the checkpoint OUTPUT.checkpoint")
    fit.set_defaults(command=_fit)

    inspect = commands.add_parser("inspect", help="elements, domains, cutoffs, errors and data of a potential")
    inspect.add_argument("potential", type=Path)
    inspect.add_argument("--extrapolation", action="store_true", help="what its KANs do outside their data")
    inspect.set_defaults(command=_inspect)

    plot = commands.add_parser("plot", help="figure of all pair energies and forces of a potential")
    plot.add_argument("potential", type=Path)
    plot.add_argument("--extrapolation", action="store_true", help="the bare KAN outside its data instead")
    plot.add_argument("-o", "--output", type=Path, required=True)
    plot.set_defaults(command=_plot)

    export = commands.add_parser("export", help="tables of a potential for other programs")
    export.add_argument("potential", type=Path)
    export.add_argument("--format", choices=("lammps",), default="lammps", help="default: %(default)s")
    export.add_argument("-o", "--output", type=Path, required=True, help="e.g. ar.table; its commands go to in.ar")
    export.add_argument("--elements", nargs="+", help="the element of each atom type (default: alphabetical)")
    export.add_argument(
        "--units", choices=("metal", "real", "lj"), default="metal", help="of the input (default: %(default)s)"
    )
    export.add_argument("--tol", type=_length, default=1e-7, help="relative error of LAMMPS's spline (default: 1e-7)")
    export.set_defaults(command=_export)

    ase = commands.add_parser("ase", help="ASE's own command line with the calculator kan: ase-kan ase run ...")
    ase.add_argument("arguments", nargs=argparse.REMAINDER, help="e.g. run -p potential=lj.kan kan dimer.xyz")
    ase.set_defaults(command=_ase)

    bench = commands.add_parser("bench", help="time KANCalculator against the Lennard-Jones engines installed here")
    bench.add_argument("--peers", nargs="*", help="autograd, ase, asap3, matscipy, lammps, lammps-table (default: all)")
    bench.add_argument("--sizes", type=_count, nargs="+", help="numbers of atoms (default: 13 1372 10976 108000)")
    bench.add_argument("--threads", type=_count, default=1, help="time the compiled engine with so many as well")
    bench.add_argument("--rounds", type=_count, default=5, help="turns of each engine (default: %(default)s)")
    bench.add_argument("--json", type=Path, help="write all numbers to this file")
    bench.set_defaults(command=_bench)
    return parser


def _demo(args: argparse.Namespace) -> None:
    from rich.console import Console

    for path in (*args.output.glob("*.png"), *args.output.glob("*.kan")):
        check_output(path, "figure" if path.suffix == ".png" else "potential")
    console = Console()
    with console.status("loading torch and ASE ..."):
        from ase_kan import demo
    demo.run(args.output, args.seed, console)


def _fit(args: argparse.Namespace) -> None:
    from ase_kan import train
    from ase_kan.columns import is_curve

    of_curves = ("columns", "units", "subtract")
    names = ("cutoff", "onset", "width", "grid", "feature", "seed", "validation", "elements", "loss", *of_curves)
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    given |= {name: None if end == "none" else end for name in ("core", "tail") if (end := getattr(args, name))}
    labels = ("energy_key", "forces_key", "stress_key", "virial_key")
    keys = {name: getattr(args, name) for name in labels if getattr(args, name)}
    check_output(args.output, "potential", args.data)
    if is_curve(args.data):
        unused = [name for name in ("validation", *keys) if name in given or name in keys]
        if unused or args.resume:
            raise UsageError(f"{', '.join(unused) or 'resume'} is for structures, and {args.data} is a curve")
        if args.columns:
            given["columns"] = args.columns.split(",")
        check_output(train.figure(args.output, "fit"), "figure", args.data)
        written = train.curve(args.data, args.output, given)
    else:
        if "tail" in given:
            raise UsageError("tail is for curves: structures reach to their cutoff")
        if unused := [name for name in ("loss", *of_curves) if name in given]:
            raise UsageError(f"{', '.join(unused)} is for curves, and {args.data} is not a table of numbers")
        if "cutoff" not in given:
            raise UsageError("structures need a --cutoff, in Angstrom")
        check_output(train.checkpoint(args.output), "potential", args.data)
        for name in ("pairs", "parity"):
            check_output(train.figure(args.output, name), "figure", args.data)
        written = train.structures(args.data, args.output, keys, given, args.resume)
    print(f"wrote {', '.join(map(str, written))}")


def _inspect(args: argparse.Namespace) -> None:
    from ase_kan.potential import KANPotential

    potential = KANPotential.load(args.potential)
    if not args.extrapolation:
        print(potential.describe())
        return
    from ase_kan.extrapolation import analyze

    for pair, found in analyze(potential).items():
        print(f"{'every pair' if pair is None else '-'.join(pair)}:\n{found}")


def _plot(args: argparse.Namespace) -> None:
    from ase_kan.plot import plot_extrapolation, plot_pairs, save
    from ase_kan.potential import KANPotential

    check_output(args.output, "figure", args.potential)
    potential = KANPotential.load(args.potential)
    if args.extrapolation and len(potential.pairs) > 1:
        raise ValueError(f"the extrapolation is plotted for one pair, and {args.potential} has several: use Python")
    figure = plot_extrapolation(potential) if args.extrapolation else plot_pairs(potential, potential.pairs)
    save(figure, args.output)
    print(f"wrote {args.output}")


def _export(args: argparse.Namespace) -> None:
    from ase_kan.lammps import write_table
    from ase_kan.potential import KANPotential

    check_output(args.output, "LAMMPS table", args.potential)
    potential = KANPotential.load(args.potential)
    commands_file = args.output.with_name(f"in.{args.output.stem}")
    if commands_file == args.output:
        raise UsageError(f"{args.output} is where the commands go: call the table otherwise, e.g. ar.table")
    check_output(commands_file, "LAMMPS script", args.potential)
    script, commands = write_table(potential, args.output, args.elements, args.units, args.tol)
    print("\n".join(commands))
    print(f"wrote {args.output}, {script}")


def _ase(args: argparse.Namespace) -> None:
    from ase.cli.main import main as ase_main

    from ase_kan.plugin import register

    register()
    ase_main(prog="ase-kan ase", args=args.arguments)


def _bench(args: argparse.Namespace) -> None:
    from rich.console import Console

    from ase_kan import bench

    if args.json:
        check_output(args.json, "benchmark")
    console = Console(stderr=True)
    with console.status("fitting Lennard-Jones ...") as status:
        rows = bench.run(args.peers, args.sizes or bench.SIZES, args.threads, args.rounds, status.update)
    print(bench.table(rows))
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(bench.as_json(rows))
        print(f"wrote {args.json}")


if __name__ == "__main__":
    sys.exit(main())
