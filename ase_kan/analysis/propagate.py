"""Error bars of whatever follows from a potential: the same calculation for samples of its posterior."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ase_kan.fit.result import training_bar
from ase_kan.potentials.added import AddedSplines
from ase_kan.potentials.eam import KANEAM
from ase_kan.potentials.law import LawPotential
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Array

P = TypeVar("P", KANPotential, LawPotential, KANEAM)


@dataclass(frozen=True, eq=False)
class Propagated:
    """A result with its error bar.

    Attributes
    ----------
    value : ndarray
        Of the potential itself.
    samples : ndarray, shape (n, ...)
        Of the samples of its posterior.
    """

    value: Array
    samples: Array

    @property
    def std(self) -> Array:
        """Standard deviation over the samples."""
        return np.asarray(self.samples.std(axis=0, ddof=1), dtype=np.float64)

    def interval(self, part: float = 0.68) -> tuple[Array, Array]:
        """Ends of the range that holds the middle part of the samples."""
        low, high = np.quantile(self.samples, [(1 - part) / 2, (1 + part) / 2], axis=0)
        return low, high

    def __repr__(self) -> str:
        if self.value.ndim:
            return f"Propagated({len(self.samples)} samples of shape {self.value.shape})"
        return f"Propagated({self.value:.6g} +- {float(self.std):.2g}, {len(self.samples)} samples)"


def propagate(
    function: Callable[[P], ArrayLike],
    potential: P,
    n: int = 100,
    *,
    seed: int = 0,
    progress: bool = False,
) -> Propagated:
    """What a function of a potential gives for samples of the posterior of that potential.

    Parameters
    ----------
    function : callable
        Takes such a potential and gives a number or an array: a lattice constant, virial coefficients at several
        temperatures, the energy of a cluster's minimum.
    potential : KANPotential, LawPotential or KANEAM
        That knows its errors.
    n : int
        Number of samples.
    seed : int
        Of the samples.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    Propagated

    Raises
    ------
    ValueError
        If `n` is below 2, or the potential does not know its errors.
    """
    if n < 2:
        raise ValueError(f"an error bar needs at least 2 samples, got {n}")
    value = np.asarray(function(potential), dtype=float)
    found = []
    with training_bar(progress, n) as report:
        drawn = potential.samples(n, seed) if isinstance(potential, LawPotential) else samples(potential, n, seed)
        for number, sample in enumerate(drawn, 1):
            found.append(np.asarray(function(sample), dtype=float))
            if report:
                report(number, float("nan"))
    return Propagated(value, np.array(found))


def samples(potential: P, n: int, seed: int = 0) -> Iterator[P]:
    """Potentials drawn from the posterior: phi (and F) plus modes, each times a standard normal number; laws.

    What is added to a KAN of pairs is a spline of 1/r from half the shortest distance in the data to the cutoff.
    Where nothing is known of phi, nothing is added: see `grade` for how far that is from the data.
    """
    rng = np.random.default_rng(seed)
    if isinstance(potential, LawPotential):
        yield from potential.samples(n, seed)
    elif isinstance(potential, KANEAM):
        modes = len(potential.lone_modes({}))
        yield from (potential.shifted(rng.normal(size=modes)) for _ in range(n))
    else:
        yield from _pair_samples(potential, n, rng)


def _pair_samples(potential: KANPotential, n: int, rng: np.random.Generator) -> Iterator[KANPotential]:
    parts = []
    for pair in potential.pairs:
        splines = AddedSplines.of(potential.function(pair))
        r = splines.points()
        value = potential.modes(r, pair).value
        value[potential.blind(r, pair)] = 0.0
        parts.append((splines, splines.coefficients(value)))
    lone = {symbol: potential.lone_modes({symbol: 1}) for symbol in potential.elements}
    for _ in range(n):
        z = rng.normal(size=max(modes.shape[1] for _, modes in parts))
        functions = {
            pair: splines.added_to(potential.function(pair), modes @ z[: modes.shape[1]])
            for pair, (splines, modes) in zip(potential.pairs, parts, strict=True)
        }
        energies = {
            symbol: potential.reference_energies.get(symbol, 0.0) + float(modes @ z[: len(modes)])
            for symbol, modes in lone.items()
        }
        yield KANPotential(functions, energies)
