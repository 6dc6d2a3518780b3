"""`discover`: the law of a curve, of structures or of a potential."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ase_kan.analysis.law.choice import Candidate, is_noise, rank, relative_weights, rivals
from ase_kan.analysis.law.forms import Free, Shape
from ase_kan.analysis.law.law import Law, tried
from ase_kan.analysis.law.observations import Observations
from ase_kan.analysis.law.parameters import formula, name_of
from ase_kan.analysis.law.projection import Fitted
from ase_kan.analysis.law.sources import of_potential, of_structures
from ase_kan.data.curve import PairCurve
from ase_kan.data.structures import Structures
from ase_kan.potentials.cutoff import ONSET_FRACTION, Cutoff
from ase_kan.potentials.formula import Term, total, values
from ase_kan.potentials.law import LawPotential
from ase_kan.potentials.law_schema import NUMBERS
from ase_kan.potentials.pair import affordable_radius
from ase_kan.potentials.protocol import PairPotential, require_pair_potential
from ase_kan.potentials.scale import energy_scale
from ase_kan.types import Array, Pair

#: Largest default cutoff, over the end of the data, and the radii that are tried up to it.
FARTHEST, RADII = 3.0, 60
#: Laws that a verdict names.
NAMED = 3


@dataclass(frozen=True)
class Ends:
    """How the potential of a law is cut off; None leaves it to the law (see `discover`)."""

    cutoff: float | None = None
    onset: float | None = None
    smooth: bool = True

    def of(self, terms: Sequence[Term], domain: tuple[float, float]) -> Cutoff:
        """The cutoff of a law."""
        if self.cutoff is not None:
            return Cutoff.choose(domain[1], self.cutoff, self.onset, self.smooth)
        scale = energy_scale(lambda r: total(terms, r), *domain)
        radii = np.linspace(domain[1] / ONSET_FRACTION, FARTHEST * domain[1], RADII)
        radius = affordable_radius(lambda r: total(terms, r), scale, radii)
        return Cutoff.choose(domain[1], radius, self.onset, self.smooth)


def discover(
    data: PairCurve | Structures | PairPotential,
    *,
    pair: Pair | None = None,
    errors: ArrayLike | None = None,
    cutoff: float | None = None,
    onset: float | None = None,
    smooth: bool = True,
) -> Law:
    """Find the law of a pair energy: its form, its numbers with their errors, and whether it is one.

    Parameters
    ----------
    data : PairCurve, Structures or PairPotential
        Structures are of one element; their stresses are not used. A potential is looked at over its domain.
    pair : (str, str), optional
        Of a potential with several.
    errors : float, optional
        How far the law may be from a potential, eV; default: the standard deviations that it knows.
    cutoff, onset, smooth
        Of the law's potential, as for `fit`. Default for curves and potentials: the law is switched off where what is
        left out beyond is little, at most at three times the end of the data. For structures the cutoff is that of
        their energies, which periodic ones must have; without it clusters are taken as not cut off at all.

    Returns
    -------
    Law
        With the verdict "found", "undecided between ..." or "no simple law"; in the last case the nearest formula.

    Raises
    ------
    TypeError
        For other data, or keywords that they have no use for.
    ValueError
        For too few data, or data and arguments that make no sense.
    """
    require_pair_potential(data, "discover", "ase_kan.analysis.law.discover_functions")
    ends = Ends(cutoff, onset, smooth)
    if not isinstance(data, PairCurve | Structures | PairPotential):
        raise TypeError(f"discover takes a PairCurve, Structures or a pair potential, got {type(data).__name__}")
    if isinstance(data, PairCurve | Structures) and (pair is not None or errors is not None):
        raise TypeError(f"pair and errors are for potentials, not for {type(data).__name__}")
    if isinstance(data, PairCurve):
        return _law(Observations.of_curve(data), data.elements, ends)
    if isinstance(data, Structures):
        found = of_structures(data, cutoff, onset, smooth)

        def lone(terms: Sequence[Term]) -> dict[str, float]:
            return {found.pair[0]: found.lone_energy(values(terms, found.observations.r))}

        return _law(found.observations, found.pair, ends, lone, found.cutoff if cutoff is not None else None)
    seen = of_potential(data, pair, errors)
    return _law(seen, data.pairs[0] if pair is None else pair, ends, lambda _: data.reference_energies)


def _law(
    data: Observations,
    pair: Pair | None,
    ends: Ends,
    lone: Callable[[Sequence[Term]], Mapping[str, float]] = lambda _: {},
    rule: Cutoff | None = None,
) -> Law:
    """The law of observations; `lone` gives the energies of lone atoms that go with the terms of a law."""
    candidates, data = rank(data)
    if not candidates:
        raise ValueError("no law of the library can be fitted to these data")
    best = candidates[0]
    sound = is_noise(best.fit, data)
    others = [rival for rival in rivals(candidates, data) if is_noise(rival.fit, data)] if sound else []
    r0 = data.scale
    terms = best.fit.terms(r0)
    factor = number_factor(best.fit, data)
    verdict = _verdict(sound, [name_of(c.fit.terms(r0)) for c in (best, *others)])
    weights = relative_weights([best, *others])[1:]
    potential = LawPotential(
        terms,
        data.domain,
        rule or ends.of(terms, data.domain),
        pair,
        factor=factor,
        alternatives=[(float(w**0.5), c.fit.terms(r0)) for w, c in zip(weights, others, strict=True)],
        trusted=sound,
        reference_energies=lone(terms),
        info={"verdict": verdict, "law": name_of(terms), "formula": formula(terms, factor)},
    )
    ranking = tried([(c.fit.terms(r0), c.score, _noise(c, data)["energy"]) for c in candidates])
    return Law(potential, verdict, best.score, ranking, _noise(best, data), in_deviations=data.groups[0].known)


def _verdict(sound: bool, names: Sequence[str]) -> str:
    if not sound:
        return "no simple law"
    if len(names) == 1:
        return "found"
    distinct = list(dict.fromkeys(names))
    if len(distinct) == 1:  # two laws of a name: their exponents or rates differ
        distinct.append(f"another {distinct[0]}")
    if len(distinct) > NAMED + 1:
        distinct[NAMED:] = [f"{len(distinct) - NAMED} more"]
    return f"undecided between {', '.join(distinct[:-1])} and {distinct[-1]}"


def _noise(candidate: Candidate, data: Observations) -> dict[str, float]:
    found: dict[str, Any] = {"energy": 0.0}
    for group, squares in zip(data.groups, candidate.fit.squares, strict=True):
        found[group.name] = float(np.sqrt(squares / group.count))
    return found


def number_factor(fit: Fitted, data: Observations) -> Array:
    """Changes of the numbers of the terms, one standard deviation each and independent: (terms, 5, modes)."""
    r0, terms = data.scale, fit.terms(data.scale)
    parameters = len(fit.coefficients) + len(fit.theta)
    jacobian = np.zeros((len(terms), len(NUMBERS), parameters))

    def shape_rows(shape: Shape | None, t: int, name: str, by_coefficient: float) -> None:
        """How a number of a term, and its coefficient in physical units, follow the logarithm of a free shape."""
        if isinstance(shape, Free):
            column = len(fit.coefficients) + shape.number
            change = shape.times * float(fit.theta[shape.number])
            jacobian[t, NUMBERS.index(name), column] += change
            jacobian[t, 0, column] += terms[t].coefficient * by_coefficient * change

    for t, (piece, c) in enumerate(zip(fit.form.pieces, fit.coefficients, strict=True)):
        jacobian[t, 0, t] = terms[t].coefficient / c if c else 1.0
        shape_rows(piece.power, t, "power", float(np.log(r0)))
        shape_rows(piece.rate, t, "rate", r0)
        shape_rows(piece.gauss, t, "gauss", r0**2)
        shape_rows(piece.damping, t, "damping", 0.0)
    values_of, vectors = np.linalg.eigh(_scaled(covariance := fit.covariance(data)))
    size = np.sqrt(np.diagonal(covariance).clip(0))
    root = size[:, None] * vectors * np.sqrt(values_of.clip(0))
    return np.asarray(jacobian @ root)


def _scaled(covariance: Array) -> Array:
    """Correlations."""
    size = np.sqrt(np.diagonal(covariance).clip(1e-300))
    return np.asarray(covariance / np.outer(size, size))
