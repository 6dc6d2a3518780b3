"""``ase-kan report``: one page that shows a potential and, where they are given, its data."""

from __future__ import annotations

import argparse
import base64
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ase_kan.cli.arguments import add_labels, labels_of
from ase_kan.data.files import check_output, replacing

if TYPE_CHECKING:
    from ase_kan.data.curve import PairCurve
    from ase_kan.data.structures import Structures

#: Parts of the data of the learning curve, and structures that it looks at.
PARTS, MOST_STRUCTURES = (0.125, 0.25, 0.5, 1.0), 400
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
img{{max-width:100%}} pre{{background:#f4f4f4;padding:.8rem;overflow-x:auto;font-size:13px}}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""


def add(commands: Any) -> None:
    """The command and its arguments."""
    report = commands.add_parser("report", help="one page with figures of a potential, and of its data if given")
    report.add_argument("potential", type=Path)
    report.add_argument("-o", "--output", type=Path, required=True, help="file of the page, .html")
    report.add_argument("--data", type=Path, help="curve or structures that it was fitted to, or new ones")
    add_labels(report)
    report.set_defaults(command=run)


def run(args: argparse.Namespace) -> None:
    """``ase-kan report``."""
    from ase_kan.cli.fit import drawn_functions
    from ase_kan.data.columns import is_curve
    from ase_kan.data.curve import PairCurve
    from ase_kan.data.structures import Structures
    from ase_kan.potentials.files import load_potential
    from ase_kan.potentials.potential import KANPotential

    if args.output.suffix not in (".html", ".htm"):
        raise ValueError(f"{args.output} is no name of a page: use one that ends with .html")
    check_output(args.output, "page", *([args.data] if args.data else []))
    potential: Any = load_potential(args.potential)
    title = f"Potential {args.potential.name}"
    parts = [
        _section(
            "What it is",
            f"<pre>{escape(potential.describe() if hasattr(potential, 'describe') else str(potential))}</pre>",
        )
    ]
    parts.append(_section("Its functions", _image(drawn_functions(potential)[1])))
    if known := _histograms(potential):
        from ase_kan.plots.coverage import plot_coverage

        parts.append(_section("Distances in its data", _image(plot_coverage(known))))
    if isinstance(potential, KANPotential):
        parts.append(_section("Outside the data", _outside(potential)))
    if args.data is not None:
        keys = labels_of(args)
        if is_curve(args.data):
            if keys:
                raise ValueError(f"{', '.join(keys)} are for structures, and {args.data} is a curve")
            parts += _of_curve(potential, PairCurve.read(args.data))
        else:
            parts += _of_structures(potential, Structures.read(args.data, **keys))
    with replacing(args.output) as temporary:
        temporary.write_text(PAGE.format(title=escape(title), body="\n".join(parts)), encoding="utf-8")
    print(f"wrote {args.output}")


def _histograms(potential: Any) -> dict[str, Any]:
    """Of distances, where the potential keeps them."""
    from ase_kan.types import pair_name

    if hasattr(potential, "function"):
        found = {pair_name(pair): potential.function(pair).coverage for pair in potential.pairs}
        return {name: coverage for name, coverage in found.items() if coverage is not None}
    return {pair_name(pair): coverage for pair, coverage in getattr(potential, "coverage", {}).items()}


def _outside(potential: Any) -> str:
    """Verdicts and figures of every pair."""
    from ase_kan.analysis.extrapolation import analyze
    from ase_kan.plots.extrapolation import plot_extrapolation
    from ase_kan.types import pair_name

    return "\n".join(
        f"<h3>{escape(pair_name(pair))}</h3><pre>{escape(str(found))}</pre>"
        + _image(plot_extrapolation(potential, pair=pair))
        for pair, found in analyze(potential).items()
    )


def _of_curve(potential: Any, curve: PairCurve) -> list[str]:
    """The curve with its fit, and how errors fall with the number of points."""
    from ase_kan.fit import fit
    from ase_kan.plots.fit import plot_fit

    pair = potential.pairs[0] if curve.elements is None else curve.elements
    parts = [_section("Fit and residuals", _image(plot_fit(potential, curve, pair)))]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(curve))
    sizes: list[int] = []
    errors: list[float] = []
    for part in PARTS:
        chosen = np.sort(order[: max(8, int(part * len(curve)))])
        if len(chosen) > len(curve) or (sizes and sizes[-1] == len(chosen)):
            continue
        result = fit(type(curve)(curve.r[chosen], curve.energy[chosen]), cutoff=potential.cutoff)
        sizes.append(len(chosen))
        errors.append(result.energy_rmse)
    return [*parts, _learning(sizes, errors, "points", "hold-out error of default fits (eV)")]


def _of_structures(potential: Any, structures: Structures) -> list[str]:
    """Parity, errors by group, and how errors of pair potentials fall with the number of structures."""
    from ase_kan.cli.evaluate import errors_by_group, table
    from ase_kan.cli.fit import parity
    from ase_kan.data.structures import Structures
    from ase_kan.fit import fit

    parts = [_section("Predicted and reference values", _image(parity(structures, potential)))]
    groups, outside = errors_by_group(potential, structures)
    told = [*table(groups), f"{outside} structures have atoms outside the data of the potential"]
    parts.append(_section("Errors", f"<pre>{escape(chr(10).join(told))}</pre>"))
    images = [sample.labelled() for sample in structures][:MOST_STRUCTURES]
    order = np.random.default_rng(0).permutation(len(images))
    held, used = order[: max(1, len(order) // 5)], order[max(1, len(order) // 5) :]
    sizes: list[int] = []
    errors: list[float] = []
    for part in PARTS:
        chosen = used[: max(2, int(part * len(used)))]
        if (sizes and sizes[-1] == len(chosen)) or len(chosen) < 2:
            continue
        result = fit(Structures([images[n] for n in chosen]), cutoff=potential.cutoff, validation=0)
        found, _ = errors_by_group(result.potential, Structures([images[n] for n in held]))
        force = np.concatenate([np.empty(0), *(f for group in found.values() for f in group.forces)])
        if force.size:
            sizes.append(len(chosen))
            errors.append(float(np.sqrt(np.mean(force**2))))
    return [*parts, _learning(sizes, errors, "structures", "force error of pair potentials on a fifth held out (eV/Å)")]


def _learning(sizes: list[int], errors: list[float], what: str, label: str) -> str:
    from ase_kan.plots.figures import KAN_COLOR, Figure

    if len(sizes) < 2:
        return ""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.loglog(sizes, errors, "o-", color=KAN_COLOR)
    axes.set(xlabel=f"{what} fitted", ylabel=label)
    return _section("Would more data help?", _image(figure))


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}"


def _image(figure: Any) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
