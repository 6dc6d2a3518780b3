"""A KAN in plain torch: the same function as pykan's, without importing it.

An edge from input i to output o computes (pykan 0.2.8, `KANLayer.forward`)

    y = scale_base * b(x) + scale_spline * sum_c coef_c B_c(x)

with a base function b (SiLU, identity or zero) and B-splines B_c of degree k on a grid extended by k knots
on each side; outside the extended grid every B_c vanishes. pykan evaluates all B_c by the Cox-de Boor
recursion; here each knot interval has its k+1 polynomial coefficients (module `bsplines`), and a value costs
one look-up and k multiply-adds. Index letters: i input, o output, m knot interval, p power, b sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ase_kan.kan.bsplines import interval_polynomials
from ase_kan.kan.sizes import BASES, MOST_CELLS, MOST_DEGREE, MOST_LAYERS, MOST_NODES
from ase_kan.types import Array

BASE_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = dict(
    zip(BASES, (nn.functional.silu, lambda x: x, torch.zeros_like), strict=True)
)


#: Most numbers that the polynomials of a layer may take: 256 MB.
MOST_NUMBERS = 1 << 25


class KANLayer(nn.Module):
    """All edges between two layers of nodes.

    Parameters
    ----------
    grid : Tensor, shape (in, G + 2k + 1)
        Extended knots, ascending.
    coef : Tensor, shape (in, out, G + k)
        B-spline coefficients.
    scale_base, scale_spline : Tensor, shape (in, out)
        Weights of the base function and of the spline.
    bias : Tensor, shape (out,)
        Added to the sum over the edges (pykan's node and subnode biases).
    base : str
        Key of `BASE_FUNCTIONS`.
    """

    grid: Tensor
    basis: Tensor
    bounds: Tensor
    left: Tensor
    inverse_width: Tensor

    def __init__(
        self, grid: Tensor, coef: Tensor, scale_base: Tensor, scale_spline: Tensor, bias: Tensor, base: str
    ) -> None:
        super().__init__()
        n_in, n_out, n_coef = coef.shape
        self.k = grid.shape[1] - 1 - n_coef
        if base not in BASE_FUNCTIONS:
            raise ValueError(f"unknown base function {base!r}: choose one of {', '.join(BASE_FUNCTIONS)}")
        if self.k < 1 or n_coef <= self.k:
            raise ValueError(f"a grid of {grid.shape[1]} knots does not fit {n_coef} spline coefficients")
        check_size((n_in, n_out), n_coef - self.k, self.k)
        expected: dict[str, tuple[Tensor, tuple[int, ...]]] = {
            "grid": (grid, (n_in, grid.shape[1])),
            "scale_base": (scale_base, (n_in, n_out)),
            "scale_spline": (scale_spline, (n_in, n_out)),
            "bias": (bias, (n_out,)),
        }
        for name, (given, shape) in expected.items():
            if tuple(given.shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(given.shape)}")
        self.base = base
        self.register_buffer("grid", grid.detach().double().clone(memory_format=torch.contiguous_format))
        self.coef = _frozen(coef)
        self.scale_base = _frozen(scale_base)
        self.scale_spline = _frozen(scale_spline)
        self.bias = _frozen(bias)
        tables = [interval_polynomials(knots, self.k) for knots in self.grid.cpu().numpy()]
        self.register_buffer("basis", torch.from_numpy(np.stack(tables)), persistent=False)
        # One row more on each side stands for "outside": width 0 and, in `polynomials`, coefficients 0.
        width = self.grid.diff(dim=1)
        inverse = torch.where(width > 0, 1 / torch.where(width > 0, width, 1.0), 0.0)
        self.register_buffer("left", nn.functional.pad(self.grid[:, :-1], (1, 1)), persistent=False)
        self.register_buffer("inverse_width", nn.functional.pad(inverse, (1, 1)), persistent=False)
        # NaN compares as false: nothing lies beyond the last knot's interval or before the first's.
        self.register_buffer("bounds", nn.functional.pad(self.grid, (1, 1), value=np.nan), persistent=False)
        self.uniform = bool(torch.allclose(width, width.mean(1, keepdim=True), rtol=1e-6, atol=0.0))

    @property
    def n_in(self) -> int:
        return self.coef.shape[0]

    @property
    def n_out(self) -> int:
        return self.coef.shape[1]

    @property
    def n_cells(self) -> int:
        """Number of grid intervals G between the extended ends."""
        return self.coef.shape[2] - self.k

    def polynomials(self) -> Tensor:
        """Coefficients of powers of u in [0, 1) per knot interval, shape (in, intervals + 2, k + 1, out)."""
        k = self.k
        windows = nn.functional.pad(self.coef * self.scale_spline[..., None], (k, k)).unfold(2, k + 1, 1)
        inside = torch.einsum("impc,iomc->impo", self.basis, windows)
        return nn.functional.pad(inside, (0, 0, 0, 0, 1, 1))

    def intervals(self, xt: Tensor) -> Tensor:
        """Number of knots up to each input, shape (in, b), for inputs of the same shape."""
        if not self.uniform:
            return torch.searchsorted(self.grid, xt, right=True)
        # A guess, set right by one where rounding put it beside a knot: four times faster than a search.
        n = self.grid.shape[1]
        steps_in = (xt - self.grid[:, :1]) * ((n - 1) / (self.grid[:, -1:] - self.grid[:, :1]))
        guess = steps_in.clamp(-1, n - 1).floor().long().add_(1).clamp_(0, n)
        beyond = xt >= self.bounds.gather(1, guess + 1)
        before = xt < self.bounds.gather(1, guess)
        return guess + beyond.long() - before.long()

    def edges(self, x: Tensor) -> Tensor:
        """Values of every edge, shape (in, b, out), for inputs of shape (b, in)."""
        xt = x.T.contiguous()
        interval = self.intervals(xt.detach())
        u = ((xt - self.left.gather(1, interval)) * self.inverse_width.gather(1, interval))[..., None]
        rows = torch.arange(self.n_in, device=x.device)[:, None]
        c = self.polynomials()[rows, interval]
        y = c[:, :, self.k]
        for p in range(self.k - 1, -1, -1):
            y = torch.addcmul(c[:, :, p], y, u)
        if self.base != "zero":
            y = y + BASE_FUNCTIONS[self.base](xt)[..., None] * self.scale_base[:, None]
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs of shape (b, in) to outputs of shape (b, out)."""
        return self.edges(x).sum(0) + self.bias


class KANNetwork(nn.Module):
    """A stack of `KANLayer`; maps (b, n_in) to (b, n_out). Parameters are float64 and need no gradient."""

    def __init__(self, layers: Sequence[KANLayer]) -> None:
        super().__init__()
        if not 1 <= len(layers) <= MOST_LAYERS:
            raise ValueError(f"a KAN has 1 to {MOST_LAYERS} layers, got {len(layers)}")
        for before, after in pairwise(layers):
            if before.n_out != after.n_in:
                raise ValueError(f"a layer with {before.n_out} outputs feeds one with {after.n_in} inputs")
        self.layers = nn.ModuleList(layers)

    @classmethod
    def of_spline(cls, knots: Array, coef: Array) -> KANNetwork:
        """A single edge without base function: the spline of knots (G + 2k + 1,) and coefficients (G + k,)."""
        one = torch.ones(1, 1)
        grid, weights = torch.from_numpy(knots)[None], torch.from_numpy(coef)[None, None]
        return cls([KANLayer(grid, weights, 0 * one, one, torch.zeros(1), "zero")])

    @property
    def width(self) -> tuple[int, ...]:
        """Numbers of nodes, (1, 2, 1) for example."""
        return (self[0].n_in, *(layer.n_out for layer in self))

    def __iter__(self) -> Iterator[KANLayer]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> KANLayer:
        layer = self.layers[index]
        assert isinstance(layer, KANLayer)
        return layer

    def __len__(self) -> int:
        return len(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().double().clone(), requires_grad=False)


def check_architecture(width: Sequence[int], **counts: int | None) -> None:
    """Refuse widths that do not go from 1 to 1, and counts (grid, k, ...) that are not whole numbers from 1 on."""
    given = {"width": list(width)} | {name: [value] for name, value in counts.items() if value is not None}
    for name, numbers in given.items():
        for number in numbers:
            if int(number) != number:
                raise ValueError(f"{name} must be made of whole numbers, got {number}")
    if len(width) < 2 or width[0] != 1 or width[-1] != 1 or any(n < 1 for n in width):
        raise ValueError(f"width must go from 1 to 1 through positive numbers, such as (1, 2, 1), got {tuple(width)}")
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if len(width) > MOST_LAYERS + 1:
        raise ValueError(f"a KAN has at most {MOST_LAYERS} layers, got {len(width) - 1}")
    for before, after in pairwise(width):
        check_size((before, after), counts.get("grid") or 1, counts.get("k") or 1)


def check_size(nodes: tuple[int, int], grid: int, k: int) -> None:
    """Refuse a layer that would take minutes or gigabytes."""
    for name, value, most in (("k", k, MOST_DEGREE), ("grid", grid, MOST_CELLS), ("width", max(nodes), MOST_NODES)):
        if value > most:
            raise ValueError(f"{name} = {value} is too large: at most {most}")
    numbers = nodes[0] * (grid + 2 * k) * (k + 1) * max(k + 1, nodes[1])
    if numbers > MOST_NUMBERS:
        raise ValueError(
            f"a layer from {nodes[0]} to {nodes[1]} nodes with grid = {grid} and k = {k} is too large: its splines "
            f"take {numbers} numbers, at most {MOST_NUMBERS}"
        )
