"""What the file of a law must contain: checked as those of other potentials (module `schema`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ase_kan.potentials.formula import NUMBERS
from ase_kan.potentials.schema import (
    DISTANCE,
    LARGEST,
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

#: The entry of a header that says what a file holds, its value for laws, and the array that these have.
KIND, LAW, FACTOR = "kind", "law", "factor"
MOST_TERMS, MOST_MODES, MOST_ALTERNATIVES = 20, 100, 100
#: Coefficients in eV Angstrom^n may be large: those of steep powers are.
LARGEST_COEFFICIENT = 1e200


def check(header: Any, tensors: Mapping[str, Tensor]) -> None:
    """Check the header and the array of a file.

    Raises
    ------
    ValueError
        In one line, with the place in the header or the name of the array.
    """
    if not isinstance(header, dict) or header.get(KIND) != LAW:
        raise ValueError("it holds no law: use load_potential, KANPotential.load or KANEAM.load")
    HEADER(header, "header")
    if tensors.keys() != {FACTOR}:
        raise ValueError(f"a law has one array, {FACTOR}, got {', '.join(sorted(tensors)) or 'none'}")
    factor, wanted = tensors[FACTOR], (len(header["terms"]), len(NUMBERS))
    good = factor.dtype == torch.float64 and factor.ndim == 3 and tuple(factor.shape[:2]) == wanted
    if not good or not 1 <= factor.shape[2] <= MOST_MODES:
        raise ValueError(f"the array {FACTOR} must be float64 of shape {(*wanted, 'modes')}, got {tuple(factor.shape)}")
    if not bool(factor.isfinite().all()):
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
)
