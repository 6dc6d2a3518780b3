"""A KAN as one vector of parameters, in numpy, with the Jacobian that Levenberg-Marquardt needs.

The Jacobian is written out. With x the inputs of a layer, d = dx/du, edges f and their weights c on features P
(base function and splines), and alpha = dy/dx', gamma = dy'/dx' of the layer's outputs x' (y' = dy/du):

    dy/dc = alpha P(x)                          alpha  <- sum alpha f'(x)
    dy'/dc = gamma P(x) + alpha P'(x) d         gamma  <- sum gamma f'(x) + alpha f''(x) d
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.special import expit

from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.kan.network import KANLayer, KANNetwork
from ase_kan.types import Array


class DenseKAN:
    """A KAN as one parameter vector, with values, slopes and their Jacobian.

    Every grid is uniform on [-1, 1]; per edge the parameters are the base weight (SiLU) and G + k coefficients.
    """

    def __init__(self, width: Sequence[int], grid: int, k: int) -> None:
        self.width = tuple(width)
        self.k = k
        self.knots = uniform_knots(-1.0, 1.0, grid, k)
        self.features = 1 + grid + k
        self.shapes = [(i, o, self.features) for i, o in pairwise(self.width)]
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]

    def split(self, theta: Array) -> list[Array]:
        """Weights per layer, shape (in, out, features)."""
        parts = np.split(theta, np.cumsum(self.sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def edge_features(self, x: Array) -> list[Array]:
        """P, P', P'' at inputs of shape (n, in): three arrays (n, in, features)."""
        n, n_in = x.shape
        splines = basis(self.knots, self.k, x.ravel(), derivatives=2)
        s = expit(x)
        ds = s * (1 - s)
        silu = (x * s, s + x * ds, 2 * ds + x * ds * (1 - 2 * s))
        return [
            np.concatenate([b[..., None], p.reshape(n, n_in, -1)], axis=2) for b, p in zip(silu, splines, strict=True)
        ]

    def evaluate(self, theta: Array, u: Array) -> tuple[Array, Array, Array, Array]:
        """y (n,), y' (n,), dy/dtheta and dy'/dtheta (n, parameters)."""
        x, d = u[:, None], np.ones((len(u), 1))
        tape = []
        layers = self.split(theta)
        for weights in layers:
            features = self.edge_features(x)
            f, f1, f2 = (np.einsum("nif,iof->nio", p, weights) for p in features)
            tape.append((features, f1, f2, d))
            x, d = f.sum(1), np.einsum("nio,ni->no", f1, d)
        y, slope = x[:, 0], d[:, 0]
        alpha, gamma = np.ones((len(u), 1)), np.zeros((len(u), 1))
        value_jacobian, slope_jacobian = [], []
        for (p, p1, _), f1, f2, d in [(entry[0], *entry[1:]) for entry in reversed(tape)]:
            value_jacobian.append(np.einsum("no,nif->niof", alpha, p).reshape(len(u), -1))
            through = np.einsum("no,nif->niof", gamma, p) + np.einsum("no,ni,nif->niof", alpha, d, p1)
            slope_jacobian.append(through.reshape(len(u), -1))
            gamma = np.einsum("no,nio->ni", gamma, f1) + np.einsum("no,nio,ni->ni", alpha, f2, d)
            alpha = np.einsum("no,nio->ni", alpha, f1)
        return y, slope, np.concatenate(value_jacobian[::-1], 1), np.concatenate(slope_jacobian[::-1], 1)

    def network(self, theta: Array) -> KANNetwork:
        """The torch network of a parameter vector."""
        layers = []
        for weights in self.split(theta):
            n_in, n_out, _ = weights.shape
            w = torch.from_numpy(weights)
            grid = torch.from_numpy(self.knots).expand(n_in, -1)
            layers.append(KANLayer(grid, w[..., 1:], w[..., 0], torch.ones(n_in, n_out), torch.zeros(n_out), "silu"))
        return KANNetwork(layers)
