"""What a calculation knows about pairs at distances, and atoms with densities, that the data did not cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols

from ase_kan.potentials.coverage import (
    Gap,
    densities_within_grade,
    density_gaps_of,
    gaps_of,
    named_gaps,
    within_grade,
)
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.types import Array, Index
from ase_kan.warn import warn_user

if TYPE_CHECKING:
    from ase_kan.engines._kernel import Motion, Relaxation

MODES = ("warn", "raise", "ignore")
#: What can be outside the data, in the kernel's order.
KINDS = ("below", "above", "inside_gaps", "densities")
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


class OutsideDensity(NamedTuple):
    """An atom of an embedded-atom potential whose density is outside the data of its element, or in a gap of them."""

    atom: int
    element: str
    channel: int
    density: float
    domain: tuple[float, float]


class Found(NamedTuple):
    """Both atoms and the distances of the pairs outside the data, and the densities outside."""

    i: Index
    j: Index
    r: Array
    densities: Sequence[OutsideDensity] = ()


@dataclass(frozen=True)
class Extrapolation:
    """The pairs and atoms of one calculation that lie outside the data.

    Attributes
    ----------
    below, above : int
        Pairs closer than the data of their elements, and farther (but within the cutoff).
    inside_gaps : int
        Pairs at distances that the data of their elements lack, or hardly have, between their ends.
    shortest : float
        The smallest distance of all pairs within their cutoffs, Angstrom; inf if there are none.
    find : callable
        Gives the pairs and densities outside the data.
    gaps : tuple of (str, (float, float))
        All gaps of the pairs of elements that the atoms have.
    densities : int
        Densities of atoms that the data of their elements do not cover (embedded-atom potentials).
    """

    below: int
    above: int
    inside_gaps: int
    shortest: float
    find: Callable[[], Found] = field(repr=False)
    gaps: tuple[tuple[str, Gap], ...] = field(default=(), repr=False)
    densities: int = 0

    @property
    def pairs(self) -> int:
        """Pairs outside the data."""
        return self.below + self.above + self.inside_gaps

    @property
    def outside(self) -> int:
        """Pairs and densities outside the data."""
        return self.pairs + self.densities

    @cached_property
    def atoms(self) -> Index:
        """Indices of the atoms of those pairs and densities, ascending."""
        dense = np.array([found.atom for found in self._found.densities], dtype=np.int64)
        return np.unique(np.concatenate([self._found.i, self._found.j, dense]))

    @cached_property
    def _found(self) -> Found:
        return self.find()

    def __str__(self) -> str:
        if not self.outside:
            return "every pair lies within the distances of the data"
        named = ", ".join(map(str, self.atoms[:NAMED])) + (", ..." if len(self.atoms) > NAMED else "")
        told = [text for text in (self._told_pairs(), self._told_densities()) if text]
        where = f"shortest distance {self.shortest:.4g} A; atoms {named}"
        return f"{'; '.join(told)} ({where}): their energies are extrapolated"

    def _told_pairs(self) -> str:
        if not self.pairs:
            return ""
        gaps = ""
        if self.inside_gaps:
            r = self._found.r
            met = [(name, gap) for name, gap in self.gaps if ((r >= gap[0]) & (r < gap[1])).any()]
            ranges = "; ".join(named_gaps(name, [gap]) for name, gap in met)
            gaps = f", and {self.inside_gaps} in gaps of these ({ranges})"
        return f"{self.below} pairs of atoms are closer and {self.above} farther than the data of the potential{gaps}"

    def _told_densities(self) -> str:
        if not self.densities:
            return ""
        # Of each element, the one that is farthest outside.
        worst: dict[str, OutsideDensity] = {}
        for found in self._found.densities:
            if found.element not in worst or _farness(found) > _farness(worst[found.element]):
                worst[found.element] = found
        several = any(found.channel for found in self._found.densities)
        examples = ", ".join(
            f"{w.element} {w.density:.4g}{f' in channel {w.channel}' if several else ''}, "
            f"{'in a gap of' if _farness(w) < -TOLERANCE else 'with'} data from {w.domain[0]:.4g} to {w.domain[1]:.4g}"
            for w in worst.values()
        )
        return f"{self.densities} densities of atoms are outside the data of the potential ({examples})"


def _farness(found: OutsideDensity) -> float:
    """How far outside a density is, as a part of the width of the data; negative in gaps."""
    low, high = found.domain
    return max(low - found.density, found.density - high) / max(high - low, 1e-300)


class Guard:
    """Warns once per episode of extrapolating calculations, or raises, or does nothing.

    An episode ends after `QUIET` calculations in a row within the data, or with other atoms. In one that began with
    pairs too far apart, the first pair that is too close or in a gap is told of as well, and the other way round; so
    is the first density outside the data.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"on_extrapolation must be one of {', '.join(MODES)}, got {mode!r}")
        self.mode = mode
        self.last: Extrapolation | None = None
        self._told: set[str] = set()
        self._quiet = 0

    def new_atoms(self) -> None:
        """Other atoms: the next warning is due."""
        self._told = set()

    def watch(self, motion: Motion | Relaxation) -> None:
        """Let a motion stop at every step that `check` would have something to say about."""
        if self.mode == "ignore":
            motion.watch(2 ** len(KINDS) - 1, 0, 0)
        else:
            motion.watch(sum(2**n for n, kind in enumerate(KINDS) if kind in self._told), self._quiet, QUIET)

    def seen(self, motion: Motion | Relaxation) -> None:
        """Take note of the steps before the last, which no `check` saw."""
        if self.mode != "ignore":
            self._told = {kind for n, kind in enumerate(KINDS) if motion.told >> n & 1}
            self._quiet = motion.quiet

    def check(self, found: Extrapolation) -> None:
        """Take note of a calculation."""
        self.last = found
        if not found.outside:
            self._quiet += 1
            if self._quiet == QUIET:
                self.new_atoms()
            return
        self._quiet = 0
        if self.mode == "raise":
            raise ExtrapolationError(str(found))
        kinds = {kind for kind in KINDS if getattr(found, kind)}
        news = kinds - self._told
        self._told |= kinds
        if self.mode == "warn" and news:
            warn_user(str(found), ExtrapolationWarning)


