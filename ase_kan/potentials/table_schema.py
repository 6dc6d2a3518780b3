"""What the tables of a compiled potential must be that stand in its file (module `stored`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_kan.potentials.checks import (
    DISTANCE,
    ENERGY,
    LARGEST,
    MOST_PAIRS,
    finite,
    number,
    one_of_range,
    or_none,
    record,
    refuse,
    sequence,
    symbol,
    text,
)

#: The entry of the header, and how the names of the arrays begin.
TABLES, PREFIX = "tables", "tables."
MOST_ROWS, MOST_BREAKS, MOST_EMBEDDINGS = 1 << 16, 100_000, 118 * 20
COEFFICIENTS = 8


def ascending(value: Any, where: str) -> None:
    """Two numbers, the smaller first."""
    sequence(ENERGY, 2, 2)(value, where)
    if not value[0] <= value[1]:
        refuse(value, where, "must be two numbers, the smaller first")


def checked(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], distances: int, dimensions: int
) -> dict[str, NDArray[Any]]:
    """The arrays that are none of tables. `ValueError` if the tables are not what the header says.

    Parameters
    ----------
    header : mapping
        Of the file; its ``"tables"`` have been checked.
    arrays : mapping of str to ndarray
    distances : int
        How many tables there are of distances.
    dimensions : int
        Of the rows of these.
    """
    mine = {name: array for name, array in arrays.items() if name.startswith(PREFIX)}
    known = header.get(TABLES)
    if known is not None:
        if len(known["distances"]) != distances:
            raise ValueError(f"header.tables.distances must be {distances} tables, got {len(known['distances'])}")
        for kind, wanted in (("distances", dimensions), ("densities", 3)):
            for n, table in enumerate(known[kind]):
                name = f"{PREFIX}{kind}.{n}"
                rows = mine.pop(name, None)
                if rows is None:
                    raise ValueError(f"the array {name} is missing")
                _check_rows(name, rows, wanted)
                if len(table["at"]) != len(table["change"]):
                    raise ValueError(f"header.tables.{kind}[{n}] must have a change at each break")
    for name in sorted(mine):
        raise ValueError(f"the array {name} is unknown")
    return {name: array for name, array in arrays.items() if not name.startswith(PREFIX)}


def _check_rows(name: str, rows: NDArray[Any], dimensions: int) -> None:
    shaped = rows.ndim == dimensions and 0 < len(rows) <= MOST_ROWS and rows.shape[-1] == COEFFICIENTS
    if rows.dtype != np.float64 or not shaped or 0 in rows.shape:
        raise ValueError(f"the array {name} must be float64 rows of {COEFFICIENTS}, got {rows.dtype} {rows.shape}")
    finite(name, rows)


_ERRORS = sequence(sequence(number(0, LARGEST), 2, 2), 1, 1000)
_MAP = {
    "start": ENERGY,
    "slope": number(0, LARGEST),
    "at": sequence(ENERGY, 0, MOST_BREAKS),
    "change": sequence(ENERGY, 0, MOST_BREAKS),
    "errors": _ERRORS,
    "scales": _ERRORS,
}
_GAPS = sequence(ascending, 0, 1000)
HEADER = or_none(
    record(
        tolerance=number(0, 1),
        description=text,
        distances=sequence(
            record(
                elements=or_none(sequence(symbol, 2, 2)),
                end=DISTANCE,
                domain=ascending,
                gaps=_GAPS,
                breakpoints=sequence(DISTANCE, 1, MOST_BREAKS),
                **_MAP,
            ),
            1,
            MOST_PAIRS,
        ),
        densities=sequence(
            record(
                element=symbol,
                channel=one_of_range(0, 19),
                end=ENERGY,
                limits=sequence(or_none(ENERGY), 2, 2),
                domain=ascending,
                gaps=_GAPS,
                breakpoints=sequence(ENERGY, 0, MOST_BREAKS),
                **_MAP,
            ),
            0,
            MOST_EMBEDDINGS,
        ),
    )
)
