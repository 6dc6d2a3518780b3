"""How smooth phi, f and F are: penalties, and their strengths by their evidence.

    Q = lambda_phi sum |D2 phi / S|^2 + lambda_f sum |D2 f|^2 + lambda_F sum |D2 F / S|^2

D2 are second differences of neighboring spline coefficients, S (eV) the standard deviation of the energies per atom; f
has no unit, since densities have the standard deviation 1. The loss that Q is added to is 1 for lone atoms, so that the
lambdas do not depend on units. They are powers of ten, one for each kind of function.

They maximise the marginal likelihood of the data in the problem linearized at the present f (the Gauss-Newton
Hessian A), where Q is minus twice the logarithm of a Gaussian prior of the differences and the noise has its most
likely value:

    log p = - n/2 log min (L + Q) + 1/2 log det Q - 1/2 log det (A + Q)

n is the number of equally good data whose mean square is as well known as the loss: energies and forces, with weights,
are not equally good, and what an embedded-atom potential cannot describe is no independent noise.
(D. J. C. MacKay, Neural Comput. 4, 415, 1992; B. L. Welch, Biometrika 34, 28, 1947.)
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
#: Added to the unit diagonal of normal equations; and the part of the squares of the data below which none can be told.
ROUNDING, RESOLUTION = 1e-13, 1e-14


class Strength(NamedTuple):
    """Powers of ten of lambda_phi, lambda_f and lambda_F."""

    phi: int
    density: int
    embedding: int

    def moved(self, kind: int, by: int) -> Strength:
        """With another power of one kind: 0 phi, 1 f, 2 F."""
        powers = list(self)
        powers[kind] += by
        return Strength(*powers)

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


def choose(gram: Array, count: float, penalty: Penalty, gauge: Array, start: Strength) -> Strength:
    """The strengths of the largest evidence.

    Parameters
    ----------
    gram : ndarray, shape (size + 1, size + 1)
        Products of the columns of the linearized rows, the data last.
    count : float
        Effective number of data.
    penalty : Penalty
    gauge : ndarray
        Its rows that do not depend on the strengths.
    start : Strength
        Where the search begins.
    """
    roots = [penalty.functions(kind) for kind in range(3)]
    fixed = gram + gauge.T @ gauge
    seen: dict[Strength, float] = {}

    def evidence(place: Strength) -> float:
        if place not in seen:
            both = fixed.copy()
            for root, power in zip(roots, place, strict=True):
                both[:-1, :-1] += 10.0**power * (root.T @ root)
            matrix, vector = both[:-1, :-1], both[:-1, -1]
            size = 1 / np.sqrt(np.diag(matrix))
            factor = scipy.linalg.cho_factor(matrix * size * size[:, None] + ROUNDING * np.eye(len(size)), lower=True)
            solution = size * scipy.linalg.cho_solve(factor, size * vector)
            left = float(both[-1, -1] - 2 * solution @ vector + solution @ matrix @ solution)
            prior = np.log(10) * sum(len(root) * power for root, power in zip(roots, place, strict=True))
            posterior = 2 * float(np.sum(np.log(np.diag(factor[0]))) - np.sum(np.log(size)))
            seen[place] = (prior - posterior - count * np.log(max(left, RESOLUTION * both[-1, -1]))) / 2
        return seen[place]

    best, step = start, LONGEST_STEP
    while step:
        around = (best.moved(kind, sign * step) for kind in range(3) for sign in (-1, 1))
        place = max(filter(Strength.exists, around), key=evidence)
        if evidence(place) > evidence(best):
            best = place
        else:
            step //= 2
    return best
