"""Random numbers for the kernel: drawn ahead, the same ones whenever someone looks, and saved with their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ase_kan.types import Array

#: Numbers drawn at a time.
AHEAD = 2**14


class Noise:
    """Rows of random numbers, one for each step.

    Parameters
    ----------
    rng : numpy.random.Generator
        The source. It is ahead of the steps that were done, by less than what is drawn at a time.
    draw : callable
        Gives so many rows, shape (rows, width), of a generator.
    width : int
        Numbers of a step.
    """

    def __init__(self, rng: np.random.Generator, draw: Callable[[np.random.Generator, int], Array], width: int) -> None:
        self._rng, self._draw, self._rows = rng, draw, max(1, AHEAD // max(width, 1))
        self._refill()

    def _refill(self) -> None:
        self._start = self._rng.bit_generator.state
        self._numbers = self._draw(self._rng, self._rows)
        self._used = 0

    def ahead(self) -> Array:
        """The rows of the next steps; at least one."""
        if self._used == self._rows:
            self._refill()
        return self._numbers[self._used :]

    def use(self, rows: int) -> None:
        """So many of these were used."""
        self._used += rows

    @property
    def state(self) -> dict[str, Any]:
        """What `state` can be set to, to go on from here."""
        return {"start": self._start, "used": self._used}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if state["start"]["bit_generator"] != self._rng.bit_generator.state["bit_generator"]:
            # Of another kind than the one that is here.
            kind = getattr(np.random, state["start"]["bit_generator"])
            self._rng = np.random.Generator(kind())
        self._rng.bit_generator.state = state["start"]
        self._refill()
        self._used = state["used"]


def new_generator(rng: Any) -> np.random.Generator:
    """A generator from what users give: a generator itself, a seed, or None for one that nobody can repeat."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a numpy Generator, or a seed for one, got {rng!r}") from None
