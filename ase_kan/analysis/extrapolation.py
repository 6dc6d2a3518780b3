"""What a bare KAN does outside its data, computed from its parameters.

An edge is w b(x) + spline(x), with the base function b, and its splines vanish outside the extended grid: k knots
beyond the grid on each side. So three zones follow each other on both sides: the data; a transition of k grid
steps; and from where the inputs of all edges of all layers are off their extended grids, the network of the base
functions alone. With b = SiLU that is an MLP, which tends to a line in the feature: SiLU(z) -> z or 0. The line
follows layer by layer. A node with value s u + c, u -> infinity in the direction d, sends through an edge

    w (s u + c)   if s d > 0 (or b is the identity),     0   if s d < 0,     the edge's value at c   if s = 0.

Where the feature itself ends at a finite value (x = r at r = 0, x = 1/r at r = infinity) the line is the tangent there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from ase_kan.kan.network import BASE_FUNCTIONS, KANLayer, KANNetwork
from ase_kan.potentials.features import get_feature, value_and_slope
from ase_kan.potentials.pair import PairFunction
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Array, Pair

if TYPE_CHECKING:
    from kan import KAN

#: Points that a zone is searched with, for extrema and for the last input that is on a grid.
SEARCH = 4000
#: In reduced units: SiLU has reached its line, to double precision, so far from zero.
SATURATED = 40.0


@dataclass(frozen=True)
class Extremum:
    """A minimum or maximum of the bare energy where there were no data: position (Angstrom), energy (eV)."""

    r: float
    energy: float
    minimum: bool


@dataclass(frozen=True)
class End:
    """One end of a bare pair energy.

    Attributes
    ----------
    data : float
        Where the data end, Angstrom.
    transition : float
        Where the input has left the extended grid of the first layer (0 or inf if it never does).
    base : float or None
        From where on (inwards or outwards) the network is that of its base functions; None if some edge keeps its
        spline however far one goes.
    slope, intercept : float
        The asymptote ``intercept + slope x(r)`` with the feature x: eV.
    finite : bool
        Whether the feature ends at a finite value there; the asymptote is then the tangent at that value.
    extrema : tuple of Extremum
        Of the bare KAN outside the data, from the data outwards.
    verdict : str
        All of it in words.
    """

    data: float
    transition: float
    base: float | None
    slope: float
    intercept: float
    finite: bool
    extrema: tuple[Extremum, ...]
    feature: str
    verdict: str

    def asymptote(self, r: Array) -> Array:
        """The asymptote at distances r, eV."""
        x: Array = get_feature(self.feature).of_r(torch.from_numpy(r)).numpy()
        return self.intercept + self.slope * x


@dataclass(frozen=True)
class PairExtrapolation:
    """Both ends of one pair."""

    function: PairFunction
    short: End
    long: End

    @classmethod
    def of(cls, function: PairFunction) -> PairExtrapolation:
        """Analyze one pair."""
        return cls(function, _end(function, 0.0), _end(function, float("inf")))

    def base_energy(self, r: Array) -> Array:
        """The network of the base functions alone, eV: equal to the bare KAN beyond ``end.base``."""
        with torch.no_grad():
            x = _reduced(self.function, torch.from_numpy(np.asarray(r, dtype=float)).reshape(-1, 1))
            for layer in self.function.network:
                x = BASE_FUNCTIONS[layer.base](x) @ layer.scale_base + layer.bias
            energy: Array = (self.function.e.shift + self.function.e.scale * x).numpy().reshape(np.shape(r))
        return energy

    def __str__(self) -> str:
        low, high = self.function.domain
        lines = [f"data: {low:g} to {high:g} A, feature {self.function.feature}"]
        for name, end, cure in (("short", self.short, self.function.core), ("long", self.long, self.function.tail)):
            base = "never (an edge keeps its spline)" if end.base is None else f"from {end.base:.4g} A on"
            x = "r" if self.function.feature == "r" else f"({self.function.feature})"
            lines += [
                f"{name} range, bare KAN: {end.verdict}",
                f"    transition up to {end.transition:.4g} A, base functions alone {base}",
                f"    E -> {end.intercept:.10g} {end.slope:+.10g} {x} eV",
            ]
            lines += [
                f"    {'minimum' if e.minimum else 'maximum'} of {e.energy:.4g} eV at {e.r:.4g} A" for e in end.extrema
            ]
            lines.append(f"    in this potential: {'nothing replaces it' if cure is None else cure.describe()}")
        return "\n".join(lines)


def analyze(potential: KANPotential | KAN) -> dict[Pair | None, PairExtrapolation]:
    """Where a KAN's extrapolation begins, what it tends to, and what that means for atoms.

    Parameters
    ----------
    potential : KANPotential or pykan model
        Of a model the domain is its grid.

    Returns
    -------
    dict
        `PairExtrapolation` per pair, each of which prints as a report. Its `End` objects describe the *bare* KAN;
        continuations of the potential are told beside them.
    """
    if not isinstance(potential, KANPotential):
        if not hasattr(potential, "act_fun"):
            raise TypeError(f"analyze takes a KANPotential or a pykan KAN, got {type(potential).__name__}")
        potential = KANPotential.from_pykan(potential, core=None, tail=None)
    return {pair: PairExtrapolation.of(potential.function(pair)) for pair in potential.pairs}


def _reduced(function: PairFunction, r: Tensor) -> Tensor:
    """u(r), the input of the network."""
    return (get_feature(function.feature).of_r(r) - function.x.shift) / function.x.scale


def _distance(function: PairFunction, u: float) -> float:
    """The inverse of `_reduced`; 0 or inf where there is no such distance."""
    x = torch.tensor(function.x.shift + function.x.scale * u, dtype=torch.float64)
    r = float(get_feature(function.feature).to_r(x))
    rising = function.feature in ("r", "log r")
    return r if r >= 0 else (0.0 if rising else float("inf"))


def _end(function: PairFunction, limit: float) -> End:
    """The end of r towards `limit`, 0 or inf."""
    network = function.network
    data = function.domain[0 if limit == 0 else 1]
    u_data, u_limit = (float(_reduced(function, torch.tensor(r, dtype=torch.float64))) for r in (data, limit))
    direction = 1.0 if u_limit > u_data else -1.0
    finite = bool(np.isfinite(u_limit))
    if finite:
        value, slope = (float(v[0]) for v in value_and_slope(_one(network), np.array([u_limit])))
        line = slope, value - slope * u_limit
        far = u_limit
    else:
        lines = _lines(network, direction)
        line = float(lines[-1][0][0]), float(lines[-1][1][0])
        far = u_data + direction * _reach(network, lines, u_data)
    # K -> c + s u with u = (x - x0) / x1.
    slope = function.e.scale * line[0] / function.x.scale
    intercept = function.e.shift + function.e.scale * line[1] - slope * function.x.shift
    edge = float(network[0].grid[0, -1 if direction > 0 else 0])
    first = edge if (edge - u_limit) * direction < 0 else u_limit
    base = _last_on_grid(network, u_data, far, direction, finite)
    extrema = _extrema(function, u_data, far)
    verdict = (_short_verdict if limit == 0 else _long_verdict)(function, data, slope, intercept, finite, extrema)
    return End(
        data,
        _distance(function, first) if first != u_limit else limit,
        None if base is None else _distance(function, base),
        slope,
        intercept,
        finite,
        extrema,
        function.feature,
        verdict,
    )


def _one(network: KANNetwork) -> Callable[[Tensor], Tensor]:
    return lambda u: network(u.reshape(-1, 1))[:, 0]


def _lines(network: KANNetwork, direction: float) -> list[tuple[Tensor, Tensor]]:
    """Slopes and intercepts, in u, that the nodes of every layer tend to."""
    s, c = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    lines = [(s, c)]
    for layer in network:
        s, c = _through(layer, s, c, direction)
        lines.append((s, c))
    return lines


def _through(layer: KANLayer, s: Tensor, c: Tensor, direction: float) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        constant = layer.edges(c[None])[:, 0]  # (in, out)
        passes = {"silu": s * direction > 0, "identity": s != 0, "zero": torch.zeros_like(s, dtype=torch.bool)}
        weights = layer.scale_base * passes[layer.base][:, None]
        slope = (weights * s[:, None]).sum(0)
        intercept = torch.where(s[:, None] == 0, constant, weights * c[:, None]).sum(0)
        return slope, intercept + layer.bias


def _reach(network: KANNetwork, lines: list[tuple[Tensor, Tensor]], u_data: float) -> float:
    """How far from the data every node follows its line, and is off its grid if it ever will be."""
    reach = 0.0
    for layer, (s, c) in zip(network, lines, strict=False):
        moving = s != 0
        if moving.any():
            ends = layer.grid[moving].abs().amax(1) + c[moving].abs() + SATURATED
            reach = max(reach, float((ends / s[moving].abs()).max()))
    return 2 * reach + abs(u_data)


def _last_on_grid(network: KANNetwork, u_data: float, far: float, direction: float, finite: bool) -> float | None:
    """The last u, from the data outwards, at which some edge's input is on its extended grid; None if all are."""

    def on_grid(u: Array) -> Array:
        x = torch.from_numpy(u)[:, None]
        inside = np.zeros(len(u), dtype=bool)
        with torch.no_grad():
            for layer in network:
                matters = (layer.coef * layer.scale_spline[..., None] != 0).any(2).any(1)
                on = (x >= layer.grid[:, 0]) & (x < layer.grid[:, -1]) & matters
                inside |= on.any(1).numpy()
                x = layer(x)
        return inside

    u = _outwards(u_data, far)
    inside = on_grid(u)
    if inside[-1]:
        return None
    if not inside.any():
        return u_data
    low, high = u[np.flatnonzero(inside)[-1]], u[np.flatnonzero(inside)[-1] + 1]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if on_grid(np.array([middle]))[0] else (low, middle)
    return float(high)


