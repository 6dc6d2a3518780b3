"""The compiled engine of embedded-atom potentials: their tables, summed by the C++ kernel in two passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ase_kan.engines.compiled import KernelEngine
from ase_kan.engines.guard import OutsideDensity, covered, densities_covered, outside_densities
from ase_kan.potentials.compiled import EmbeddedTables
from ase_kan.types import Array, pair_name

if TYPE_CHECKING:
    from ase_kan.engines import _kernel
    from ase_kan.engines.autograd import ReferenceEngine


class EmbeddedCompiledEngine(KernelEngine):
    """Tables of an embedded-atom potential."""

    potential: EmbeddedTables

    def _new_reference(self) -> ReferenceEngine:
        from ase_kan.engines.embedded_autograd import EmbeddedAutogradEngine

        return EmbeddedAutogradEngine(self.potential, self._given_skin, self.limit)

    def _new_kernel(self, symbols: list[str]) -> _kernel.Kernel:
        potential, channels = self.potential, self.potential.channels
        # Without atoms there are no symbols: tables of some element are as good as any.
        elements = symbols or list(potential.elements[:1])
        kernel = self._empty_kernel(len(elements), channels)
        self._gaps = []
        for pair in ((a, b) for k, a in enumerate(elements) for b in elements[k:]):
            table, (low, high, gaps) = potential.pair_tables[pair], covered(potential, pair, self.limit)
            self._gaps += [(pair_name(pair), gap) for gap in gaps]
            kernel.add_table(
                table.end,
                low,
                high,
                table.start,
                table.slope,
                list(table.at),
                list(table.change),
                np.ascontiguousarray(table.rows.reshape(len(table.rows), -1)),
                [end for gap in gaps for end in gap],
            )
        for element in elements:
            for channel in range(channels):
                embedding = potential.embeddings[element, channel]
                table = embedding.table
                low, high, gaps = densities_covered(potential, element, channel, self.limit)
                kernel.add_embedding(
                    low,
                    high,
                    *embedding.limits,
                    table.start,
                    table.end,
                    table.slope,
                    list(table.at),
                    list(table.change),
                    table.rows[:, 0].copy(),
                    [end for gap in gaps for end in gap],
                )
        return kernel

    def densities(self) -> Array:
        if self._kernel is None or self._inner:
            return self._reference.densities()
        return self._of_kernel(self._kernel)

    def _densities_outside(self, kernel: _kernel.Kernel) -> list[OutsideDensity]:
        atoms = self.last()
        assert atoms is not None
        return outside_densities(self.potential, atoms.numbers, self._of_kernel(kernel), self.limit)

    def _of_kernel(self, kernel: _kernel.Kernel) -> Array:
        return np.asarray(kernel.densities()).reshape(-1, self.potential.channels)
