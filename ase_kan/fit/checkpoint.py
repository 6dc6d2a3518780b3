"""The state of a pass over structures: sums, counts, and how far it got; saved atomically, resumed exactly."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ase_kan.data.structures import Sample
from ase_kan.fit.equations import Accumulator
from ase_kan.potentials import storage

#: Longest time between two checkpoints, s.
INTERVAL = 30.0
#: Version of what is added up: 2 has a baseline of the energies, 3 histograms of distances.
SUMS = 3


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done, so that what it adds up is added whole.

    Only where Python's handlers run (the main thread), and whoever handles the signal then gets it.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    pending: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pending:
            handler(*pending[0])


class Checkpoint:
    """What a pass has added up so far.

    Parameters
    ----------
    path : path or None
        Where to save; None saves nothing.
    train, held : Accumulator
        Filled by `add`; they share one baseline.
    settings : dict
        What must agree for a pass to be resumed, beside elements and meshes.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, train: Accumulator, held: Accumulator, settings: dict[str, Any]
    ) -> None:
        self.path = None if path is None else Path(path)
        self.train, self.held = train, held
        meshes = {"-".join(p): [m.start, m.cutoff.radius, m.cutoff.onset] for p, m in train.meshes.items()}
        self.settings = {**settings, "sums": SUMS, "elements": train.elements, "meshes": meshes}
        self.done = 0
        self.counts: Counter[str] = Counter()
        self._hashes: set[int] = set()
        self._saved = time.monotonic()

    def add(self, sample: Sample, held: bool) -> None:
        """Add one structure whole, or count why not; save if it is time.

        To hold a structure out is refused where it has the closest pair of its kind so far: the domain of the
        potential, which is that of the training structures, then covers all the data.
        """
        with uninterrupted():
            self._add(sample, held)
            self.done += 1
            if time.monotonic() - self._saved > INTERVAL:
                self.save()

    def _add(self, sample: Sample, held: bool) -> None:
        atoms = sample.atoms
        content = (atoms.numbers.tobytes(), atoms.positions.tobytes(), atoms.cell.array.tobytes(), atoms.pbc.tobytes())
        key = int.from_bytes(hashlib.blake2b(b"|".join(content), digest_size=8).digest(), "big", signed=True)
        if key in self._hashes:
            self.counts["duplicates left out"] += 1
            return
        if sample.weight == 0 or (sample.energy is None and sample.forces is None and sample.virial is None):
            self.counts["of weight 0 left out"] += 1
            return
        neighbors = self.train.find(sample)
        if neighbors is None:
            self.counts["left out for atoms closer than the mesh"] += 1
            return
        held = held and self.train.covers(neighbors)
        (self.held if held else self.train).add(sample, neighbors)
        self._hashes.add(key)
        self.counts["used"] += 1
        self.counts["held out"] += held
        self.counts["without forces"] += sample.forces is None
        self.counts["with atoms without a force"] += sample.forces is not None and not sample.labeled.all()
        self.counts["without energy"] += sample.energy is None
        self.counts["lone atoms"] += len(atoms) == 1
        for note in sample.notes:
            self.counts[note] += 1

    def save(self) -> None:
        """Write the checkpoint, if there is a file for it."""
        self._saved = time.monotonic()
        if self.path is None:
            return
        arrays: storage.Arrays = {"hashes": np.array(sorted(self._hashes), dtype=np.int64)}
        scalars: dict[str, Any] = {}
        for which, accumulator in (("train", self.train), ("held", self.held)):
            scalars[which] = {"shortest": [float(x) for x in accumulator.shortest.values()]}
            for number, counts in enumerate(accumulator.histograms.values()):
                arrays[f"{which}.histogram.{number}"] = counts
            for name, part in accumulator.equations.items():
                arrays[f"{which}.{name}.matrix"] = part.matrix
                arrays[f"{which}.{name}.vector"] = part.vector
                scalars[which][name] = [part.squares, part.total, part.weight, part.count]
        header = {
            "settings": self.settings,
            "done": self.done,
            "counts": dict(self.counts),
            "scalars": scalars,
            "baseline": self.train.baseline,
        }
        storage.write(self.path, header, arrays)

    def load(self) -> None:
        """Go on from the file, if it exists. `ValueError` if it was made with other settings."""
        if self.path is None or not self.path.exists():
            return
        header, arrays = storage.read(self.path)
        if header.get("settings") != self.settings:
            raise ValueError(f"{self.path} was made with other settings or data: remove it, or resume with its own")
        try:
            self._restore(header, arrays)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{self.path} is not a checkpoint of a pass ({error!r}): remove it") from None

    def _restore(self, header: dict[str, Any], arrays: storage.Arrays) -> None:
        self.done, self.counts = header["done"], Counter(header["counts"])
        self._hashes = set(arrays["hashes"].tolist())
        # One dictionary for both accumulators: changed in place. The one of the sums counts, to the last digit.
        self.train.baseline.clear()
        self.train.baseline.update(header["baseline"])
        for which, accumulator in (("train", self.train), ("held", self.held)):
            scalars = header["scalars"][which]
            accumulator.shortest = dict(zip(accumulator.meshes, map(np.float64, scalars["shortest"]), strict=True))
            for number, pair in enumerate(accumulator.histograms):
                accumulator.histograms[pair] = arrays[f"{which}.histogram.{number}"].copy()
            for name, part in accumulator.equations.items():
                part.matrix = arrays[f"{which}.{name}.matrix"].copy()
                part.vector = arrays[f"{which}.{name}.vector"].copy()
                part.squares, part.total, part.weight, part.count = scalars[name]
