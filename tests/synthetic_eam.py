"""Embedded-atom potentials written out by hand: of any number of elements and channels, in either form."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ase_kan.potentials.features import limited


def _switch(r, cutoff):
    """One at r = 0, and zero with three derivatives at the cutoff."""
    u = (r / cutoff).clamp(max=1.0)
    return (1 - u**2) ** 4


@dataclass(frozen=True, eq=False)
class SyntheticEAM:
    """phi is repulsive, f decays, F is -A sqrt(rho) in the domain and straight outside.

    With `neighbor_decides` a density depends on the atom it comes from only (eam/alloy), else on both (eam/fs).
    """

    elements: tuple[str, ...] = ("Cu", "Ni")
    channels: int = 1
    neighbor_decides: bool = True
    cutoff: float = 5.0
    sign: float = 1.0
    low: float = 0.5
    reference_energies: dict[str, float] = field(default_factory=lambda: {"Cu": -0.5, "Ni": 1.25})

    def _size(self, element):
        return 1.0 + 0.1 * self.elements.index(element)

    def domain(self, pair):
        return 2.0, self.cutoff

    def density_domain(self, element, channel=0):
        ends = self.low, 3.0 + channel + self._size(element)
        return ends if self.sign > 0 else (-ends[1], -ends[0])

    def breakpoints(self, pair):
        return (self.cutoff,)

    def density_breakpoints(self, element, channel=0):
        return self.density_domain(element, channel)

    def pair_energy(self, r, pair):
        a, b = sorted(pair)
        strength = self._size(a) * self._size(b) ** 2
        return torch.where(r < self.cutoff, strength * 60 * torch.exp(-2.2 * r) * _switch(r, self.cutoff), 0.0)

    def density(self, r, atom, neighbor, channel=0):
        size = self._size(neighbor) if self.neighbor_decides else self._size(atom) ** 2 * self._size(neighbor)
        f = size * (2.0 + channel) * torch.exp(-(0.9 + 0.3 * channel) * r) * _switch(r, self.cutoff)
        return self.sign * torch.where(r < self.cutoff, f, 0.0)

    def embedding(self, density, element, channel=0):
        low, high = self.density_domain(element, channel)
        size = -(0.4 + channel) * self._size(element)
        inside = limited(density, low, high)
        below, above = limited(density, high=low) - low, limited(density, low=high) - high
        below, above = torch.where(density < low, below, 0.0), torch.where(density > high, above, 0.0)
        slopes = [self.sign / 2 * abs(end) ** -0.5 for end in (low, high)]
        return size * ((self.sign * inside) ** 0.5 + slopes[0] * below + slopes[1] * above)