def densities_covered(potential: Any, element: str, channel: int, limit: float) -> tuple[float, float, tuple[Gap, ...]]:
    """The ends of what counts as covered by the densities of an element, and the gaps; as `covered`."""
    domain = potential.density_domain(element, channel)
    (low, high), gaps = densities_within_grade(limit, domain, density_gaps_of(potential, element, channel))
    slack = TOLERANCE * (domain[1] - domain[0])
    low, high = low - slack, high + slack
    return low, high, tuple((low if a <= domain[0] else a, high if b >= domain[1] else b) for a, b in gaps)


def outside_densities(
    potential: EmbeddedAtomPotential, numbers: Index, densities: Array, limit: float
) -> list[OutsideDensity]:
    """Of densities of shape (atoms, channels), those that the data of their elements do not cover, up to a grade."""
    found = []
    for number in np.unique(numbers):
        element = chemical_symbols[number]
        mine = np.flatnonzero(numbers == number)
        for channel in range(potential.channels):
            domain = potential.density_domain(element, channel)
            low, high, gaps = densities_covered(potential, element, channel, limit)
            rho = densities[mine, channel]
            outside = (rho < low) | (rho > high)
            for start, end in gaps:
                outside |= (rho >= start) & (rho < end)
            for n in np.flatnonzero(outside):
                found.append(OutsideDensity(int(mine[n]), element, channel, float(rho[n]), domain))
    return found


def covered(potential: Any, pair: tuple[str, str] | None, limit: float) -> tuple[float, float, tuple[Gap, ...]]:
    """The ends of what counts as covered by the data of a pair, and the gaps: of a grade up to `limit`, 1 at the least.

    With a tolerance at the ends, and at gaps that reach them.
    """
    domain = potential.domain(pair)
    (low, high), gaps = within_grade(limit, domain, gaps_of(potential, pair))
    low, high = low * (1 - TOLERANCE), high * (1 + TOLERANCE)
    return low, high, tuple((low if a <= domain[0] else a, high if b >= domain[1] else b) for a, b in gaps)
