"""What a model file must contain: checked at the door, before anything is built from it.

Every entry of the header has a known type and range, nothing is missing and nothing is unknown; the arrays are those
that the header calls for, finite, with ascending knots. Each check takes a value and its place in the header, and
raises a `ValueError` of one line that names the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_kan.kan.sizes import BASES, MOST_LAYERS
from ase_kan.potentials import table_schema
from ase_kan.potentials.checks import (
    DISTANCE,
    EMBEDDED,
    ENERGY,
    FARTHEST_DISTANCE,
    KIND,
    LARGEST,
    LAW,
    MOST_PAIRS,
    Check,
    finite,
    lone_atoms,
    number,
    one_of,
    one_of_range,
    or_none,
    record,
    refuse,
    remembered,
    sequence,
    short,
    symbol,
    text,
)
from ase_kan.potentials.features import FEATURES

#: A core (r0/r)^n with a larger n overflows at distances that atoms may reach.
STEEPEST_CORE = 100.0
#: An exponential with a larger rate overflows at r = 0.
STEEPEST_RATE = 500.0
#: Most cells of a histogram.
MOST_COUNTS = 1000
#: Most rows of the factor of a posterior, and its name.
MOST_ROWS, FACTOR = 1_000_000, "posterior.factor"


def check(header: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check the header and the arrays of a model file.

    Raises
    ------
    ValueError
        In one line, with the place in the header or the name of the array.
    """
    if isinstance(header, dict) and header.get(KIND) == EMBEDDED:
        raise ValueError("it holds an embedded-atom potential, not a pair potential: use KANEAM.load")
    if isinstance(header, dict) and header.get(KIND) == LAW:
        raise ValueError("it holds a law, not a KAN: use LawPotential.load")
    HEADER(header, "header")
    expected: dict[str, int] = {}
    for place, entry in enumerate(header["pairs"]):
        expected |= _arrays(f"functions.{place}.", entry)
        if function := (entry.get("baseline") or {}).get("function"):
            expected |= _arrays(f"functions.{place}.baseline.", function)
    if (known := header.get("posterior")) is not None:
        expected[FACTOR] = 2
        _check_posterior(known, header, arrays.get(FACTOR))
    arrays = table_schema.checked(header, arrays, len(header["pairs"]), 2)
    for name in sorted(expected.keys() ^ arrays.keys()):
        raise ValueError(f"the array {name} is {'missing' if name in expected else 'unknown'}")
    for name, dimensions in expected.items():
        array = arrays[name]
        if array.dtype not in (np.float64, np.float32) or array.ndim != dimensions or 0 in array.shape:
            found = f"{array.dtype} of shape {array.shape}"
            raise ValueError(f"the array {name} must have {dimensions} dimensions of float64, got {found}")
        finite(name, array)
        if name.endswith(".grid") and not ((np.diff(array) >= 0).all() and (array[:, -1] > array[:, 0]).all()):
            raise ValueError(f"the knots {name} must ascend")


def _arrays(prefix: str, entry: Mapping[str, Any]) -> dict[str, int]:
    """Names and dimensions of the arrays of a pair function."""
    layers = range(len(entry["bases"]))
    return {f"{prefix}network.layers.{n}.{name}": dimensions for n in layers for name, dimensions in ARRAYS.items()}


def _check_posterior(known: Mapping[str, Any], header: Mapping[str, Any], factor: NDArray[Any] | None) -> None:
    """Whether a posterior goes with the pairs and its array."""
    pairs = known["pairs"]
    if len(pairs) != len(header["pairs"]):
        raise ValueError(f"header.posterior has {len(pairs)} pairs, and the potential {len(header['pairs'])}")
    rows = 0
    for place, (pair, function) in enumerate(zip(pairs, header["pairs"], strict=True)):
        where = f"header.posterior.pairs[{place}]"
        if not pair["low"] < pair["high"]:
            raise ValueError(f"{where} must have low below high")
        if pair["at"] != rows:
            raise ValueError(f"{where}.at must be {rows}, got {short(pair['at'])}")
        for end in ("core", "tail"):
            if any(not law["added"] for law in pair[end] or ()) and function.get(end) is None:
                raise ValueError(f"{where}.{end} has laws, and the function has no {end}")
        rows += pair["cells"] + pair["k"]
    rows += len(known["lone"])
    if factor is not None and (factor.ndim != 2 or factor.shape[0] != rows or factor.shape[1] > MOST_COUNTS):
        raise ValueError(f"the array {FACTOR} must have {rows} rows, got shape {factor.shape}")


