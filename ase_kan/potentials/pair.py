"""phi(r) of one pair of elements: a KAN of a radial feature, continued outside its data, cut off smoothly.

    phi(r) = C[E(r)],    E(r) = e0 + e1 KAN((x(r) - x0) / x1) within the data, core(r) below, tail(r) beyond

with the feature x(r), the affine maps (x0, x1) and (e0, e1) that bring the data to order one, and C the cutoff. A
baseline B(r), what is known before the fit (ZBL, Coulomb, another potential), is added to the KAN and to the tail; the
core stands for all of the energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ase_kan.kan.network import KANLayer, KANNetwork
from ase_kan.potentials.continuations import (
    CORES,
    SLOWEST,
    TAILS,
    Continuation,
    charges_of,
    fading_tail,
    match_core,
    match_tail,
    zbl,
)
from ase_kan.potentials.coverage import Coverage, Gap
from ase_kan.potentials.cutoff import FARTHEST, ONSET_FRACTION, Cutoff
from ase_kan.potentials.end_laws import EndLaw, repels
from ase_kan.potentials.features import get_feature, limited, replace_where, value_and_slope
from ase_kan.potentials.joints import BLEND_FROM, COMPARABLE, join_tail, join_wall, with_zbl
from ase_kan.potentials.scale import Scale, energy_scale
from ase_kan.types import Array

#: Distances at which `PairFunction.rough_knots` looks for crossings, and the most that it reports.
CROSSING_SEARCH, MOST_CROSSINGS = 1000, 60
#: Distances at which `PairFunction.must_be_finite` looks.
FINITE_SEARCH = 300
#: The default cutoff leaves out this part of the scale of the energy, per atom of a liquid ...
LEFT_OUT = 1e-2
#: ... that has so many atoms in the cube of the distance of the well (Lennard-Jones at its triple point).
LIQUID = 1.19
#: Exponents of tails above this have a finite lattice sum.
SUMMABLE = 3.0
#: Arrays of a baseline that is a function itself have this before their names.
BASELINE = "baseline."
#: Switching within less than the rest of the cutoff would be a wall.
LATEST_ONSET = 0.98


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
    core, tail : Continuation, optional
        What takes over below and beyond their joints (see `Ends`); None leaves the KAN alone.
    coverage : Coverage, optional
        Which distances within the domain the data have; None if that is not known.
    baseline : Continuation or PairFunction, optional
        Added to the KAN and to the tail.
    """

    def __init__(
        self,
        network: KANNetwork,
        domain: tuple[float, float],
        cutoff: Cutoff,
        feature: str = "r",
        x: Affine = Affine(),
        e: Affine = Affine(),
        core: Continuation | None = None,
        tail: Continuation | None = None,
        coverage: Coverage | None = None,
        baseline: Continuation | PairFunction | None = None,
    ) -> None:
        super().__init__()
        if network.width[0] != 1 or network.width[-1] != 1:
            raise ValueError(f"a pair energy needs a KAN with one input and one output, got width {network.width}")
        r_min, r_max = map(float, domain)
        if not (np.isfinite([r_min, r_max]).all() and 0 <= r_min < r_max):
            raise ValueError(f"need a domain with 0 <= r_min < r_max, got ({r_min:g}, {r_max:g})")
        if core is not None and tail is not None and not core.joint < tail.joint:
            raise ValueError(f"the core, below {core.joint:g} A, and the tail, beyond {tail.joint:g} A, overlap")
        self.network = network
        self.domain = (r_min, r_max)
        self.cutoff = cutoff
        self.feature = feature
        get_feature(feature)  # refuses unknown names
        self.x = x
        self.e = e
        self.core = core
        self.tail = tail
        self.coverage = coverage
        self.baseline = baseline

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Ranges within the domain, Angstrom, where the data have no or hardly any pairs."""
        return () if self.coverage is None else self.coverage.gaps(self.domain)

    def learned(self, r: Tensor) -> Tensor:
        """The KAN alone, eV: no baseline, core, tail or cutoff. Any shape."""
        reduced = (get_feature(self.feature).of_r(r) - self.x.shift) / self.x.scale
        output: Tensor = self.network(reduced.reshape(-1, 1))
        return self.e.shift + self.e.scale * output.reshape(r.shape)

    def bare(self, r: Tensor) -> Tensor:
        """The KAN and its baseline, eV: no core, tail or cutoff. Any shape."""
        return self.learned(r) if self.baseline is None else self.learned(r) + self.baseline(r)

    def forward(self, r: Tensor) -> Tensor:
        """phi(r) in eV for distances in Angstrom, any shape."""
        return self.cutoff.apply(self.uncut, r)

    def beyond(self, r: Tensor) -> Tensor:
        """Tail and baseline, eV: the energy beyond the data, without the cutoff. Any shape."""
        assert self.tail is not None
        return self.tail(r) if self.baseline is None else self.tail(r) + self.baseline(r)

    def uncut(self, r: Tensor) -> Tensor:
        """The KAN with its baseline, core and tail, eV: no cutoff. Any shape."""
        low = None if self.core is None else self.core.joint
        high = None if self.tail is None else self.tail.joint
        if low is None and high is None:
            return self.bare(r)
        energy = self.bare(limited(r, low, high))
        if self.core is not None:
            energy = replace_where(r < self.core.joint, energy, self.core, r)
        if self.tail is not None:
            energy = replace_where(r > self.tail.joint, energy, self.beyond, r)
        return energy

    def with_ends(self, cutoff: Cutoff, core: Continuation | None, tail: Continuation | None) -> PairFunction:
        """The same KAN and baseline with other ends."""
        return PairFunction(
            self.network, self.domain, cutoff, self.feature, self.x, self.e, core, tail, self.coverage, self.baseline
        )

    def must_be_finite(self, name: str) -> None:
        """`ValueError` if energy or slope overflow from 0.4 of the shortest distance of the data to the cutoff."""
        radius = self.cutoff.radius
        r = np.geomspace(max(0.4 * self.domain[0], 0.02 * radius), radius, FINITE_SEARCH)
        r = np.append(r, [end for end in self.domain if end > r[0]])
        with np.errstate(all="ignore"):
            bad = r[~np.isfinite(value_and_slope(self, r)).all(axis=0)]
        if len(bad):
            raise ValueError(f"the energy of {name} or its slope overflows at r = {bad[0]:.6g} A")

    def joints(self) -> set[float]:
        """Distances, up to the cutoff, where another formula takes over or the KAN is not smooth."""
        found = {end.joint for end in (self.core, self.tail) if end is not None} | {self.cutoff.onset or 0.0}
        if isinstance(self.baseline, PairFunction):
            found |= self.baseline.joints() | {self.baseline.cutoff.radius}
        return {r for r in found | self.rough_knots() if 0 < r < self.cutoff.radius}

    def rough_knots(self) -> set[float]:
        """Distances where the KAN has at most three continuous derivatives: its edges' knots, for k up to 4.

        An input of a deeper layer crosses a knot where some distance makes it so: found by bisection.
        """
        low = self.core.joint if self.core is not None else 0.2 * self.domain[0]
        high = min(self.tail.joint if self.tail is not None else np.inf, self.cutoff.radius)
        r = np.geomspace(max(low, 0.01 * high), high, CROSSING_SEARCH)
        found: set[float] = set()
        for depth, layer in enumerate(self.network):
            if layer.k > 4:
                continue
            side = self._inputs(r, depth)[..., None] >= layer.grid.numpy()
            at, i, m = np.nonzero(side[1:] != side[:-1])
            left, right = r[at], r[at + 1]
            for _ in range(50):
                middle = (left + right) / 2
                here = self._inputs(middle, depth)[np.arange(len(middle)), i] >= layer.grid.numpy()[i, m]
                stays = here == side[at, i, m]
                left, right = np.where(stays, middle, left), np.where(stays, right, middle)
            found |= {float(x) for x in (left + right) / 2}
        distinct = sorted(found)
        apart = [b for a, b in zip([0.0, *distinct], distinct, strict=False) if b - a > 1e-6 * b]
        # So many knots cost more in the map of a table than they save in rows.
        return set(apart) if len(apart) <= MOST_CROSSINGS else set()

    def _inputs(self, r: Array, depth: int) -> Array:
        """Inputs of a layer at distances r, shape (r, in)."""
        with torch.no_grad():
            x = (get_feature(self.feature).of_r(torch.from_numpy(r)) - self.x.shift) / self.x.scale
            x = x[:, None]
            for layer in list(self.network)[:depth]:
                x = layer(x)
        values: Array = x.numpy()
        return values

    def header(self) -> dict[str, Any]:
        """All that is not an array, ready for JSON (floats survive JSON bit for bit)."""
        return {
            "bases": [layer.base for layer in self.network],
            "domain": self.domain,
            "cutoff": asdict(self.cutoff),
            "feature": self.feature,
            "x": asdict(self.x),
            "e": asdict(self.e),
            "core": None if self.core is None else asdict(self.core),
            "tail": None if self.tail is None else asdict(self.tail),
            "coverage": None if self.coverage is None else asdict(self.coverage),
            "baseline": self._baseline_header(),
        }

    def _baseline_header(self) -> dict[str, Any] | None:
        if isinstance(self.baseline, PairFunction):
            return {"function": self.baseline.header()}
        return None if self.baseline is None else {"formula": asdict(self.baseline)}

    @classmethod
    def restore(cls, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PairFunction:
        """The inverse of `header` and `state_dict`."""
        layers = []
        for number, base in enumerate(header["bases"]):
            names = ("grid", "coef", "scale_base", "scale_spline", "bias")
            arrays = {name: tensors[f"network.layers.{number}.{name}"] for name in names}
            layers.append(KANLayer(**arrays, base=base))
        # JSON may have whole numbers, whose arithmetic is another.
        onset = header["cutoff"]["onset"]
        x, e = (Affine(float(header[name]["shift"]), float(header[name]["scale"])) for name in ("x", "e"))
        return cls(
            KANNetwork(layers),
            tuple(header["domain"]),
            Cutoff(float(header["cutoff"]["radius"]), None if onset is None else float(onset)),
            header["feature"],
            x,
            e,
            # Files of format 1 have no continuations.
            Continuation.restore(header.get("core")),
            Continuation.restore(header.get("tail")),
            # Nor do those of format 2 have a coverage, those of format 3 a baseline.
            Coverage.restore(header.get("coverage")),
            cls._restore_baseline(header.get("baseline"), tensors),
        )

    @classmethod
    def _restore_baseline(
        cls, header: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]
    ) -> Continuation | PairFunction | None:
        if header is None or "formula" in header:
            return None if header is None else Continuation.restore(header["formula"])
        inner = {name.removeprefix(BASELINE): t for name, t in tensors.items() if name.startswith(BASELINE)}
        return cls.restore(header["function"], inner)


def truncation_energy(tail: Callable[[Tensor], Tensor], radius: float, well: float) -> float:
    """Energy (eV) per atom that a cutoff leaves out of a liquid, 2 pi rho int |E| r^2 dr with rho = 1.19 / well^3."""
    r = np.geomspace(radius, 30 * radius, 600)
    with torch.no_grad():
        energy = np.abs(tail(torch.from_numpy(r)).numpy())
    shell = energy * r**2
    return float(2 * np.pi * LIQUID / well**3 * np.sum((shell[1:] + shell[:-1]) / 2 * np.diff(r)))


def affordable_radius(tail: Callable[[Tensor], Tensor], scale: Scale, radii: Array) -> float:
    """The first of ascending radii beyond which at most `LEFT_OUT` of the scale is left out, else the last."""
    cost = np.array([truncation_energy(tail, float(r), scale.energy / scale.force) for r in radii])
    enough = cost <= LEFT_OUT * scale.energy
    return float(radii[enough.argmax() if enough.any() else -1])


@dataclass(frozen=True)
class Ends:
    """How a pair energy is to go on outside its data; the defaults are those of `fit`.

    Parameters
    ----------
    cutoff, onset : float, optional
        Angstrom. The default cutoff is where the tail beyond amounts to 1 % of the scale of the energy per atom of a
        liquid (see `truncation_energy`), from 1.11 to 1.3 times the end of the data; without a tail 1.3 times. The
        default onset is 0.9 of it. Data that end at zero need no tail: the default cutoff is their end, and the default
        onset where they become zero; if that is the very end, the energy there, an error of the fit, is subtracted
        instead.
    smooth : bool
        See `Cutoff.choose`.
    core : "auto", "power", "zbl" or None
        Below the data. "auto": the law that the near end of the data supports (module `end_laws`), going over to ZBL
        where elements are known; "power" and "zbl": module `continuations`; None leaves the bare KAN.
    tail : "auto", "power", "coulomb" or None
        Beyond the data. "auto" and "coulomb": the law that the far end of the data supports; "power": what value and
        slope at the last point ask for; None leaves the bare KAN, and so does a cutoff within the data.
    """

    cutoff: float | None = None
    onset: float | None = None
    smooth: bool = True
    core: str | None = "auto"
    tail: str | None = "auto"

    def __post_init__(self) -> None:
        for what, name, known in (("core", self.core, CORES), ("tail", self.tail, TAILS)):
            if name is not None and name not in known:
                raise ValueError(f"unknown {what} {name!r}: choose one of {', '.join(map(repr, known))} or None")

    def rule(self, r_max: float) -> Cutoff:
        """The cutoff without regard to the tail, for data that end at `r_max`."""
        return Cutoff.choose(r_max, self.cutoff, self.onset, self.smooth)

    def attach(
        self,
        function: PairFunction,
        elements: tuple[str, str] | None,
        zero: float | None = None,
        wall: EndLaw | None = None,
        far: EndLaw | None = None,
    ) -> PairFunction:
        """The KAN of a function with these ends.

        Parameters
        ----------
        function : PairFunction
        elements : (str, str) or None
        zero : float, optional
            If the data end at zero: the error (eV) within which.
        wall, far : EndLaw, optional
            What the near and the far end of the data support.
        """
        low, high = function.domain
        rule, tail = self.rule(high), None
        core = self._core(function, elements, wall) if self.core and low > 0 else None
        if self.tail and rule.radius > high:
            learned = function.learned
            if zero is not None:
                tail = fading_tail(learned, function.domain)
            else:
                slowest = SLOWEST if self.tail == "power" else SUMMABLE
                tail = join_tail(far, learned) if far else match_tail(learned, function.domain, slowest)
            if self.cutoff is None and zero is not None and function.baseline is None:
                rule, tail = self._cutoff_at_zero(function, zero), None
            elif self.cutoff is None:
                rule = self._cutoff_by_cost(function.with_ends(rule, None, tail))
        return function.with_ends(rule, core, tail)

    def _cutoff_by_cost(self, function: PairFunction) -> Cutoff:
        """Where what is left out beyond is little (see `truncation_energy`)."""
        high = function.domain[1]
        radii = np.linspace(high / ONSET_FRACTION, FARTHEST * high, 40)
        radius = affordable_radius(function.beyond, energy_scale(function.bare, *function.domain), radii)
        return Cutoff.choose(high, radius, self.onset, self.smooth)

    def _core(self, function: PairFunction, elements: tuple[str, str] | None, wall: EndLaw | None) -> Continuation:
        assert self.core is not None
        if self.core != "auto":
            return match_core(self.core, function.bare, function.domain, elements)
        charges = charges_of(elements)
        joined = None if wall is None else join_wall(wall, function.bare, charges)
        if joined is not None:
            return joined
        joint = torch.tensor([function.domain[0]], dtype=torch.float64)
        if charges is not None:
            with torch.no_grad():
                energy, nuclear = float(function.bare(joint)), float(zbl(joint, *charges))
            if energy > BLEND_FROM and 1 / COMPARABLE < energy / nuclear < COMPARABLE:
                return match_core("zbl", function.bare, function.domain, elements)
        core = match_core("power", function.bare, function.domain, elements)
        return with_zbl(core, charges) if core.charges is None and repels(core) else core

    def _cutoff_at_zero(self, function: PairFunction, zero: float) -> Cutoff:
        """The cutoff of data that are zero where they end."""
        low, high = function.domain
        if self.onset is not None or not self.smooth:
            return Cutoff.choose(high, high, self.onset, self.smooth)
        r = np.linspace(max(low, ONSET_FRACTION * high), high, 500)
        with torch.no_grad():
            alive = np.abs(function.bare(torch.from_numpy(r)).numpy()) > 2 * zero
        zero_from = float(r[alive.nonzero()[0].max(initial=0)])
        return Cutoff(high, zero_from if zero_from <= LATEST_ONSET * high else None)
