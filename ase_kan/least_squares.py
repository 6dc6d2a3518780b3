"""The single-edge KANs of all pairs and the lone-atom energies, from the normal equations of the structures.

A KAN's splines are written in those of the mesh; what remains is one symmetric linear system for all coefficients,
with a penalty per pair whose strength the training structures choose (module `smoothness`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ase_kan.bsplines import Array, basis, uniform_knots
from ase_kan.coverage import Coverage
from ase_kan.features import get_feature, value_and_slope
from ase_kan.network import KANLayer, KANNetwork
from ase_kan.normal import INTERVALS, PROPERTIES, Accumulator, Equations, Pair, RadialMesh
from ase_kan.pair import Affine, PairFunction
from ase_kan.smoothness import Block, Evidence, Strength


@dataclass
class LeastSquares:
    """Least squares for all KAN coefficients at once."""

    train: Accumulator
    held: Accumulator
    weights: tuple[float, float, float]
    given: dict[str, float]

    @property
    def seen(self) -> list[Pair]:
        """Pairs with training data; the others are left out of the potential."""
        return [pair for pair in self.train.meshes if np.isfinite(self.train.shortest[pair])]

    def combined(self, accumulator: Accumulator) -> tuple[Array, Array, float]:
        """Matrix, vector and constant of the weighted loss."""
        size = accumulator.size
        matrix, vector, constant = np.zeros((size, size)), np.zeros(size), 0.0
        for weight, part in self._weighted(accumulator):
            if part.weight > 0:
                matrix += weight / part.weight * part.matrix
                vector += weight / part.weight * part.vector
                constant += weight / part.weight * part.squares
        return matrix, vector, constant

    def effective_count(self, z: Array) -> float:
        """Number of equally good data whose mean square error is as well known as the loss of a solution.

        Source: B. L. Welch, Biometrika 34, 28 (1947); F. E. Satterthwaite, Biometrics Bull. 2, 110 (1946).
        """
        parts = [(w * part.mean_square(z), part.count) for w, part in self._weighted(self.train) if part.weight > 0]
        return float(sum(share for share, _ in parts) ** 2 / sum(share**2 / count for share, count in parts))

    def _weighted(self, accumulator: Accumulator) -> list[tuple[float, Equations]]:
        return [(w, accumulator.equations[name]) for name, w in zip(PROPERTIES, self.weights, strict=True)]

    def solve(
        self, grid: int, k: int, feature: str, strength: Strength | None = None
    ) -> tuple[dict[Pair, PairFunction], dict[str, float], Strength]:
        """The single-edge KANs, lone-atom energies and the strength of the penalty: by evidence, unless given."""
        elements, seen = self.train.elements, self.seen
        n_coef = grid + k
        free = [s for s in elements if s not in self.given]
        values = sum(part.count for part in self.train.equations.values())
        needed = len(seen) * n_coef + len(free)
        if values < needed:
            raise ValueError(f"{values} training values cannot fix {needed} parameters: give more, or a smaller grid")
        fixed = np.zeros(self.train.size)
        columns = np.zeros((self.train.size, needed))
        for index, symbol in enumerate(elements):
            if symbol in self.given:
                fixed[index] = self.given[symbol] - self.train.baseline.get(symbol, 0.0)
            else:
                columns[index, free.index(symbol)] = 1.0
        shapes = {}
        for number, pair in enumerate(seen):
            mesh, offset = self.train.meshes[pair], self.train.offsets[pair]
            x, knots = _reduced_grid(feature, self.train.shortest[pair], mesh, grid, k)
            u = (_feature(feature, mesh.points()) - x.shift) / x.scale
            u = np.where(np.abs(np.abs(u) - 1) < 1e-12, np.sign(u), u)
            at = len(free) + number * n_coef
            columns[offset : offset + mesh.size, at : at + n_coef] = mesh.interpolate(basis(knots, k, u, 0)[0])
            shapes[pair] = (x, knots, at)
        matrix, vector, constant = self.combined(self.train)
        a = columns.T @ matrix @ columns
        b = columns.T @ (vector - matrix @ fixed)
        constant += float(fixed @ matrix @ fixed - 2 * fixed @ vector)
        blocks = [Block(at, _centres(knots, k, x, feature)) for x, knots, at in shapes.values()]
        evidence = Evidence(a, b, constant, blocks, k, values)
        if strength is None:
            # How many data there are, in effect, depends on which property leaves the largest errors.
            evidence.count = self.effective_count(fixed + columns @ evidence.solve(evidence.choose())[0])
            strength = evidence.choose()
        c = evidence.solve(strength)[0]
        one = torch.ones(1, 1)
        functions = {}
        for pair, (x, knots, at) in shapes.items():
            coef = torch.from_numpy(c[at : at + n_coef])[None, None]
            layer = KANLayer(torch.from_numpy(knots)[None], coef, 0 * one, one, torch.zeros(1), "zero")
            cut = self.train.meshes[pair].cutoff
            domain = (self.train.shortest[pair], cut.radius)
            mesh = self.train.meshes[pair]
            coverage = Coverage.of(mesh.ends()[::-1], self.train.histograms[pair][::-1], domain[0])
            functions[pair] = PairFunction(KANNetwork([layer]), domain, cut, feature, x, coverage=coverage)
        base = self.train.baseline
        energies = {
            s: self.given[s] if s in self.given else base.get(s, 0.0) + float(c[free.index(s)]) for s in elements
        }
        return functions, energies, strength

    def mesh_solution(self, functions: Mapping[Pair, PairFunction], energies: Mapping[str, float]) -> Array:
        """The potential in terms of the columns of the normal equations."""
        z = np.zeros(self.train.size)
        z[: len(energies)] = [energies[s] - self.train.baseline.get(s, 0.0) for s in self.train.elements]
        for pair, function in functions.items():
            mesh, offset = self.train.meshes[pair], self.train.offsets[pair]
            z[offset : offset + mesh.size] = mesh.interpolate(value_and_slope(function.bare, mesh.points())[0])
        return z


def _feature(name: str, r: Array) -> Array:
    return value_and_slope(get_feature(name).of_r, r)[0]


def _reduced_grid(feature: str, r_min: float, mesh: RadialMesh, grid: int, k: int) -> tuple[Affine, Array]:
    """The grid of a KAN from the smallest distance in the data to the cutoff.

    In 1/r, the feature of the mesh, its end is moved to shorter distances by less than a cell, so that every
    cell is a whole number of mesh intervals: the mesh then holds the KAN exactly.
    """
    r_max = mesh.cutoff.radius
    if feature == "1/r":
        interval = (1 / mesh.start - 1 / r_max) / INTERVALS
        per_cell = max(1, int(np.ceil((1 / r_min - 1 / r_max) / interval / grid)))
        r_min = max(mesh.start, 1 / (1 / r_max + min(grid * per_cell, INTERVALS) * interval))
    ends = _feature(feature, np.array([r_min, r_max]))
    return Affine(float(ends.mean()), float(abs(ends[1] - ends[0]) / 2)), uniform_knots(-1.0, 1.0, grid, k)


def _centres(knots: Array, k: int, x: Affine, feature: str) -> Array:
    """Distances where the splines of a grid live: of their Greville abscissas, or the ends where these are beyond."""
    places = np.array([knots[m + 1 : m + k + 1].mean() for m in range(len(knots) - k - 1)]).clip(-1, 1)
    return get_feature(feature).to_r(torch.from_numpy(x.shift + x.scale * places)).numpy()