def _outwards(u_data: float, far: float) -> Array:
    """From the data to `far`, evenly in u and in its logarithm."""
    span = abs(far - u_data)
    offsets = np.concatenate([np.linspace(0, min(span, 20.0), SEARCH), span * np.geomspace(1e-9, 1, SEARCH)])
    points: Array = u_data + np.sign(far - u_data) * np.unique(offsets)
    return points


def _extrema(function: PairFunction, u_data: float, far: float) -> tuple[Extremum, ...]:
    kan = _one(function.network)
    u = _outwards(u_data, far)
    slopes = value_and_slope(kan, u)[1]
    # Below round-off of the values a slope has no sign.
    slopes[np.abs(slopes) < 1e-14 * np.abs(slopes).max()] = 0.0
    found = []
    for n in np.flatnonzero(slopes[:-1] * slopes[1:] < 0):
        root = brentq(lambda t: float(value_and_slope(kan, np.array([t]))[1][0]), u[n], u[n + 1], xtol=1e-13)
        r = _distance(function, root)
        if 0 < r < np.inf:
            energy = function.e.shift + function.e.scale * float(value_and_slope(kan, np.array([root]))[0][0])
            # Outwards in u, a rising energy turns to a falling one at a maximum.
            rising = slopes[n] * (u[n + 1] - u[n]) * function.e.scale > 0
            found.append(Extremum(r, energy, not rising))
    return tuple(found)


