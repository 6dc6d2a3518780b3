"""Variable projection: the best coefficients for given shapes are linear algebra, so that only shapes are searched.

    minimise over theta   |y - Phi(theta) c(theta)|^2,     c(theta) = Phi(theta)^+ y

First on a grid of the logarithms of the shapes, then from the best cells of the grid by Levenberg-Marquardt with the
Jacobian of L. Kaufman, BIT 15, 49 (1975): -(1 - Phi Phi^+) (dPhi/dtheta) c.
(G. H. Golub, V. Pereyra, SIAM J. Numer. Anal. 10, 413, 1973.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ase_kan.analysis.law.forms import RANGES, Form, Free, Piece, changes, columns, value_of
from ase_kan.analysis.law.observations import Observations
from ase_kan.potentials.formula import Term
from ase_kan.types import Array

#: Grid points for one shape and for each of two; starts from the best of them, per shape.
GRID_ONE, GRID_TWO, STARTS = 64, 24, 2
#: Steps of Levenberg-Marquardt, the largest damping, and the part of the sum of squares that is worth another step.
STEPS, MOST_DAMPING, WORTH = 60, 1e4, 1e-8
#: Terms that cancel to less than one over this part of their size are no law, but a numerical derivative of one.
MOST_CANCELLATION = 300.0
#: Sets of shapes whose equations are held at a time.
BATCH = 256


@dataclass(frozen=True, eq=False)
class Fitted:
    """A form with the shapes and coefficients that suit the data best.

    Parameters
    ----------
    form : Form
    theta : ndarray, shape (shapes,)
        Exponents, rates (1/Angstrom), widths (1/Angstrom^2).
    coefficients : ndarray, shape (pieces,)
        Of the pieces relative to the scale r0 of the data, eV.
    residual : ndarray, shape (rows,)
        Weighted.
    squares : ndarray, shape (groups,)
        Sums of squares, at least the floors.
    """

    form: Form
    theta: Array
    coefficients: Array
    residual: Array
    squares: Array

    def terms(self, r0: float) -> tuple[Term, ...]:
        """The law in eV and Angstrom."""
        found = []
        for piece, c in zip(self.form.pieces, self.coefficients, strict=True):
            n, b, g = (value_of(shape, self.theta) for shape in (piece.power, piece.rate, piece.gauss))
            d = None if piece.damping is None else value_of(piece.damping, self.theta)
            found.append(Term(float(c * r0**n * np.exp(b * r0 + g * r0**2)), n, b, g, d))
        return tuple(found)

    def derivatives(self, data: Observations) -> Array:
        """Derivatives of the equations by coefficients, then by the logarithms of the shapes: (rows, parameters)."""
        r0 = data.scale
        phi = data.rows(columns(self.form, self.theta[None], data.r, r0))[0]
        if not self.form.shapes:
            return np.asarray(phi)
        by_shape = data.rows(changes(self.form, self.theta, data.r, r0)) @ self.coefficients
        return np.concatenate([phi, np.asarray(by_shape).T], axis=1)

    def covariance(self, data: Observations) -> Array:
        """Covariance of coefficients and logarithms of shapes, with the noise that the residuals show."""
        jacobian = self.derivatives(data)
        size = np.linalg.norm(jacobian, axis=0)
        size[size == 0] = 1.0
        inverse = np.linalg.pinv(np.linalg.qr(jacobian / size, mode="r"), rcond=1e-14)
        found: Array = (inverse @ inverse.T) / np.outer(size, size) * self.variance(data)
        return found

    def variance(self, data: Observations) -> float:
        """Variance of the weighted noise; 1 where the noise is known, unless the residuals are larger."""
        weights = np.array([group.weight for group in data.groups])
        free = max(data.count - len(self.coefficients) - len(self.theta), 1.0)
        found = float((self.squares * weights**2).sum() / free)
        return max(found, 1.0) if data.groups[0].known else found


def rigid_fits(forms: Sequence[Form], data: Observations) -> list[Fitted]:
    """The best coefficients of all forms without free shapes, those without a sensible fit left out."""
    pieces = list(dict.fromkeys(piece for form in forms for piece in form.pieces))
    if not pieces:
        return []
    none, y = np.zeros(0), data.target()
    rows = data.rows(columns(Form(tuple(pieces)), none[None], data.r, data.scale))[0]
    place = {piece: number for number, piece in enumerate(pieces)}
    fits: list[Fitted | None] = []
    for size in sorted({len(form.pieces) for form in forms}):
        alike = [form for form in forms if len(form.pieces) == size]
        for at in range(0, len(alike), BATCH):
            batch = alike[at : at + BATCH]
            chosen = np.array([[place[piece] for piece in form.pieces] for form in batch])
            found = _least_squares(np.moveaxis(rows[:, chosen], 0, 1), y)
            fits += [_sensible(form, none, found, number, data) for number, form in enumerate(batch)]
    return [fit for fit in fits if fit is not None]


def best_fit(form: Form, data: Observations) -> Fitted | None:
    """The best shapes and coefficients of a form with free shapes; None where there is no sensible fit."""
    unit = {"power": 1.0, "rate": 1 / data.scale, "gauss": 1 / data.scale**2}
    ends = np.array([np.multiply(RANGES[kind], unit[kind]) for kind in form.shapes])
    size = GRID_ONE if len(form.shapes) == 1 else GRID_TWO
    axes = [np.geomspace(float(low), float(high), size) for low, high in ends]
    # Two terms of a kind: the order of their shapes is free.
    alike = len(form.shapes) == 2 and _same_kind(form.pieces)
    grid = np.array([point for point in product(*axes) if not alike or point[0] > point[1] * 1.01])
    fits = [_solve(form, grid[at : at + BATCH], data) for at in range(0, len(grid), BATCH)]
    merit = np.concatenate([fit.merit for fit in fits])
    best: Fitted | None = None
    for at in _starts(np.log(grid), merit):
        found = _descend(form, grid[at], data, ends)
        if found is not None and (best is None or _loss(found, data) < _loss(best, data)):
            best = found
    return best


def _same_kind(pieces: tuple[Piece, ...]) -> bool:
    kinds = [
        [isinstance(getattr(p, name), Free) or getattr(p, name) for name in ("power", "rate", "gauss")] for p in pieces
    ]
    return kinds[0] == kinds[1]


def _starts(points: Array, merit: Array) -> list[int]:
    """The best points that are not neighbors of better ones."""
    if points.shape[1] == 1:  # local minima of a row
        wall = np.concatenate([[np.inf], merit, [np.inf]])
        lowest = (merit <= wall[:-2]) & (merit <= wall[2:])
        merit = np.where(lowest, merit, np.inf)
    chosen: list[int] = []
    step = 2.5 * np.array([np.diff(np.unique(axis)).max() for axis in points.T])
    for at in np.argsort(merit, kind="stable"):
        if not np.isfinite(merit[at]) or len(chosen) == STARTS * points.shape[1]:
            break
        if all((np.abs(points[at] - points[other]) > step).any() for other in chosen):
            chosen.append(int(at))
    return chosen


@dataclass(frozen=True, eq=False)
class _Solved:
    """The best coefficients of b sets of columns: (b, pieces), residuals (b, rows), their squares, inf if senseless."""

    coefficients: Array
    residual: Array
    merit: Array


def _solve(form: Form, theta: Array, data: Observations) -> _Solved:
    """For b sets of shapes."""
    return _least_squares(data.rows(columns(form, theta, data.r, data.scale)), data.target())


def _least_squares(matrix: Array, y: Array) -> _Solved:
    """For b matrices at a time, shape (b, rows, pieces)."""
    size = np.sqrt((matrix**2).sum(axis=1))
    good = (size > 0).all(axis=1) & np.isfinite(size).all(axis=1)
    size = np.where(size > 0, size, 1.0)
    scaled = matrix / size[:, None]
    if not good.all():
        scaled[~good] = np.eye(len(y), matrix.shape[2])
    q, r = np.linalg.qr(scaled)
    good &= (np.abs(np.diagonal(r, axis1=1, axis2=2)) > 1e-12).all(axis=1)
    if not good.all():
        r[~good] = np.eye(matrix.shape[2])
    c = np.linalg.solve(r, np.swapaxes(q, 1, 2) @ y[:, None])
    # Once more for the residual: the digits that exact data have.
    c = (c + np.linalg.solve(r, np.swapaxes(q, 1, 2) @ (y[:, None] - scaled @ c)))[..., 0]
    residual = y - (scaled @ c[..., None])[..., 0]
    cancellation = np.abs(c).max(axis=1) / np.sqrt((y**2).sum())
    good &= cancellation <= MOST_CANCELLATION
    return _Solved(c / size, residual, np.where(good, (residual**2).sum(axis=1), np.inf))


def _sensible(form: Form, theta: Array, found: _Solved, at: int, data: Observations) -> Fitted | None:
    """One of the sets, if its coefficients make sense."""
    if not np.isfinite(found.merit[at]):
        return None
    c = found.coefficients[at]
    # Dispersion between atoms in their ground states attracts: damped terms of the other sign mend other misfits.
    if any(piece.damping is not None and x > 0 for piece, x in zip(form.pieces, c, strict=True)):
        return None
    return Fitted(form, theta, c, found.residual[at], data.squares(found.residual[at : at + 1])[0])


def _loss(fit: Fitted, data: Observations) -> float:
    return float(sum(s * group.weight**2 for s, group in zip(fit.squares, data.groups, strict=True)))


def _descend(form: Form, start: Array, data: Observations, ends: Array) -> Fitted | None:
    """Levenberg-Marquardt in the logarithms of the shapes; the last step that made the residuals smaller."""
    # A factor of two beyond the grid on either side: the best may lie at its edge.
    low, high = np.log(ends[:, 0] / 2), np.log(ends[:, 1] * 2)
    theta, now = start, _solve(form, start[None], data)
    damping = 1e-3
    for _ in range(STEPS):
        basis = np.linalg.qr(data.rows(columns(form, theta[None], data.r, data.scale))[0])[0]
        jacobian = -(data.rows(changes(form, theta, data.r, data.scale)) @ now.coefficients[0]).T
        for _ in range(2):  # twice is enough for orthogonality
            jacobian = jacobian - basis @ (basis.T @ jacobian)
        size = np.linalg.norm(jacobian, axis=0) + 1e-300
        scaled = jacobian / size
        gradient = scaled.T @ now.residual[0]
        normal = scaled.T @ scaled
        before = now.merit[0]
        while damping < MOST_DAMPING:
            step = -np.linalg.solve(normal + damping * np.eye(len(size)), gradient) / size
            step *= min(1.0, 0.5 / max(float(np.abs(step).max()), 1e-300))
            moved = np.exp(np.clip(np.log(theta) + step, low, high))
            tried = _solve(form, moved[None], data)
            if tried.merit[0] < before:
                theta, now = moved, tried
                break
            damping = max(damping * 10, 1e-2)
        if before - now.merit[0] <= WORTH * before:
            break
        damping /= 10
    return _sensible(form, theta, now, 0, data)
