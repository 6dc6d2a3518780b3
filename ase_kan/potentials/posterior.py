"""How well a pair energy is known: the spread of the functions that the data allow.

A KAN of one edge is linear in its spline coefficients, so that noise and prior of a fit leave a normal distribution of
them, with covariance L L^T. Each column of L is a mode: a function g_j(r) (eV) that may be added to phi with a standard
normal factor. The standard deviation of anything linear in phi, an energy, force or stress of any structure, is the
root of the sum of squares of what the modes give for it.

Beyond the ends of the data the modes go on (straight below, like r^-6 above) but say little: there the spread is that
of the laws that the data support, each a mode with the root of its weight as the factor. Where no law is supported,
nothing can be said, and the standard deviation is infinite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.potentials.continuations import Deviation
from ase_kan.potentials.cutoff import switch
from ase_kan.potentials.features import get_feature, value_and_slope
from ase_kan.potentials.pair import PairFunction
from ase_kan.types import Array

#: Modes that are kept, and the part of any coefficient's variance that the others may have.
MOST_MODES, LEFT_OUT = 96, 1e-3
#: How the modes of the data go on beyond their end.
FADING = 6.0


class Modes(NamedTuple):
    """Values (eV) and slopes (eV/Angstrom) of modes, shape (n, modes)."""

    value: Array
    slope: Array


@dataclass(frozen=True)
class PairPosterior:
    """What one pair has of the posterior.

    Parameters
    ----------
    at : int
        Row of its first coefficient in the factor.
    low, high : float
        Ends of a uniform grid of the reduced feature u of its function.
    cells, k : int
        Intervals of that grid, and degree of the splines.
    core, tail : tuple of Deviation
        Spread of the laws below and beyond the data; None where no law is supported.
    guessed : bool
        The pair has no data at all: it comes from a mixing rule.
    whole : bool
        The grid goes on outside the data, where ensembles know their spread as well.
    """

    at: int
    low: float
    high: float
    cells: int
    k: int
    core: tuple[Deviation, ...] | None = None
    tail: tuple[Deviation, ...] | None = None
    guessed: bool = False
    whole: bool = False

    @property
    def size(self) -> int:
        return self.cells + self.k

    @classmethod
    def restore(cls, header: Mapping[str, Any]) -> PairPosterior:
        """From the JSON of `dataclasses.asdict`."""
        core, tail = (
            None if header[name] is None else tuple(Deviation.restore(entry) for entry in header[name])
            for name in ("core", "tail")
        )
        grid = (int(header["at"]), float(header["low"]), float(header["high"]), int(header["cells"]), int(header["k"]))
        return cls(*grid, core, tail, bool(header["guessed"]), bool(header["whole"]))


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of a potential.

    Parameters
    ----------
    factor : ndarray, shape (coefficients, modes)
        L, eV: spline coefficients of every pair, then energies of lone atoms.
    pairs : tuple of PairPosterior
        In the order of the potential's pairs.
    lone : tuple of str
        Symbols whose energies were fitted.
    residual : mapping of str to float
        What a fit to structures leaves open, whether noise or physics beyond pair potentials: ``"energy"`` (eV per
        atom), ``"forces"`` (eV/Angstrom), ``"virial"`` (eV per atom). Empty for curves.
    """

    factor: Array
    pairs: tuple[PairPosterior, ...]
    lone: tuple[str, ...] = ()
    residual: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        factor: Array,
        pairs: Sequence[PairPosterior],
        lone: Sequence[str] = (),
        residual: Mapping[str, float] | None = None,
    ) -> Posterior:
        """With the modes that `fewer_modes` keeps."""
        return cls(fewer_modes(factor), tuple(pairs), tuple(lone), dict(residual or {}))

    def header(self) -> dict[str, Any]:
        """All that is not an array, ready for JSON."""
        return {"pairs": [asdict(pair) for pair in self.pairs], "lone": self.lone, "residual": dict(self.residual)}

    @classmethod
    def restore(cls, header: Mapping[str, Any], factor: Array) -> Posterior:
        """The inverse of `header`."""
        pairs = tuple(PairPosterior.restore(entry) for entry in header["pairs"])
        return cls(factor, pairs, tuple(header["lone"]), dict(header["residual"]))

    def lone_modes(self, counts: Mapping[str, int]) -> Array:
        """What the modes add to the energy of so many atoms of each element, eV; shape (modes,)."""
        start = len(self.factor) - len(self.lone)
        total = np.zeros(self.factor.shape[1])
        for row, symbol in enumerate(self.lone, start):
            total += counts.get(symbol, 0) * self.factor[row]
        return total

    def modes(self, number: int, function: PairFunction, r: Array) -> Modes:
        """The modes of a pair at distances r (n,), those of its laws last; zero beyond the cutoff.

        Those of other pairs' laws are zero; the first modes are common to all pairs. Infinite where no law is known.
        """
        value, slope = self._uncut(number, function, r)
        onset, radius = function.cutoff.onset, function.cutoff.radius
        within = (r < radius)[:, None]
        if onset is None:  # the energy at the cutoff is subtracted
            end = self._uncut(number, function, np.array([radius]))[0]
            return Modes(np.where(within, value - end, 0.0), np.where(within, slope, 0.0))
        s, ds = (part[:, None] for part in value_and_slope(lambda x: switch(x, onset, radius), r))
        return Modes(np.where(within, value * s, 0.0), np.where(within, slope * s + value * ds, 0.0))

    def _uncut(self, number: int, function: PairFunction, r: Array) -> Array:
        """Values and slopes without the cutoff, shape (2, n, modes)."""
        mine = self.pairs[number]
        before, after = (sum(map(_count, pairs)) for pairs in (self.pairs[:number], self.pairs[number + 1 :]))
        parts = [self._learned(mine, function, r), np.zeros((2, len(r), before)), _law_modes(mine, function, r)]
        return np.concatenate([*parts, np.zeros((2, len(r), after))], axis=2)

    def _learned(self, mine: PairPosterior, function: PairFunction, r: Array) -> Array:
        low, high = (0.0, np.inf) if mine.whole else function.domain
        at = r.clip(low, high)
        x, dx = value_and_slope(get_feature(function.feature).of_r, at)
        u = ((x - function.x.shift) / function.x.scale).clip(mine.low, mine.high)
        value, slope = basis(uniform_knots(mine.low, mine.high, mine.cells, mine.k), mine.k, u)
        factor = self.factor[mine.at : mine.at + mine.size]
        value, slope = value @ factor, slope @ factor * (dx / function.x.scale)[:, None]
        below, beyond = (r < low)[:, None], (r > high)[:, None]
        fading = np.where(beyond, (min(high, 1e300) / r)[:, None], 1.0) ** FADING
        return np.stack(
            [
                np.where(below, value + slope * (r - low)[:, None], value * fading),
                np.where(beyond, -FADING * value * fading / r[:, None], slope),
            ]
        )


