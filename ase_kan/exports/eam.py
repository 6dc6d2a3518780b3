"""Export for LAMMPS's pair styles `eam/alloy` and `eam/fs`: a setfl file, which other programs read as well.

The format is that of `potentials.setfl`, whose `Curve` also tells what LAMMPS will make of the values. Their number is
doubled until that is close enough to the potential. Energies of lone atoms are in F. Functions of distances go on for a
few values after the cutoff, so that LAMMPS's slopes before it know no end.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from ase.data import atomic_masses, atomic_numbers, reference_states
from torch import Tensor

from ase_kan.data.files import replacing
from ase_kan.exports.pairs import ExportWarning
from ase_kan.potentials.embedded_tables import goes_on_straight, least_distance
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.potentials.quintics import Function
from ase_kan.potentials.scale import Scale, energy_scale
from ase_kan.potentials.setfl import Curve
from ase_kan.types import Array
from ase_kan.version import __version__
from ase_kan.warn import warn_user

DEFAULT_TOLERANCE = 1e-7
#: LAMMPS converts these files for its units real.
UNITS = ("metal", "real")
FIRST_VALUES, MOST_VALUES = 4000, 1 << 17
#: Values after the cutoff, and after the densities of the data.
BEYOND = 4
#: Steps beside the ends of the data, where the curvature of F jumps, and beside the smallest distance whose errors are
#: not looked at: LAMMPS's slopes there come from both sides.
SPOILT = 3
#: Where, within a step, errors are looked for.
FRESH = np.array([0.2, 0.5, 0.8])
#: Densities at which the size of F is looked for.
SAMPLES = 97
#: A density is negative if it is by more than this part of the width of the data.
NEGATIVE = 1e-6

Found = TypeVar("Found")


def write_table(
    potential: EmbeddedAtomPotential,
    path: str | os.PathLike[str],
    elements: Sequence[str] | None = None,
    units: str = "metal",
    tol: float = DEFAULT_TOLERANCE,
) -> tuple[Path, list[str]]:
    """Write ``path`` with the functions and ``in.<name>`` beside it with the commands that use them.

    Parameters
    ----------
    potential : EmbeddedAtomPotential
        With one channel. If the density that an atom gives depends on that atom alone, the file is one of `eam/alloy`,
        else of `eam/fs`.
    path : path
        E.g. ``cu.eam.alloy``; the commands go to ``in.cu.eam``.
    elements : sequence of str, optional
        The element of each LAMMPS atom type, in order; default the potential's, in alphabetical order.
    units : "metal" or "real"
        Of the LAMMPS input. The file is the same: LAMMPS converts it.
    tol : float
        Largest error of LAMMPS's interpolation, of each function and its slope, relative to their scale plus value.

    Returns
    -------
    path, list of str
        The file with the commands, and the commands.

    Raises
    ------
    TypeError
        For a pair potential, which `exports.lammps` writes.
    ValueError
        For several channels, densities of both signs, unknown units and elements, or a tolerance that is not positive.

    Warns
    -----
    ExportWarning
        If `tol` cannot be met, or F is no straight line beyond the densities of the data, as LAMMPS takes it to be.
    """
    if not isinstance(potential, EmbeddedAtomPotential):
        raise TypeError("an EAM file holds an embedded-atom potential: write a pair potential with format 'lammps'")
    if units not in UNITS:
        raise ValueError(f"units must be one of {', '.join(UNITS)}, got {units!r}")
    if not tol > 0:
        raise ValueError(f"tol must be positive, got {tol}")
    if potential.channels != 1:
        raise ValueError(
            f"an EAM file has one density per atom, and the potential has {potential.channels} channels: "
            "fit it with one, or use KANCalculator"
        )
    path, types = Path(path), list(elements or potential.elements)
    for symbol in types:
        if symbol not in potential.elements:
            raise ValueError(f"the potential does not know {symbol}: it was fitted for {', '.join(potential.elements)}")
    symbols = sorted(set(types))
    sign = _sign(potential, symbols)
    drho, embeddings, embedding_error = _embeddings(potential, symbols, sign, tol)
    dr, densities, products, pair_error = _functions(potential, symbols, sign, tol)
    worst = max(embedding_error, pair_error)
    if worst > tol:
        warn_user(
            f"tol={tol:g} is out of reach with {MOST_VALUES} values: LAMMPS's largest error is {worst:.1e}",
            ExportWarning,
        )
    alloy = all(np.array_equal(densities[a, b], densities[b, b]) for a, b in densities)
    style = "eam/alloy" if alloy else "eam/fs"
    today = datetime.date.today().isoformat()
    lines = [
        f"# DATE: {today} UNITS: metal CONTRIBUTOR: ase_kan {__version__}",
        f"# For pair_style {style}. Errors of LAMMPS's interpolation, relative to scale plus value: {pair_error:.1e}",
        f"# (functions of distances) and {embedding_error:.1e} (of densities). Energies of lone atoms are in F.",
        f"{len(symbols)} {' '.join(symbols)}",
        f"{len(embeddings[symbols[0]])} {drho:.17g} {len(products[symbols[0], symbols[0]])} {dr:.17g} "
        f"{potential.cutoff:.17g}",
    ]
    for b in symbols:
        z = atomic_numbers[b]
        lattice = reference_states[z] or {}
        lines.append(f"{z} {atomic_masses[z]:.6g} {lattice.get('a') or 0.0:.6g} {lattice.get('symmetry') or 'none'}")
        lines += _numbers(embeddings[b])
        for a in [b] if alloy else symbols:
            lines += _numbers(densities[a, b])
    for k, a in enumerate(symbols):
        for b in symbols[: k + 1]:
            lines += _numbers(products[b, a])
    commands = [f"pair_style {style}", f"pair_coeff * * {path.name} {' '.join(types)}"]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    script = path.with_name(f"in.{path.stem}")
    heading = [
        f"# {path.name} in LAMMPS, written by ase_kan {__version__}",
        f'# Use it with "units {units}", in the folder of the file:  include {script.name}',
    ]
    with replacing(script) as temporary:
        temporary.write_text("\n".join([*heading, *commands]) + "\n")
    return script, commands


def _sign(potential: EmbeddedAtomPotential, symbols: Sequence[str]) -> float:
    """-1 if all densities are negative. Only the sign of f is free, with that of F's argument: no shift of rho is."""
    domains = {symbol: potential.density_domain(symbol) for symbol in symbols}
    for sign in (1.0, -1.0):
        if all(min(sign * low, sign * high) >= -NEGATIVE * (high - low) for low, high in domains.values()):
            return sign
    told = ", ".join(f"{symbol} {low:.4g} to {high:.4g}" for symbol, (low, high) in domains.items())
    raise ValueError(
        f"EAM files have F for positive densities only, and those of the data have both signs ({told}): fit with "
        "densities of one sign, or use KANCalculator"
    )


