"""What `discover` gives: the law, how well it is known, and what else was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ase_kan.analysis.law.parameters import Parameter, formula, name_of, parameters, rounded
from ase_kan.potentials.formula import Term
from ase_kan.potentials.law import LawPotential
from ase_kan.potentials.protocol import energies, forces
from ase_kan.types import Array

if TYPE_CHECKING:
    import sympy
    from kan import KAN

#: Digits of a standard error that numbers of expressions have: one more than elsewhere, since errors are correlated.
EXPRESSION_DIGITS = 3
#: Candidates that a report shows.
SHOWN = 5


@dataclass(frozen=True)
class Tried:
    """A candidate in the ranking.

    Attributes
    ----------
    name : str
    score : float
        Minus twice the log of its evidence, relative to the best.
    rmse : float
        What it leaves open of the energies (see `Law.noise`).
    terms : tuple of Term
    """

    name: str
    score: float
    rmse: float
    terms: tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Law:
    """A law of pair energies.

    Attributes
    ----------
    potential : LawPotential
        A pair potential like any other.
    verdict : str
        "found", "undecided between ... and ..." or "no simple law".
    score : float
        Minus twice the log of its evidence; smaller is better, differences above 6 are clear.
    candidates : tuple of Tried
        All that were tried, the best first.
    noise : dict of str to float
        What the law leaves open of the data: "energy" (eV, per atom for structures), "forces" (eV/Angstrom); for
        potentials "energy", in standard deviations of what they know (`in_deviations`).
    """

    potential: LawPotential
    verdict: str
    score: float
    candidates: tuple[Tried, ...] = field(repr=False)
    noise: dict[str, float]
    in_deviations: bool = False

    @property
    def name(self) -> str:
        """What people call it, "Lennard-Jones 12-6" say."""
        return name_of(self.terms)

    @property
    def found(self) -> bool:
        """Whether the verdict is "found"."""
        return self.verdict == "found"

    @property
    def terms(self) -> tuple[Term, ...]:
        return self.potential.terms

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The numbers of the law by name: value, standard error, unit."""
        return parameters(self.terms, self.potential.factor)

    @property
    def formula(self) -> str:
        """The law as a person writes it."""
        return formula(self.terms, self.potential.factor)

    @cached_property
    def expression(self) -> sympy.Expr:
        """The law in sympy: energy (eV) of the symbol r (Angstrom), numbers rounded as their errors allow."""
        import sympy

        r = sympy.Symbol("r", positive=True)
        errors = np.sqrt((self.potential.factor**2).sum(axis=2)).tolist()
        energy: Any = sympy.Integer(0)
        for term, error in zip(self.terms, errors, strict=True):
            c, n, b, g, d = (
                _number(0.0 if value is None else value, e) for value, e in zip(astuple(term), error, strict=True)
            )
            part = c * sympy.exp(-b * r - g * r**2) / r**n
            if term.damping is not None:
                partial = sum((d * r) ** k / sympy.factorial(k) for k in range(int(term.power) + 1))
                part *= 1 - sympy.exp(-d * r) * partial
            energy += part
        return energy  # type: ignore[no-any-return]

    def latex(self) -> str:
        """The law in LaTeX."""
        import sympy

        return f"E(r) = {sympy.latex(self.expression)}"

    def energy(self, r: ArrayLike) -> Array:
        """The law without a cutoff, eV, at distances in Angstrom of any shape; errors as of `KANPotential.energy`."""
        return energies(self.potential.uncut, r)

    def force(self, r: ArrayLike) -> Array:
        """Minus its derivative, eV/Angstrom; positive is repulsive."""
        return forces(self.potential.uncut, r)

    def network(self) -> KAN:
        """The law as a pykan model of r with symbolic edges (`LawPotential.network`)."""
        return self.potential.network()

    def __str__(self) -> str:
        lines = [f"{self._headline()}", f"  {self.formula}    (eV, A)"]
        lines += [f"  {name} = {parameter}" for name, parameter in self.parameters.items()]
        lines += [f"what is left of {name}: {size:.3g} {self._unit(name)}" for name, size in self.noise.items()]
        low, high = self.potential.domain()
        lines.append(f"data from {low:g} to {high:g} A{self._attraction()}")
        lines.append("tried, with minus twice the log of the evidence relative to the best:")
        lines += [f"  {tried.score:9.1f}  {tried.name}" for tried in self.candidates[:SHOWN]]
        lines.append(f"  and {max(len(self.candidates) - SHOWN, 0)} more")
        return "\n".join(lines)

    def _headline(self) -> str:
        if self.verdict == "found":
            return f"found: {self.name}"
        if self.verdict == "no simple law":
            return f"no simple law; the nearest is {self.name}"
        return self.verdict

    def _unit(self, name: str) -> str:
        if name == "forces":
            return "eV/A"
        return "standard deviations of the potential" if self.in_deviations else "eV"

    def _attraction(self) -> str:
        """Where the law attracts atoms that are too close, as Buckingham's does."""
        low = self.potential.domain()[0]
        r = np.geomspace(low / 10, low, 400)
        with np.errstate(all="ignore"):
            slope = self.force(r)
        inner = r[slope <= 0]
        if not len(inner) or slope[-1] <= 0:
            return ""
        return f"; below {inner[-1]:.3g} A the law attracts: atoms that come so close fall in"


def _number(value: float, error: float) -> Any:
    import sympy

    if value == round(value) and not error:
        return sympy.Integer(round(value))
    return sympy.Float(repr(rounded(value, error, EXPRESSION_DIGITS)), 15)


def tried(found: Sequence[tuple[tuple[Term, ...], float, float]]) -> tuple[Tried, ...]:
    """The ranking from terms, scores and RMSE, the best first."""
    best = found[0][1]
    return tuple(Tried(name_of(terms), score - best, rmse, terms) for terms, score, rmse in found)
