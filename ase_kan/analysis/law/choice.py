"""Which law the data support: evidence, the test whether the residuals are noise, and the verdict.

The score is minus twice the log of the evidence, up to a constant, with the noise of each group of data unknown:

    sum_groups N log(S / N) + log det(1 + W J^T J W / s^2) - 2 log prior(form)

for sums of squares S, the Jacobian J by coefficients and logarithms of shapes, the widths W of their priors and the
variance s^2 of the noise: the approximation of Laplace. What the data fix to many digits costs much, what they say
nothing of costs nothing. Exact data so favour a whole exponent over a free one by many digits, noisy ones hardly.
Differences above 6 are strong evidence (R. E. Kass, A. E. Raftery, J. Am. Stat. Assoc. 90, 773, 1995).

The best law is a law only if its residuals are noise. Smooth functions of r (Chebyshev polynomials of log r) are added
to it; if they explain more of the residuals than they should (F test), or if neighboring residuals are alike (J. von
Neumann, Ann. Math. Statist. 12, 367, 1941), then there is more in the data than the law says.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, log, pi, sqrt

import numpy as np
from numpy.polynomial import chebyshev
from scipy.special import fdtrc

from ase_kan.analysis.law.forms import RANGES, Columns, Form, library
from ase_kan.analysis.law.observations import Observations
from ase_kan.analysis.law.projection import Fitted, best_fit, rigid_fits
from ase_kan.types import Array

#: Difference of scores from which on one law is clearly better than another.
CLEAR = 6.0
#: Coefficients are expected to make terms of this times the size of the data.
AMPLITUDE = 3.0
#: The residuals of a law are noise unless that is less likely than this.
UNLIKELY = 1e-3
#: Smooth functions that are added for the test.
POLYNOMIALS = 10
#: Data that a law leaves over at least.
LEFT = 3
#: Known errors (those of potentials) may be too small by this factor.
UNDERRATED = 2.0
#: Rounds in which the weights of energies and forces are found, and the forms that these are for.
ROUNDS, FEW = 3, 20


@dataclass(frozen=True, eq=False)
class Candidate:
    """A form that was tried.

    Attributes
    ----------
    fit : Fitted
    score : float
        Minus twice the log of its evidence, up to a constant.
    """

    fit: Fitted
    score: float

    @property
    def form(self) -> Form:
        return self.fit.form


def rank(data: Observations) -> tuple[list[Candidate], Observations]:
    """All forms, the best first, and the data with the weights of energies and forces that the best one suggests."""
    forms: tuple[Form, ...] = library()
    if len(data.groups) > 1:
        # The weights are found with forms that are quickly fitted, and the few best of them.
        found = ranked(tuple(form for form in forms if len(form.shapes) < 2), data)
        for _ in range(ROUNDS):
            counts = np.array([group.count for group in data.groups])
            data = data.weighted(np.sqrt(counts / found[0].fit.squares).tolist())
            found = ranked(tuple(c.form for c in found[:FEW]), data)
    return ranked(forms, data), data


def ranked(forms: tuple[Form, ...], data: Observations) -> list[Candidate]:
    """Some forms, the best first."""
    possible = [form for form in forms if len(form.pieces) + len(form.shapes) <= data.count - LEFT]
    fits = rigid_fits([form for form in possible if not form.shapes], data)
    fits += [fit for form in possible if form.shapes and (fit := best_fit(form, data)) is not None]
    found = [Candidate(fit, score(fit, data)) for fit in fits]
    return sorted(found, key=lambda candidate: candidate.score)


def score(fit: Fitted, data: Observations) -> float:
    """Minus twice the log of the evidence of a fitted form."""
    total = fit.form.cost
    for group, squares in zip(data.groups, fit.squares, strict=True):
        total += squares if group.known else group.count * log(squares / group.count)
    jacobian = fit.derivatives(data)
    coefficients = len(fit.coefficients)
    jacobian[:, :coefficients] /= np.linalg.norm(jacobian[:, :coefficients], axis=0)
    widths = [log(RANGES[kind][1] / RANGES[kind][0]) / sqrt(2 * pi) for kind in fit.form.shapes]
    # The prior of a coefficient: what its term is, over all data, is of the size of the data.
    prior = np.array([AMPLITUDE * float(np.linalg.norm(data.target()))] * coefficients + widths)
    jacobian *= prior / sqrt(fit.variance(data))
    # Singular values: the determinant of the normal equations would lose half of the digits.
    return float(total + np.log1p(np.linalg.svd(jacobian, compute_uv=False) ** 2).sum())


def is_noise(fit: Fitted, data: Observations) -> bool:
    """Whether nothing but noise is left of the data."""
    exact = all(s <= 1.0001 * g.floor * 1e4 for s, g in zip(fit.squares, data.groups, strict=True))
    if exact:
        return True
    if data.groups[0].known:
        return float(fit.squares.sum()) <= UNDERRATED**2 * data.count
    return min(_smooth(fit, data), _alike(fit, data)) > UNLIKELY


def _smooth(fit: Fitted, data: Observations) -> float:
    """Probability that smooth functions explain so much of noise."""
    parameters = len(fit.coefficients) + len(fit.theta)
    free = data.count - parameters
    number = int(min(POLYNOMIALS, free // 2))
    if number < 1:
        return 1.0
    log_r = np.log(data.r)
    middle, half = (log_r[-1] + log_r[0]) / 2, (log_r[-1] - log_r[0]) / 2
    u = (log_r - middle) / half
    unit = np.eye(number)
    value = chebyshev.chebvander(u, number - 1)
    slope = np.stack([chebyshev.chebval(u, chebyshev.chebder(c)) for c in unit], axis=1) / (half * data.r)[:, None]
    added = data.rows(Columns(value[None], slope[None]))[0]
    jacobian = fit.derivatives(data)
    basis = np.linalg.qr(jacobian / np.linalg.norm(jacobian, axis=0).clip(1e-300))[0]
    residual = fit.residual - basis @ (basis.T @ fit.residual)
    added = added - basis @ (basis.T @ added)
    q, s, _ = np.linalg.svd(added, full_matrices=False)
    q = q[:, s > 1e-9 * s[0]]
    explained = float(((q.T @ residual) ** 2).sum())
    weights = np.array([group.weight for group in data.groups])
    left = max(float((fit.squares * weights**2).sum()) - explained, 1e-300)
    m = q.shape[1]
    statistic = (explained / m) / (left / (free - m))
    return float(fdtrc(m, free - m, statistic))


def _alike(fit: Fitted, data: Observations) -> float:
    """Probability that neighboring residuals of noise are so alike; 1 where there are no neighbors."""
    group = data.groups[0]
    if group.operator is not None:
        return 1.0
    residual = fit.residual[: len(group.target)]
    n = len(residual)
    centered = residual - residual.mean()
    square = float((centered**2).sum())
    if square == 0:
        return 1.0
    ratio = float((np.diff(centered) ** 2).sum()) / square
    # Normal for independent noise: mean 2, variance 4 (n - 2) / (n^2 - 1); residuals are rather less alike than noise.
    deviation = sqrt(4 * (n - 2) / (n**2 - 1))
    return 0.5 * erfc((2 - ratio) / deviation / sqrt(2))


def rivals(candidates: list[Candidate], data: Observations) -> list[Candidate]:
    """The laws that the data do not rule out beside the best: those no worse by `CLEAR` that do not contain it."""
    best = candidates[0]
    return [
        other
        for other in candidates[1:]
        if other.score - best.score < CLEAR and not other.form.contains(best.form, best.fit.theta)
    ]


def relative_weights(candidates: list[Candidate]) -> Array:
    """Posterior probabilities of some candidates, which sum to one."""
    scores = np.array([candidate.score for candidate in candidates])
    found = np.exp(-(scores - scores.min()) / 2)
    return np.asarray(found / found.sum())