def _embeddings(
    potential: EmbeddedAtomPotential, symbols: Sequence[str], sign: float, tol: float
) -> tuple[float, dict[str, Array], float]:
    """The step of densities, F of each element with the energy of a lone atom, and the largest error."""
    domains = {s: sorted(sign * end for end in potential.density_domain(s)) for s in symbols}
    most = max(high for _, high in domains.values())

    def embedding(density: Tensor, element: str) -> Tensor:
        return potential.embedding(sign * density, element)

    for symbol, (low, high) in domains.items():
        if not goes_on_straight(partial(embedding, element=symbol), most, 1.0, high - low, tol):
            warn_user(
                f"F of {symbol} is no straight line beyond the density {most:.4g}: LAMMPS takes it for one",
                ExportWarning,
            )

    def values(n: int) -> tuple[float, dict[str, Array], float]:
        step = most / (n - 1 - BEYOND)
        places: Array = np.arange(float(n)) * step
        found, worst = {}, 0.0
        for symbol in symbols:
            function = partial(embedding, element=symbol)
            bare = _values(function, places)
            found[symbol] = bare + potential.reference_energies.get(symbol, 0.0)
            low, high = domains[symbol]
            size = float(np.ptp(_values(function, np.linspace(low, high, SAMPLES)))) or 1.0
            scale = Scale(size, size / ((high - low) or 1.0))
            fresh = _fresh(0.0, most, step, [end for end in (low, high) if end > 0])
            # Relative to F itself, which the energy of a lone atom may be far larger than.
            worst = max(worst, _error(Curve.through(bare, step), fresh, *value_and_slope(function, fresh), scale))
        return step, found, worst

    return _fewest(values, tol)


