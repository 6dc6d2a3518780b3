"""What the exporters share: the tables they start from, the pairs they leave out, and how they say so."""

from __future__ import annotations

from collections.abc import Iterable

from ase_kan.potentials.compiled import SplinePotential
from ase_kan.potentials.protocol import PairPotential, missing_pairs
from ase_kan.potentials.quintics import DEFAULT_TOLERANCE
from ase_kan.potentials.tables import tabulate, tabulate_once
from ase_kan.types import Pair, sorted_pair
from ase_kan.warn import warn_user

#: Tolerances of the tables of a potential that is too rough for the default one.
COARSER = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


class ExportWarning(UserWarning):
    """An export lacks a pair, or is less exact than it was asked to be."""


def tables(potential: PairPotential) -> SplinePotential:
    """The compiled form of a potential, at the smallest tolerance that can be met; a warning if that is not 1e-8."""
    if isinstance(potential, SplinePotential):
        return potential
    try:
        return tabulate_once(potential)
    except ValueError as error:
        reason = error
    for tol in COARSER:
        try:
            compiled = tabulate(potential, tol)
        except ValueError as error:
            reason = error
            continue
        warn_user(
            f"the potential is too rough for tables with errors of {DEFAULT_TOLERANCE:g}: those here have {tol:g}",
            ExportWarning,
        )
        return compiled
    raise reason


def without_data(potential: PairPotential, symbols: Iterable[str], consequence: str) -> list[Pair]:
    """Pairs of these elements that the potential has no function for; a warning names them, and what comes of it.

    Raises
    ------
    ValueError
        For elements that the potential does not know at all.
    """
    present = sorted(set(symbols))
    for symbol in present:
        if symbol not in potential.elements:
            known = ", ".join(potential.elements)
            raise ValueError(f"the potential does not know {symbol}: it was fitted for {known}")
    lacking = [pair for pair in missing_pairs(potential) if set(pair) <= set(present)]
    if lacking:
        warn_user(
            f"the potential has no data for {', '.join(map('-'.join, lacking))}, which is left out: {consequence}",
            ExportWarning,
        )
    return lacking


def is_missing(potential: PairPotential, pair: Pair | None) -> bool:
    """Whether both elements of a pair are known, but their pair is not."""
    return pair is not None and sorted_pair(pair) in missing_pairs(potential)
