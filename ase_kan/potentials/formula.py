"""Terms of pair laws: C r^-n exp(-b r - g r^2), with the damping of Tang and Toennies where dispersion needs it.

In KAN terms such a term is an edge ``exp`` of a sum of straight edges on log r, r and r^2. Sums of a few of them are
powers (Lennard-Jones, Mie, Coulomb), exponentials (Born-Mayer, Morse), Yukawa's law (n = 1) and Gaussians. The damping
of a dispersion term, K. T. Tang, J. P. Toennies, J. Chem. Phys. 80, 3726 (1984), is

    f_n(d r) = 1 - exp(-d r) sum_{k=0..n} (d r)^k / k! = P(n + 1, d r)

with the regularized lower incomplete gamma function P; written as the sum, it is a sum of such terms too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One term of a law.

    Parameters
    ----------
    coefficient : float
        C, eV Angstrom^n.
    power : float
        n.
    rate, gauss : float
        b (1/Angstrom) and g (1/Angstrom^2).
    damping : float, optional
        d (1/Angstrom) of Tang and Toennies; None leaves the term as it is. The power must be whole then.
    """

    coefficient: float
    power: float = 0.0
    rate: float = 0.0
    gauss: float = 0.0
    damping: float | None = None

    def __post_init__(self) -> None:
        values = [self.coefficient, self.power, self.rate, self.gauss, 0.0 if self.damping is None else self.damping]
        if not np.isfinite(values).all():
            raise ValueError(f"the numbers of a term must be finite, got {self}")
        if self.damping is not None and not (self.damping > 0 and self.power >= 1 and self.power == int(self.power)):
            raise ValueError(f"damping must be positive, and that of a whole power from 1 on, got {self}")

    def __call__(self, r: Tensor) -> Tensor:
        """Energy in eV, differentiable, of a float64 tensor of distances in Angstrom; any shape."""
        energy = self.coefficient * torch.exp(-self.rate * r - self.gauss * r**2) if self.rate or self.gauss else None
        if self.power:
            tail = r**-self.power
            energy = self.coefficient * tail if energy is None else energy * tail
        if energy is None:
            energy = torch.full_like(r, self.coefficient)
        if self.damping is not None:
            energy = energy * torch.special.gammainc(torch.full_like(r, self.power + 1), self.damping * r)
        return energy

    def gradient(self, r: Tensor) -> tuple[Tensor, ...]:
        """Derivatives of the energy by `law_schema.NUMBERS`, each of the shape of r; by a damping it lacks, 0."""
        plain = Term(1.0, self.power, self.rate, self.gauss, self.damping)(r)
        energy = self.coefficient * plain
        by_damping = torch.zeros_like(r)
        if self.damping is not None:
            n, x = self.power, self.damping * r
            density = torch.exp(n * torch.log(x) - x - math.lgamma(n + 1))  # dP(n + 1, x)/dx
            by_damping = Term(self.coefficient, n, self.rate, self.gauss)(r) * density * r
        return plain, -torch.log(r) * energy, -r * energy, -(r**2) * energy, by_damping

    def monomials(self) -> list[Term]:
        """The same energy as a sum of terms without damping."""
        if self.damping is None:
            return [self]
        n, d = int(self.power), self.damping
        bare = Term(self.coefficient, self.power, self.rate, self.gauss)
        parts = [
            Term(-self.coefficient * d**k / math.factorial(k), n - k, self.rate + d, self.gauss) for k in range(n + 1)
        ]
        return [bare, *parts]


def total(terms: Sequence[Term], r: Tensor) -> Tensor:
    """Energy of all terms, eV."""
    energy = terms[0](r)
    for term in terms[1:]:
        energy = energy + term(r)
    return energy


def values(terms: Sequence[Term], r: ArrayLike) -> np.ndarray:
    """Energy of all terms in numpy, eV; distances (Angstrom) of any shape."""
    with torch.no_grad():
        energy: np.ndarray = total(terms, torch.from_numpy(np.array(r, dtype=float))).numpy()
    return energy