def _functions(
    potential: EmbeddedAtomPotential, symbols: Sequence[str], sign: float, tol: float
) -> tuple[float, dict[tuple[str, str], Array], dict[tuple[str, str], Array], float]:
    """The step of distances, f at each atom of each neighbor, r phi of each pair in order, and the largest error."""
    cutoff = potential.cutoff

    def values(n: int) -> tuple[float, tuple[dict[tuple[str, str], Array], dict[tuple[str, str], Array]], float]:
        step = cutoff / (n - 1 - BEYOND)
        r: Array = np.arange(float(n)) * step
        densities, products, worst = {}, {}, 0.0
        for a in symbols:
            for b in symbols:
                pair = (min(a, b), max(a, b))
                low, high = potential.domain(pair)
                own = potential.breakpoints(pair)[-1]
                start = least_distance(low, own)
                fresh = _fresh(start, min(own, cutoff), step, [start, own] if own < cutoff else [start])

                def density(x: Tensor, a: str = a, b: str = b) -> Tensor:
                    return sign * potential.density(x, a, b)

                densities[a, b] = _continued(density, r, start, own, own == cutoff)
                curve = Curve.through(densities[a, b], step)
                scale = energy_scale(density, low, min(high, own))
                worst = max(worst, _error(curve, fresh, *value_and_slope(density, fresh), scale))
                if (a, b) != pair:
                    continue

                def product(x: Tensor, pair: tuple[str, str] = pair) -> Tensor:
                    return x * potential.pair_energy(x, pair)

                products[pair] = _continued(product, r, start, own, own == cutoff)
                phi = partial(potential.pair_energy, pair=pair)
                curve = Curve.through(products[pair], step)
                scale = energy_scale(phi, low, min(high, own))
                energy = partial(_quotient, curve)
                worst = max(worst, _error(energy, fresh, *value_and_slope(phi, fresh), scale))
        return step, (densities, products), worst

    step, (densities, products), worst = _fewest(values, tol)
    return step, densities, products, worst


def _quotient(curve: Curve, r: Tensor) -> Tensor:
    return curve(r) / r


def _fewest(values: Callable[[int], tuple[float, Found, float]], tol: float) -> tuple[float, Found, float]:
    """What as few values as possible give with an error within `tol`, else what has the least error."""
    n = FIRST_VALUES
    best = values(n)
    while best[2] > tol and 2 * n <= MOST_VALUES:
        n *= 2
        best = min(best, values(n), key=lambda found: found[2])
    return best


def _values(function: Function, x: Array) -> Array:
    with torch.no_grad():
        found: Array = function(torch.from_numpy(x)).numpy()
    if not np.isfinite(found).all():
        raise ValueError(f"a function of the potential is not finite at {x[~np.isfinite(found)][0]:.6g}")
    return found


def _continued(function: Function, r: Array, start: float, cutoff: float, goes_on: bool) -> Array:
    """Values at distances; straight on below `start`, and from the cutoff on zero, or a parabola if it `goes_on`."""
    inside = r[(r >= start) & (r < cutoff)]
    last, near = cutoff * (1 - 1e-9), cutoff * (1 - 1e-4)
    value, slope = value_and_slope(function, np.array([start, last, near]))
    before, after = r[r < start] - start, r[r >= cutoff] - last
    curvature = (slope[1] - slope[2]) / (last - near)
    parabola = value[1] + slope[1] * after + curvature / 2 * after**2
    return np.concatenate(
        [value[0] + slope[0] * before, _values(function, inside), parabola if goes_on else np.zeros(len(after))]
    )


def _fresh(start: float, end: float, step: float, spoilt: Sequence[float]) -> Array:
    """Places between values, but not beside those where the error is not looked at."""
    steps = np.arange(np.floor(start / step), np.ceil(end / step))
    places = ((steps[:, None] + FRESH) * step).ravel()
    keep = (places > start) & (places < end)
    for place in spoilt:
        keep &= np.abs(places - place) > SPOILT * step
    found: Array = places[keep]
    return found


def _error(curve: Function, x: Array, value: Array, slope: Array, scale: Scale) -> float:
    there, rise = value_and_slope(curve, x)
    return float(
        max(
            (np.abs(there - value) / (scale.energy + np.abs(value))).max(),
            (np.abs(rise - slope) / (scale.force + np.abs(slope))).max(),
        )
    )


def _numbers(values: Array) -> Iterator[str]:
    for k in range(0, len(values), 5):
        yield " ".join(f"{value:.17g}" for value in values[k : k + 5])