def fewer_modes(factor: Array) -> Array:
    """As few modes as have nearly all of the variance of every coefficient; the rest scales these up. In float32."""
    deviation = np.sqrt((factor**2).sum(axis=1))
    safe = np.where(deviation > 0, deviation, 1.0)
    u, s, _ = np.linalg.svd(factor / safe[:, None], full_matrices=False)
    # Signs are free: the largest entry of each mode is positive, on every processor.
    u *= np.sign(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])])
    share = np.cumsum((u * s) ** 2, axis=1)
    enough = (share >= 1 - LEFT_OUT).all(axis=0)
    modes = min(int(enough.argmax()) + 1 if enough.any() else len(s), MOST_MODES)
    kept = u[:, :modes] * s[:modes] / np.sqrt(np.maximum(share[:, modes - 1], 1e-12))[:, None]
    return np.asarray((kept * deviation[:, None]).astype(np.float32).astype(float))


def _count(pair: PairPosterior) -> int:
    return len(pair.core or ()) + len(pair.tail or ())


def _law_modes(mine: PairPosterior, function: PairFunction, r: Array) -> Array:
    """Values and slopes of what other laws would make of the ends, shape (2, n, laws)."""
    low, high = function.domain
    found = []
    for deviations, part, end in (
        (mine.core, r < low, function.core),
        (mine.tail, r > high, function.tail),
    ):
        for deviation in deviations or ():
            mode = np.zeros((2, len(r)))
            if part.any():
                mode[:, part] = value_and_slope(deviation.law, r[part])
                if not deviation.added:
                    assert end is not None
                    mode[:, part] -= value_and_slope(end, r[part])
            found.append(deviation.factor * mode)
    return np.stack(found, axis=2) if found else np.zeros((2, len(r), 0))


def unknown(function: PairFunction, mine: PairPosterior, r: Array) -> NDArray[np.bool_]:
    """Where nothing can be said: outside data whose ends support no law, or without data; a mask (n,)."""
    if mine.whole:  # to its end; closer, a spline of a constant would say nothing
        x, _ = value_and_slope(get_feature(function.feature).of_r, r)
        u = (x - function.x.shift) / function.x.scale
        return np.asarray((u > mine.high * (1 + 1e-9)) & (r < function.cutoff.radius))
    low, high = function.domain
    below = r < low * (1 - 1e-9)
    beyond = (r > high * (1 + 1e-9)) & (r < function.cutoff.radius)
    return mine.guessed | (below & (mine.core is None)) | (beyond & (mine.tail is None))


def deviations(modes: Modes, blind: NDArray[np.bool_]) -> Array:
    """Standard deviations of phi from its modes at some distances, eV; infinite where it is `blind`."""
    std = np.sqrt((modes.value**2).sum(axis=1))
    std[blind] = np.inf
    return np.asarray(std)


def range_about(at: int, known: NDArray[np.bool_], r: Array) -> tuple[float, float] | None:
    """The ends of the distances about place `at` that are known without a gap; None if that one is not."""
    if not known[at]:
        return None
    below, beyond = np.flatnonzero(~known[:at]), np.flatnonzero(~known[at:])
    first = int(below[-1]) + 1 if len(below) else 0
    last = at + int(beyond[0]) - 1 if len(beyond) else len(r) - 1
    return float(r[first]), float(r[last])
