"""Least squares with the same answer on every processor.

LAPACK's answer depends on the processor in its last digits, because the order of BLAS's sums does. Where such digits
matter (they are amplified by a non-convex optimization, or by a continuation beyond the data), this solver is used: it
consists of numpy's elementwise operations and of sums in a fixed order, and costs milliseconds for a hundred unknowns.
Source: G. H. Golub, C. F. Van Loan, Matrix Computations, 5.2.2 and 5.3.2 (Householder QR).
"""

from __future__ import annotations

import numpy as np

from ase_kan.types import Array


def triangular(matrix: Array, n: int) -> Array:
    """A matrix (m, t) after n reflections, which leave only rounding below the diagonal of its first n columns."""
    work = matrix.copy()
    for c in range(n):
        reflector = work[c:, c].copy()
        length = np.sqrt(np.sum(reflector**2))
        reflector[0] += np.copysign(length, reflector[0])
        square = np.sum(reflector**2)
        if square > 0:
            block = work[c:, c:]
            block -= (2 / square * reflector)[:, None] * np.einsum("i,ij->j", reflector, block)
    return work


def least_squares(matrix: Array, target: Array) -> Array:
    """The x that minimises the sum of squares of ``matrix @ x - target``.

    Parameters
    ----------
    matrix : ndarray, shape (m, n)
        At least as many rows as columns, of full rank.
    target : ndarray, shape (m,) or (m, t)

    Returns
    -------
    ndarray, shape (n,) or (n, t)
    """
    n = matrix.shape[1]
    work = triangular(np.concatenate([matrix, target.reshape(len(target), -1)], axis=1), n)
    x = work[:n, n:].copy()
    for c in range(n - 1, -1, -1):
        x[c] = (x[c] - np.sum(work[c, c + 1 : n, None] * x[c + 1 :], axis=0)) / work[c, c]
    return x.reshape((n, *target.shape[1:]))
