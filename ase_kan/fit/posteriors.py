"""How well a fit knows its pair energies: from the equations that it solved."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import block_diag

from ase_kan.data.curve import PairCurve
from ase_kan.fit.curve_model import CurveModel, tail_of, wall_of
from ase_kan.kan.bsplines import basis, uniform_knots
from ase_kan.potentials.end_laws import EndLaw
from ase_kan.potentials.features import get_feature, value_and_slope
from ase_kan.potentials.pair import PairFunction
from ase_kan.potentials.posterior import PairPosterior, Posterior
from ase_kan.types import Array

#: The modes of a deeper network as splines: cells, degree, and distances at which they are compared.
CELLS, DEGREE, POINTS = 40, 3, 400
#: Step of the derivatives by the parameters.
STEP = 1e-5
#: Standard deviation of a network's parameters before any data, beside their size of about one.
PRIOR = 1.0


def curve_posterior(
    function: PairFunction,
    model: CurveModel | None,
    curve: PairCurve,
    rest: PairCurve,
    error: float,
    wall: EndLaw | None,
    tail: EndLaw | None,
) -> Posterior:
    """The posterior of a fit to a curve.

    Parameters
    ----------
    function : PairFunction
        With its ends.
    model : CurveModel or None
        The linear fit; deeper networks are linearised at their solution (Gauss-Newton).
    curve, rest : PairCurve
        The data, and what a baseline leaves of them.
    error : float
        RMS error of the fit, eV.
    wall, tail : EndLaw, optional
        Laws that were found already.
    """
    if model is None:
        ends_of_u = _reduced(function, np.array(function.domain))
        grid = (float(ends_of_u.min()), float(ends_of_u.max()), CELLS, DEGREE)
        factor = _linearised(function, rest, error, grid)
        noise = np.full(len(curve), error)
    else:
        factor = model.factor()
        grid = _grid_of(model)
        noise = model.noise
    wall = wall_of(curve, noise) if wall is None and function.core else wall
    tail = tail_of(rest, noise) if tail is None and function.tail else tail
    core, beyond = (
        law.spread if law is not None and end is not None else None
        for law, end in ((wall, function.core), (tail, function.tail))
    )
    return Posterior.of(factor, [PairPosterior(0, *grid, core, beyond)])


def joined(posteriors: Sequence[Posterior], guessed: Sequence[bool]) -> Posterior:
    """The posterior of pairs that were fitted alone; some are only `guessed`."""
    pairs, at = [], 0
    for posterior, guess in zip(posteriors, guessed, strict=True):
        (pair,) = posterior.pairs
        pairs.append(replace(pair, at=at, guessed=guess))
        at += pair.size
    return Posterior.of(block_diag(*(posterior.factor for posterior in posteriors)), pairs)


def _grid_of(model: CurveModel) -> tuple[float, float, int, int]:
    layer = model.network[0]
    k = layer.k
    knots = layer.grid[0].numpy()
    return float(knots[k]), float(knots[-k - 1]), layer.n_cells, k


def _reduced(function: PairFunction, r: Array) -> Array:
    """What the network sees of distances."""
    u: Array = (value_and_slope(get_feature(function.feature).of_r, r)[0] - function.x.shift) / function.x.scale
    return u


def _linearised(function: PairFunction, curve: PairCurve, error: float, grid: tuple[float, float, int, int]) -> Array:
    """Gauss-Newton: with J the derivatives of the energies by the parameters, covariance (J^T J / error^2 + 1)^-1.

    Its modes J(r) L are written in splines, which then stand for them.
    """
    network = deepcopy(function.network)
    parameters = [value for value in network.parameters() if value.numel()]

    def derivatives(u: Array) -> Array:
        """Central differences; the parameters are of order one, and the network is smooth in them."""
        x, columns = torch.from_numpy(u)[:, None], []
        with torch.no_grad():
            for flat in (parameter.view(-1) for parameter in parameters):
                for n in range(len(flat)):
                    middle, sides = float(flat[n]), []
                    for step in (STEP, -STEP):
                        flat[n] = middle + step
                        sides.append(network(x)[:, 0].numpy())
                    flat[n] = middle
                    columns.append(function.e.scale * (sides[0] - sides[1]) / (2 * STEP))
        return np.stack(columns, axis=1)

    rows = derivatives(_reduced(function, curve.r))
    precision = rows.T @ rows / max(error, 1e-300) ** 2 + np.eye(rows.shape[1]) / PRIOR**2
    values, vectors = np.linalg.eigh(precision)
    root = vectors / np.sqrt(np.maximum(values, values[-1] * 1e-15))
    low, high, cells, k = grid
    u = np.linspace(low, high, POINTS)
    matrix = basis(uniform_knots(low, high, cells, k), k, u, derivatives=0)[0]
    solution: Array = np.linalg.lstsq(matrix, derivatives(u) @ root, rcond=None)[0]
    return solution