def residuals(value: Any, where: str) -> None:
    """Errors by property."""
    if not isinstance(value, dict) or not value.keys() <= {"energy", "forces", "virial"}:
        refuse(value, where, "must be an object of energy, forces and virial")
    for key, error in value.items():
        number(0, LARGEST)(error, f"{where}.{key}")


def continuation(steepest: float) -> Check:
    """A core or a tail."""
    term = sequence(number(-LARGEST, LARGEST), 2, 2)

    def check_term(value: Any, where: str) -> None:
        term(value, where)
        number(1 / LARGEST, steepest)(value[1], f"{where}[1]")

    def check_rate(value: Any, where: str) -> None:
        term(value, where)
        # exp(rate) is finite at r = 0.
        number(-LARGEST, STEEPEST_RATE)(value[1], f"{where}[1]")

    def check_blend(value: Any, where: str) -> None:
        sequence(DISTANCE, 2, 2)(value, where)
        if not value[0] < value[1]:
            refuse(value, where, "must be two distances, the shorter first")

    return record(
        ("exponentials", "blend"),  # files of format 2 have neither
        joint=DISTANCE,
        terms=sequence(check_term, 0, 8),
        exponentials=sequence(check_rate, 0, 8),
        blend=or_none(check_blend),
        constant=ENERGY,
        slope=ENERGY,
        charges=or_none(sequence(one_of(*range(1, 119)), 2, 2)),
        order=one_of(1, 2),
    )


def coverage(value: Any, where: str) -> None:
    """A histogram of distances."""
    HISTOGRAM(value, where)
    edges, counts = value["edges"], value["counts"]
    if len(edges) != len(counts) + 1 or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(f"{where}.edges must be ascending distances, one more than there are counts")


def scale(value: Any, where: str) -> None:
    """A number that can be divided by."""
    ENERGY(value, where)
    if abs(value) < 1 / LARGEST:
        refuse(value, where, f"must be {1 / LARGEST:g} or more in size")


AFFINE = record(shift=ENERGY, scale=scale)
HISTOGRAM = record(edges=sequence(DISTANCE, 2, MOST_COUNTS + 1), counts=sequence(number(0, LARGEST), 1, MOST_COUNTS))
#: Number of dimensions of the arrays of a layer.
ARRAYS = {"grid": 2, "coef": 3, "scale_base": 2, "scale_spline": 2, "bias": 1}
FUNCTION = dict[str, Check](
    bases=sequence(one_of(*BASES), 1, MOST_LAYERS),
    domain=sequence(number(0.0, FARTHEST_DISTANCE), 2, 2),
    cutoff=record(radius=DISTANCE, onset=or_none(DISTANCE)),
    feature=one_of(*FEATURES),
    x=AFFINE,
    e=AFFINE,
    core=or_none(continuation(STEEPEST_CORE)),
    tail=or_none(continuation(LARGEST)),
    coverage=or_none(coverage),
)


def no_baseline(value: Any, where: str) -> None:
    """A baseline has none of its own."""
    if value is not None:
        refuse(value, where, "must be null")


def baseline(value: Any, where: str) -> None:
    """A formula or a function."""
    kind = "formula" if isinstance(value, dict) and "formula" in value else "function"
    inner = record(OPTIONAL, **FUNCTION, baseline=no_baseline)
    record(**{kind: continuation(STEEPEST_CORE) if kind == "formula" else inner})(value, where)


#: What files of format 1 (all of it), 2 (coverage and baseline) and 3 (baseline) lack.
OPTIONAL = ("core", "tail", "coverage", "baseline")
PAIR = record(OPTIONAL, elements=or_none(sequence(symbol, 2, 2)), **FUNCTION, baseline=or_none(baseline))
DEVIATION = record(factor=number(0, 1), law=continuation(STEEPEST_CORE), added=one_of(False, True))
LAWS = or_none(sequence(DEVIATION, 0, 40))
POSTERIOR = record(
    pairs=sequence(
        record(
            at=one_of_range(0, MOST_ROWS),
            low=ENERGY,
            high=ENERGY,
            cells=one_of_range(1, MOST_COUNTS),
            k=one_of_range(1, 20),
            core=LAWS,
            tail=LAWS,
            guessed=one_of(False, True),
            whole=one_of(False, True),
        ),
        1,
        MOST_PAIRS,
    ),
    lone=sequence(symbol, 0, 118),
    residual=residuals,
)
HEADER = record(
    ("posterior", table_schema.TABLES),  # potentials that are no fits, and files of older formats, have none
    ase_kan=text,
    pairs=sequence(PAIR, 1, MOST_PAIRS),
    reference_energies=lone_atoms,
    info=remembered,
    posterior=or_none(POSTERIOR),
    tables=table_schema.HEADER,
)
