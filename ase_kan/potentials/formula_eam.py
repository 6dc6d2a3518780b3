"""An embedded-atom potential of formulas: sums of terms (module `formula`) for phi and f, powers of the density for F.

    phi(r), f(r) = S(r) sum of terms,    F(rho) = A rho^p + B rho^p log rho

with the switching S of a cutoff of each function. Beyond the densities of the data F is a straight line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.features import limited
from ase_kan.potentials.formula import Term, total
from ase_kan.types import Pair, sorted_pair


@dataclass(frozen=True)
class Radial:
    """S(r) times a sum of terms."""

    terms: tuple[Term, ...]
    cutoff: Cutoff

    def __call__(self, r: Tensor) -> Tensor:
        return self.cutoff.apply(lambda x: total(self.terms, x), r)


@dataclass(frozen=True)
class Embedding:
    """A rho^p + B rho^p log rho for densities from `low` to `high`, both positive, and straight lines outside."""

    scale: float
    log_scale: float
    power: float
    low: float
    high: float

    def __call__(self, density: Tensor) -> Tensor:
        inside = limited(density, self.low, self.high)
        below, above = density - limited(density, low=self.low), density - limited(density, high=self.high)
        slopes = [self._slope(end) for end in (self.low, self.high)]
        energy: Tensor = inside**self.power * (self.scale + self.log_scale * torch.log(inside))
        return energy + slopes[0] * below + slopes[1] * above

    def _slope(self, density: float) -> float:
        rise = self.power * (self.scale + self.log_scale * math.log(density)) + self.log_scale
        return float(rise * density ** (self.power - 1))


class FormulaEAM:
    """An embedded-atom potential with one density per atom, whose functions are formulas.

    Parameters
    ----------
    pair_energies : mapping of (str, str) to Radial
        eV; pairs in alphabetical order.
    densities : mapping of (str, str) to Radial
        By atom and neighbor.
    embeddings : mapping of str to Embedding
        eV, by element.
    shortest : mapping of (str, str) to float
        Shortest distance of the data of each pair, Angstrom.
    reference_energies : mapping of str to float
        eV.
    """

    channels = 1

    def __init__(
        self,
        pair_energies: Mapping[Pair, Radial],
        densities: Mapping[Pair, Radial],
        embeddings: Mapping[str, Embedding],
        shortest: Mapping[Pair, float],
        reference_energies: Mapping[str, float],
    ) -> None:
        self.pair_energies, self.densities = dict(pair_energies), dict(densities)
        self.embeddings, self.shortest = dict(embeddings), dict(shortest)
        self.reference_energies: Mapping[str, float] = dict(reference_energies)

    @property
    def elements(self) -> tuple[str, ...]:
        return tuple(sorted(self.embeddings))

    @property
    def cutoff(self) -> float:
        return max(f.cutoff.radius for f in (*self.pair_energies.values(), *self.densities.values()))

    def domain(self, pair: Pair) -> tuple[float, float]:
        return self.shortest[sorted_pair(pair)], self.cutoff

    def density_domain(self, element: str, channel: int = 0) -> tuple[float, float]:
        return self.embeddings[element].low, self.embeddings[element].high

    def breakpoints(self, pair: Pair) -> tuple[float, ...]:
        functions = self.pair_energies[sorted_pair(pair)], *(self.densities[p] for p in (pair, pair[::-1]))
        onsets = {f.cutoff.onset for f in functions if f.cutoff.onset is not None}
        return (*sorted(onsets), self.cutoff)

    def density_breakpoints(self, element: str, channel: int = 0) -> tuple[float, ...]:
        return self.density_domain(element)

    def pair_energy(self, r: Tensor, pair: Pair) -> Tensor:
        return self.pair_energies[sorted_pair(pair)](r)

    def density(self, r: Tensor, atom: str, neighbor: str, channel: int = 0) -> Tensor:
        return self.densities[atom, neighbor](r)

    def embedding(self, density: Tensor, element: str, channel: int = 0) -> Tensor:
        return self.embeddings[element](density)


def radial(terms: Sequence[Term], onset: float, radius: float) -> Radial:
    """Terms that are switched off from `onset` to `radius`, Angstrom."""
    return Radial(tuple(terms), Cutoff(radius, onset))
