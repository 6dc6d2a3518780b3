"""The single-edge KANs of all pairs and the lone-atom energies, from the normal equations of the structures.

A KAN's splines are written in those of the mesh; what remains is one symmetric linear system for all coefficients,
with a penalty per pair whose strength the training structures choose (module `smoothness`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from ase_kan.fit.equations import INTERVALS, Accumulator, RadialMesh
from ase_kan.fit.noise import Part, Problem
from ase_kan.fit.smoothness import START, Block, Strength
from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.kan.network import KANNetwork
from ase_kan.potentials.continuations import Continuation
from ase_kan.potentials.coverage import Coverage
from ase_kan.potentials.features import get_feature, value_and_slope
from ase_kan.potentials.pair import Affine, PairFunction
from ase_kan.potentials.posterior import PairPosterior, Posterior
from ase_kan.types import Array, Pair

#: Virials contradict the rest if it multiplies the square of their error by so much, and adds this of their variance.
CONTRADICTION, NOTEWORTHY = 2.0, 0.02
#: A constant is told of from this part of the square of the error.
TELLING = 0.3


class Reduced(NamedTuple):
    """The unknowns of a fit: solution = fixed + columns @ unknowns."""

    fixed: Array
    columns: Array
    #: Affine map, knots, and place of the first coefficient of each pair.
    grids: dict[Pair, tuple[Affine, Array, int]]
    blocks: list[Block]
    k: int


@dataclass
class LeastSquares:
    """Least squares for all KAN coefficients at once."""

    train: Accumulator
    held: Accumulator
    chosen: Mapping[str, float]
    given: dict[str, float]
    baselines: Mapping[Pair, Continuation | PairFunction] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    _system: Reduced | None = None

    @property
    def seen(self) -> list[Pair]:
        """Pairs with training data; the others are left out of the potential."""
        return [pair for pair in self.train.meshes if np.isfinite(self.train.shortest[pair])]

    def scales(self) -> dict[str, float]:
        """One over the variance of the data of each property, of energies about what lone atoms explain.

        NaN without a variance: a single energy, forces that are all zero.
        """
        parts = self.train.equations.items()
        return {name: 1 / part.variance(self._lone(name)) if part.count else np.nan for name, part in parts}

    def solve(
        self, grid: int, k: int, feature: str, final: bool = True
    ) -> tuple[dict[Pair, PairFunction], dict[str, float], Strength]:
        """The single-edge KANs, lone-atom energies and the strength of the penalty.

        Weights (kept in `weights`) and strength are found in the data; if not `final`, those to start with do.
        """
        system = self._system = self._reduce(grid, k, feature)
        problem, strength = self._problem(system, system.columns), START
        scales = self.scales()
        # What has no variance counts in eV and Angstrom.
        chosen = {name: 1.0 for name, scale in scales.items() if np.isnan(scale)} | dict(self.chosen)
        self.weights = scales | chosen
        if final:
            self.weights, strength = problem.best(scales, chosen)
        c = problem.evidence(self.weights, 1.0).solve(strength)[0]
        functions = {}
        for pair, (x, knots, at) in system.grids.items():
            network = KANNetwork.of_spline(knots, c[at : at + grid + k])
            mesh = self.train.meshes[pair]
            domain = (self.train.shortest[pair], mesh.cutoff.radius)
            coverage = Coverage.of(mesh.ends()[::-1], self.train.histograms[pair][::-1], domain[0])
            functions[pair] = PairFunction(
                network, domain, mesh.cutoff, feature, x, coverage=coverage, baseline=self.baselines.get(pair)
            )
        z = system.fixed + system.columns @ c
        base = self.train.baseline
        energies = {
            s: self.given[s] if s in self.given else base.get(s, 0.0) + float(z[n])
            for n, s in enumerate(self.train.elements)
        }
        return functions, energies, strength

    def _reduce(self, grid: int, k: int, feature: str) -> Reduced:
        """What is free in the columns of the normal equations: energies of lone atoms, and coefficients of KANs."""
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
        grids = {}
        for number, pair in enumerate(seen):
            mesh, offset = self.train.meshes[pair], self.train.offsets[pair]
            x, knots = _reduced_grid(feature, self.train.shortest[pair], mesh, grid, k)
            u = (_feature(feature, mesh.points()) - x.shift) / x.scale
            u = np.where(np.abs(np.abs(u) - 1) < 1e-12, np.sign(u), u)
            at = len(free) + number * n_coef
            splines = basis(knots, k, u, 0)[0]
            if mesh.cutoff.onset is None:  # the first point is the cutoff
                splines = splines - splines[0]
            columns[offset : offset + mesh.size, at : at + n_coef] = mesh.interpolate(splines)
            grids[pair] = (x, knots, at)
            if pair in self.baselines:
                fixed[offset : offset + mesh.size] = mesh.solution(self.baselines[pair])
        blocks = [Block(at, _centres(knots, k, x, feature)) for x, knots, at in grids.values()]
        return Reduced(fixed, columns, grids, blocks, k)

    def _problem(self, system: Reduced, columns: Array) -> Problem:
        """The mean squared errors in terms of some columns, of which the reduced ones come first."""
        fixed, parts = system.fixed, {}
        for name, part in self.train.equations.items():
            if part.count:
                vector = part.vector - part.matrix @ fixed
                constant = part.squares - float(fixed @ part.vector) - float(fixed @ vector)
                parts[name] = Part(
                    columns.T @ part.matrix @ columns / part.weight,
                    columns.T @ vector / part.weight,
                    constant / part.weight,
                    part.count,
                )
        return Problem(parts, system.blocks, system.k)

    def contradiction(self, strength: Strength) -> str | None:
        """What to tell if energies and forces alone predict virials that are far from those given, after `solve`.

        A constant of their normal components, which wrong stresses may have (Pulay), is told apart.
        """
        part, others = self.train.equations["virial"], {**self.weights, "virial": 0.0}
        if not (part.count and self.weights["virial"]) or not any(
            others[name] for name, other in self.train.equations.items() if other.count
        ):
            return None
        system = self._system
        assert system is not None
        problem = self._problem(system, np.column_stack([system.columns, np.eye(self.train.size)[-1]]))
        virial = problem.parts["virial"]
        together, apart = (
            self._problem(system, system.columns).evidence(weights, 1.0).solve(strength)[0]
            for weights in (self.weights, others)
        )
        c = np.append(apart, 0.0)
        error, least, variance = virial.mean_square(c), virial.mean_square(np.append(together, 0.0)), part.variance()
        if not (error > CONTRADICTION * least and error - least > NOTEWORTHY * variance):
            return None
        offset = float((virial.vector[-1] - virial.matrix[-1] @ c) / virial.matrix[-1, -1])
        share = offset**2 * virial.matrix[-1, -1] / error
        told = f"virials contradict energies and forces, which predict them within {np.sqrt(error):.3g} eV/atom"
        if share > TELLING:
            told += f"; a constant of {offset:+.3g} eV/atom, as of wrong stresses, makes {share:.0%} of its square"
        return f'{told}; weights={{"virial": 0}} leaves them out'

    def _lone(self, name: str) -> int:
        return len(self.train.elements) if name == "energy" else 0

    def posterior(self, strength: Strength) -> Posterior:
        """What is known of all pair energies and lone atoms, after `solve`."""
        system = self._system
        assert system is not None
        problem = self._problem(system, system.columns)
        c = problem.evidence(self.weights, 1.0).solve(strength)[0]
        evidence = problem.evidence(self.weights, problem.effective_count(self.weights, c))
        root, n_free = evidence.root(strength), evidence.flat
        grids = [(x, knots) for x, knots, _ in system.grids.values()]
        cells, at, pairs = len(grids[0][1]) - 1 - 2 * system.k, 0, []
        for _ in grids:
            pairs.append(PairPosterior(at, -1.0, 1.0, cells, system.k))
            at += cells + system.k
        z = system.fixed + system.columns @ c
        residual = {name: self._residual(name, z) for name, part in self.train.equations.items() if part.count}
        free = [s for s in self.train.elements if s not in self.given]
        return Posterior.of(np.concatenate([root[n_free:], root[:n_free]]), pairs, free, residual)

    def _residual(self, name: str, z: Array) -> float:
        """RMS error of a property over training and held-out structures."""
        parts = [part for part in (a.equations[name] for a in (self.train, self.held)) if part.count]
        squares = sum(part.mean_square(z) * part.weight for part in parts)
        return float(np.sqrt(squares / sum(part.weight for part in parts)))

    def mesh_solution(self, functions: Mapping[Pair, PairFunction], energies: Mapping[str, float]) -> Array:
        """The potential in terms of the columns of the normal equations."""
        z = np.zeros(self.train.size)
        z[: len(energies)] = [energies[s] - self.train.baseline.get(s, 0.0) for s in self.train.elements]
        for pair, function in functions.items():
            mesh, offset = self.train.meshes[pair], self.train.offsets[pair]
            z[offset : offset + mesh.size] = mesh.solution(function.bare)
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
