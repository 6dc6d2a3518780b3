"""Radial features x(r): what the KAN sees of a distance.

A KAN extrapolates linearly in its input feature, so the feature decides the character of the function at
both ends. All are monotone in r, so a grid in x is a grid in r.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ase_kan.types import Array

if TYPE_CHECKING:
    from torch import Tensor


class Feature(NamedTuple):
    """A feature and its inverse, both torch functions of positive tensors."""

    of_r: Callable[[Tensor], Tensor]
    to_r: Callable[[Tensor], Tensor]


FEATURES: dict[str, Feature] = {
    "r": Feature(lambda r: r, lambda x: x),
    "1/r": Feature(lambda r: 1 / r, lambda x: 1 / x),
    "log r": Feature(lambda r: r.log(), lambda x: x.exp()),
    "r^-3": Feature(lambda r: r**-3, lambda x: x ** (-1 / 3)),
    "r^-6": Feature(lambda r: r**-6, lambda x: x ** (-1 / 6)),
}


def get_feature(name: str) -> Feature:
    """Look a feature up; `ValueError` names the known ones."""
    if name not in FEATURES:
        raise ValueError(f"unknown feature {name!r}: choose one of {', '.join(map(repr, FEATURES))}")
    return FEATURES[name]


def replace_where(mask: Tensor, values: Tensor, function: Callable[[Tensor], Tensor], r: Tensor) -> Tensor:
    """``torch.where(mask, function(r), values)`` with the function called for the masked distances only.

    Cheaper where they are few, and no gradient of the function elsewhere can be NaN. All of one shape.
    """
    at = mask.reshape(-1).nonzero().squeeze(1)
    return values.reshape(-1).index_copy(0, at, function(r.reshape(-1)[at])).reshape(r.shape)


def limited(r: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Distances moved into [low, high], with derivative 1 at the ends too.

    `torch.clamp` has derivative 1 there in some versions of torch and 0 in others (2.15).
    """
    if low is not None:
        r = r.where(~(r < low), low)
    return r if high is None else r.where(~(r > high), high)


def value_and_slope(function: Callable[[Tensor], Tensor], r: Array) -> tuple[Array, Array]:
    """A torch function of distances and its derivative by autograd, for an array of any shape."""
    import torch

    with torch.enable_grad():
        x = torch.from_numpy(r).requires_grad_()
        value = function(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach().numpy(), slope.numpy()


def two_derivatives(function: Callable[[Tensor], Tensor], r: Array) -> tuple[Array, Array, Array]:
    """A torch function of distances with its first and second derivative by autograd."""
    import torch

    with torch.enable_grad():
        x = torch.from_numpy(r).requires_grad_()
        value = function(x)
        (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), x) if slope.requires_grad else (torch.zeros_like(x),)
    return value.detach().numpy(), slope.detach().numpy(), curvature.numpy()
