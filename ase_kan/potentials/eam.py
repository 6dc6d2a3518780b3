"""KAN-EAM: an embedded-atom potential whose functions are the edges of a Kolmogorov-Arnold network of two layers.

    E = sum_i E0[a_i] + sum_{i<j} phi_ab(r_ij) + sum_i sum_c F_a^c(rho_i^c),    rho_i^c = sum_j f_ab^c(r_ij)

The first layer takes distances to densities through f, the second densities to energies through F; phi leads past the
second. Index letters: a, b element; c channel. f depends on the element of the neighbor b alone (`alloy`) or on both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import combinations_with_replacement
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ase_kan.potentials import eam_file, eam_schema, storage
from ase_kan.potentials.coverage import Coverage, Gap, density_grade, grade, named_gaps
from ase_kan.potentials.eam_edges import Edge, fading_below, repulsive_below, steepest, straight_beyond
from ase_kan.potentials.eam_posterior import EAMPosterior
from ase_kan.potentials.posterior import Modes
from ase_kan.potentials.protocol import distances
from ase_kan.types import Array, Pair, pair_name, sorted_pair

#: What a density may depend on: the element of the neighbor alone, or those of both atoms.
DENSITIES = eam_schema.DENSITIES


@dataclass(frozen=True, eq=False, repr=False)
class KANEAM:
    """An embedded-atom potential of B-splines; `fit(structures, model="eam")` makes one.

    Parameters
    ----------
    elements : tuple of str
        In alphabetical order.
    densities : str
        ``"alloy"``: f depends on the neighbor's element; ``"finnis-sinclair"``: on both.
    start, cutoff : float
        The grid of phi and f, Angstrom.
    grid, embedding_grid, k : int
        Cells of phi and f, those of F, and the degree of all.
    pair_coefficients : ndarray, shape (pairs, grid)
        Of phi, eV; pairs of elements in alphabetical order.
    density_coefficients : ndarray, shape (channels, kinds, grid)
        Of f; kinds are the neighbors, or all (atom, neighbor) in alphabetical order.
    embedding_coefficients : ndarray, shape (channels, elements, embedding_grid + k)
        Of F, eV.
    embedding_ends : ndarray, shape (channels, elements, 2)
        The grids of F.
    domains : mapping of pair to (float, float)
        Shortest distance of the data, and the cutoff. Pairs that the data lack are missing.
    density_domains : ndarray, shape (channels, elements, 2)
        Smallest and largest density of the data.
    reference_energies : mapping of str to float
        E0, eV.
    coverage : mapping of pair to Coverage
        Histograms of distances.
    density_coverage : mapping of str to tuple of Coverage
        Histograms of the densities of each element, in each channel.
    info : dict
        What the fit wants remembered; must be JSON.
    posterior : EAMPosterior, optional
        How well E0, phi and F are known.

    Raises
    ------
    ValueError
        If the parts do not fit together.
    """

    elements: tuple[str, ...]
    densities: str
    start: float
    cutoff: float
    grid: int
    embedding_grid: int
    k: int
    pair_coefficients: Array
    density_coefficients: Array
    embedding_coefficients: Array
    embedding_ends: Array
    domains: Mapping[Pair, tuple[float, float]]
    density_domains: Array
    reference_energies: Mapping[str, float]
    coverage: Mapping[Pair, Coverage] = field(default_factory=dict)
    density_coverage: Mapping[str, tuple[Coverage, ...]] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    posterior: EAMPosterior | None = None

    def __post_init__(self) -> None:
        eam_schema.check(*self.content())
        freeze = {name: MappingProxyType(dict(getattr(self, name))) for name in _MAPPINGS}
        for name, value in freeze.items():
            object.__setattr__(self, name, value)

    @property
    def channels(self) -> int:
        """How many densities each atom has."""
        return len(self.density_coefficients)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Pairs of elements that the data had."""
        return tuple(self.domains)

    def domain(self, pair: Pair) -> tuple[float, float]:
        """Smallest distance of the data of a pair, and the cutoff."""
        return self.domains[self._known(pair)]

    def density_domain(self, element: str, channel: int = 0) -> tuple[float, float]:
        """Smallest and largest density that the data of an element covered."""
        low, high = self.density_domains[self._channel(channel), self._element(element)]
        return float(low), float(high)

    def breakpoints(self, pair: Pair) -> tuple[float, ...]:
        """Ends of the cells of phi and f, and where the data begin."""
        low, _ = self.domain(pair)
        joints = {low, *(self._shortest(a, b) for a, b in (pair, pair[::-1]))}
        cells = Edge(self.start, self.cutoff, self.grid, self.k, self.pair_coefficients[0]).breaks()
        apart = np.min(np.abs(cells[:, None] - np.array(sorted(joints))), axis=1) > 1e-9 * self.cutoff
        inside = cells[apart & (cells > min(joints)) & (cells < self.cutoff * (1 - 1e-9))].tolist()
        return *sorted({*inside, *joints}), self.cutoff

    def density_breakpoints(self, element: str, channel: int = 0) -> tuple[float, ...]:
        """Ends of the cells of F."""
        return tuple(self.embedding_edge(element, channel).breaks().tolist())

    def pair_energy(self, r: Tensor, pair: Pair) -> Tensor:
        """phi(r), eV, differentiable."""
        low, _ = self.domain(pair)
        return repulsive_below(self.pair_edge(pair), low, self._pulls[sorted_pair(pair)], r)

    def density(self, r: Tensor, atom: str, neighbor: str, channel: int = 0) -> Tensor:
        """f(r): what a neighbor at r adds to the density of an atom, differentiable."""
        self._known((atom, neighbor))
        return fading_below(self.density_edge(atom, neighbor, channel), self._shortest(atom, neighbor), r)

    def embedding(self, density: Tensor, element: str, channel: int = 0) -> Tensor:
        """F(rho), eV, differentiable."""
        return straight_beyond(self.embedding_edge(element, channel), density)

    def gaps(self, pair: Pair) -> tuple[Gap, ...]:
        """Ranges within the domain of a pair, Angstrom, where its data have no or hardly any distances."""
        known = self.coverage.get(self._known(pair))
        return () if known is None else known.gaps(self.domain(pair))

    def density_gaps(self, element: str, channel: int = 0) -> tuple[Gap, ...]:
        """Ranges of the densities of an element where its data have hardly any atoms."""
        domain = self.density_domain(element, channel)
        known = self.density_coverage.get(element)
        # Files of earlier versions have the histogram of the first channel only.
        return () if known is None or channel >= len(known) else known[channel].gaps(domain)

    def grade(self, r: ArrayLike, pair: Pair) -> Array:
        """How far distances, of any shape, lie outside the data of a pair: 1 at their edge (`coverage.grade`)."""
        return grade(distances(r), self.domain(pair), self.gaps(pair))

    def density_grade(self, density: Array, element: str, channel: int = 0) -> Array:
        """How far densities lie outside the data of an element: 1 at their edge (`coverage.density_grade`)."""
        return density_grade(density, self.density_domain(element, channel), self.density_gaps(element, channel))

    def modes(self, r: Array, pair: Pair) -> Modes:
        """Values (eV) and slopes at distances (n,) of functions whose squares add up to the variance of phi.

        Those of F go with them, mode by mode; f is taken to be known. Straight below the data.
        """
        edge = self.pair_edge(pair)
        first = len(self.elements) + self._all_pairs().index(self._known(pair)) * self.grid
        return self._known_posterior().modes(edge, first, r, self.domain(pair)[0], edge.high)

    def blind(self, r: Array, pair: Pair) -> NDArray[np.bool_]:
        """Where nothing can be said of phi, a mask (n,): below the data its core is made up."""
        return np.asarray(r < self.domain(pair)[0] * (1 - 1e-9))

    def density_modes(self, density: Array, element: str, channel: int = 0) -> Modes:
        """Values (eV) and slopes of the modes of F at densities (n,); straight outside its grid."""
        edge = self.embedding_edge(element, channel)
        n = len(self.elements)
        before = self._channel(channel) * n + self._element(element)
        first = n + len(self._all_pairs()) * self.grid + before * (self.embedding_grid + self.k)
        return self._known_posterior().modes(edge, first, density, edge.low, edge.high)

    def lone_modes(self, counts: Mapping[str, int]) -> Array:
        """What the modes add to the energy of so many atoms of each element, eV; shape (modes,)."""
        factor = self._known_posterior().factor
        total: Array = np.array([counts.get(symbol, 0) for symbol in self.elements]) @ factor[: len(self.elements)]
        return total

    @property
    def residual(self) -> Mapping[str, float]:
        """What the fit leaves open, by property, as noise or physics beyond it (`EAMPosterior`)."""
        return self._known_posterior().residual

    def shifted(self, factors: Array) -> KANEAM:
        """With the modes added, each times a factor: a sample of the posterior if these are standard normal."""
        n, posterior = len(self.elements), self._known_posterior()
        energies, phi, embedding = np.split(posterior.factor @ factors, [n, n + self.pair_coefficients.size])
        return replace(
            self,
            reference_energies={
                s: self.reference_energies[s] + float(e) for s, e in zip(self.elements, energies, strict=True)
            },
            pair_coefficients=self.pair_coefficients + phi.reshape(self.pair_coefficients.shape),
            embedding_coefficients=self.embedding_coefficients + embedding.reshape(self.embedding_coefficients.shape),
            posterior=None,
        )

    def _known_posterior(self) -> EAMPosterior:
        """The posterior; `ValueError` for potentials without one."""
        if self.posterior is None:
            raise ValueError("the potential does not know its errors: fit(structures, model='eam') makes one that does")
        return self.posterior

    def pair_edge(self, pair: Pair) -> Edge:
        """phi of a pair within its data."""
        number = self._all_pairs().index(self._known(pair))
        return self._edge("pair", number)

    def density_edge(self, atom: str, neighbor: str, channel: int = 0) -> Edge:
        """f within its data."""
        kind = self._element(neighbor)
        if self.densities != DENSITIES[0]:
            kind += self._element(atom) * len(self.elements)
        else:
            self._element(atom)
        return self._edge("density", self._channel(channel), kind)

    def embedding_edge(self, element: str, channel: int = 0) -> Edge:
        """F within its data."""
        return self._edge("embedding", self._channel(channel), self._element(element))

    def _edge(self, layer: str, *place: int) -> Edge:
        if (layer, place) not in self._edges:
            coefficients: Array = getattr(self, f"{layer}_coefficients")[place]
            low, high, grid = self.start, self.cutoff, self.grid
            if layer == "embedding":
                low, high, grid = *map(float, self.embedding_ends[place]), self.embedding_grid
            self._edges[layer, place] = Edge(low, high, grid, self.k, coefficients)
        return self._edges[layer, place]

    @cached_property
    def _edges(self) -> dict[tuple[str, tuple[int, ...]], Edge]:
        """Those used so far."""
        return {}

    @cached_property
    def _pulls(self) -> dict[Pair, float]:
        """Largest slope that the densities add to phi of a pair at its shortest distance and below, eV/Angstrom."""
        return {pair: self._pull(pair) for pair in self.domains}

    def _pull(self, pair: Pair) -> float:
        low, _ = self.domain(pair)
        pull = 0.0
        for atom, neighbor in (pair, pair[::-1]):
            for channel in range(self.channels):
                density = partial(self.density, atom=atom, neighbor=neighbor, channel=channel)
                embedding = partial(self.embedding, element=atom, channel=channel)
                edge = self.embedding_edge(atom, channel)
                pull += steepest(embedding, edge.low, edge.high) * steepest(density, low / 2, low)
        return pull

    def _shortest(self, atom: str, neighbor: str) -> float:
        """Where the data of f begin: in alloys a neighbor's f has the data of all its pairs."""
        if self.densities != DENSITIES[0]:
            return self.domains[sorted_pair((atom, neighbor))][0]
        return min(low for pair, (low, _) in self.domains.items() if neighbor in pair)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the potential to one file (safetensors, no pickle), atomically."""
        storage.write(path, *self.content(), eam_schema.check)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KANEAM:
        """Read a saved potential.

        Raises
        ------
        FileNotFoundError, ValueError
            If the file is missing, foreign, damaged or of a newer format, or holds a pair potential or none. One line
            names the file and the entry.
        """
        return cls.restore(*storage.read(path, eam_schema.check))

    def __reduce__(self) -> tuple[object, ...]:
        return KANEAM.restore, self.content()

    @classmethod
    def restore(cls, header: dict[str, Any], arrays: storage.Arrays) -> KANEAM:
        """From the content of a file that has been checked."""
        return cls(**eam_file.arguments(header, arrays))

    def content(self) -> tuple[dict[str, Any], storage.Arrays]:
        """Header and arrays of its file."""

        return eam_file.header(self), eam_file.arrays(self)

    def describe(self) -> str:
        """Elements, domains, functions and what the fit reported, as lines of text."""
        form = "f of the neighbor's element" if self.densities == DENSITIES[0] else "f of both elements"
        lines = [
            f"embedded-atom potential of {', '.join(self.elements)}: {self.channels} "
            f"{'density' if self.channels == 1 else 'densities'} per atom, {form}",
            f"phi and f: {self.grid} cells from {self.start:g} A to the cutoff {self.cutoff:g} A, "
            f"F: {self.embedding_grid} cells, k = {self.k}",
        ]
        for pair in self.domains:
            lines.append(f"{pair_name(pair)}: data from {self.domain(pair)[0]:g} A")
            if gaps := self.gaps(pair):
                lines.append(f"gaps, with hardly any pairs in the data: {named_gaps(pair_name(pair), gaps)}")
        for element in self.elements:
            for channel in range(self.channels):
                low, high = self.density_domain(element, channel)
                name = element if self.channels == 1 else f"{element}, channel {channel}"
                lines.append(f"{name}: densities from {low:.4g} to {high:.4g}")
        lines += [f"E0 of {symbol}: {energy:.6f} eV" for symbol, energy in sorted(self.reference_energies.items())]
        lines += [f"{key}: {value}" for key, value in sorted(self.info.items())]
        return "\n".join(lines)

    def __repr__(self) -> str:
        told = f"{', '.join(self.elements)}; {self.channels} channels; cutoff {self.cutoff:.4g} A"
        return f"KANEAM({told})"

    def _all_pairs(self) -> list[Pair]:
        return list(combinations_with_replacement(self.elements, 2))

    def _known(self, pair: Pair) -> Pair:
        key = sorted_pair(pair)
        if key not in self.domains:
            known = ", ".join(map(pair_name, self.domains))
            raise ValueError(f"the potential has no pair {'-'.join(pair)}; it was fitted for {known}")
        return key

    def _element(self, element: str) -> int:
        if element not in self.elements:
            raise ValueError(f"the potential does not know {element!r}: it has {', '.join(self.elements)}")
        return self.elements.index(element)

    def _channel(self, channel: int) -> int:
        if not 0 <= channel < self.channels:
            raise ValueError(f"the potential has channels 0 to {self.channels - 1}, got {channel}")
        return channel


_MAPPINGS = ("domains", "reference_energies", "coverage", "density_coverage")
