"""A potential in a file that has not been made yet, since its tables run without it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ase_kan.potentials import storage
from ase_kan.potentials.coverage import Gap
from ase_kan.potentials.law_schema import LAW
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
    header, arrays
        The content of the file.
    """

    def __init__(self, header: Mapping[str, Any], arrays: storage.Arrays) -> None:
        self._content = {k: v for k, v in header.items() if k != TABLES}, _without_tables(arrays)
        tables = header[TABLES]
        self._pairs = {pair_of(entry): entry for entry in tables["distances"]}
        self._densities = {(entry["element"], entry["channel"]): entry for entry in tables["densities"]}
        self.description: str = tables["description"]
        self.reference_energies: Mapping[str, float] = header["reference_energies"]
        self.elements = tuple(sorted({symbol for pair in self._pairs if pair for symbol in pair}))
        self.cutoff = max(entry["breakpoints"][-1] for entry in self._pairs.values())
        self.pairs = tuple(self._pairs)
        self.channels = 1 + max((channel for _, channel in self._densities), default=0)

    @cached_property
    def potential(self) -> KANPotential | LawPotential | KANEAM:
        """The potential itself."""
        if self._densities:
            from ase_kan.potentials.eam import KANEAM

            return KANEAM.restore(*self._content)
        if self._content[0].get("kind") == LAW:
            from ase_kan.potentials.law import LawPotential

            return LawPotential.restore(*self._content)
        from ase_kan.potentials.potential import KANPotential

        return KANPotential.restore(*self._content)

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


def _without_tables(arrays: storage.Arrays) -> storage.Arrays:
    return {name: array for name, array in arrays.items() if not name.startswith(PREFIX)}
