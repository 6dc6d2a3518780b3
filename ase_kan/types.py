"""Names of types that every room uses, and what they share about pairs and tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]
#: Two chemical symbols.
Pair = tuple[str, str]
#: ``report(step, loss)`` hears of every step of a training.
Report = Callable[[int, float], None]

#: Rows and columns of a symmetric tensor in Voigt order: xx, yy, zz, yz, xz, xy.
VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


def sorted_pair(pair: Pair) -> Pair:
    """The pair in alphabetical order; `ValueError` if it is no pair."""
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(symbol, str) for symbol in pair):
        raise ValueError(f"a pair is two chemical symbols such as ('Ne', 'Ar'), got {pair!r}")
    first, second = sorted(pair)
    return first, second


def pair_name(pair: Pair | None) -> str:
    """``Ar-Ne``; a potential for every element has the pair None."""
    return "every pair" if pair is None else "-".join(pair)
