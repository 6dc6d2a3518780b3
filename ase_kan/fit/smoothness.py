"""How smooth a pair energy is: a prior for the spline coefficients, whose strength the data choose by their evidence.

With c_m the coefficients of a pair's KAN, and a_m = r_m^-q the size that energies have where spline m lives, the loss
L(c), a mean of squares over n data, gets the penalty

    Q = sum_m s [ lambda_1 (c_m - c_m+1)^2 + lambda_k (k-th difference of c at m)^2 ] / a_m^2,    c = 0 at the cutoff

k-th differences make the energy smooth where there are data, but leave polynomials free; first differences are what
holds it where there are none. q lets a steep wall and a shallow well share one penalty. In Bayes' terms Q is minus
twice the logarithm of a Gaussian prior; lambda_1, lambda_k and q maximise the marginal likelihood of the data with the
unknown noise at its most likely value, and flat priors for energies of lone atoms (REML):

    log p = - (n - n_flat)/2 log min_c (L + Q) + 1/2 log det Q - 1/2 log det (A + Q),    L = c A c - 2 b c + const

They are sought on a lattice of powers of ten, so that rounding does not decide, and of all places that the data
support equally well, within one standard error, the smoothest is taken.
(D. J. C. MacKay, Neural Comput. 4, 415, 1992; S. N. Wood, J. R. Statist. Soc. B 73, 3, 2011.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg

from ase_kan.types import Array

#: Powers of ten of lambda_1 and lambda_k, and powers q.
LOWEST, HIGHEST = -18, 4
POWERS = (0, 3, 6, 9, 12)
#: Directions of the search in the two powers of ten and q, and its first step in the former.
MOVES = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (-1, -1, 0), (1, 1, 0), (0, 0, -1), (0, 0, 1))
LONGEST_STEP = 4
#: Logarithms of the evidence that differ by less are within one standard error.
TIE = 0.5
RIDGE = 1e-13
#: The loss is a difference of large sums: below this part of them it cannot be told.
RESOLUTION = 1e-14
#: Data that are all zero leave no loss at all.
TINY = 1e-100


class Strength(NamedTuple):
    """Place on the lattice: powers of ten of lambda_1 and lambda_k, number of q in `POWERS`."""

    low: int
    high: int
    power: int

    def exists(self) -> bool:
        """Whether it is on the lattice."""
        return all(LOWEST <= n <= HIGHEST for n in self[:2]) and 0 <= self.power < len(POWERS)


#: Where the search begins.
START = Strength(-9, -9, 2)


@dataclass(frozen=True)
class Block:
    """The coefficients of one pair: the place of the first, and the distances (Angstrom) where their splines live."""

    at: int
    r: Array

    @property
    def cutoff_first(self) -> bool:
        """Whether the first coefficient is that at the cutoff."""
        return bool(self.r[0] > self.r[-1])


class Evidence:
    """The loss as a function of the coefficients, and what the data say about their prior.

    Parameters
    ----------
    matrix, vector, constant
        A, b and the constant of the loss; energies of lone atoms come before the first block.
    blocks : sequence of Block
    k : int
        Order of the higher differences.
    count : float
        Number of data that the loss is the mean of.
    """

    def __init__(
        self, matrix: Array, vector: Array, constant: float, blocks: Sequence[Block], k: int, count: float
    ) -> None:
        self.matrix, self.vector, self.constant, self.blocks, self.k = matrix, vector, constant, blocks, k
        self.count = count
        self.flat = len(matrix) - sum(len(block.r) for block in blocks)
        self._roots: dict[int, list[tuple[Array, Array]]] = {}

    def _differences(self, power: int) -> list[tuple[Array, Array]]:
        """Square roots of both parts of Q for each block, with lambda = 1."""
        if power not in self._roots:
            sizes = [block.r ** -float(POWERS[power]) for block in self.blocks]
            seen = [np.diag(self.matrix)[block.at : block.at + len(block.r)] for block in self.blocks]
            # Whatever q: where the data are, the squares of the sizes average to one, and Q is as large as A.
            scale = sum(float(w @ a**2) for w, a in zip(seen, sizes, strict=True)) / sum(map(len, seen))
            roots = []
            for block, a in zip(self.blocks, sizes, strict=True):
                low = np.diff(np.eye(len(a) + 1), axis=0)
                low = low[:, 1:] if block.cutoff_first else low[:, :-1]
                high = np.diff(np.eye(len(a)), self.k, axis=0)
                middle = np.array([np.exp(np.log(a[m : m + self.k + 1]).mean()) for m in range(len(high))])
                roots.append((np.sqrt(scale) * low / a[:, None], np.sqrt(scale) * high / middle[:, None]))
            self._roots[power] = roots
        return self._roots[power]

    def penalty(self, strength: Strength) -> tuple[Array, float]:
        """Q as a matrix, and log det of its part for the pairs."""
        q, logdet = np.zeros_like(self.matrix), 0.0
        for block, (low, high) in zip(self.blocks, self._differences(strength.power), strict=True):
            root = np.concatenate([10.0 ** (strength.low / 2) * low, 10.0 ** (strength.high / 2) * high])
            inside = slice(block.at, block.at + len(block.r))
            q[inside, inside] = root.T @ root
            scale = np.sqrt(np.sum(root**2, axis=0))
            # From the root, which has twice the digits.
            logdet += 2 * float(np.sum(np.log(np.abs(np.diag(np.linalg.qr(root / scale, mode="r"))) * scale)))
        return q, logdet

    def solve(self, strength: Strength) -> tuple[Array, float]:
        """Coefficients and log evidence."""
        q, prior = self.penalty(strength)
        factor, scale = self._factor(q)
        c: Array = scale * scipy.linalg.cho_solve(factor, scale * self.vector)
        loss = self.constant - 2 * float(c @ self.vector) + float(c @ self.matrix @ c)
        loss = max(loss, RESOLUTION * self.constant, TINY)
        posterior = 2 * float(np.sum(np.log(np.diag(factor[0]))) - np.sum(np.log(scale)))
        free = max(self.count - self.flat, 1.0)
        return c, (prior - posterior - free * np.log(loss + float(c @ q @ c))) / 2

    def root(self, strength: Strength) -> Array:
        """L of the covariance L L^T of the coefficients: the loss per free datum times (A + Q)^-1."""
        q, _ = self.penalty(strength)
        (triangle, _), scale = self._factor(q)
        c = self.solve(strength)[0]
        loss = self.constant - 2 * float(c @ self.vector) + float(c @ self.matrix @ c)
        square = max(loss, RESOLUTION * self.constant, TINY) + float(c @ q @ c)
        inverse = scipy.linalg.solve_triangular(triangle, np.diag(scale), lower=True)
        root: Array = np.sqrt(square / max(self.count - self.flat, 1.0)) * inverse.T
        return root

    def determined(self, strength: Strength) -> float:
        """How many parameters the data determine."""
        return self.spent(strength, self.matrix)

    def spent(self, strength: Strength, matrix: Array) -> float:
        """How many parameters are spent on a part of the data: the trace of (A + Q)^-1 times its part of A."""
        factor, scale = self._factor(self.penalty(strength)[0])
        return float(np.trace(scipy.linalg.cho_solve(factor, matrix * scale[:, None] * scale)))

    def _factor(self, q: Array) -> tuple[tuple[Array, bool], Array]:
        """Cholesky factor of A + Q, scaled to a unit diagonal."""
        total = self.matrix + q
        scale = 1 / np.sqrt(np.maximum(np.diag(total), 1e-300))
        return scipy.linalg.cho_factor(total * scale[:, None] * scale + RIDGE * np.eye(len(total)), lower=True), scale

    def choose(self, start: Strength | None = None) -> Strength:
        """The smoothest place whose evidence is within one standard error of the largest.

        The search is shorter from a `start` that is near it.
        """
        seen: dict[Strength, float] = {}

        def look(place: Strength) -> float:
            if place not in seen:
                try:
                    seen[place] = self.solve(place)[1]
                except np.linalg.LinAlgError:
                    seen[place] = -np.inf
            return seen[place]

        best, step = (START, LONGEST_STEP) if start is None else (start, 1)
        look(best)
        while step:
            around = (Strength(best.low + step * i, best.high + step * j, best.power + m) for i, j, m in MOVES)
            place = max(filter(Strength.exists, around), key=look)
            if seen[place] > seen[best]:
                best = place
            else:
                step //= 2
        tied = [place for place, evidence in seen.items() if evidence > seen[best] - TIE]
        return min(tied, key=lambda place: (round(self.determined(place), 3), place))
