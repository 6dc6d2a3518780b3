"""What the file of a law must contain: checked as those of other potentials (module `schema`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_kan.potentials import table_schema
from ase_kan.potentials.checks import (
    DISTANCE,
    KIND,
    LARGEST,
    LAW,
    lone_atoms,
    number,
    one_of,
    or_none,
    record,
    remembered,
    sequence,
    symbol,
    text,
)

#: The array of a law.
FACTOR = "factor"
MOST_TERMS, MOST_MODES, MOST_ALTERNATIVES = 20, 100, 100
#: Numbers of a term that may have errors, in the order of the rows of a posterior.
NUMBERS = ("coefficient", "power", "rate", "gauss", "damping")
#: Coefficients in eV Angstrom^n may be large: those of steep powers are.
LARGEST_COEFFICIENT = 1e200


def check(header: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check the header and the array of a file.

    Raises
    ------
    ValueError
        In one line, with the place in the header or the name of the array.
    """
    if not isinstance(header, dict) or header.get(KIND) != LAW:
        raise ValueError("it holds no law: use load_potential, KANPotential.load or KANEAM.load")
    HEADER(header, "header")
    arrays = table_schema.checked(header, arrays, 1, 2)
    if arrays.keys() != {FACTOR}:
        raise ValueError(f"a law has one array, {FACTOR}, got {', '.join(sorted(arrays)) or 'none'}")
    factor, wanted = arrays[FACTOR], (len(header["terms"]), len(NUMBERS))
    good = factor.dtype == np.float64 and factor.ndim == 3 and factor.shape[:2] == wanted
    if not good or not 1 <= factor.shape[2] <= MOST_MODES:
        raise ValueError(f"the array {FACTOR} must be float64 of shape {(*wanted, 'modes')}, got {factor.shape}")
    if not np.isfinite(factor).all():
        raise ValueError(f"the array {FACTOR} has NaN or infinite numbers")


SHAPE = number(-1e4, 1e4)
TERM = record(
    coefficient=number(-LARGEST_COEFFICIENT, LARGEST_COEFFICIENT),
    power=SHAPE,
    rate=SHAPE,
    gauss=SHAPE,
    damping=or_none(number(1 / LARGEST, 1e4)),
)
TERMS = sequence(TERM, 1, MOST_TERMS)
HEADER = record(
    (table_schema.TABLES,),
    ase_kan=text,
    kind=one_of(LAW),
    terms=TERMS,
    domain=sequence(DISTANCE, 2, 2),
    cutoff=record(radius=DISTANCE, onset=or_none(DISTANCE)),
    elements=or_none(sequence(symbol, 2, 2)),
    alternatives=sequence(record(weight=number(0, 1), terms=TERMS), 0, MOST_ALTERNATIVES),
    trusted=one_of(False, True),
    reference_energies=lone_atoms,
    info=remembered,
    tables=table_schema.HEADER,
)
