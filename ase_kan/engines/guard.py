"""What a calculation knows about pairs at distances that the data did not cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ase_kan.types import Index
from ase_kan.warn import warn_user

MODES = ("warn", "raise", "ignore")
#: Atoms named in a message.
NAMED = 8
#: An episode of extrapolation is over after so many calculations in a row within the data.
QUIET = 100
#: A distance is outside the data if it is so, relative to their end: the data's own distances, computed again, are not.
TOLERANCE = 1e-9


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
    """Warns once per episode of extrapolating calculations, or raises, or does nothing.

    An episode ends after `QUIET` calculations in a row within the data, or with other atoms. In one that began with
    pairs too far apart, the first pair that is too close is told of as well, and the other way round.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"on_extrapolation must be one of {', '.join(MODES)}, got {mode!r}")
        self.mode = mode
        self.last: Extrapolation | None = None
        self._told_below = self._told_above = False
        self._quiet = 0

    def new_atoms(self) -> None:
        """Other atoms: the next warning is due."""
        self._told_below = self._told_above = False

    def check(self, found: Extrapolation) -> None:
        """Take note of a calculation."""
        self.last = found
        if not found.pairs:
            self._quiet += 1
            if self._quiet == QUIET:
                self.new_atoms()
            return
        self._quiet = 0
        if self.mode == "raise":
            raise ExtrapolationError(str(found))
        news = (found.below and not self._told_below) or (found.above and not self._told_above)
        self._told_below |= found.below > 0
        self._told_above |= found.above > 0
        if self.mode == "warn" and news:
            warn_user(str(found), ExtrapolationWarning)


def domain_with_tolerance(domain: tuple[float, float]) -> tuple[float, float]:
    """The distances that count as covered by data."""
    low, high = domain
    return low * (1 - TOLERANCE), high * (1 + TOLERANCE)
