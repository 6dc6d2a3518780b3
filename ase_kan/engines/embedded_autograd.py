"""The reference engine of embedded-atom potentials: densities first, then energies and slopes.

With f_ij what atom j adds to the density of atom i, and F'_i = dF/drho at rho_i (all sums over channels left out):

    rho_i = sum_j f_ij     E = sum_i F(rho_i) + sum_{i<j} phi_ij     dE/dr_ij = phi' + F'_i f'_ij + F'_j f'_ji

(M. S. Daw and M. I. Baskes, Phys. Rev. B 29, 6443, 1984.) An atom has its F and one half of each of its pairs.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from ase_kan.engines.autograd import NearPairs, ReferenceEngine, Terms, over_r
from ase_kan.engines.guard import OutsideDensity, outside_densities
from ase_kan.engines.protocol import Structure
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.types import Array, Index


class EmbeddedAutogradEngine(ReferenceEngine):
    """Any embedded-atom potential by its own torch functions: the reference."""

    potential: EmbeddedAtomPotential

    def _terms(self, pairs: NearPairs, structure: Structure) -> Terms:
        n, channels = len(structure.numbers), self.potential.channels
        energy, slope = np.empty(len(pairs.r)), np.empty(len(pairs.r))
        densities = np.zeros((n, channels))
        # Which atoms get a density, in which channel, from which pairs, and its slope.
        added: list[tuple[Index, int, slice, Array]] = []
        for kind, part in pairs.kinds:
            assert kind is not None  # every function has elements
            r = pairs.r[part]
            energy[part], slope[part] = value_and_slope(partial(self.potential.pair_energy, pair=kind), r)
            a, b = kind
            # Pairs of two elements are listed in either order.
            swapped = structure.numbers[pairs.i[part]] != atomic_numbers[a]
            first = np.where(swapped, pairs.j[part], pairs.i[part])
            second = np.where(swapped, pairs.i[part], pairs.j[part])
            for channel in range(channels):
                for atoms, atom, neighbor in ((first, a, b), (second, b, a)):
                    density = partial(self.potential.density, atom=atom, neighbor=neighbor, channel=channel)
                    value, rise = value_and_slope(density, r)
                    densities[:, channel] += np.bincount(atoms, value, n)
                    added.append((atoms, channel, part, rise))
        embedding, push = self._embeddings(structure.numbers, densities)
        for atoms, channel, part, rise in added:
            slope[part] += push[atoms, channel] * rise
        return Terms(energy, over_r(slope, energy, pairs), embedding, densities)

    def _embeddings(self, numbers: Index, densities: Array) -> tuple[Array, Array]:
        """F summed over channels, shape (atoms,), and F', shape (atoms, channels)."""
        energy, slope = np.zeros(len(numbers)), np.zeros_like(densities)
        for number in np.unique(numbers):
            mine = np.flatnonzero(numbers == number)
            for channel in range(self.potential.channels):
                embedding = partial(self.potential.embedding, element=chemical_symbols[number], channel=channel)
                value, slope[mine, channel] = value_and_slope(embedding, densities[mine, channel])
                energy[mine] += value
        return energy, slope

    def _outside_densities(self, structure: Structure, densities: Array) -> list[OutsideDensity]:
        return outside_densities(self.potential, structure.numbers, densities, self.limit)
