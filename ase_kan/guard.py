"""What a calculation knows about pairs at distances that the data did not cover."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ase_kan.neighbors import Index

MODES = ("warn", "raise", "ignore")
#: Atoms named in a message.
NAMED = 8


class ExtrapolationWarning(UserWarning):
    """Atoms are closer or farther than the data of their potential."""


class ExtrapolationError(ValueError):
    """The same, where the user asked for an error."""


@dataclass(frozen=True)
class Extrapolation:
    """The pairs of one calculation that lie outside the data.

    Attributes
    ----------
    below, above : int
        Pairs closer than the data of their elements, and farther (but within the cutoff).
    shortest : float
        The smallest distance of all pairs within their cutoffs, Angstrom; inf if there are none.
    """

    below: int
    above: int
    shortest: float
    find: Callable[[], Index] = field(repr=False)

    @property
    def pairs(self) -> int:
        """Pairs outside the data."""
        return self.below + self.above

    @cached_property
    def atoms(self) -> Index:
        """Indices of the atoms of those pairs, ascending."""
        return np.unique(self.find())

    def __str__(self) -> str:
        if not self.pairs:
            return "every pair lies within the distances of the data"
        named = ", ".join(map(str, self.atoms[:NAMED])) + (", ..." if len(self.atoms) > NAMED else "")
        return (
            f"{self.below} pairs of atoms are closer and {self.above} farther than the data of the potential "
            f"(shortest distance {self.shortest:.4g} A; atoms {named}): their energies are extrapolated"
        )


class Guard:
    """Warns once per episode of extrapolating calculations, or raises, or does nothing."""

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"on_extrapolation must be one of {', '.join(MODES)}, got {mode!r}")
        self.mode = mode
        self.last: Extrapolation | None = None
        self._warned = False

    def check(self, found: Extrapolation) -> None:
        """Take note of a calculation."""
        self.last = found
        if not found.pairs:
            self._warned = False
        elif self.mode == "raise":
            raise ExtrapolationError(str(found))
        elif self.mode == "warn" and not self._warned:
            self._warned = True
            warnings.warn(str(found), ExtrapolationWarning, stacklevel=3)
