"""Checks of the entries of a file's header, and how they are put together.

Each takes a value and its place in the header, and raises a `ValueError` of one line that names the place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

Check = Callable[[Any, str], None]

#: The entry of a header that says what a file holds, and its values; files of pair potentials have none.
KIND, EMBEDDED, LAW = "kind", "embedded-atom", "law"
#: No energy (eV), slope, exponent or coefficient is larger, and no scale smaller than one over it.
LARGEST = 1e30
#: No distance is longer, Angstrom.
FARTHEST_DISTANCE = 1e4
#: Most tables of distances: of each pair of elements.
MOST_PAIRS = 118 * 119 // 2
#: Deepest nesting of what a fit wants remembered.
DEEPEST = 20


def number(low: float, high: float) -> Check:
    """A number from `low` to `high`; no bool."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            refuse(value, where, f"must be a number from {low:g} to {high:g}")

    return check


def one_of(*values: Any) -> Check:
    """One of a few strings or whole numbers."""

    def check(value: Any, where: str) -> None:
        if not any(type(value) is type(known) and value == known for known in values):
            refuse(value, where, f"must be one of {', '.join(map(repr, values))}")

    return check


def sequence(item: Check, fewest: int, most: int) -> Check:
    """A list of so many items."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list) or not fewest <= len(value) <= most:
            wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            refuse(value, where, f"must be a list of {wanted} items")
        for place, entry in enumerate(value):
            item(entry, f"{where}[{place}]")

    return check


def record(optional: tuple[str, ...] = (), /, **fields: Check) -> Check:
    """An object with these entries and no others."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            refuse(value, where, "must be an object")
        for key in sorted((fields.keys() ^ value.keys()) - (set(optional) - value.keys())):
            raise ValueError(f"{where} {'lacks' if key in fields else 'has the unknown entry'} {short(key)}")
        for key, entry in value.items():
            fields[key](entry, f"{where}.{key}")

    return check


def one_of_range(low: int, high: int) -> Check:
    """A whole number from `low` to `high`."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            refuse(value, where, f"must be a whole number from {low} to {high}")

    return check


def or_none(check_value: Check) -> Check:
    """None, or what the other check takes."""
    return lambda value, where: None if value is None else check_value(value, where)


def symbol(value: Any, where: str) -> None:
    """A chemical symbol."""
    if not isinstance(value, str) or value not in atomic_numbers:
        refuse(value, where, "must be the symbol of a chemical element")


def lone_atoms(value: Any, where: str) -> None:
    """Energies by chemical symbol."""
    if not isinstance(value, dict):
        refuse(value, where, "must be an object")
    for key, energy in value.items():
        symbol(key, where)
        ENERGY(energy, f"{where}.{key}")


def text(value: Any, where: str) -> None:
    """A string."""
    if not isinstance(value, str):
        refuse(value, where, "must be a string")


def remembered(value: Any, where: str) -> None:
    """An object of anything, not too deep for those who look at it."""
    if not isinstance(value, dict):
        refuse(value, where, "must be an object")
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        inner = [entry.values() if isinstance(entry, dict) else entry for entry in level]
        level = [entry for entries in inner for entry in entries if isinstance(entry, dict | list)]
        if not level:
            return
    raise ValueError(f"{where} is nested deeper than {DEEPEST} levels")


def finite(name: str, array: NDArray[Any]) -> None:
    """`ValueError` for an array with numbers that are too large."""
    # NaN compares as false.
    if not (np.abs(array) <= LARGEST).all():
        raise ValueError(f"the array {name} has NaN or numbers beyond {LARGEST:g}")


def short(value: Any) -> str:
    """A value as messages show it."""
    shown = ascii(value)
    return shown if len(shown) <= 50 else f"{shown[:47]}..."


def refuse(value: Any, where: str, what: str) -> None:
    """`ValueError` about a value."""
    raise ValueError(f"{where} {what}, got {short(value)}")


ENERGY = number(-LARGEST, LARGEST)
DISTANCE = number(1 / LARGEST, FARTHEST_DISTANCE)
