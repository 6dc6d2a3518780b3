"""A potential in a file that has not been made yet, since its tables run without it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ase_kan.potentials import storage
from ase_kan.potentials.coverage import Gap
from ase_kan.potentials.files import restore
from ase_kan.potentials.table_schema import PREFIX, TABLES
from ase_kan.types import Pair, sorted_pair

if TYPE_CHECKING:
    from torch import Tensor

    from ase_kan.potentials.eam import KANEAM
    from ase_kan.potentials.law import LawPotential
    from ase_kan.potentials.potential import KANPotential


class FiledPotential:
    """A potential of which a file has been read: what its tables need to know of it; else it is made when it is asked.

    Parameters
    ----------
    path : path
        For messages.
    header, arrays
        The content of the file.
    """

    def __init__(self, path: str | os.PathLike[str], header: Mapping[str, Any], arrays: storage.Arrays) -> None:
        own = {name: array for name, array in arrays.items() if not name.startswith(PREFIX)}
        self._path, self._content = path, ({key: value for key, value in header.items() if key != TABLES}, own)
        tables = header[TABLES]
        self._pairs = {pair_of(entry): entry for entry in tables["distances"]}
        self._densities = {(entry["element"], entry["channel"]): entry for entry in tables["densities"]}
        self._description: str = tables["description"]
        self.reference_energies: Mapping[str, float] = header["reference_energies"]
        self.elements = tuple(sorted({symbol for pair in self._pairs if pair for symbol in pair}))
        self.cutoff = max(entry["breakpoints"][-1] for entry in self._pairs.values())
        self.pairs = tuple(self._pairs)
        self.channels = 1 + max((channel for _, channel in self._densities), default=0)

    @cached_property
    def potential(self) -> KANPotential | LawPotential | KANEAM:
        """The potential itself."""
        return restore(self._path, *self._content)

    def content(self) -> tuple[dict[str, Any], storage.Arrays]:
        """That of the file, without tables."""
        header, arrays = self._content
        return dict(header), dict(arrays)

    def describe(self) -> str:
        """As the potential itself told when it was saved."""
        return self._description

    def domain(self, pair: Pair | None = None) -> tuple[float, float]:
        low, high = self._entry(pair)["domain"]
        return low, high

    def gaps(self, pair: Pair | None = None) -> tuple[Gap, ...]:
        return tuple((a, b) for a, b in self._entry(pair)["gaps"])

    def breakpoints(self, pair: Pair | None = None) -> tuple[float, ...]:
        return tuple(self._entry(pair)["breakpoints"])

    def density_domain(self, element: str, channel: int = 0) -> tuple[float, float]:
        low, high = self._densities[element, channel]["domain"]
        return low, high

    def density_gaps(self, element: str, channel: int = 0) -> tuple[Gap, ...]:
        return tuple((a, b) for a, b in self._densities[element, channel]["gaps"])

    def density_breakpoints(self, element: str, channel: int = 0) -> tuple[float, ...]:
        return tuple(self._densities[element, channel]["breakpoints"])

    def _entry(self, pair: Pair | None) -> Mapping[str, Any]:
        key = next(iter(self._pairs)) if None in self._pairs or (pair is None and len(self._pairs) == 1) else pair
        key = None if key is None else sorted_pair(key)
        if key not in self._pairs:
            self.potential.domain(pair)  # type: ignore[arg-type]  # says what is wrong
        entry: Mapping[str, Any] = self._pairs[key]
        return entry

    def __call__(self, r: Tensor, pair: Pair | None = None) -> Tensor:
        found: Tensor = self.potential(r, pair)  # type: ignore[operator]  # asked of pair potentials only
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "potential":
            raise AttributeError(name)
        return getattr(self.potential, name)


def pair_of(entry: Mapping[str, Any]) -> Pair | None:
    """The pair of a table in a header."""
    return None if entry["elements"] is None else sorted_pair(entry["elements"])
