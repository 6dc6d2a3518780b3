"""Export for LAMMPS: a `pair_style table` file with a section per pair of elements.

LAMMPS interpolates tables of E and of F/r by cubic splines in r^2. Values that are evenly spaced in r^2 (``RSQ``), as
many as the pair style is told, and with the end that the pair coefficient names, are used as they are. The number of
values is doubled until those splines, built here as LAMMPS builds them (`pair_table.cpp`), are close enough. Where the
curvature of the potential jumps (a core that joins with one derivative), their error falls only with the first power
of the spacing: there the table is written as exact as it can be, and its error is told.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from ase.units import kcal, mol
from scipy.interpolate import CubicSpline

from ase_kan.data.files import replacing
from ase_kan.exports.pairs import ExportWarning, tables, without_data
from ase_kan.potentials.compiled import SplinePotential
from ase_kan.potentials.features import two_derivatives
from ase_kan.potentials.protocol import PairPotential, require_pair_potential
from ase_kan.types import Array, Pair, sorted_pair
from ase_kan.version import __version__
from ase_kan.warn import warn_user

#: LAMMPS's units, and eV in their unit of energy. All have lengths in Angstrom (``lj``: in sigma).
UNITS = {"metal": 1.0, "real": mol / kcal, "lj": 1.0}
ENERGY_NAMES = {"metal": "eV", "real": "kcal/mol", "lj": "epsilon"}
FIRST_VALUES, MOST_VALUES = 1024, 1 << 17
#: LAMMPS takes F/r for F in the slope at the inner end. What that spoils decays by a factor of 3.7 per value.
SPOILT = 32
DEFAULT_TOLERANCE = 1e-7
#: Places beside a break of the potential where the error is looked for, in spacings of the values.
NEAR_BREAK = np.linspace(-2.0, 2.0, 41)
#: Name of the section that stands for a pair without data.
NO_DATA = "NO-DATA"


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
    units : "metal", "real" or "lj"
        Of the LAMMPS input: eV, kcal/mol, or numbers as they are, which takes eV and Angstrom for epsilon and sigma.
    tol : float
        Largest error of LAMMPS's interpolation of energies and forces, relative to their scale
        (`scale.energy_scale`) plus value.

    Returns
    -------
    path, list of str
        The file with the commands, and the commands. Pairs of elements without data have none: LAMMPS says that a
        coefficient is missing. The file tells which they are, and has, as a comment, the command that stops LAMMPS
        only when such atoms meet.

    Raises
    ------
    TypeError
        For an embedded-atom potential, which `exports.eam` writes.
    ValueError
        For unknown units and elements, a tolerance that is not positive, or if there are no data for any pair.

    Warns
    -----
    ExportWarning
        If pairs are left out, or if `tol` cannot be met: the table is written, and its error told here and in it.
    """
    require_pair_potential(potential, "a LAMMPS table", "the export for eam/alloy and eam/fs, format 'eam'")
    if units not in UNITS:
        raise ValueError(f"units must be one of {', '.join(UNITS)}, got {units!r}")
    if not tol > 0:
        raise ValueError(f"tol must be positive, got {tol}")
    path = Path(path)
    compiled = tables(potential)
    types, missing = _types(compiled, elements)
    sections, n = _sections(compiled, list(dict.fromkeys(pair for _, pair in types)), tol)
    commands = [f"pair_style table spline {n}"]
    for number, pair in types:
        section = sections[pair]
        commands.append(f"pair_coeff {number} {path.name} {section.name} {section.r[-1]:.17g}")
    with replacing(path) as temporary:
        rows = [*_table(sections.values(), units, compiled.tolerance), *(_no_data(compiled.cutoff) if missing else ())]
        temporary.write_text("\n".join(rows) + "\n")
    order = "every type" if compiled.pairs == (None,) else ", ".join(
        f"type {k + 1} is {symbol}" for k, symbol in enumerate(elements or compiled.elements)
    )  # fmt: skip
    lines = [
        f"# {path.name} in LAMMPS, written by ase_kan {__version__}: {order}",
        f'# Use it with "units {units}", in the folder of the table:  include in.{path.stem}',
    ]
    if compiled.reference_energies:
        lone = ", ".join(f"{s} {e * UNITS[units]:.10g}" for s, e in sorted(compiled.reference_energies.items()))
        lines.append(f"# LAMMPS leaves out the energies of lone atoms ({ENERGY_NAMES[units]}): {lone}")
    lines += commands
    for number, pair in missing:
        lines += [
            f"# No data for {'-'.join(pair)}, so no coefficient. Give one of your own, or this one, with which LAMMPS",
            f'# stops ("Pair distance < table inner cutoff") when such atoms come within {compiled.cutoff:g}:',
            f"# pair_coeff {number} {path.name} {NO_DATA} {compiled.cutoff:.17g}",
        ]
    script = path.with_name(f"in.{path.stem}")
    with replacing(script) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    return script, commands