def _force(function: PairFunction, r: float) -> float:
    return -float(value_and_slope(function.learned, np.array([r]))[1][0])


def _short_verdict(
    function: PairFunction, data: float, slope: float, intercept: float, finite: bool, extrema: tuple[Extremum, ...]
) -> str:
    maxima = [e for e in extrema if not e.minimum]
    minima = [e for e in extrema if e.minimum]
    if _force(function, data) <= 0:
        where = f"atoms attract where the data end, at {data:.4g} A, and closer"
    elif maxima:
        where = f"atoms closer than {maxima[0].r:.4g} A attract (a barrier of {maxima[0].energy:.3g} eV)"
    else:
        x = function.feature
        how = f"up to {intercept:.4g} eV at contact" if finite else f"E grows only like {abs(slope):.3g} |{x}| eV"
        if slope == 0 and not finite:
            how = f"up to {intercept:.4g} eV at contact"
        return f"repulsive down to r = 0, but soft: {how}; faster atoms pass through each other"
    end = f"to {minima[0].r:.4g} A" if minima else "into each other"
    return f"{where}: expect collapse {end}"


def _long_verdict(
    function: PairFunction, data: float, slope: float, intercept: float, finite: bool, extrema: tuple[Extremum, ...]
) -> str:
    minima = [e for e in extrema if e.minimum]
    wells = f"; a spurious minimum of {minima[0].energy:.3g} eV at {minima[0].r:.4g} A" if minima else ""
    if function.feature == "r" and slope != 0:
        pull = "pull together" if slope > 0 else "push apart"
        return f"atoms {pull} with a constant force of {abs(slope):.3g} eV/A however far apart they are{wells}"
    if function.feature == "log r" and slope != 0:
        return f"the energy goes on as {slope:+.3g} log r eV and never settles{wells}"
    return f"the energy tends to {intercept:.4g} eV instead of zero{wells}"
