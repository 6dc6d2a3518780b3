"""How far energies, forces and virials can be trusted: the weights of the properties, from what the fit leaves open.

The loss is sum_p w_p M_p, with M_p the mean squared error of property p. The best weights are one over the variances
of the properties' errors, noise and physics beyond pair potentials together. They are not known before, so they are
found with the fit, from the m_p of the n_p values of each property on which no parameters are spent:

    w_p = m_p / (n_p M_p),    m_p = n_p - trace (A + Q)^-1 w_p A_p,    A = sum_p w_p A_p

(D. A. Harville, J. Am. Statist. Assoc. 72, 320, 1977.) Few values say little about their errors: a property counts as
if it had `PRIOR` more, of which the fit explains the same share of the variance as of the others. Each property counts
as one in the loss, however many its values: forces outnumber energies by hundreds, and to weigh them so would be right
only if the model were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from ase.data import atomic_numbers

from ase_kan.fit.smoothness import RESOLUTION, TINY, Block, Evidence, Strength
from ase_kan.types import Array

#: Rounds in which weights and smoothness are found; what they change after the first few is far below the noise.
ROUNDS = 6
#: Values that a property is supposed to have before any is seen.
PRIOR = 3.0
#: Most by which weights may differ, as multiples of one over the variances of the data.
MOST = 1e6


@dataclass(frozen=True, eq=False)
class Part:
    """M_p = c A_p c - 2 b_p c + constant, of `count` values."""

    matrix: Array
    vector: Array
    constant: float
    count: int

    def mean_square(self, c: Array) -> float:
        """M_p, no smaller than what can be told."""
        error = self.constant - 2 * float(c @ self.vector) + float(c @ self.matrix @ c)
        return max(error, RESOLUTION * self.constant, TINY)


@dataclass(frozen=True)
class Problem:
    """The mean squared errors of all properties as functions of the same coefficients."""

    parts: Mapping[str, Part]
    blocks: Sequence[Block]
    k: int

    def evidence(self, weights: Mapping[str, float], count: float) -> Evidence:
        """The weighted loss, as the mean of `count` data."""
        parts = [(weights[name], part) for name, part in self.parts.items()]
        return Evidence(
            sum((w * part.matrix for w, part in parts[1:]), parts[0][0] * parts[0][1].matrix),
            sum((w * part.vector for w, part in parts[1:]), parts[0][0] * parts[0][1].vector),
            sum(w * part.constant for w, part in parts),
            self.blocks,
            self.k,
            count,
        )

    def effective_count(self, weights: Mapping[str, float], c: Array) -> float:
        """Number of equally good data whose mean square is as well known as the loss.

        Source: B. L. Welch, Biometrika 34, 28 (1947); F. E. Satterthwaite, Biometrics Bull. 2, 110 (1946).
        """
        shares = [
            (weights[name] * part.mean_square(c), part.count) for name, part in self.parts.items() if weights[name]
        ]
        return sum(share for share, _ in shares) ** 2 / sum(share**2 / count for share, count in shares)

    def best(self, scales: Mapping[str, float], chosen: Mapping[str, float]) -> tuple[dict[str, float], Strength]:
        """Weights and smoothness. Weights that are chosen stay; `scales` are one over the variances of the data."""
        found = {**scales, **chosen}
        count = float(sum(part.count for part in self.parts.values()))
        strength = None
        for _ in range(ROUNDS):
            evidence = self.evidence(found, count)
            strength = evidence.choose(strength)
            c = evidence.solve(strength)[0]
            count = self.effective_count(found, c)
            left, share = {}, {}
            for name, part in self.parts.items():
                if name in chosen:
                    continue
                left[name] = max(part.count - evidence.spent(strength, found[name] * part.matrix), 1e-9 * part.count)
                # Of the variance, how much the errors are.
                share[name] = np.log(scales[name] * part.mean_square(c) * part.count / left[name])
            if not left:
                break
            typical = sum(left[name] * share[name] for name in left) / sum(left.values())
            logs = {name: -(m * share[name] + PRIOR * typical) / (m + PRIOR) for name, m in left.items()}
            most = min(logs.values()) + np.log(MOST)
            found |= {name: scales[name] * float(np.exp(min(log, most))) for name, log in logs.items()}
        return found, self.evidence(found, count).choose(strength)


def checked_references(energies: Mapping[str, float] | None) -> dict[str, float]:
    """Energies of lone atoms that the caller gave; `ValueError` for what cannot be one."""
    for symbol, energy in (energies or {}).items():
        if symbol not in atomic_numbers or not np.isfinite(energy):
            raise ValueError(f"reference_energies must map chemical symbols to eV, got {symbol!r}: {energy}")
    return dict(energies or {})


def checked_weights(
    weights: Sequence[float] | Mapping[str, float] | None, properties: Sequence[str]
) -> dict[str, float]:
    """The weights of those properties that are given one; `ValueError` for what cannot be one."""
    if weights is None:
        return {}
    named = isinstance(weights, Mapping)
    given = dict(weights) if isinstance(weights, Mapping) else dict(zip(properties, weights, strict=False))
    good = (named or len(weights) == len(properties)) and given.keys() <= set(properties)
    if not (good and all(0 <= w < inf for w in given.values()) and any(given.get(name, 1.0) for name in properties)):
        raise ValueError(f"weights are those of {', '.join(properties)}, not negative and not all zero, got {weights}")
    return given
