"""The command ``ase-kan``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase_kan.cli import completion, discover, evaluate, export, fit, inspect, move, report, validate
from ase_kan.cli.arguments import UsageError, count, seed
from ase_kan.data.files import check_output, replacing
from ase_kan.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    The exit code is 0; 1 after an error of data or files and 2 after one of usage, each told in one line; 130 after
    Ctrl-C.
    """
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            if not args.verbose:
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
        if args.verbose:
            traceback.print_exc()
        print(f"ase-kan: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("ase-kan: interrupted", file=sys.stderr)
        return 130
    return 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line; the place in the code says nothing to who gave the command."""
    print(f"ase-kan: warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ase-kan", description="Kolmogorov-Arnold pair potentials for ASE.")
    parser.add_argument("-v", "--verbose", action="store_true", help="errors and warnings with their place in the code")
    parser.add_argument("-V", "--version", action="version", version=f"ase-kan {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    demo = commands.add_parser("demo", help="fit Lennard-Jones, relax, run MD, and show where a bare KAN fails")
    demo.add_argument("-o", "--output", type=Path, default=Path("ase-kan-demo"), help="folder (default: %(default)s)")
    demo.add_argument("--seed", type=seed, default=0, help="of the points and the starts (default: %(default)s)")
    demo.set_defaults(command=_demo)
    for module in (fit, discover, evaluate, inspect, report, export, move, validate, completion):
        module.add(commands)

    ase = commands.add_parser("ase", help="ASE's own command line with the calculator kan: ase-kan ase run ...")
    ase.add_argument("arguments", nargs=argparse.REMAINDER, help="e.g. run -p potential=lj.kan kan dimer.xyz")
    ase.set_defaults(command=_ase)

    bench = commands.add_parser("bench", help="time KANCalculator against the engines installed here")
    bench.add_argument(
        "--peers",
        nargs="*",
        help="autograd, ase, asap3, matscipy, lammps, lammps-bench, "
        "lammps-opt, lammps-opt-bench, lammps-table (default: all)",
    )
    bench.add_argument(
        "--metal",
        type=Path,
        help="a published .eam.alloy or .eam.fs file: its metal instead of a Lennard-Jones liquid; peers are autograd, "
        "lammps and lammps-opt",
    )
    bench.add_argument("--sizes", type=count, nargs="+", help="numbers of atoms (default: 13 38 1372 10976 108000)")
    bench.add_argument("--threads", type=count, default=1, help="time the compiled engine with so many as well")
    bench.add_argument("--rounds", type=count, default=5, help="turns of each engine (default: %(default)s)")
    bench.add_argument("--json", type=Path, help="write all numbers to this file")
    bench.set_defaults(command=_bench)
    return parser


def _demo(args: argparse.Namespace) -> None:
    from rich.console import Console

    for path in (*args.output.glob("*.png"), *args.output.glob("*.kan")):
        check_output(path, "figure" if path.suffix == ".png" else "potential")
    console = Console()
    with console.status("loading torch and ASE ..."):
        from ase_kan.cli import demo
    demo.run(args.output, args.seed, console)


def _ase(args: argparse.Namespace) -> None:
    from ase.cli.main import main as ase_main

    from ase_kan.plugin import register

    register()
    ase_main(prog="ase-kan ase", args=args.arguments)


def _bench(args: argparse.Namespace) -> None:
    from rich.console import Console

    from ase_kan.cli import bench

    if args.json:
        check_output(args.json, "benchmark")
    console = Console(stderr=True)
    with console.status("starting ...") as status:
        rows = bench.run(args.peers, args.sizes, args.threads, args.rounds, status.update, args.metal)
    print(bench.table(rows))
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(bench.as_json(rows))
        print(f"wrote {args.json}")
