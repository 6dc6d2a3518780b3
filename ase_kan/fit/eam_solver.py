"""Variable projection: phi and F are solved for exactly at every f, and f is found by Levenberg-Marquardt.

Residuals r = A(c) x - b are linear in x = (E0, phi, F) given the coefficients c of f. With x(c) the least-squares
solution, the sum of squares is a function of c alone, whose Gauss-Newton step solves

    min over (x, step)  | A x + J step - b |^2 + damping | D step |^2,        J = (dA/dc) x(c)

together with the penalties. To eliminate x is Kaufman's approximation of the projected Jacobian, (1 - A A^+) J
(G. H. Golub, V. Pereyra, Inverse Problems 19, R1, 2003; L. Kaufman, BIT 15, 49, 1975). Rows are never held together:
a QR factorization of the factor so far and the next rows keeps what they have to say (Golub and Van Loan, 5.2).

Gauge: densities may be scaled, and F(rho) + g rho is the same as phi + 2 g f. After each step the standard deviation of
the densities about the means of the elements is 1, and F' = 0 at those means.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from ase_kan.fit.eam_data import Chunks
from ase_kan.fit.eam_form import Form, Ranges
from ase_kan.fit.eam_penalty import Penalty, Strength, choose
from ase_kan.potentials.eam_schema import DENSITIES
from ase_kan.types import Array

#: Decay of the first f, 1/Angstrom, and those that further ones are chosen from.
DECAY, DECAYS = 1.3, (0.4, 0.8, 2.0, 3.0)
#: Damping to begin with, its least, what a step that fails or succeeds changes it by, and failures that end a descent.
DAMPING, LEAST_DAMPING, DAMPING_FACTOR, MOST_FAILURES = 1e-3, 1e-9, 5.0, 6


@dataclass(frozen=True)
class State:
    """A solution of the linear problem for one f."""

    c: Array
    x: Array
    ranges: Ranges
    cost: float
    #: Triangular factor of the data and penalties of x; its last column is that of the data.
    factor: Array


class Solver:
    """The least-squares problem of the training structures.

    Parameters
    ----------
    chunks : Chunks
    unit : float
        Standard deviation of the energies per atom, eV.
    """

    def __init__(self, chunks: Chunks, unit: float) -> None:
        self.chunks, self.unit = chunks, unit
        self._moments()

    def form(self, c: Array) -> Form:
        """With as many channels as c has."""
        return replace(self.chunks.form, channels=len(c))

    def _moments(self) -> None:
        sums, squares, counts = (
            np.sum(parts, axis=0) for parts in zip(*(m.moments() for m in self.chunks), strict=True)
        )
        self._means = sums / counts[:, None]
        spread = squares - np.einsum("a,ai,aj->aij", counts, self._means, self._means)
        if self.chunks.form.densities == DENSITIES[0]:  # one scale for all elements
            self._spreads = spread.sum(axis=0)[None] / counts.sum()
        else:
            self._spreads = spread / counts[:, None, None]

    def in_gauge(self, c: Array) -> Array:
        """c with densities of standard deviation 1, of the sign that a neighbor adds to."""
        c = c.copy()
        blocks = np.array_split(np.arange(c.shape[1]), len(self._spreads))
        for f in c:
            for spread, kinds in zip(self._spreads, blocks, strict=True):
                part = np.zeros_like(f)
                part[kinds] = f[kinds]
                deviation = np.sqrt(part.ravel() @ spread @ part.ravel())
                sign = np.sign(np.sum(self._means @ part.ravel())) or 1.0
                f[kinds] *= sign / deviation
        return c

    def _scale_rows(self, c: Array) -> Array:
        """The derivative of each variance of densities by c, halved: shape (scales, nonlinear)."""
        rows = []
        for channel, f in enumerate(c):
            for kinds, spread in zip(
                np.array_split(np.arange(c.shape[1]), len(self._spreads)), self._spreads, strict=True
            ):
                row = np.zeros_like(c)
                part = np.zeros_like(f)
                part[kinds] = f[kinds]
                row[channel].flat = spread @ part.ravel()
                rows.append(row.ravel())
        return np.array(rows)

    def _ranges(self, c: Array) -> Ranges:
        """Of the training structures."""
        low = np.full((len(c), len(self._means)), np.inf)
        high = -low
        for chunk in self.chunks:
            rho = chunk.densities(c)
            for a, rows in enumerate(chunk.members):
                mine = rho[:, rows[chunk.training[rows]]]
                low[:, a] = np.minimum(low[:, a], mine.min(axis=1, initial=np.inf))
                high[:, a] = np.maximum(high[:, a], mine.max(axis=1, initial=-np.inf))
        return Ranges(low, high, np.stack([self._means @ f.ravel() for f in c]))

    def state(self, c: Array, strength: Strength) -> State:
        """The gauge and the linear solution for c, of shape (channels, kinds, size)."""
        c = self.in_gauge(c)
        ranges, form = self._ranges(c), self.form(c)
        factor = np.zeros((0, form.linear + 1))
        for chunk in self.chunks:
            rows = np.column_stack([chunk.linear(c, ranges), chunk.roots * chunk.target])
            factor = triangular(np.concatenate([factor, rows[chunk.training_rows]]))
        penalty = self._penalty_rows(c, ranges, strength)
        mine = penalty[penalty[:, : form.linear].any(axis=1)]
        of_x = np.column_stack([mine[:, : form.linear], mine[:, -1]])
        factor = triangular(np.concatenate([factor, of_x]))
        x = scipy.linalg.solve_triangular(factor[:-1, :-1], factor[:-1, -1])
        rough = Penalty(form, self.unit).functions(1)[:, form.linear :] @ c.ravel()
        return State(c, x, ranges, float(factor[-1, -1] ** 2 + 10.0**strength.density * rough @ rough), factor)

    def _penalty_rows(self, c: Array, ranges: Ranges, strength: Strength) -> Array:
        penalty = Penalty(self.form(c), self.unit)
        return penalty.rows(strength, penalty.gauge(ranges, self._scale_rows(c), c))

    def linearized(self, state: State) -> tuple[Array, float]:
        """Triangular factor (size + 1, size + 1) of the rows of (x, c), the data last, and the count of data."""
        factor = np.zeros((0, state.factor.shape[1] + state.c.size))
        squares, counts = np.zeros(3), np.zeros(3)
        for chunk in self.chunks:
            linear, data = chunk.linear(state.c, state.ranges), chunk.roots * chunk.target
            change = chunk.jacobian(state.c, state.x, state.ranges)
            rows = np.column_stack([linear, change, data + change @ state.c.ravel()])
            factor = triangular(np.concatenate([factor, rows[chunk.training_rows]]))
            errors = (linear @ state.x - data)[chunk.training_rows]
            properties = chunk.properties[chunk.training_rows]
            squares += np.bincount(properties, errors**2, 3)
            counts += np.bincount(properties, minlength=3)
        return factor, effective_count(squares, counts)

    def strength(self, state: State, factor: Array, count: float, start: Strength) -> Strength:
        """What the evidence chooses."""
        penalty = Penalty(self.form(state.c), self.unit)
        gauge = penalty.gauge(state.ranges, self._scale_rows(state.c), state.c)
        return choose(factor.T @ factor, count, penalty, gauge, start)

    def step(self, state: State, factor: Array, strength: Strength, damping: float) -> tuple[State, float]:
        """The next state and damping; the same state if no step makes it better."""
        form = self.form(state.c)
        penalty = self._penalty_rows(state.c, state.ranges, strength)
        rows = np.concatenate([factor, penalty])
        # The last rows of the factor have what is left for c when x is eliminated.
        reduced = triangular(rows)[form.linear : -1, form.linear :]
        c = state.c.ravel()
        for _ in range(MOST_FAILURES):
            size = np.sqrt(damping * np.sum(reduced[:, :-1] ** 2, axis=0))
            damped = np.concatenate([reduced, np.column_stack([np.diag(size), size * c])])
            triangle = triangular(damped)
            new = scipy.linalg.solve_triangular(triangle[:-1, :-1], triangle[:-1, -1])
            found = self.state(new.reshape(state.c.shape), strength)
            if found.cost < state.cost:
                return found, max(damping / DAMPING_FACTOR, LEAST_DAMPING)
            damping *= DAMPING_FACTOR
        return state, damping

    def first(self, form: Form) -> Array:
        """f = exp(-1.3 (r - r0)) (1 - x)^2, x from 0 at the shortest distance r0 to 1 at the cutoff, for all kinds."""
        return np.tile(_decay(form, DECAY), (1, form.kinds, 1))

    def with_channel(self, state: State, strength: Strength) -> Array:
        """c with one channel more: the decay that helps most."""
        form = self.form(state.c)
        starts = [np.concatenate([state.c, np.tile(_decay(form, p), (1, form.kinds, 1))]) for p in DECAYS]
        return min((self.state(start, strength) for start in starts), key=lambda found: found.cost).c


def effective_count(squares: Array, counts: Array) -> float:
    """The number of equally good data whose mean square is as well known as the sum of these of several properties.

    B. L. Welch, Biometrika 34, 28 (1947); each property is as many data as it has values.
    """
    seen = squares > 0
    return float(squares.sum() ** 2 / np.sum(squares[seen] ** 2 / counts[seen]) if seen.any() else counts.sum())


def _decay(form: Form, rate: float) -> Array:
    r = form.centres() - form.start
    values: Array = np.exp(-rate * r) * np.clip(1 - r / (form.cutoff - form.start), 0, None) ** 2
    return values


def triangular(rows: Array) -> Array:
    """The factor R of rows (n, m): R^T R = rows^T rows, without their number."""
    factor: Array = np.asarray(np.linalg.qr(rows, mode="r"))
    return factor
