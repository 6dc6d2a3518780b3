"""A pair potential that is a formula: a discovered law with its cutoff, and how well its numbers are known.

    phi(r) = C[sum of terms],    a term C r^-n exp(-b r - g r^2), damped or not (module `formula`)

Its errors are those of the numbers of the law, in linear order: each mode is a change of all numbers that may be added
with a standard normal factor. Laws that the data do not rule out add what they differ by, times the root of their
weight. Where the formula is only the nearest one, no law, nothing can be said outside the data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ase_kan.potentials import law_schema, storage
from ase_kan.potentials.checks import KIND, LAW
from ase_kan.potentials.coverage import grade
from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.formula import Term, total
from ase_kan.potentials.law_schema import FACTOR, NUMBERS
from ase_kan.potentials.posterior import Modes, deviations
from ase_kan.potentials.protocol import distances, energies, forces
from ase_kan.types import Array, Pair, pair_name, sorted_pair
from ase_kan.version import __version__

if TYPE_CHECKING:
    from kan import KAN


class LawPotential:
    """One formula for one pair of elements, or for every pair.

    Parameters
    ----------
    terms : sequence of Term
    domain : (float, float)
        Smallest and largest distance of the data, Angstrom.
    cutoff : Cutoff
    pair : (str, str), optional
        Default: every pair.
    factor : ndarray, shape (terms, 5, modes), optional
        Standard deviations of the `NUMBERS` of each term, as changes that are independent of each other.
    alternatives : sequence of (float, sequence of Term), optional
        Roots of weights, and the laws that have them.
    trusted : bool
        Whether it is a law, so that it holds outside the data too.
    reference_energies : mapping of str to float, optional
        E0 per chemical symbol, eV.
    info : dict, optional
        What is to be remembered; must be JSON.

    Raises
    ------
    ValueError
        For no terms, a domain that is none, symbols that are no elements, or a factor of another shape.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        domain: tuple[float, float],
        cutoff: Cutoff,
        pair: Pair | None = None,
        *,
        factor: Array | None = None,
        alternatives: Sequence[tuple[float, Sequence[Term]]] = (),
        trusted: bool = True,
        reference_energies: Mapping[str, float] | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        if not terms:
            raise ValueError("a law needs at least one term")
        low, high = map(float, domain)
        if not (np.isfinite([low, high]).all() and 0 < low < high):
            raise ValueError(f"need a domain with 0 < r_min < r_max, got ({low:g}, {high:g})")
        self.terms = tuple(terms)
        self.factor = np.zeros((len(terms), len(NUMBERS), 0)) if factor is None else np.array(factor, dtype=float)
        if self.factor.ndim != 3 or self.factor.shape[:2] != (len(terms), len(NUMBERS)):
            raise ValueError(f"factor must have shape ({len(terms)}, {len(NUMBERS)}, modes), got {self.factor.shape}")
        if any(t.damping is not None and row[1].any() for t, row in zip(self.terms, self.factor, strict=True)):
            raise ValueError("the power of a damped term is whole and has no error: set its row of factor to zero")
        self._pair = None if pair is None else sorted_pair(pair)
        self._reference_energies = {s: float(e) for s, e in (reference_energies or {}).items()}
        for symbol in (*(self._pair or ()), *self._reference_energies):
            if symbol not in atomic_numbers:
                raise ValueError(f"{symbol!r} is not the symbol of a chemical element")
        self._domain, self._cutoff = (low, high), cutoff
        self.alternatives = tuple((float(weight), tuple(law)) for weight, law in alternatives)
        self.trusted = trusted
        self.info = dict(info or {})

    @property
    def elements(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._pair or ())))

    @property
    def pairs(self) -> tuple[Pair | None, ...]:
        return (self._pair,)

    @property
    def cutoff(self) -> float:
        return self._cutoff.radius

    @property
    def reference_energies(self) -> Mapping[str, float]:
        """Energy E0 of a lone atom per symbol, eV; read-only."""
        return MappingProxyType(self._reference_energies)

    def domain(self, pair: Pair | None = None) -> tuple[float, float]:
        self._check(pair)
        return self._domain

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]:
        self._check(pair)
        onset = () if self._cutoff.onset is None else (self._cutoff.onset,)
        return (*onset, self._cutoff.radius)

    def __call__(self, r: Tensor, pair: Pair | None = None) -> Tensor:
        """phi(r) in eV, differentiable, for a float64 tensor of any shape."""
        self._check(pair)
        return self._cutoff.apply(self.uncut, r)

    def uncut(self, r: Tensor) -> Tensor:
        """The law without its cutoff, eV, differentiable."""
        return total(self.terms, r)

    def energy(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """phi(r) in eV for distances in Angstrom, any shape.

        Raises
        ------
        ValueError
            Unless all distances are finite and positive, and no energy overflows; and for an unknown pair.
        """
        self._check(pair)
        return energies(self, r)

    def force(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """-dphi/dr in eV/Angstrom; positive is repulsive. Input as for `energy`."""
        self._check(pair)
        return forces(self, r)

    def uncertainty(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """Standard deviation of phi(r), eV; infinite where nothing can be said. Input as for `energy`."""
        array = distances(r)
        flat = array.ravel()
        return deviations(self.modes(flat, pair), self.blind(flat, pair)).reshape(array.shape)

    def grade(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """How far distances lie outside the data: 1 at their edge (module `coverage`)."""
        self._check(pair)
        return grade(distances(r), self._domain, ())

    def modes(self, r: Array, pair: Pair | None = None) -> Modes:
        """Values and slopes (n, modes) at distances (n,) of functions whose squares add up to the variance of phi."""
        self._check(pair)
        modes = list(self._modes())
        value, slope = np.zeros((2, len(r), len(modes)))
        for number, mode in enumerate(modes):
            value[:, number], slope[:, number] = value_and_slope(partial(self._cutoff.apply, mode), r)
        return Modes(value, slope)

    def _modes(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """Functions of the distance, without the cutoff."""
        for number in range(self.factor.shape[2]):
            weights = self.factor[:, :, number]

            def mode(r: Tensor, weights: Array = weights) -> Tensor:
                change = torch.zeros_like(r)
                for term, row in zip(self.terms, weights, strict=True):
                    for weight, derivative in zip(row, term.gradient(r), strict=True):
                        if weight:
                            change = change + float(weight) * derivative
                return change

            yield mode
        for root, law in self.alternatives:

            def other(r: Tensor, root: float = root, law: tuple[Term, ...] = law) -> Tensor:
                return root * (total(law, r) - self.uncut(r))

            yield other

    def blind(self, r: Array, pair: Pair | None = None) -> NDArray[np.bool_]:
        """Where nothing can be said of phi: outside the data of what is no law; a mask (n,)."""
        self._check(pair)
        low, high = self._domain
        outside = (r < low * (1 - 1e-9)) | ((r > high * (1 + 1e-9)) & (r < self.cutoff))
        return np.asarray(outside & (not self.trusted))

    def lone_modes(self, counts: Mapping[str, int]) -> Array:
        """A law says nothing of lone atoms: no modes."""
        return np.zeros(0)

    @property
    def residual(self) -> Mapping[str, float]:
        """Errors beside those of phi: none."""
        return {}

    def samples(self, n: int, seed: int = 0) -> Iterator[LawPotential]:
        """Laws whose numbers are drawn from their normal distribution; the other laws as often as they are likely."""
        rng = np.random.default_rng(seed)
        weights = np.array([root**2 for root, _ in self.alternatives])
        for _ in range(n):
            z = rng.normal(size=self.factor.shape[2])
            which = int(np.searchsorted(np.cumsum(weights), rng.uniform()))
            terms = self.alternatives[which][1] if which < len(weights) else self._moved(self.factor @ z)
            yield LawPotential(
                terms, self._domain, self._cutoff, self._pair, reference_energies=self._reference_energies
            )

    def _moved(self, changes: Array) -> tuple[Term, ...]:
        """The law with other numbers; `changes` has the shape (terms, 5)."""
        found = []
        for term, change in zip(self.terms, changes.tolist(), strict=True):
            more = dict(zip(NUMBERS, change, strict=True))
            damping = None if term.damping is None else max(term.damping + more["damping"], 1e-6)
            kept = {name: getattr(term, name) + more[name] for name in NUMBERS[:-1]}
            found.append(replace(term, **kept, damping=damping))
        return tuple(found)

    def network(self) -> KAN:
        """The law as a pykan model of r with symbolic edges (module `symbolic`), without the cutoff."""
        from ase_kan.kan.symbolic import symbolic_model

        parts = [part for term in self.terms for part in term.monomials()]
        return symbolic_model([(p.coefficient, p.power, p.rate, p.gauss) for p in parts])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the potential to one file (safetensors, no pickle), atomically."""
        storage.write(path, *self.content(), law_schema.check)

    def content(self) -> tuple[dict[str, Any], storage.Arrays]:
        """Header and array of its file."""
        header = {
            "ase_kan": __version__,
            KIND: LAW,
            "terms": [asdict(term) for term in self.terms],
            "domain": list(self._domain),
            "cutoff": asdict(self._cutoff),
            "elements": None if self._pair is None else list(self._pair),
            "alternatives": [{"weight": w, "terms": [asdict(t) for t in law]} for w, law in self.alternatives],
            "trusted": self.trusted,
            "reference_energies": self._reference_energies,
            "info": self.info,
        }
        # Safetensors has no arrays without entries.
        factor = self.factor if self.factor.shape[2] else np.zeros((*self.factor.shape[:2], 1))
        return header, {FACTOR: factor}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LawPotential:
        """Read a saved law.

        Raises
        ------
        FileNotFoundError, ValueError
            If the file is missing, foreign, damaged or of a newer format, or holds no law. One line names the file.
        """
        content = storage.read(path, law_schema.check)
        try:
            return cls.restore(*content)
        except ValueError as error:
            raise ValueError(f"{path} is not a valid potential: {error}") from None

    @classmethod
    def restore(cls, header: Mapping[str, Any], arrays: storage.Arrays) -> LawPotential:
        """From the content of a file that has been checked."""
        return cls(
            _terms(header["terms"]),
            (header["domain"][0], header["domain"][1]),
            Cutoff(float(header["cutoff"]["radius"]), header["cutoff"]["onset"]),
            None if header["elements"] is None else sorted_pair(header["elements"]),
            factor=arrays[FACTOR],
            alternatives=[(entry["weight"], _terms(entry["terms"])) for entry in header["alternatives"]],
            trusted=header["trusted"],
            reference_energies=header["reference_energies"],
            info=header["info"],
        )

    def describe(self) -> str:
        """The law, its domain and cutoff, as lines of text."""
        onset, radius = self._cutoff.onset, self._cutoff.radius
        kind = "energy subtracted at" if onset is None else f"switched from {onset:g} A to"
        low, high = self._domain
        lines = [
            f"{pair_name(self._pair)}: a formula, data from {low:g} to {high:g} A, {kind} the cutoff {radius:g} A",
            *(f"E0 of {symbol}: {energy:.6f} eV" for symbol, energy in sorted(self._reference_energies.items())),
            *(f"{key}: {value}" for key, value in sorted(self.info.items())),
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        told = f"{self.info['formula']}, " if "formula" in self.info else ""
        return f"LawPotential of {pair_name(self._pair)}: {told}cutoff {self.cutoff:g} A"

    def _check(self, pair: Pair | None) -> None:
        if pair is not None and self._pair is not None and sorted_pair(pair) != self._pair:
            raise ValueError(f"the potential has no pair {'-'.join(pair)}; it is a law of {pair_name(self._pair)}")


def _terms(entries: Sequence[Mapping[str, float]]) -> list[Term]:
    return [Term(**entry) for entry in entries]
