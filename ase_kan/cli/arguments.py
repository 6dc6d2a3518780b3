"""Kinds of arguments that several commands take, and errors of their use."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path


class UsageError(ValueError):
    """Options that do not go together."""


def number(
    convert: Callable[[str], float], low: float, high: float = math.inf, *, or_low: bool = False
) -> Callable[[str], float]:
    """A finite number within (low, high), or [low, high), for argparse."""

    def parse(text: str) -> float:
        value = convert(text)
        if not (low <= value if or_low else low < value):
            raise argparse.ArgumentTypeError(f"must be {'at least' if or_low else 'above'} {low:g}, got {text}")
        if not value < high:
            bound = "finite" if high == math.inf else f"below {high:g}"
            raise argparse.ArgumentTypeError(f"must be {bound}, got {text}")
        return value

    parse.__name__ = "number" if convert is float else "whole number"  # argparse: "invalid number value: 'x'"
    return parse


length = number(float, 0)
count = number(int, 1, 2**31, or_low=True)
seed = number(int, 0, 2**32, or_low=True)
part = number(float, 0, 1, or_low=True)


def energy(text: str) -> float | str:
    """A number or "limit"."""
    try:
        return text if text == "limit" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or limit, got {text}") from None


def names(text: str) -> dict[str, str]:
    """``a=x,b=y``."""
    parts = [part.partition("=") for part in text.split(",")]
    if not all(key and sign and value for key, sign, value in parts) or len({key for key, _, _ in parts}) < len(parts):
        raise argparse.ArgumentTypeError(f"must be name=value, with commas between, each name once, got {text}")
    return {key: value for key, _, value in parts}


def numbers(text: str) -> dict[str, float]:
    """``a=1,b=2.5``."""
    try:
        return {key: float(value) for key, value in names(text).items()}
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be name=number, with commas between, got {text}") from None


def baseline(text: str) -> str | dict[str, float] | Path:
    """``zbl``, charges by element, or the file of a potential."""
    return text if text == "zbl" else numbers(text) if "=" in text else Path(text)


#: Where labels of structures stand, as `Structures` names it.
LABELS = ("energy_key", "forces_key", "stress_key", "virial_key", "group_key")


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Options of where labels of structures stand."""
    parser.add_argument("--energy-key", help="structures: info key of the energy")
    parser.add_argument("--forces-key", help="structures: arrays key of the forces")
    parser.add_argument("--stress-key", help="structures: info key of the stress (eV/A^3)")
    parser.add_argument("--virial-key", help="structures: info key of the virial, -stress * volume in eV")
    parser.add_argument("--group-key", help="structures: info key of their kind; errors are told of each")


def labels_of(args: argparse.Namespace) -> dict[str, str]:
    """Those that were given."""
    return {name: getattr(args, name) for name in LABELS if getattr(args, name)}


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Options of how files of curves are read."""
    parser.add_argument("--columns", help="curves: what each is, of r,energy,force,gradient,error,skip")
    parser.add_argument(
        "--units", nargs=2, metavar=("LENGTH", "ENERGY"), help="curves: e.g. bohr hartree (default: Angstrom eV)"
    )
    parser.add_argument(
        "--subtract", type=energy, metavar="ENERGY", help="curves: that of two atoms far apart, a number or limit"
    )
