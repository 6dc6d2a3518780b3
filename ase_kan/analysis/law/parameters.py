"""The numbers of a law as people know them: epsilon and sigma of Lennard-Jones, depth, width and place of Morse, ...

Mie's law with exponents n > m is (G. Mie, Ann. Phys. 316, 657, 1903)

    E = n/(n - m) (n/m)^(m/(n - m)) epsilon ((sigma/r)^n - (sigma/r)^m)

with the depth epsilon and E(sigma) = 0; n = 12, m = 6 is Lennard-Jones. Morse's law (P. M. Morse, Phys. Rev. 34, 57,
1929) is E = D (exp(-2 a (r - r0)) - 2 exp(-a (r - r0))), the Born-Mayer repulsion A exp(-r/rho), Buckingham's law
A exp(-r/rho) + C6/r^6 with C6 < 0, Yukawa's A exp(-kappa r)/r and the Gaussian A exp(-(r/w)^2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from math import exp, floor, log, log10

import numpy as np

from ase_kan.potentials.formula import Term
from ase_kan.potentials.law_schema import NUMBERS
from ase_kan.types import Array

#: Digits of a standard error that are shown, and the most of a number.
ERROR_DIGITS, MOST_DIGITS = 2, 12


@dataclass(frozen=True)
class Parameter:
    """A number of a law.

    Attributes
    ----------
    value, error : float
        And its standard error; 0 for whole numbers and ratios that belong to the form of the law.
    unit : str
    """

    value: float
    error: float
    unit: str

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if not self.error:
            return f"{self.value:.12g}{unit}"
        return f"{rounded(self.value, self.error):.12g} +- {self.error:.2g}{unit}"


def rounded(value: float, error: float, digits: int = ERROR_DIGITS, most: int = MOST_DIGITS) -> float:
    """A number with as many digits as its standard error allows."""
    if value == 0 or not np.isfinite(value):
        return value
    finest = floor(log10(abs(value))) - most + 1
    place = max(finest, floor(log10(error)) - digits + 1) if error > 0 else finest
    return float(f"{value:.{max(floor(log10(abs(value))) - place, 0)}e}")


def kind(term: Term) -> str:
    """What a term is called."""
    if term.damping is not None:
        return "damped"
    if term.gauss:
        return "Gaussian" if not (term.power or term.rate) else "other"
    if term.rate:
        return {0.0: "exponential", 1.0: "Yukawa"}.get(term.power, "other")
    return "power"


Values = dict[str, tuple[float, str]]  # value and unit


def natural(terms: Sequence[Term]) -> Values:
    """The parameters of a law by name."""
    first, kinds = terms[0], [kind(term) for term in terms]
    if _is_mie(terms):
        n, m = first.power, terms[1].power
        sigma = (first.coefficient / -terms[1].coefficient) ** (1 / (n - m))
        depth = -terms[1].coefficient / sigma**m / mie_factor(n, m)
        return {"epsilon": (depth, "eV"), "sigma": (sigma, "A"), "n": (n, ""), "m": (m, "")}
    if _is_morse(terms):
        a = terms[1].rate
        r0 = log(-2 * first.coefficient / terms[1].coefficient) / a
        return {"D": (-terms[1].coefficient / 2 * exp(-a * r0), "eV"), "a": (a, "1/A"), "r0": (r0, "A")}
    found: Values = {}
    for term, what in zip(terms, kinds, strict=True):
        count = kinds.count(what)
        mark = (
            "" if count == 1 or what in ("power", "damped") else str(1 + sum(k.startswith(f"A{what}") for k in found))
        )
        for name, value in _of_term(term, what).items():
            while f"{name}{mark}" in found:
                mark = f"{int(mark or 1) + 1}"
            found[f"{name}{mark}"] = value
    return found


def _of_term(term: Term, what: str) -> Values:
    energy = (term.coefficient, "eV")
    if what == "exponential":
        return {"A": energy, "rho": (1 / term.rate, "A")}
    if what == "Yukawa":
        return {"A": (term.coefficient, "eV A"), "kappa": (term.rate, "1/A")}
    if what == "Gaussian":
        return {"A": energy, "w": (term.gauss**-0.5, "A")}
    whole = term.power == round(term.power)
    unit = "eV A" if term.power == 1 else f"eV A^{term.power:g}" if whole else "eV A^n"
    named: Values = {f"C{term.power:.0f}" if whole else "C": (term.coefficient, unit)}
    if not whole:
        named["n"] = (term.power, "")
    return named


def _is_mie(terms: Sequence[Term]) -> bool:
    two_powers = len(terms) == 2 and all(kind(term) == "power" for term in terms)
    return two_powers and terms[0].power > terms[1].power and terms[0].coefficient > 0 > terms[1].coefficient


def _is_morse(terms: Sequence[Term]) -> bool:
    two = len(terms) == 2 and all(kind(term) == "exponential" for term in terms)
    return two and terms[0].rate == 2 * terms[1].rate and terms[0].coefficient > 0 > terms[1].coefficient


def mie_factor(n: float, m: float) -> float:
    """What makes epsilon the depth: 4 for 12 and 6."""
    return float(n / (n - m) * (n / m) ** (m / (n - m)))


def parameters(terms: Sequence[Term], factor: Array) -> dict[str, Parameter]:
    """Parameters with their standard errors.

    Parameters
    ----------
    terms : sequence of Term
    factor : ndarray, shape (terms, 5, modes)
        See `LawPotential`.
    """
    values = natural(terms)
    numbers = np.array([[0.0 if x is None else x for x in astuple(term)] for term in terms])
    variance = dict.fromkeys(values, 0.0)
    for number in range(factor.shape[2]):
        mode = factor[:, :, number]
        relative = float((np.abs(mode) / np.where(numbers == 0, np.inf, np.abs(numbers))).max())
        if relative == 0:
            continue
        step = 1e-5 / relative
        up, down = (natural(_with(terms, numbers + sign * step * mode)) for sign in (1, -1))
        for name in values:
            variance[name] += ((up[name][0] - down[name][0]) / (2 * step)) ** 2
    free = _free(terms, factor)
    return {
        name: Parameter(value, variance[name] ** 0.5 if free(name) else 0.0, unit)
        for name, (value, unit) in values.items()
    }


def _free(terms: Sequence[Term], factor: Array) -> Callable[[str], bool]:
    """Whether a parameter has an error: exponents that were tried as whole numbers have none."""
    powers = bool(factor[:, NUMBERS.index("power")].any())
    return lambda name: powers or name not in ("n", "m")


def _with(terms: Sequence[Term], numbers: Array) -> list[Term]:
    return [
        Term(c, n, b, g, None if term.damping is None else d)
        for term, (c, n, b, g, d) in zip(terms, numbers.tolist(), strict=True)
    ]


def name_of(terms: Sequence[Term]) -> str:
    """What people call a law."""
    kinds = [kind(term) for term in terms]
    if _is_mie(terms):
        exponents = "-".join(f"{term.power:.4g}" for term in terms)
        return f"Lennard-Jones {exponents}" if exponents == "12-6" else f"Mie {exponents}"
    if _is_morse(terms):
        return "Morse"
    powers = [term.power for term in terms if kind(term) == "power"]
    if kinds == ["exponential"]:
        return "Born-Mayer"
    if kinds == ["exponential", "power"] and powers == [6.0]:
        return "Buckingham"
    if kinds[0] == "exponential" and kinds[1:] and set(kinds[1:]) <= {"damped", "power"} and "damped" in kinds:
        more = "".join(f"-{t.power:g}" for t in terms if kind(t) == "damped")
        return f"Tang-Toennies{more}" + (" + charges" if "power" in kinds else "")
    if kinds == ["power"]:
        return "Coulomb" if powers == [1.0] else f"power {powers[0]:.4g}"
    if kinds == ["Yukawa"] or kinds == ["Gaussian"]:
        return kinds[0]
    parts = [f"r^-{term.power:.4g}" if kind(term) == "power" else kind(term) for term in terms]
    return " + ".join("Born-Mayer" if part == "exponential" else part for part in parts)


def formula(terms: Sequence[Term], factor: Array, most: int = MOST_DIGITS) -> str:
    """The law as a person writes it, r in Angstrom and E in eV.

    Numbers are rounded as their standard errors allow, to `most` digits.
    """
    known = parameters(terms, factor)
    text = {name: f"{rounded(p.value, p.error, most=most):.10g}" for name, p in known.items()}
    if _is_mie(terms):
        n, m = terms[0].power, terms[1].power
        front, sigma = f"{mie_factor(n, m):.6g} * {text['epsilon']}", text["sigma"]
        return f"E(r) = {front} * (({sigma}/r)^{text['n']} - ({sigma}/r)^{text['m']})"
    if _is_morse(terms):
        d, a, r0 = (text[name] for name in ("D", "a", "r0"))
        return f"E(r) = {d} * (exp(-2*{a}*(r - {r0})) - 2*exp(-{a}*(r - {r0})))"
    parts, errors = [], _errors(factor)
    for term, error in zip(terms, errors, strict=True):
        parts.append(_written(term, error, most))
    joined = parts[0] + "".join(f" - {part[1:]}" if part.startswith("-") else f" + {part}" for part in parts[1:])
    return f"E(r) = {joined}"


def _errors(factor: Array) -> Array:
    """Standard errors of the numbers, shape (terms, 5)."""
    return np.asarray(np.sqrt((factor**2).sum(axis=2)))


def _written(term: Term, error: Array, most: int) -> str:
    c, n, b, g, d = (
        f"{rounded(value, float(e), most=most):.10g}"
        for value, e in zip([0.0 if x is None else x for x in astuple(term)], error, strict=True)
    )
    text = c
    if term.damping is not None:
        text += f"*f{n}({d}*r)"
    if term.rate:
        text += f"*exp(-{b}*r)"
    if term.gauss:
        text += f"*exp(-{g}*r^2)"
    if term.power:
        text += "/r" if term.power == 1 else f"/r^{n}"
    return text
