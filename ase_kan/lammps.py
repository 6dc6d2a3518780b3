"""Export for LAMMPS: a `pair_style table` file with a section per pair of elements.

LAMMPS interpolates tables of E and of F/r by cubic splines in r^2. Values that are evenly spaced in r^2 (``RSQ``), as
many as the pair style is told, and with the end that the pair coefficient names, are used as they are. The number of
values is doubled until those splines, built here as LAMMPS builds them (`pair_table.cpp`), are close enough.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from ase_kan import __version__
from ase_kan.features import Array, two_derivatives
from ase_kan.files import replacing
from ase_kan.potential import Pair, PairPotential
from ase_kan.splines import SplinePotential, compile_once

UNITS = ("metal", "lj")
FIRST_VALUES, MOST_VALUES = 1024, 1 << 17
#: LAMMPS takes F/r for F in the slope at the inner end. What that spoils decays by a factor of 3.7 per value.
SPOILT = 32
DEFAULT_TOLERANCE = 1e-7


@dataclass(frozen=True)
class _Section:
    """The values of one pair: (n,) distances, energies and forces, and dF/dr at both ends."""

    name: str
    r: Array
    energy: Array
    force: Array
    ends: tuple[float, float]
    error: float


def write_table(
    potential: PairPotential,
    path: str | os.PathLike[str],
    elements: Sequence[str] | None = None,
    units: str = "metal",
    tol: float = DEFAULT_TOLERANCE,
) -> tuple[Path, list[str]]:
    """Write ``path`` with the tables and ``in.<name>`` beside it with the commands that use them.

    Parameters
    ----------
    potential : PairPotential
        Its compiled form is tabulated, which is what `KANCalculator` evaluates.
    path : path
        The table file, e.g. ``ar.table``; the commands go to ``in.ar``.
    elements : sequence of str, optional
        The element of each LAMMPS atom type, in order; default the potential's, in alphabetical order. For a
        potential that serves every pair of elements, one section serves all types.
    units : "metal" or "lj"
        Of the LAMMPS input. Numbers are the same in both: ``lj`` takes eV and Angstrom for epsilon and sigma.
    tol : float
        Largest error of LAMMPS's interpolation of energies and forces, relative to well depth (over distance)
        plus value.

    Returns
    -------
    path, list of str
        The file with the commands, and the commands.

    Raises
    ------
    ValueError
        For unknown units, elements or pairs, or if `tol` cannot be met.
    """
    if units not in UNITS:
        raise ValueError(f"units must be one of {', '.join(UNITS)}, got {units!r}")
    path = Path(path)
    compiled = potential if isinstance(potential, SplinePotential) else compile_once(potential)
    types = _types(compiled, elements)
    n = FIRST_VALUES
    while True:
        sections = {pair: _section(compiled, pair, n) for pair in dict.fromkeys(pair for _, pair in types)}
        worst = max(section.error for section in sections.values())
        if worst <= tol:
            break
        n *= 2
        if n > MOST_VALUES:
            raise ValueError(
                f"tol={tol:g} is out of reach with {MOST_VALUES} values: the error is {worst:.1e}; give a larger tol"
            )
    commands = [f"pair_style table spline {n}"]
    for number, pair in types:
        section = sections[pair]
        commands.append(f"pair_coeff {number} {path.name} {section.name} {section.r[-1]:.17g}")
    with replacing(path) as temporary:
        temporary.write_text("\n".join(_table(sections.values(), units, compiled.tolerance)))
    order = "every type" if compiled.pairs == (None,) else ", ".join(
        f"type {k + 1} is {symbol}" for k, symbol in enumerate(elements or compiled.elements)
    )  # fmt: skip
    lines = [
        f"# {path.name} in LAMMPS, written by ase_kan {__version__}: {order}",
        f'# Use it with "units {units}", in the folder of the table:  include in.{path.stem}',
        *commands,
    ]
    if compiled.reference_energies:
        lone = ", ".join(f"{s} {e:.10g}" for s, e in sorted(compiled.reference_energies.items()))
        lines.insert(2, f"# LAMMPS leaves out the energies of lone atoms (eV): {lone}")
    script = path.with_name(f"in.{path.stem}")
    with replacing(script) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    return script, commands


def _types(potential: PairPotential, elements: Sequence[str] | None) -> list[tuple[str, Pair | None]]:
    """The type numbers of `pair_coeff`, and the pair of elements."""
    if potential.pairs == (None,):
        return [("* *", None)]
    symbols = list(elements or potential.elements)
    pairs = list(combinations_with_replacement(enumerate(symbols, 1), 2))
    for (_, a), (_, b) in pairs:
        potential.domain((a, b))  # says which are unknown
    return [(f"{i} {j}", (min(a, b), max(a, b))) for (i, a), (j, b) in pairs]


def _section(potential: SplinePotential, pair: Pair | None, n: int) -> _Section:
    spline = potential.spline(pair)
    # The inner end is that of our own table, and a little more for what LAMMPS spoils.
    cutoff2 = spline.cutoff**2
    start = spline.start - SPOILT * (cutoff2 - spline.start) / n
    start = max(start, spline.start / 4)
    x = np.linspace(start, cutoff2, n)
    r = np.sqrt(x)
    # The cutoff itself is no more within reach: its values are those just inside.
    inside = np.append(r[:-1], spline.cutoff * (1 - 1e-12))

    def values(r: Array) -> tuple[Array, Array, Array]:
        return two_derivatives(lambda x: potential(x, pair), r)

    energy, slope, curvature = values(inside)
    r[-1] = spline.cutoff
    # LAMMPS's own splines, on fresh distances.
    force = -slope
    scaled, ends = force / r, (-curvature[0], -curvature[-1])
    e_spline = CubicSpline(x, energy, bc_type=((1, -scaled[0] / (2 * r[0])), (1, -scaled[-1] / (2 * r[-1]))))
    f_ends = [(ends[k] / r[k] - scaled[k] / x[k]) / (2 * r[k]) for k in (0, -1)]
    f_spline = CubicSpline(x, scaled, bc_type=((1, f_ends[0]), (1, f_ends[1])))
    fresh = (x[SPOILT:-1, None] + np.diff(x)[SPOILT:, None] * np.array([0.2, 0.5, 0.8])).ravel()
    true_energy, true_slope, _ = values(np.sqrt(fresh))
    depth = float(-energy.min()) if energy.min() < 0 else float(np.abs(energy).max())
    scale = depth / float(r[np.abs(energy).argmax() if energy.min() >= 0 else energy.argmin()])
    energy_error = np.abs(e_spline(fresh) - true_energy) / (depth + np.abs(true_energy))
    force_error = np.abs(f_spline(fresh) * np.sqrt(fresh) + true_slope) / (scale + np.abs(true_slope))
    name = "EVERY_PAIR" if pair is None else "-".join(pair)
    return _Section(name, r, energy, force, ends, float(max(energy_error.max(), force_error.max())))


def _table(sections: Iterable[_Section], units: str, tolerance: float) -> Iterator[str]:
    date = datetime.date.today().isoformat()
    yield f"# DATE: {date} UNITS: {units} CONTRIBUTOR: ase_kan {__version__}"
    yield f"# Compiled to {tolerance:.0e}. Certified below: errors of LAMMPS's splines, relative to depth plus value."
    for s in sections:
        yield f"\n# {s.name}: {s.r[0]:.6g} to {s.r[-1]:.6g}, certified {s.error:.1e} (energy and force)"
        yield s.name
        yield f"N {len(s.r)} RSQ {s.r[0]:.17g} {s.r[-1]:.17g} FPRIME {s.ends[0]:.17g} {s.ends[1]:.17g}\n"
        for k, row in enumerate(zip(s.r, s.energy, s.force, strict=True), 1):
            yield f"{k} {row[0]:.17g} {row[1]:.17g} {row[2]:.17g}"
    yield ""
