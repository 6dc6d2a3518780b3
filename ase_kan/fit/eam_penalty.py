"""How smooth phi, f and F are: penalties, and their strengths by cross-validation inside the training data.

    Q = lambda_phi sum |D2 phi / S|^2 + lambda_f sum |D2 f|^2 + lambda_F sum |D2 F / S|^2

D2 are second differences of neighboring spline coefficients, S (eV) the standard deviation of the energies per atom; f
has no unit, since densities have the standard deviation 1. The loss that Q is added to is 1 for lone atoms, so that the
lambdas do not depend on units. They are powers of ten, one for each kind of function.

They are chosen on the problem linearized at the present f, where a fit to four fifths of the structures and its error
on the last fifth cost milliseconds: of all places on the lattice whose error differs from the least by no more than the
standard error of the difference, the smoothest is taken (T. Hastie, R. Tibshirani, J. Friedman, The Elements of
Statistical Learning, 7.10).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

from ase_kan.fit.eam_form import Form, Ranges
from ase_kan.types import Array

#: Ends of the lattice, powers of ten.
LOWEST, HIGHEST = -16, 0
#: First step of the search.
LONGEST_STEP = 2
#: Weight of F'(mean) = 0.
GAUGE = 1.0
#: Keeps what neither data nor smoothness determine at zero, as parts of a unit.
RIDGE = 1e-9
#: Added to the unit diagonal of normal equations.
ROUNDING = 1e-13


class Strength(NamedTuple):
    """Powers of ten of lambda_phi, lambda_f and lambda_F."""

    phi: int
    density: int
    embedding: int

    def exists(self) -> bool:
        """Whether it is on the lattice."""
        return all(LOWEST <= power <= HIGHEST for power in self)


#: Where the search begins.
START = Strength(-11, -9, -5)


def second_differences(n: int, to_zero: bool = False) -> Array:
    """Matrix (n - 2, n), or (n, n) for coefficients that are followed by zeros."""
    matrix: Array = np.diff(np.eye(n + 2 * to_zero), 2, axis=0)[:, :n]
    return matrix


class Penalty:
    """Rows that are added to those of the data.

    Parameters
    ----------
    form : Form
    unit : float
        S, eV.
    """

    def __init__(self, form: Form, unit: float) -> None:
        self.form, self.unit = form, unit
        self.radial = second_differences(form.size, to_zero=True)

    def functions(self, kind: int) -> Array:
        """Differences of all functions of a kind (0 phi, 1 f, 2 F) in terms of x and c together."""
        form = self.form
        if kind == 0:
            block, places = self.radial / self.unit, [form.pair_at(n) for n in range(len(form.pairs))]
        elif kind == 1:
            count, size = form.channels * form.kinds, form.size
            begins = [form.linear + n * size for n in range(count)]
            block, places = self.radial, [slice(begin, begin + size) for begin in begins]
        else:
            block = second_differences(form.embedding_size) / self.unit
            places = [form.embedding_at(c, a) for c in range(form.channels) for a in range(len(form.elements))]
        rows = np.zeros((len(places) * len(block), form.linear + form.nonlinear))
        for number, place in enumerate(places):
            rows[number * len(block) : (number + 1) * len(block), place] = block
        return rows

    def gauge(self, ranges: Ranges, scale: Array, c: Array) -> Array:
        """What is fixed whatever the strengths: F'(mean) = 0, the scale of f, and the ridge.

        Rows for x, c and the data; those of `scale` (rows, nonlinear) times a change of c are to be zero.
        """
        form = self.form
        width = form.linear + form.nonlinear
        ridge = np.full(width, RIDGE)
        ridge[: form.linear] /= self.unit
        rows = [np.column_stack([np.diag(ridge), np.zeros(width)])]
        for channel in range(form.channels):
            for a in range(len(form.elements)):
                row = np.zeros((1, width + 1))
                mean = ranges.mean[channel, a, None]
                row[:, form.embedding_at(channel, a)] = ranges.splines(form, channel, a, mean, 1)[1]
                rows.append(GAUGE / self.unit * row)
        rows.append(np.column_stack([np.zeros((len(scale), form.linear)), scale, scale @ c.ravel()]))
        return np.concatenate(rows)

    def rows(self, strength: Strength, gauge: Array) -> Array:
        """All of them, for x, c and the data."""
        smooth = np.concatenate([10.0 ** (s / 2) * self.functions(kind) for kind, s in enumerate(strength)])
        return np.concatenate([gauge, np.column_stack([smooth, np.zeros(len(smooth))])])


def choose(factors: Array, shares: Array, penalty: Penalty, gauge: Array, start: Strength) -> Strength:
    """The smoothest strengths whose error on structures left out is within one standard error of the least.

    Parameters
    ----------
    factors : ndarray, shape (folds, size + 1, size + 1)
        Triangular factors of the linearized rows of each fold, the data last.
    shares : ndarray, shape (folds,)
        Of the weight of all data.
    penalty : Penalty
    gauge : ndarray
        Its rows that do not depend on the strengths.
    start : Strength
        Where the search begins.
    """
    grams = np.einsum("fmi,fmj->fij", factors, factors)
    total = grams.sum(axis=0)
    seen: dict[Strength, Array] = {}

    def errors(place: Strength) -> Array:
        """Of each fold, per weight, from a fit to the others."""
        if place not in seen:
            rows = penalty.rows(place, gauge)
            q = rows.T @ rows
            found = []
            for factor, gram, share in zip(factors, grams, shares, strict=True):
                others = (total - gram) / (1 - share)
                matrix, vector = (others + q)[:-1, :-1], (others + q)[:-1, -1]
                size = 1 / np.sqrt(np.diag(matrix))
                scaled = matrix * size * size[:, None] + ROUNDING * np.eye(len(matrix))
                solution = size * scipy.linalg.solve(scaled, size * vector, assume_a="pos")
                found.append(float(np.sum((factor[:, :-1] @ solution - factor[:, -1]) ** 2)) / share)
            seen[place] = np.array(found)
        return seen[place]

    def mean(place: Strength) -> float:
        return float(shares @ errors(place))

    best, step = start, LONGEST_STEP
    while step:
        around = []
        for kind in range(3):
            for sign in (-step, step):
                powers = list(best)
                powers[kind] += sign
                around.append(Strength(*powers))
        place = min(filter(Strength.exists, around), key=mean)
        if mean(place) < mean(best):
            best = place
        else:
            step //= 2
    least = seen[best]

    def tied(place: Strength) -> bool:
        difference = seen[place] - least
        return float(shares @ difference) <= float(np.std(difference)) / np.sqrt(len(shares) - 1)

    return max(filter(tied, seen), key=lambda place: (sum(place), place))