def _types(
    potential: PairPotential, elements: Sequence[str] | None
) -> tuple[list[tuple[str, Pair | None]], list[tuple[str, Pair]]]:
    """The type numbers of `pair_coeff` with the pair of elements; and those of the pairs that have no data."""
    if potential.pairs == (None,):
        return [("* *", None)], []
    symbols = list(elements or potential.elements)
    lacking = without_data(potential, symbols, "LAMMPS will ask for a coefficient of your own")
    present: list[tuple[str, Pair | None]] = []
    missing: list[tuple[str, Pair]] = []
    for (i, a), (j, b) in combinations_with_replacement(enumerate(symbols, 1), 2):
        pair = sorted_pair((a, b))
        if pair in lacking:
            missing.append((f"{i} {j}", pair))
        else:
            present.append((f"{i} {j}", pair))
    if not present:
        raise ValueError(f"the potential has no data for any pair of {', '.join(symbols)}: there is nothing to write")
    return present, missing


def _sections(
    potential: SplinePotential, pairs: list[Pair | None], tol: float
) -> tuple[dict[Pair | None, _Section], int]:
    """The tables and their number of values: the fewest whose error is within `tol`, else those of least error."""
    n, least = FIRST_VALUES, np.inf
    best: tuple[int, dict[Pair | None, _Section]] = n, {}
    while n <= MOST_VALUES:
        sections = {pair: _section(potential, pair, n) for pair in pairs}
        worst = max(section.error for section in sections.values())
        if worst < least:
            least, best = worst, (n, sections)
        if worst <= tol:
            return sections, n
        n *= 2
    n, sections = best
    name, error = max(((s.name, s.error) for s in sections.values()), key=lambda found: found[1])
    warn_user(
        f"tol={tol:g} is out of reach with {MOST_VALUES} values: LAMMPS's largest error is {error:.1e} ({name})",
        ExportWarning,
    )
    return sections, n


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
    h = x[1] - x[0]
    fresh = (x[SPOILT:-1, None] + h * np.array([0.2, 0.5, 0.8])).ravel()
    # Where the function is less smooth, the error is largest within a few values.
    rough = np.square(potential.breakpoints(pair))[:, None] + h * NEAR_BREAK
    fresh = np.concatenate([fresh, rough[(rough > x[SPOILT]) & (rough < x[-2])]])
    true_energy, true_slope, _ = values(np.sqrt(fresh))
    energy_error = np.abs(e_spline(fresh) - true_energy) / (spline.scale.energy + np.abs(true_energy))
    force_error = np.abs(f_spline(fresh) * np.sqrt(fresh) + true_slope) / (spline.scale.force + np.abs(true_slope))
    name = "EVERY_PAIR" if pair is None else "-".join(pair)
    return _Section(name, r, energy, force, ends, float(max(energy_error.max(), force_error.max())))


def _table(sections: Iterable[_Section], units: str, tolerance: float) -> Iterator[str]:
    date = datetime.date.today().isoformat()
    unit = UNITS[units]
    yield f"# DATE: {date} UNITS: {units} CONTRIBUTOR: ase_kan {__version__}"
    yield f"# Compiled to {tolerance:.0e}. Certified below: errors of LAMMPS's splines, relative to scale plus value."
    for s in sections:
        yield f"\n# {s.name}: {s.r[0]:.6g} to {s.r[-1]:.6g}, certified {s.error:.1e} (energy and force)"
        yield s.name
        ends = f"{s.ends[0] * unit:.17g} {s.ends[1] * unit:.17g}"
        yield f"N {len(s.r)} RSQ {s.r[0]:.17g} {s.r[-1]:.17g} FPRIME {ends}\n"
        for k, row in enumerate(zip(s.r, s.energy * unit, s.force * unit, strict=True), 1):
            yield f"{k} {row[0]:.17g} {row[1]:.17g} {row[2]:.17g}"


def _no_data(cutoff: float) -> list[str]:
    """A table of zeros that begins right at the cutoff: LAMMPS stops as soon as it would need it."""
    inner = cutoff * (1 - 1e-9)
    rows = [f"{k} {r:.17g} 0 0" for k, r in ((1, inner), (2, cutoff))]
    return ["\n# For pairs without data: LAMMPS stops when such atoms come closer", NO_DATA,
            f"N 2 RSQ {inner:.17g} {cutoff:.17g}\n", *rows]  # fmt: skip
