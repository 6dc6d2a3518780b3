"""How a pair energy goes to zero at the cutoff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ase_kan.potentials.features import limited, replace_where

#: Without an onset, switching starts at this fraction of the cutoff.
ONSET_FRACTION = 0.9
#: Without a cutoff, it is at most this many times the end of the data.
FARTHEST = 1.3


@dataclass(frozen=True)
class Cutoff:
    """The cutoff of one pair.

    Parameters
    ----------
    radius : float
        Distance in Angstrom from which on energy and force are exactly zero.
    onset : float or None
        With an onset, the energy is multiplied by a switching function that falls from 1 at `onset` to 0 at
        `radius` with two continuous derivatives. None subtracts the energy at `radius` instead, as ASE's
        `LennardJones(rc=radius)` does: the energy is continuous, the force jumps.
    """

    radius: float
    onset: float | None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.radius) and self.radius > 0):
            raise ValueError(f"cutoff must be a positive, finite distance, got {self.radius}")
        if self.onset is not None and not 0 < self.onset < self.radius:
            raise ValueError(f"onset must lie between 0 and the cutoff {self.radius:g}, got {self.onset:g}")

    @classmethod
    def choose(cls, r_max: float, cutoff: float | None, onset: float | None, smooth: bool) -> Cutoff:
        """Fill in what the user left open; `r_max` is where the data end.

        The default radius is 1.3 `r_max`, and the default onset 0.9 of the radius: the energy is left as it
        was fitted over all the data and brought to zero beyond them.
        """
        radius = FARTHEST * r_max if cutoff is None else float(cutoff)
        if not smooth:
            if onset is not None:
                raise ValueError(
                    "smooth=False subtracts the energy at the cutoff and has no onset: drop one of the two"
                )
            return cls(radius, None)
        return cls(radius, ONSET_FRACTION * radius if onset is None else float(onset))

    def apply(self, bare: Callable[[Tensor], Tensor], r: Tensor) -> Tensor:
        """Evaluate ``bare(r)`` cut off; torch-differentiable, zero from the radius on."""
        inside = r < self.radius
        # Distances beyond the cutoff get the value there, so that no gradient through them can be NaN.
        reached = torch.where(inside, r, self.radius)
        if self.onset is None:
            energy = bare(reached) - bare(r.new_full((), self.radius))
        else:
            fading = partial(switch, onset=self.onset, radius=self.radius)
            energy = bare(reached) * replace_where(r > self.onset, torch.ones_like(r), fading, reached)
        return torch.where(inside, energy, 0.0)


def switch(r: Tensor, onset: float, radius: float) -> Tensor:
    """The quintic 1 - 10 u^3 + 15 u^4 - 6 u^5 of u = (r - onset) / (radius - onset), u within [0, 1].

    The lowest polynomial with two zero derivatives at both ends ("smootherstep", K. Perlin, SIGGRAPH 2002).
    """
    u = limited((r - onset) / (radius - onset), 0.0, 1.0)
    return 1 - u**3 * (10 - 15 * u + 6 * u**2)
