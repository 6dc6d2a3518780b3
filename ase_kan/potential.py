"""The pair potential: what calculators, exporters and plots ask for, and the KAN that answers.

E = sum_i E0[Z_i] + sum_{i<j} phi_{Z_i Z_j}(r_ij)          eV, Angstrom
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ase_kan import __version__, schema, storage
from ase_kan.coverage import Gap, named_gaps
from ase_kan.features import value_and_slope
from ase_kan.pair import Ends, PairFunction

if TYPE_CHECKING:
    from ase import Atoms
    from kan import KAN

    from ase_kan.batch import Batch
    from ase_kan.matscipy import MatscipyPair
    from ase_kan.splines import SplinePotential

Array = NDArray[np.float64]
Pair = tuple[str, str]


@runtime_checkable
class PairPotential(Protocol):
    """The protocol of a pair potential. Units are eV and Angstrom."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols it knows; empty if it serves every element."""

    @property
    def pairs(self) -> tuple[Pair | None, ...]:
        """The pairs it knows, each in alphabetical order; ``(None,)`` if one function serves every pair."""

    @property
    def cutoff(self) -> float:
        """Largest distance at which any pair interacts."""

    @property
    def reference_energies(self) -> Mapping[str, float]:
        """Energy E0 of a lone atom per symbol; a symbol left out has 0."""

    def domain(self, pair: Pair | None = None) -> tuple[float, float]:
        """Smallest and largest distance that the data of a pair covered."""

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]:
        """Distances, ascending, where phi is less smooth than elsewhere; the last is the pair's own cutoff."""

    def __call__(self, r: Tensor, pair: Pair | None = None) -> Tensor:
        """phi(r), differentiable, for a float64 tensor of any shape."""

    def energy(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """phi(r) for an array of any shape."""

    def force(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """-dphi/dr for an array of any shape; positive is repulsive."""


class KANPotential(nn.Module):
    """One small KAN per unordered pair of elements.

    Parameters
    ----------
    pairs : mapping of (str, str) or None to PairFunction
        The key None, alone, serves every pair of elements.
    reference_energies : mapping of str to float, optional
        E0 per chemical symbol, eV. A copy is kept, which cannot be changed.
    info : dict, optional
        What the fit wants remembered (errors, seed, ...); must be JSON.

    Raises
    ------
    ValueError
        For no pairs, pairs named twice (in either order), symbols that are no chemical elements, and energies of lone
        atoms that are not finite.
    """

    def __init__(
        self,
        pairs: Mapping[Pair | None, PairFunction],
        reference_energies: Mapping[str, float] | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not pairs or (None in pairs and len(pairs) > 1):
            raise ValueError("give one function per pair of elements, or a single one for all of them under None")
        self._keys = tuple(None if pair is None else sorted_pair(pair) for pair in pairs)
        twice = [pair for n, pair in enumerate(self._keys) if pair in self._keys[:n]]
        if twice and twice[0]:
            raise ValueError(f"the pair {'-'.join(twice[0])} is given twice: pairs have no order, so give one function")
        lone = {symbol: float(energy) for symbol, energy in (reference_energies or {}).items()}
        for symbol in (*lone, *(symbol for pair in self._keys if pair for symbol in pair)):
            if symbol not in atomic_numbers:
                raise ValueError(f"{symbol!r} is not the symbol of a chemical element")
        for symbol, energy in lone.items():
            if not np.isfinite(energy):
                raise ValueError(f"the energy of a lone {symbol} atom must be finite, got {energy}")
        self.functions = nn.ModuleList(pairs.values())
        self._reference_energies = lone
        self.info = dict(info or {})

    @property
    def pairs(self) -> tuple[Pair | None, ...]:
        """The pairs it knows, each in alphabetical order; ``(None,)`` if it serves every pair."""
        return self._keys

    @property
    def reference_energies(self) -> Mapping[str, float]:
        """Energy E0 of a lone atom per symbol, eV; read-only."""
        return MappingProxyType(self._reference_energies)

    @property
    def elements(self) -> tuple[str, ...]:
        return tuple(sorted({symbol for pair in self._keys if pair for symbol in pair}))

    @property
    def cutoff(self) -> float:
        return max(self.function(pair).cutoff.radius for pair in self._keys)

    def function(self, pair: Pair | None = None) -> PairFunction:
        """The function of one pair; `pair` may be left out if there is only one.

        Raises
        ------
        ValueError
            If the pair is unknown, or left out where there are several.
        """
        if pair is None or self._keys == (None,):
            if len(self._keys) > 1:
                raise ValueError(
                    f"this potential has several pairs, {self._names()}: say which, e.g. pair={self._keys[0]}"
                )
            index = 0
        elif sorted_pair(pair) in self._keys:
            index = self._keys.index(sorted_pair(pair))
        else:
            raise ValueError(f"the potential has no pair {'-'.join(pair)}; it was fitted for {self._names()}")
        function = self.functions[index]
        assert isinstance(function, PairFunction)
        return function

    def domain(self, pair: Pair | None = None) -> tuple[float, float]:
        return self.function(pair).domain

    def gaps(self, pair: Pair | None = None) -> tuple[Gap, ...]:
        """Ranges within the domain of a pair, Angstrom, where its data have no or hardly any distances."""
        return self.function(pair).gaps

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]:
        f = self.function(pair)
        joints = {end.joint for end in (f.core, f.tail) if end is not None} | {f.cutoff.onset or 0.0}
        return (*sorted(r for r in joints | f.rough_knots() if 0 < r < f.cutoff.radius), f.cutoff.radius)

    def forward(self, r: Tensor, pair: Pair | None = None) -> Tensor:
        result: Tensor = self.function(pair)(r)
        return result

    def energy(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """phi(r) in eV for distances in Angstrom, any shape.

        Raises
        ------
        ValueError
            Unless all distances are finite and positive, and no energy overflows; and for an unknown pair.
        """
        return energies(self.function(pair), r)

    def force(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """-dphi/dr in eV/Angstrom; positive is repulsive. Input as for `energy`."""
        return forces(self.function(pair), r)

    def network(self, pair: Pair | None = None) -> KAN:
        """The genuine pykan model, from the reduced feature to the reduced energy (see `PairFunction`).

        For a fit with pykan on ``feature="r"`` that is from Angstrom to eV.
        """
        from ase_kan.pykan import to_pykan

        return to_pykan(self.function(pair).network)

    @classmethod
    def from_pykan(
        cls,
        model: KAN,
        *,
        cutoff: float | None = None,
        onset: float | None = None,
        smooth: bool = True,
        core: str | None = "power",
        tail: str | None = "power",
        elements: Pair | None = None,
    ) -> KANPotential:
        """Take a trained pykan model of E(r) in eV and Angstrom, with one input and one output.

        The domain is the grid of the model's input. Cutoff, onset, smooth, core and tail: as for `fit`.
        """
        from ase_kan.pykan import from_pykan

        network = from_pykan(model)
        grid, k = network[0].grid[0], network[0].k
        r_min, r_max = max(float(grid[k]), 0.0), float(grid[-k - 1])
        if r_max <= r_min:
            raise ValueError(
                f"the model's grid [{float(grid[k]):g}, {r_max:g}] has no positive distances: train it on r > 0"
            )
        ends = Ends(cutoff, onset, smooth, core, tail)
        function = PairFunction(network, (r_min, r_max), ends.rule(r_max))
        return cls({elements: ends.attach(function, elements)}, info={"source": "pykan model"})

    # torch.nn.Module has a method of this name, which compiles the module's forward: the same idea.
    def compile(self, tol: float | None = None) -> SplinePotential:  # type: ignore[override]
        """The same potential as tables with a certified error (see `splines.compile_potential`)."""
        from ase_kan.splines import DEFAULT_TOLERANCE, compile_potential

        return compile_potential(self, DEFAULT_TOLERANCE if tol is None else tol)

    def evaluate_batch(
        self, systems: Sequence[Atoms], device: str | torch.device = "cpu", dtype: torch.dtype = torch.float64
    ) -> Batch:
        """Energies, forces and stresses of many systems in one evaluation (see `batch.evaluate_batch`)."""
        from ase_kan.batch import evaluate_batch

        return evaluate_batch(self, systems, device, dtype)

    def as_matscipy(self, pair: Pair | None = None) -> MatscipyPair:
        """One pair for matscipy's `PairPotential`: Hessians, elastic constants (see `matscipy.MatscipyPair`)."""
        from ase_kan.matscipy import MatscipyPair

        return MatscipyPair(self, pair)

    def to_openmm(self, atoms: Atoms | None = None) -> Any:
        """An `openmm.CustomNonbondedForce` in kJ/mol and nm (see `openmm.to_openmm`)."""
        from ase_kan.openmm import to_openmm

        return to_openmm(self, atoms)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the potential to one file (safetensors, no pickle), atomically."""
        header = {
            "ase_kan": __version__,
            "pairs": [{"elements": pair, **self.function(pair).header()} for pair in self._keys],
            "reference_energies": dict(self.reference_energies),
            "info": self.info,
        }
        storage.write(path, header, self.state_dict(), schema.check)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KANPotential:
        """Read a saved potential.

        Raises
        ------
        FileNotFoundError, ValueError
            If the file is missing, foreign, damaged or of a newer format, or what it holds is no potential: too large,
            with entries of wrong types or ranges, or not finite from 0.4 of the shortest distance of the data to the
            cutoff. One line names the file and the entry.
        """
        header, tensors = storage.read(path, schema.check)
        try:
            found: list[tuple[Pair | None, PairFunction]] = []
            for index, entry in enumerate(header["pairs"]):
                prefix = f"functions.{index}."
                mine = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
                key = entry["elements"]
                found.append((None if key is None else sorted_pair(key), PairFunction.restore(entry, mine)))
            if len({pair for pair, _ in found}) < len(found):
                raise ValueError("a pair is given twice")
            for pair, function in found:
                function.must_be_finite(pair_name(pair))
            return cls(dict(found), header["reference_energies"], header["info"])
        except ValueError as error:
            raise ValueError(f"{path} is not a valid potential: {error}") from None

    def describe(self) -> str:
        """Elements, domains, cutoffs, networks and what the fit reported, as lines of text."""
        lines = [f"elements: {', '.join(self.elements) or 'every element'}"]
        for pair in self._keys:
            f = self.function(pair)
            name = pair_name(pair)
            kind = "energy subtracted at" if f.cutoff.onset is None else f"switched from {f.cutoff.onset:g} A to"
            lines.append(
                f"{name}: data from {f.domain[0]:g} to {f.domain[1]:g} A, {kind} the cutoff {f.cutoff.radius:g} A, "
                f"KAN {list(f.network.width)} of {f.feature}, grid {f.network[0].n_cells}, k = {f.network[0].k}"
            )
            if f.gaps:
                lines.append(f"gaps, with hardly any pairs in the data: {named_gaps(name, f.gaps)}")
            lines += [
                f"{name}, {where} the data: {'the bare KAN' if part is None else part.describe()}"
                for where, part in (("below", f.core), ("beyond", f.tail))
            ]
        lines += [f"E0 of {symbol}: {energy:.6f} eV" for symbol, energy in sorted(self.reference_energies.items())]
        lines += [f"{key}: {_plain(value)}" for key, value in self.info.items()]
        return "\n".join(lines)

    def extra_repr(self) -> str:
        return f"pairs={self._names()}, cutoff={self.cutoff:g} A"

    def _names(self) -> str:
        return ", ".join(map(pair_name, self._keys))


def sorted_pair(pair: Pair) -> Pair:
    """The pair in alphabetical order; `ValueError` if it is no pair."""
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(symbol, str) for symbol in pair):
        raise ValueError(f"a pair is two chemical symbols such as ('Ne', 'Ar'), got {pair!r}")
    first, second = sorted(pair)
    return first, second


def pair_name(pair: Pair | None) -> str:
    """For messages."""
    return "every pair" if pair is None else "-".join(sorted_pair(pair))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return f"{value:.3e}" if isinstance(value, float) else str(value)


def missing_pairs(potential: PairPotential) -> list[Pair]:
    """Pairs of the potential's elements that it has no function for, since its data had none."""
    if None in potential.pairs:
        return []
    known = {sorted_pair(pair) for pair in potential.pairs if pair}
    return [pair for pair in combinations_with_replacement(sorted(potential.elements), 2) if pair not in known]


def distances(r: ArrayLike) -> Array:
    """A float64 copy of distances; `ValueError` that names the first one that is not finite and positive."""
    try:
        if np.iscomplexobj(r):
            raise TypeError
        array = np.array(r, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"distances must be numbers, got {r!r}") from None
    bad = array[~(np.isfinite(array) & (array > 0))]
    if bad.size:
        raise ValueError(f"distances must be positive and finite, got {bad.flat[0]}")
    return array


def energies(phi: Callable[[Tensor], Tensor], r: ArrayLike) -> Array:
    """A torch function at distances of any shape, through the door that all potentials share."""
    array = distances(r)
    with torch.no_grad():
        energy: Array = phi(torch.from_numpy(array)).numpy()
    return _finite("energy", energy, array)


def forces(phi: Callable[[Tensor], Tensor], r: ArrayLike) -> Array:
    """Minus its derivative there."""
    array = distances(r)
    return _finite("force", -value_and_slope(phi, array)[1], array)


def _finite(what: str, values: Array, r: Array) -> Array:
    bad = r[~np.isfinite(values)]
    if bad.size:
        raise ValueError(f"the {what} at r = {bad.flat[0]} A overflows")
    return values
