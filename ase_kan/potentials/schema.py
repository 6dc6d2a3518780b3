"""What a model file must contain: checked at the door, before anything is built from it.

Every entry of the header has a known type and range, nothing is missing and nothing is unknown; the arrays are those
that the header calls for, finite, with ascending knots. Each check takes a value and its place in the header, and
raises a `ValueError` of one line that names the place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Tensor

from ase_kan.kan.network import BASE_FUNCTIONS, MOST_LAYERS
from ase_kan.potentials.features import FEATURES

Check = Callable[[Any, str], None]

#: No energy (eV), slope, exponent or coefficient is larger, and no scale smaller than one over it.
LARGEST = 1e30
#: No distance is longer, Angstrom.
FARTHEST_DISTANCE = 1e4
#: A core (r0/r)^n with a larger n overflows at distances that atoms may reach.
STEEPEST_CORE = 100.0
#: An exponential with a larger rate overflows at r = 0.
STEEPEST_RATE = 500.0
#: Most cells of a histogram.
MOST_COUNTS = 1000
#: Most rows of the factor of a posterior, and its name.
MOST_ROWS, FACTOR = 1_000_000, "posterior.factor"
#: Deepest nesting of what a fit wants remembered.
DEEPEST = 20


def check(header: Any, tensors: Mapping[str, Tensor]) -> None:
    """Check the header and the arrays of a model file.

    Raises
    ------
    ValueError
        In one line, with the place in the header or the name of the array.
    """
    if isinstance(header, dict) and header.get("kind") == "embedded-atom":
        raise ValueError("it holds an embedded-atom potential, not a pair potential: use KANEAM.load")
    if isinstance(header, dict) and header.get("kind") == "law":
        raise ValueError("it holds a law, not a KAN: use LawPotential.load")
    HEADER(header, "header")
    expected: dict[str, int] = {}
    for number, entry in enumerate(header["pairs"]):
        expected |= _arrays(f"functions.{number}.", entry)
        if function := (entry.get("baseline") or {}).get("function"):
            expected |= _arrays(f"functions.{number}.baseline.", function)
    if (known := header.get("posterior")) is not None:
        expected[FACTOR] = 2
        _check_posterior(known, header, tensors.get(FACTOR))
    for name in sorted(expected.keys() ^ tensors.keys()):
        raise ValueError(f"the array {name} is {'missing' if name in expected else 'unknown'}")
    for name, dimensions in expected.items():
        array = tensors[name]
        if array.dtype not in (torch.float64, torch.float32) or array.ndim != dimensions or 0 in array.shape:
            found = f"{str(array.dtype).removeprefix('torch.')} of shape {tuple(array.shape)}"
            raise ValueError(f"the array {name} must have {dimensions} dimensions of float64, got {found}")
        # NaN compares as false.
        if not bool((array.abs() <= LARGEST).all()):
            raise ValueError(f"the array {name} has NaN or numbers beyond {LARGEST:g}")
        if name.endswith(".grid") and not bool((array.diff(dim=1) >= 0).all() & (array[:, -1] > array[:, 0]).all()):
            raise ValueError(f"the knots {name} must ascend")


def _arrays(prefix: str, entry: Mapping[str, Any]) -> dict[str, int]:
    """Names and dimensions of the arrays of a pair function."""
    layers = range(len(entry["bases"]))
    return {f"{prefix}network.layers.{n}.{name}": dimensions for n in layers for name, dimensions in ARRAYS.items()}


def _check_posterior(known: Mapping[str, Any], header: Mapping[str, Any], factor: Tensor | None) -> None:
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
            raise ValueError(f"{where}.at must be {rows}, got {_short(pair['at'])}")
        for end in ("core", "tail"):
            if any(not law["added"] for law in pair[end] or ()) and function.get(end) is None:
                raise ValueError(f"{where}.{end} has laws, and the function has no {end}")
        rows += pair["cells"] + pair["k"]
    rows += len(known["lone"])
    if factor is not None and (factor.ndim != 2 or factor.shape[0] != rows or factor.shape[1] > MOST_COUNTS):
        raise ValueError(f"the array {FACTOR} must have {rows} rows, got shape {tuple(factor.shape)}")


def number(low: float, high: float) -> Check:
    """A number from `low` to `high`; no bool."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            _refuse(value, where, f"must be a number from {low:g} to {high:g}")

    return check


def one_of(*values: Any) -> Check:
    """One of a few strings or whole numbers."""

    def check(value: Any, where: str) -> None:
        if not any(type(value) is type(known) and value == known for known in values):
            _refuse(value, where, f"must be one of {', '.join(map(repr, values))}")

    return check


