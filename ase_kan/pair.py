"""phi(r) of one pair of elements: a KAN of a radial feature, cut off smoothly.

    phi(r) = C[e0 + e1 KAN((x(r) - x0) / x1)]

with the feature x(r), the affine maps (x0, x1) and (e0, e1) that bring the data to order one, and C the cutoff.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from ase_kan.cutoff import Cutoff
from ase_kan.features import get_feature
from ase_kan.network import KANLayer, KANNetwork


@dataclass(frozen=True)
class Affine:
    """value = shift + scale * reduced."""

    shift: float = 0.0
    scale: float = 1.0


class PairFunction(nn.Module):
    """Energy of one pair, as a differentiable torch function of its distance.

    Parameters
    ----------
    network : KANNetwork
        Maps (b, 1) to (b, 1).
    domain : (float, float)
        Smallest and largest distance that the data covered, Angstrom.
    cutoff : Cutoff
    feature : str
        Key of `features.FEATURES`.
    x, e : Affine
        Feature and energy (eV) in terms of the network's input and output.
    """

    def __init__(
        self,
        network: KANNetwork,
        domain: tuple[float, float],
        cutoff: Cutoff,
        feature: str = "r",
        x: Affine = Affine(),
        e: Affine = Affine(),
    ) -> None:
        super().__init__()
        if network.width[0] != 1 or network.width[-1] != 1:
            raise ValueError(f"a pair energy needs a KAN with one input and one output, got width {network.width}")
        r_min, r_max = map(float, domain)
        if not (np.isfinite([r_min, r_max]).all() and 0 <= r_min < r_max):
            raise ValueError(f"need a domain with 0 <= r_min < r_max, got ({r_min:g}, {r_max:g})")
        self.network = network
        self.domain = (r_min, r_max)
        self.cutoff = cutoff
        self.feature = feature
        get_feature(feature)  # refuses unknown names
        self.x = x
        self.e = e

    def bare(self, r: Tensor) -> Tensor:
        """The KAN alone, eV: no cutoff. Any shape."""
        reduced = (get_feature(self.feature).of_r(r) - self.x.shift) / self.x.scale
        output: Tensor = self.network(reduced.reshape(-1, 1))
        return self.e.shift + self.e.scale * output.reshape(r.shape)

    def forward(self, r: Tensor) -> Tensor:
        """phi(r) in eV for distances in Angstrom, any shape."""
        return self.cutoff.apply(self.bare, r)

    def header(self) -> dict[str, Any]:
        """All that is not an array, ready for JSON (floats survive JSON bit for bit)."""
        return {
            "bases": [layer.base for layer in self.network],
            "domain": self.domain,
            "cutoff": asdict(self.cutoff),
            "feature": self.feature,
            "x": asdict(self.x),
            "e": asdict(self.e),
        }

    @classmethod
    def restore(cls, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PairFunction:
        """The inverse of `header` and `state_dict`."""
        layers = []
        for number, base in enumerate(header["bases"]):
            names = ("grid", "coef", "scale_base", "scale_spline", "bias")
            arrays = {name: tensors[f"network.layers.{number}.{name}"] for name in names}
            layers.append(KANLayer(**arrays, base=base))
        return cls(
            KANNetwork(layers),
            tuple(header["domain"]),
            Cutoff(**header["cutoff"]),
            header["feature"],
            Affine(**header["x"]),
            Affine(**header["e"]),
        )
