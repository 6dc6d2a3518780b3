"""The pair potential: what calculators, exporters and plots ask for, and the KAN that answers.

E = sum_i E0[Z_i] + sum_{i<j} phi_{Z_i Z_j}(r_ij)          eV, Angstrom
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ase_kan.potentials import schema, storage
from ase_kan.potentials.coverage import Gap, grade, named_gaps
from ase_kan.potentials.pair import Affine, Ends, PairFunction
from ase_kan.potentials.posterior import Modes, Posterior, deviations, range_about, unknown
from ase_kan.potentials.protocol import distances, energies, forces
from ase_kan.potentials.scale import energy_scale
from ase_kan.potentials.schema import FACTOR
from ase_kan.types import Array, Pair, pair_name, sorted_pair
from ase_kan.version import __version__

if TYPE_CHECKING:
    from kan import KAN


#: Options that `describe` tells as they became.
TOLD = ("feature", "grid", "k", "width")


class KANPotential:
    """One small KAN per unordered pair of elements.

    Parameters
    ----------
    pairs : mapping of (str, str) or None to PairFunction
        The key None, alone, serves every pair of elements.
    reference_energies : mapping of str to float, optional
        E0 per chemical symbol, eV. A copy is kept, which cannot be changed.
    info : dict, optional
        What the fit wants remembered (errors, seed, ...); must be JSON.
    posterior : Posterior, optional
        How well the pair energies are known.

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
        posterior: Posterior | None = None,
    ) -> None:
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
        self._functions = tuple(pairs.values())
        self._reference_energies = lone
        self.info = dict(info or {})
        self.posterior = posterior

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
        return self._functions[self._place(pair)]

    def _place(self, pair: Pair | None) -> int:
        """Place of a pair in `pairs`."""
        if pair is None or self._keys == (None,):
            if len(self._keys) > 1:
                raise ValueError(
                    f"this potential has several pairs, {self._names()}: say which, e.g. pair={self._keys[0]}"
                )
            return 0
        if sorted_pair(pair) not in self._keys:
            raise ValueError(f"the potential has no pair {'-'.join(pair)}; it was fitted for {self._names()}")
        return self._keys.index(sorted_pair(pair))

    def domain(self, pair: Pair | None = None) -> tuple[float, float]:
        return self.function(pair).domain

    def gaps(self, pair: Pair | None = None) -> tuple[Gap, ...]:
        """Ranges within the domain of a pair, Angstrom, where its data have no or hardly any distances."""
        return self.function(pair).gaps

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]:
        f = self.function(pair)
        return (*sorted(f.joints()), f.cutoff.radius)

    def __call__(self, r: Tensor, pair: Pair | None = None) -> Tensor:
        """phi(r) in eV, differentiable, for a float64 tensor of any shape."""
        energy: Tensor = self.function(pair)(r)
        return energy

    def to(self, device: str | torch.device, dtype: torch.dtype) -> KANPotential:
        """A copy whose arrays are on another device or of another type; results of `energy` are on the CPU only."""
        functions = (deepcopy(function).to(device=device, dtype=dtype) for function in self._functions)
        moved = dict(zip(self._keys, functions, strict=True))
        return KANPotential(moved, self._reference_energies, self.info, self.posterior)

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

    def uncertainty(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """Standard deviation of phi(r), eV, for distances in Angstrom, any shape.

        Of the function, not of noisy data about it; infinite where nothing can be said (module `posterior`).

        Raises
        ------
        ValueError
            As for `energy`; and for potentials that know nothing of their errors, as those from pykan models.
        """
        array = distances(r)
        flat = array.ravel()
        return deviations(self.modes(flat, pair), self.blind(flat, pair)).reshape(array.shape)

    def modes(self, r: Array, pair: Pair | None = None) -> Modes:
        """Values and slopes (n, modes) at distances (n,) of functions whose squares add up to the variance of phi.

        The first modes are common to all pairs, so that errors of several pairs add up as they should.
        """
        return self._known_posterior().modes(self._place(pair), self.function(pair), r)

    def blind(self, r: Array, pair: Pair | None = None) -> NDArray[np.bool_]:
        """Where nothing can be said of phi: a mask (n,)."""
        return unknown(self.function(pair), self._known_posterior().pairs[self._place(pair)], r)

    def lone_modes(self, counts: Mapping[str, int]) -> Array:
        """What the first modes add to the energy of so many atoms of each element, eV; shape (modes,)."""
        return self._known_posterior().lone_modes(counts)

    @property
    def residual(self) -> Mapping[str, float]:
        """What a fit to structures leaves open, beside what is known of phi (see `Posterior`)."""
        return self._known_posterior().residual

    def grade(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """How far distances lie outside the data: 1 at their edge, more beyond, down to 0 inside (module `coverage`).

        Raises
        ------
        ValueError
            As for `energy`.
        """
        function = self.function(pair)
        return grade(distances(r), function.domain, function.gaps)

    def _known_posterior(self) -> Posterior:
        """The posterior; `ValueError` for potentials without one."""
        if self.posterior is None:
            raise ValueError("this potential does not know its errors: it was not fitted here, or by an older ase_kan")
        return self.posterior

    def network(self, pair: Pair | None = None) -> KAN:
        """The genuine pykan model, from the reduced feature to the reduced energy (see `PairFunction`).

        Baselines are not part of it. For a fit with pykan on ``feature="r"`` that is from Angstrom to eV.
        """
        from ase_kan.kan.pykan import to_pykan

        return to_pykan(self.function(pair).network)

    @classmethod
    def from_pykan(
        cls,
        model: KAN,
        *,
        x_shift: float | None = None,
        x_scale: float | None = None,
        e_shift: float | None = None,
        e_scale: float | None = None,
        cutoff: float | None = None,
        onset: float | None = None,
        smooth: bool = True,
        core: str | None = "power",
        tail: str | None = "power",
        elements: Pair | None = None,
    ) -> KANPotential:
        """Take a trained pykan model of a pair energy, with one input and one output.

        Parameters
        ----------
        model : kan.KAN
            Of E(r) in eV and Angstrom, or of standardised numbers: ``(E - e_shift) / e_scale`` of
            ``(r - x_shift) / x_scale``. The domain is the grid of its input, in Angstrom.
        x_shift, x_scale : float, optional
            Angstrom: mean and standard deviation of the training distances, say.
        e_shift, e_scale : float, optional
            The same for energies, eV. All four or none; 0 and 1 for what was left as it is.
        cutoff, onset, smooth, core, tail
            As for `fit`.
        elements : (str, str), optional
            The pair of elements; default every pair.

        Raises
        ------
        ValueError
            If the grid reaches below r = 0: such a model was trained on something else than distances in Angstrom. And
            for models that `pykan.from_pykan` cannot take, or whose parameters are not finite.
        """
        from ase_kan.kan.pykan import from_pykan

        network = from_pykan(model)
        if not all(bool(values.isfinite().all()) for values in network.state_dict().values()):
            raise ValueError("the model has parameters that are NaN or infinite: its training diverged")
        x, e = Affine(), Affine()
        given = {"x_shift": x_shift, "x_scale": x_scale, "e_shift": e_shift, "e_scale": e_scale}
        if any(value is not None for value in given.values()):
            for name, value in given.items():
                if value is None or not np.isfinite(value) or (name.endswith("scale") and value <= 0):
                    raise ValueError(
                        f"give x_shift, x_scale, e_shift and e_scale together, finite, with positive scales (0 and 1 "
                        f"for what is not standardised), got {name} = {value}"
                    )
            x, e = Affine(float(x_shift or 0), float(x_scale or 1)), Affine(float(e_shift or 0), float(e_scale or 1))
        grid, k = network[0].grid[0], network[0].k
        r_min, r_max = (x.shift + x.scale * float(grid[n]) for n in (k, -k - 1))
        if r_min < -1e-6 * abs(r_max) or r_max <= 0:
            raise ValueError(
                f"the model's grid, {r_min:g} to {r_max:g}, reaches below the distance zero: if its inputs and outputs "
                "were standardised, give x_shift, x_scale, e_shift, e_scale of r = x_shift + x_scale * input and "
                "E = e_shift + e_scale * output; else train it on a grid of distances"
            )
        r_min = max(r_min, 0.0)
        ends = Ends(cutoff, onset, smooth, core, tail)
        function = PairFunction(network, (r_min, r_max), ends.rule(r_max), x=x, e=e)
        return cls({elements: ends.attach(function, elements)}, info={"source": "pykan model"})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the potential to one file (safetensors, no pickle), atomically."""
        storage.write(path, *self.content(), schema.check)

    def content(self) -> tuple[dict[str, Any], storage.Arrays]:
        """Header and arrays of its file."""
        header = {
            "ase_kan": __version__,
            "pairs": [{"elements": pair, **self.function(pair).header()} for pair in self._keys],
            "reference_energies": dict(self.reference_energies),
            "info": self.info,
        }
        arrays: storage.Arrays = {
            f"functions.{number}.{name}": tensor.detach().cpu().numpy()
            for number, function in enumerate(self._functions)
            for name, tensor in function.state_dict().items()
        }
        if self.posterior is not None:
            header["posterior"] = self.posterior.header()
            arrays[FACTOR] = self.posterior.factor.astype(np.float32)
        return header, arrays

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
        content = storage.read(path, schema.check)
        try:
            return cls.restore(*content)
        except ValueError as error:
            raise ValueError(f"{path} is not a valid potential: {error}") from None

    @classmethod
    def restore(cls, header: Mapping[str, Any], arrays: storage.Arrays) -> KANPotential:
        """From the content of a file that has been checked. `ValueError` if it is not finite, or gives a pair twice."""
        found: list[tuple[Pair | None, PairFunction]] = []
        for index, entry in enumerate(header["pairs"]):
            prefix = f"functions.{index}."
            mine = {k.removeprefix(prefix): torch.from_numpy(a) for k, a in arrays.items() if k.startswith(prefix)}
            key = entry["elements"]
            found.append((None if key is None else sorted_pair(key), PairFunction.restore(entry, mine)))
        if len({pair for pair, _ in found}) < len(found):
            raise ValueError("a pair is given twice")
        for pair, function in found:
            function.must_be_finite(pair_name(pair))
        known = header.get("posterior")
        posterior = None if known is None else Posterior.restore(known, arrays[FACTOR].astype(float))
        return cls(dict(found), header["reference_energies"], header["info"], posterior)

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
            if f.baseline is not None:
                of = "another potential" if isinstance(f.baseline, PairFunction) else f.baseline.formula()
                lines.append(f"{name}, baseline that is added to the KAN and beyond the data: {of}")
            if f.gaps:
                lines.append(f"gaps, with hardly any pairs in the data: {named_gaps(name, f.gaps)}")
            if self.posterior is not None and (known := self._known_range(pair)) is not None:
                lines.append(
                    f"{name}: energy known to 1 % of itself or of the well from {known[0]:.4g} to {known[1]:.4g} A"
                )
            lines += [
                f"{name}, {where} the data: {'the bare KAN' if part is None else part.describe()}"
                for where, part in (("below", f.core), ("beyond", f.tail))
            ]
        lines += [f"E0 of {symbol}: {energy:.6f} eV" for symbol, energy in sorted(self.reference_energies.items())]
        told = {key: value for key, value in sorted(self.info.items()) if key not in TOLD and value is not None}
        lines += [f"{key}: {_plain(value)}" for key, value in told.items()]
        return "\n".join(lines)

    def _known_range(self, pair: Pair | None) -> tuple[float, float] | None:
        """Where the standard deviation of phi is at most 1 % of the scale of the energy or of phi, about the well."""
        low, high = self.domain(pair)
        scale = energy_scale(self.function(pair), low, min(high, self.function(pair).cutoff.radius))
        r = np.linspace(0.5 * low, self.function(pair).cutoff.radius, 1000)
        energy = self.energy(r, pair)
        known = self.uncertainty(r, pair) <= 0.01 * np.maximum(np.abs(energy), scale.energy)
        return range_about(int(np.argmin(energy)), known, r)

    def __repr__(self) -> str:
        lines = [f"KANPotential of {', '.join(self.elements) or 'every element'}, cutoff {self.cutoff:g} A"]
        for pair in self._keys:
            low, high = self.domain(pair)
            lines.append(f"  {pair_name(pair)}: data from {low:g} to {high:g} A")
        if isinstance(error := self.info.get("energy_rmse"), float):
            lines.append(f"  energy RMSE {error:.2e} eV")
        return "\n".join(lines)

    def _names(self) -> str:
        return ", ".join(pair_name(pair) for pair in self._keys)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return f"{value:.3e}" if isinstance(value, float) else str(value)