def sequence(item: Check, fewest: int, most: int) -> Check:
    """A list of so many items."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list) or not fewest <= len(value) <= most:
            wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            _refuse(value, where, f"must be a list of {wanted} items")
        for place, entry in enumerate(value):
            item(entry, f"{where}[{place}]")

    return check


def record(optional: tuple[str, ...] = (), /, **fields: Check) -> Check:
    """An object with these entries and no others."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, where, "must be an object")
        for key in sorted((fields.keys() ^ value.keys()) - (set(optional) - value.keys())):
            raise ValueError(f"{where} {'lacks' if key in fields else 'has the unknown entry'} {_short(key)}")
        for key, entry in value.items():
            fields[key](entry, f"{where}.{key}")

    return check


def one_of_range(low: int, high: int) -> Check:
    """A whole number from `low` to `high`."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            _refuse(value, where, f"must be a whole number from {low} to {high}")

    return check


def or_none(check_value: Check) -> Check:
    """None, or what the other check takes."""
    return lambda value, where: None if value is None else check_value(value, where)


def symbol(value: Any, where: str) -> None:
    """A chemical symbol."""
    if not isinstance(value, str) or value not in atomic_numbers:
        _refuse(value, where, "must be the symbol of a chemical element")


def lone_atoms(value: Any, where: str) -> None:
    """Energies by chemical symbol."""
    if not isinstance(value, dict):
        _refuse(value, where, "must be an object")
    for key, energy in value.items():
        symbol(key, where)
        ENERGY(energy, f"{where}.{key}")


def residuals(value: Any, where: str) -> None:
    """Errors by property."""
    if not isinstance(value, dict) or not value.keys() <= {"energy", "forces", "virial"}:
        _refuse(value, where, "must be an object of energy, forces and virial")
    for key, error in value.items():
        number(0, LARGEST)(error, f"{where}.{key}")


def text(value: Any, where: str) -> None:
    """A string."""
    if not isinstance(value, str):
        _refuse(value, where, "must be a string")


def remembered(value: Any, where: str) -> None:
    """An object of anything, not too deep for those who look at it."""
    if not isinstance(value, dict):
        _refuse(value, where, "must be an object")
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        inner = [entry.values() if isinstance(entry, dict) else entry for entry in level]
        level = [entry for entries in inner for entry in entries if isinstance(entry, dict | list)]
        if not level:
            return
    raise ValueError(f"{where} is nested deeper than {DEEPEST} levels")


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
            _refuse(value, where, "must be two distances, the shorter first")

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
        _refuse(value, where, f"must be {1 / LARGEST:g} or more in size")


def _short(value: Any) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 50 else f"{shown[:47]}..."


def _refuse(value: Any, where: str, what: str) -> None:
    raise ValueError(f"{where} {what}, got {_short(value)}")


ENERGY = number(-LARGEST, LARGEST)
DISTANCE = number(1 / LARGEST, FARTHEST_DISTANCE)
AFFINE = record(shift=ENERGY, scale=scale)
HISTOGRAM = record(edges=sequence(DISTANCE, 2, MOST_COUNTS + 1), counts=sequence(number(0, LARGEST), 1, MOST_COUNTS))
#: Number of dimensions of the arrays of a layer.
ARRAYS = {"grid": 2, "coef": 3, "scale_base": 2, "scale_spline": 2, "bias": 1}
FUNCTION = dict[str, Check](
    bases=sequence(one_of(*BASE_FUNCTIONS), 1, MOST_LAYERS),
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
        _refuse(value, where, "must be null")


def baseline(value: Any, where: str) -> None:
    """A formula or a function."""
    kind = "formula" if isinstance(value, dict) and "formula" in value else "function"
    inner = record(OPTIONAL, **FUNCTION, baseline=no_baseline)
    record(**{kind: continuation(STEEPEST_CORE) if kind == "formula" else inner})(value, where)


#: What files of format 1 (all of it), 2 (coverage and baseline) and 3 (baseline) lack.
OPTIONAL = ("core", "tail", "coverage", "baseline")
PAIR = record(OPTIONAL, elements=or_none(sequence(symbol, 2, 2)), **FUNCTION, baseline=or_none(baseline))
MOST_PAIRS = 118 * 119 // 2
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
    ("posterior",),  # potentials that are no fits, and files up to format 3, have none
    ase_kan=text,
    pairs=sequence(PAIR, 1, MOST_PAIRS),
    reference_energies=lone_atoms,
    info=remembered,
    posterior=or_none(POSTERIOR),
)
