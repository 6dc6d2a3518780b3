"""Compiled potentials: tables in place of the functions of a potential, as engines run them.

How they are made is in modules `tables` (of pair potentials: quintics in r^2) and `embedded_tables`; how they are kept
in files in module `stored`. To import and run them takes no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ase_kan.potentials import storage
from ase_kan.potentials.coverage import Gap, density_gaps_of, gaps_of
from ase_kan.potentials.features import limited
from ase_kan.potentials.filed import FiledPotential
from ase_kan.potentials.files import check_of
from ase_kan.potentials.protocol import EmbeddedAtomPotential, PairPotential, energies, forces
from ase_kan.potentials.quintics import Function, Map, Table, evaluate
from ase_kan.potentials.scale import Scale
from ase_kan.potentials.table_schema import PREFIX, TABLES
from ase_kan.types import Array, Pair, pair_name, sorted_pair

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Spline:
    """The table of one pair.

    Attributes
    ----------
    cutoff : float
    domain : (float, float)
        The range of the data, as in the original.
    start, slope, at, change
        The map u(x), in Angstrom^2 (see the module).
    rows : ndarray, shape (n, 8)
        c0 to c5 in eV, -2 du/dx, and an unused number.
    energy_error, force_error : float
        Certified: largest |error| / (scale + |value|) against the original, on fresh distances, times a safety
        factor.
    scale : Scale
        The scales of energy (eV) and force (eV/Angstrom) that all errors are measured with: the depth of the well,
        or what stands for it (see `scale.energy_scale`).
    """

    cutoff: float
    domain: tuple[float, float]
    start: float
    slope: float
    at: tuple[float, ...]
    change: tuple[float, ...]
    rows: Array
    energy_error: float
    force_error: float
    scale: Scale

    def __call__(self, r: Tensor) -> Tensor:
        """Energies (eV) of distances (Angstrom) not below the table; zero from the cutoff on."""
        import torch

        return torch.where(r < self.cutoff, evaluate(self, self.rows, -0.5, r * r), 0.0)


class SplinePotential:
    """A compiled pair potential: the protocol of the original, from tables.

    Attributes
    ----------
    original : PairPotential
    tolerance : float
    splines : dict of pair to Spline
    """

    def __init__(self, original: PairPotential, tolerance: float, splines: Mapping[Pair | None, Spline]) -> None:
        self.original = original
        self.tolerance = tolerance
        self.splines = dict(splines)

    @property
    def elements(self) -> tuple[str, ...]:
        return self.original.elements

    @property
    def pairs(self) -> tuple[Pair | None, ...]:
        return tuple(self.splines)

    @property
    def cutoff(self) -> float:
        return self.original.cutoff

    @property
    def reference_energies(self) -> Mapping[str, float]:
        return self.original.reference_energies

    def domain(self, pair: Pair | None = None) -> tuple[float, float]:
        return self.original.domain(pair)

    def gaps(self, pair: Pair | None = None) -> tuple[Gap, ...]:
        """Those of the original, if it knows them."""
        return gaps_of(self.original, pair)

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]:
        return self.original.breakpoints(pair)

    def spline(self, pair: Pair | None = None) -> Spline:
        """The table of a pair."""
        if None in self.splines:
            return self.splines[None]
        if pair is None and len(self.splines) == 1:
            return next(iter(self.splines.values()))
        self.original.domain(pair)  # says what is wrong with an unknown pair
        assert pair is not None
        return self.splines[sorted_pair(pair)]

    def __call__(self, r: Tensor, pair: Pair | None = None) -> Tensor:
        spline = self.spline(pair)
        inner = r * r < spline.start
        if not bool(inner.any()):
            return spline(r)
        import torch

        edge = spline.start**0.5
        return torch.where(inner, self.original(limited(r, high=edge), pair), spline(limited(r, low=edge)))

    def energy(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """phi(r) in eV, any shape; `ValueError` as for the original."""
        return energies(lambda x: self(x, pair), r)

    def force(self, r: ArrayLike, pair: Pair | None = None) -> Array:
        """-dphi/dr in eV/Angstrom, any shape; `ValueError` as for the original."""
        return forces(lambda x: self(x, pair), r)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the original and its tables to one file: a calculator runs from it without importing torch.

        Raises
        ------
        ValueError
            If the original has no file of its own, as a published potential.
        """
        _save(self, path)

    def describe(self) -> str:
        """Rows and certified errors, a line per pair."""
        lines = []
        for pair, s in self.splines.items():
            name = pair_name(pair)
            lines.append(
                f"{name}: {len(s.rows)} quintics from {s.start**0.5:.4g} to {s.cutoff:.4g} A; certified errors "
                f"{s.energy_error:.1e} (energy) and {s.force_error:.1e} (force), relative to {s.scale.energy:.3g} eV "
                f"(over its distance) plus value"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"SplinePotential(\n{self.describe()}\n)"


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """F of an element.

    Attributes
    ----------
    table : Table
    limits : (float, float)
        Where the table and the straight lines beyond its ends hold; infinite where F is such a line.
    """

    table: Table
    limits: tuple[float, float]

    def __call__(self, density: Tensor) -> Tensor:
        """F of densities within the limits."""
        import torch

        table = self.table
        ends = torch.tensor([table.start, table.end], dtype=torch.float64)
        with torch.enable_grad():
            at = ends.requires_grad_()
            (slopes,) = torch.autograd.grad(table(at, 0).sum(), at)
        beyond = torch.where(
            density < table.start,
            slopes[0] * (density - table.start),
            torch.where(density > table.end, slopes[1] * (density - table.end), 0.0),
        )
        return table(limited(density, table.start, table.end), 0) + beyond


class EmbeddedTables:
    """A compiled embedded-atom potential: the protocol of the original, from tables.

    Attributes
    ----------
    original : EmbeddedAtomPotential
    tolerance : float
    pair_tables : dict of (str, str) to Table
        For each two elements a and b in alphabetical order: phi, f of b at a in each channel, and, unless they are the
        same, f of a at b in each channel.
    embeddings : dict of (str, int) to EmbeddingTable
        For each element and channel.
    """

    def __init__(
        self,
        original: EmbeddedAtomPotential,
        tolerance: float,
        pair_tables: Mapping[Pair, Table],
        embeddings: Mapping[tuple[str, int], EmbeddingTable],
    ) -> None:
        self.original = original
        self.tolerance = tolerance
        self.pair_tables = dict(pair_tables)
        self.embeddings = dict(embeddings)

    @property
    def elements(self) -> tuple[str, ...]:
        return self.original.elements

    @property
    def cutoff(self) -> float:
        return self.original.cutoff

    @property
    def channels(self) -> int:
        return self.original.channels

    @property
    def reference_energies(self) -> Mapping[str, float]:
        return self.original.reference_energies

    def domain(self, pair: Pair) -> tuple[float, float]:
        return self.original.domain(pair)

    def density_domain(self, element: str, channel: int = 0) -> tuple[float, float]:
        return self.original.density_domain(element, channel)

    def gaps(self, pair: Pair) -> tuple[Gap, ...]:
        """Those of the original, if it knows them."""
        return gaps_of(self.original, pair)

    def density_gaps(self, element: str, channel: int = 0) -> tuple[Gap, ...]:
        """Those of the original, if it knows them."""
        return density_gaps_of(self.original, element, channel)

    def breakpoints(self, pair: Pair) -> tuple[float, ...]:
        return self.original.breakpoints(pair)

    def density_breakpoints(self, element: str, channel: int = 0) -> tuple[float, ...]:
        return self.original.density_breakpoints(element, channel)

    def pair_energy(self, r: Tensor, pair: Pair) -> Tensor:
        return self._of_distance(r, sorted_pair(pair), 0, partial(self.original.pair_energy, pair=pair))

    def density(self, r: Tensor, atom: str, neighbor: str, channel: int = 0) -> Tensor:
        function = 1 + channel + (self.channels if atom > neighbor else 0)
        original = partial(self.original.density, atom=atom, neighbor=neighbor, channel=channel)
        return self._of_distance(r, sorted_pair((atom, neighbor)), function, original)

    def embedding(self, density: Tensor, element: str, channel: int = 0) -> Tensor:
        if (element, channel) not in self.embeddings:
            return self.original.embedding(density, element, channel)  # says what is wrong
        import torch

        compiled = self.embeddings[element, channel]
        least, most = compiled.limits
        beyond = (density < least) | (density > most)
        if not bool(beyond.any()):
            return compiled(density)
        return torch.where(beyond, self.original.embedding(density, element, channel), compiled(density))

    def save(self, path: str | os.PathLike[str]) -> None:
        """As `SplinePotential.save`."""
        _save(self, path)

    def describe(self) -> str:
        """Rows and certified errors, a line per table."""
        lines = []
        for pair, t in self.pair_tables.items():
            lines.append(
                f"{'-'.join(pair)}: {len(t.rows)} quintics from {t.start:.4g} to {t.end:.4g} A; certified errors "
                f"{t.errors[:, 0].max():.1e} (phi and f) and {t.errors[:, 1].max():.1e} (their slopes), relative to "
                "scale plus value"
            )
        for (element, channel), embedding in self.embeddings.items():
            t = embedding.table
            name = element if self.channels == 1 else f"{element}, channel {channel}"
            lines.append(
                f"{name}: {len(t.rows)} quintics of densities from {t.start:.4g} to {t.end:.4g}; certified errors "
                f"{t.errors[0, 0]:.1e} (F) and {t.errors[0, 1]:.1e} (its slope)"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"EmbeddedTables(\n{self.describe()}\n)"

    def _of_distance(self, r: Tensor, pair: Pair, function: int, original: Function) -> Tensor:
        if pair not in self.pair_tables or function >= self.pair_tables[pair].rows.shape[1]:
            return original(r)  # says what is wrong
        import torch

        table = self.pair_tables[pair]
        inner = r < table.start
        tabulated = torch.where(r < table.end, table(limited(r, table.start, table.end), function), 0.0)
        if not bool(inner.any()):
            return tabulated
        return torch.where(inner, original(limited(r, high=table.start)), tabulated)


def original_of(potential: Any) -> Any:
    """What a compiled potential was made of; any other is its own."""
    if isinstance(potential, SplinePotential | EmbeddedTables):
        potential = potential.original
    return potential.potential if isinstance(potential, FiledPotential) else potential


def _save(tables: SplinePotential | EmbeddedTables, path: str | os.PathLike[str]) -> None:
    original: Any = tables.original
    if not hasattr(original, "content"):
        raise ValueError(f"cannot write {path}: only fitted potentials have files, and {original!r} is none")
    header, arrays = original.content()
    found = _embedded_entries(tables) if isinstance(tables, EmbeddedTables) else _pair_entries(tables)
    # Told by `ase-kan inspect` without making the potential.
    header[TABLES] = {"tolerance": tables.tolerance, "description": original.describe()}
    for kind, entries in zip(("distances", "densities"), found, strict=True):
        header[TABLES][kind] = [entry for entry, _ in entries]
        arrays |= {f"{PREFIX}{kind}.{n}": rows for n, (_, rows) in enumerate(entries)}
    storage.write(path, header, arrays, check_of(header))


Entries = list[tuple[dict[str, Any], Array]]


def _pair_entries(tables: SplinePotential) -> tuple[Entries, Entries]:
    entries: Entries = []
    for pair, s in tables.splines.items():
        known = {"errors": [[s.energy_error, s.force_error]], "scales": [list(s.scale)]}
        entries.append(({**_facts(tables, pair), **_of_map(s, s.cutoff), **known}, s.rows))
    return entries, []


def _embedded_entries(tables: EmbeddedTables) -> tuple[Entries, Entries]:
    distances: Entries = [({**_facts(tables, p), **_of_table(t)}, t.rows) for p, t in tables.pair_tables.items()]
    densities: Entries = []
    for (element, channel), embedding in tables.embeddings.items():
        facts = {
            "element": element,
            "channel": channel,
            "limits": [end if np.isfinite(end) else None for end in embedding.limits],
            "domain": list(tables.density_domain(element, channel)),
            "gaps": [list(gap) for gap in density_gaps_of(tables, element, channel)],
            "breakpoints": list(tables.density_breakpoints(element, channel)),
        }
        densities.append((facts | _of_table(embedding.table), embedding.table.rows))
    return distances, densities


def _facts(potential: PairPotential | EmbeddedAtomPotential, pair: Pair | None) -> dict[str, Any]:
    known: Any = potential  # pairs None are those of pair potentials
    return {
        "elements": None if pair is None else list(pair),
        "domain": list(known.domain(pair)),
        "gaps": [list(gap) for gap in gaps_of(known, pair)],
        "breakpoints": list(known.breakpoints(pair)),
    }


def _of_table(t: Table) -> dict[str, Any]:
    return {**_of_map(t, t.end), "errors": t.errors.tolist(), "scales": [list(scale) for scale in t.scales]}


def _of_map(table: Map, end: float) -> dict[str, Any]:
    return {
        "start": table.start,
        "end": end,
        "slope": table.slope,
        "at": list(table.at),
        "change": list(table.change),
    }
