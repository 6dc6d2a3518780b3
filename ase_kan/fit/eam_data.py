"""The structures of an embedded-atom fit, in chunks: kept as far as there is memory, else made anew in each pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain

import numpy as np

from ase_kan.data.structures import Sample, Structures
from ase_kan.fit.eam_form import Form
from ase_kan.fit.eam_rows import Chunk

#: Memory for chunks that are kept, bytes.
KEPT_BYTES = 1.5e9
#: Numbers in the rows of a chunk, and most atoms: enough for fast matrix products, few enough for the cache.
CHUNK_NUMBERS, CHUNK_ATOMS = 3_000_000, 3000


class Role(IntEnum):
    """What a structure is for."""

    TRAINING = 0
    HELD = 1
    LEFT_OUT = 2


@dataclass
class Chunks:
    """What fits iterate over, as often as they need.

    Parameters
    ----------
    structures : Structures
    roles : bytes
        Of each structure: one of `Role`.
    form : Form
        With all channels that will be fitted.
    baseline, weights
        See `Chunk`.
    """

    structures: Structures
    roles: bytes
    form: Form
    baseline: Mapping[str, float]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        columns = self.form.linear + self.form.nonlinear
        self.atoms = int(np.clip(CHUNK_NUMBERS / (3 * columns), 1, CHUNK_ATOMS))
        self._kept: list[Chunk] = []
        self._kept_structures = 0
        self._complete = False
        self._bytes = 0

    def __iter__(self) -> Iterator[Chunk]:
        yield from self._kept
        if self._complete:
            return
        room = not self._kept or self._bytes < KEPT_BYTES
        batch: list[tuple[int, Sample]] = []
        for number, sample in chain(enumerate(self.structures), [(-1, None)]):
            full = batch and (sample is None or sum(len(s.atoms) for _, s in batch) + len(sample.atoms) > self.atoms)
            if full:
                held = [self.roles[n] == Role.HELD for n, _ in batch]
                chunk = Chunk(self.form, [s for _, s in batch], held, self.baseline, self.weights)
                if room and self._bytes + chunk.bytes <= KEPT_BYTES:
                    self._kept.append(chunk)
                    self._kept_structures = batch[-1][0] + 1
                    self._bytes += chunk.bytes
                else:
                    room = False
                yield chunk
                batch = []
            wanted = self._kept_structures <= number < len(self.roles) and self.roles[number] != Role.LEFT_OUT
            if sample is not None and wanted:
                batch.append((number, sample))
        self._complete = room
