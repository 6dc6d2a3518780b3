"""Smoothing by evidence: a spline whose smoothness and noise the data choose themselves.

The model of N values y (energies, and forces where there are some) at the splines a_i of a fine, uniform grid,

    y_i = sum_c a_ic coef_c + sigma s_i noise,        D^q coef = (sigma / sqrt(lambda)) f(c) noise

says that the q-th differences D^q of the coefficients (the q-th derivative) are as large as the local amplitude f of
the function allows, which may change by decades along a curve. All noises are normal. With the coefficients integrated
out and sigma at its best, minus twice the log of the evidence (restricted likelihood) for lambda, f and s is

    (N - q) log(Q / (N - q)) + log det(A^T A + lambda D^T F^-2 D) - log det(lambda F^-2) + 2 sum_i log s_i

with Q the smallest sum of squares of residuals over s_i and of penalties, A the splines over s_i, F = diag f. It is
computed for many candidates at once by rotating the rows of the penalty into the triangle R of the data: QR, since
the normal equations lose the digits that exact data have. All matrices are banded, the operations are elementwise in a
fixed order, and so are the same on every processor.

Sources: G. Wahba, Ann. Statist. 13, 1378 (1985) (choice by restricted likelihood); P. H. C. Eilers, B. D. Marx,
Statist. Sci. 11, 89 (1996) (difference penalties); G. H. Golub, C. F. Van Loan, Matrix Computations, 5.1.8 (rotations).
Index letters: i row of data, c coefficient, h candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ase_kan.kan.householder import triangular
from ase_kan.types import Array, Index

#: Values that differ by less than this part of the largest are equal. Exact data would have a prior as rough as the
#: last digits that a fine grid can pass through, which is worse between them (10 times with 1e-13, Lennard-Jones on
#: [0.8, 5]).
ROUNDING = 1e-9
TINY = 1e-100
#: Candidates: log10 of lambda, then finer steps about the best one; exponents of the local amplitude.
COARSE = np.arange(-24.0, 12.5, 1.0)
FINE = np.arange(-4, 5) / 4
POWERS = np.array([-6.0, -3.0, 0.0, 3.0, 6.0])


@dataclass(frozen=True)
class Rows:
    """Equations sum_b values[i, b] coef[first[i] + b] = target[i], each with noise of unit size.

    Parameters
    ----------
    first : ndarray of int, shape (N,)
    values : ndarray, shape (N, k + 1)
    target : ndarray, shape (N,)
    """

    first: Index
    values: Array
    target: Array

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of(cls, matrix: Array, target: Array, k: int) -> Rows:
        """From a dense matrix, shape (N, n), whose rows have k + 1 neighbouring entries at most."""
        first = np.minimum((matrix != 0).argmax(axis=1), matrix.shape[1] - k - 1)
        return cls(first, np.take_along_axis(matrix, first[:, None] + np.arange(k + 1), axis=1), target)

    @classmethod
    def stack(cls, *several: Rows) -> Rows:
        return cls(
            np.concatenate([rows.first for rows in several]),
            np.concatenate([rows.values for rows in several]),
            np.concatenate([rows.target for rows in several]),
        )

    def over(self, scale: Array) -> Rows:
        """The equations divided by `scale`, shape (N,)."""
        return Rows(self.first, self.values / scale[:, None], self.target / scale)


@dataclass(frozen=True)
class Triangle:
    """Upper banded triangles R and right sides z, one per candidate: ``|R coef - z|^2 + rest`` is a sum of squares.

    Parameters
    ----------
    rows : ndarray, shape (n, k + 2, h)
        ``rows[c, b]`` is R[c, c + b] for b up to k; ``rows[c, k + 1]`` is z[c].
    rest : ndarray, shape (h,)
    """

    rows: Array
    rest: Array

    @classmethod
    def of(cls, rows: Rows, n: int) -> Triangle:
        """The triangle of one set of equations for n coefficients."""
        k = rows.values.shape[1] - 1
        blocks: list[list[Array]] = [[] for _ in range(n)]
        rest = np.zeros(1)
        augmented = np.concatenate([rows.values, rows.target[:, None]], axis=1)
        for c in range(n - k):
            block = augmented[rows.first == c]
            if len(block) <= k + 2:
                blocks[c] += [row[:, None] for row in block]
                continue
            # Many rows of one cell: a triangle of their own first, whose m-th row starts m columns on.
            triangle = np.triu(triangular(block, k + 2)[: k + 2])
            for m in range(k + 1):
                row = np.concatenate([triangle[m, m : k + 1], np.zeros(m), triangle[m, k + 1 :]])
                blocks[c + m].append(row[:, None])
            rest += triangle[k + 1, k + 1] ** 2
        return _merge(blocks, n, k, rest)

    def with_penalty(self, difference: Array, weights: Array) -> Triangle:
        """The triangles for several penalties.

        Parameters
        ----------
        difference : ndarray, shape (q + 1,)
            Coefficients of the difference of order q.
        weights : ndarray, shape (n - q, h)
            sqrt(lambda) / f.
        """
        n, width, _ = self.rows.shape
        k, many = width - 2, weights.shape[1]
        padded = np.zeros((width, 1))
        padded[: len(difference), 0] = difference
        blocks: list[list[Array]] = []
        for c in range(n):
            block = [np.broadcast_to(self.rows[c], (width, many))]
            if c < len(weights):
                block.append(padded * weights[c])
            blocks.append(block)
        return _merge(blocks, n, k, np.broadcast_to(self.rest, (many,)).copy())

    def log_determinant(self) -> Array:
        """log det of R^T R, shape (h,)."""
        result: Array = 2 * np.log(np.abs(self.rows[:, 0])).sum(axis=0)
        return result

    def solve(self) -> Array:
        """The coefficients, shape (n, h)."""
        n, width, many = self.rows.shape
        k = width - 2
        coef = np.zeros((n + k, many))
        for c in range(n - 1, -1, -1):
            coef[c] = (self.rows[c, k + 1] - (self.rows[c, 1 : k + 1] * coef[c + 1 : c + k + 1]).sum(0)) / self.rows[
                c, 0
            ]
        return coef[:n]

    def whiten(self, rows: Rows) -> Array:
        """R^-T a of every row a, shape (n, N), for a single candidate; its products are covariances over sigma^2."""
        n, width, _ = self.rows.shape
        k = width - 2
        left = np.zeros((n + k, len(rows)))
        for b in range(k + 1):
            left[rows.first + b, np.arange(len(rows))] += rows.values[:, b]
        for c in range(n):
            left[c] /= self.rows[c, 0, 0]
            left[c + 1 : c + k + 1] -= self.rows[c, 1 : k + 1] * left[c]
        return left[:n]


def rounded(values: Array) -> Array:
    """With 30 binary digits: the last ones of powers and logarithms depend on the processor."""
    mantissa, exponent = np.frexp(values)
    result: Array = np.ldexp(np.round(mantissa * 2.0**30) / 2.0**30, exponent)
    return result


def _merge(blocks: list[list[Array]], n: int, k: int, rest: Array) -> Triangle:
    """Rotate rows, of which blocks[c] start at column c (entries k + 1, then the right side), into a triangle."""
    many = len(rest)
    triangle = np.zeros((n, k + 2, many))
    empty = np.ones(n, dtype=bool)
    for start, block in enumerate(blocks):
        for row in block:
            # No row so far reaches beyond column start + k: there nothing is left but the right side.
            for c in range(start, min(start + k + 1, n)):
                if empty[c]:
                    triangle[c] = row
                    empty[c] = False
                    break
                old = triangle[c]
                length = np.sqrt(old[0] ** 2 + row[0] ** 2)
                safe = np.where(length > 0, length, 1.0)
                cosine, sine = np.where(length > 0, old[0] / safe, 1.0), row[0] / safe
                triangle[c], row = cosine * old + sine * row, cosine * row - sine * old
                row[:k] = row[1 : k + 1]
                row[k] = 0.0
            else:
                rest = rest + row[k + 1] ** 2
    return Triangle(triangle, rest)


@dataclass(frozen=True)
class Smoothness:
    """What the evidence chose.

    Parameters
    ----------
    noise : int
        Number of the noise model.
    weights : ndarray, shape (n - q,)
        sqrt(lambda) / f of the penalty.
    log_penalty, power : float
        log10 of lambda, and the exponent of the amplitude.
    sigma : float
        Noise in units of s.
    score : float
        Minus twice the log of the evidence.
    """

    noise: int
    weights: Array
    log_penalty: float
    power: float
    sigma: float
    score: float


def choose_smoothness(
    noises: Sequence[tuple[Rows, float]], n: int, order: int, amplitude: Array, lever: Array
) -> Smoothness:
    """The candidate of the largest evidence.

    Parameters
    ----------
    noises : sequence of (Rows, float)
        For each model of the noise the equations over s, and 2 sum log s.
    n : int
        Number of coefficients.
    order : int
        q.
    amplitude, lever : ndarray, shape (n - q,)
        The local amplitude is ``f = amplitude * lever**power``.
    """
    values = len(noises[0][0])
    if values <= order:
        raise ValueError(f"{values} training values cannot tell the noise from the smoothness: {order + 1} are needed")
    difference = np.diff(np.eye(order + 1), order, axis=0)[0]
    triangles = [Triangle.of(rows, n) for rows, _ in noises]
    # Data that are zero have no scale: any tiny noise is right.
    floor = [values * (ROUNDING * float(np.abs(rows.target).max()) + TINY) ** 2 for rows, _ in noises]

    def scores(noise: int, logs: Array, powers: Array) -> tuple[Array, Array]:
        free = amplitude[:, None] * lever[:, None] ** powers
        joined = triangles[noise].with_penalty(difference, 10 ** (logs / 2) / free)
        square = np.maximum(joined.rest, floor[noise]) / (values - order)
        prior = len(free) * logs * np.log(10) - 2 * np.log(free).sum(axis=0)
        score = (values - order) * np.log(square) + joined.log_determinant() - prior + noises[noise][1]
        return score, np.sqrt(square)

    best: Smoothness | None = None
    logs, powers = (a.ravel() for a in np.meshgrid(COARSE, POWERS))
    for fine in (False, True):
        if fine:
            assert best is not None
            logs, powers = best.log_penalty + FINE, np.full(len(FINE), best.power)
        for noise in [best.noise] if fine and best else range(len(noises)):
            found, sigma = scores(noise, logs, powers)
            # The smoothest of candidates that rounding alone sets apart.
            at = int(np.flatnonzero(found <= found.min() + 1e-3)[-1])
            if best is None or found[at] < best.score:
                free = amplitude * lever ** powers[at]
                best = Smoothness(
                    noise,
                    rounded(10 ** (logs[at] / 2) / free),
                    float(logs[at]),
                    float(powers[at]),
                    float(sigma[at]),
                    float(found[at]),
                )
    assert best is not None
    return best
