"""The way down to the best densities: channel by channel, saved on the way, and ended where nothing more is gained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase_kan.fit.eam_form import Form
from ase_kan.fit.eam_penalty import START, Strength
from ase_kan.fit.eam_solver import DAMPING, Solver, State
from ase_kan.potentials import storage

#: Most steps for each channel, and steps before which the strengths of the penalties are chosen anew. They are chosen
#: anew, too, whenever a descent has settled: the better the fit, the weaker are the penalties that its errors call for.
STEPS, CHOICES = 40, (0, 1, 2, 4, 6)
#: A descent has settled when a step lowers the cost by less than this part of it.
SETTLED = 1e-4


@dataclass(frozen=True)
class Place:
    """Where a descent is.

    Attributes
    ----------
    state : State
    strength : Strength
    damping : float
    step : int
        Steps made with this number of channels.
    settled : bool
        Whether the last step gained nothing.
    arrived : bool
        Whether, moreover, the strengths are still those that the evidence chooses.
    """

    state: State
    strength: Strength
    damping: float
    step: int
    settled: bool = False
    arrived: bool = False


def descend(solver: Solver, form: Form, begin: Place | None) -> Iterator[Place]:
    """Every place on the way, the last one with all channels and `arrived`.

    Parameters
    ----------
    solver : Solver
    form : Form
        With all channels.
    begin : Place, optional
        Where to go on from.
    """
    place = begin
    if place is None:
        place = Place(solver.state(solver.first(form), START), START, DAMPING, 0)
        yield place
    while not place.arrived or len(place.state.c) < form.channels:
        if place.arrived:
            c = solver.with_channel(place.state, place.strength)
            place = Place(solver.state(c, place.strength), place.strength, DAMPING, 0)
        place = _next(solver, place)
        yield place


def _next(solver: Solver, place: Place) -> Place:
    state, strength = place.state, place.strength
    factor, count = solver.linearized(state)
    chooses = place.step in CHOICES or place.settled
    if chooses:
        chosen = solver.strength(state, factor, count, strength)
        if chosen != strength:
            state, strength = solver.state(state.c, chosen), chosen
            factor, _ = solver.linearized(state)
    found, damping = solver.step(state, factor, strength, place.damping)
    settled = 1 - found.cost / state.cost < SETTLED
    step = place.step + 1
    arrived = step >= STEPS or (settled and chooses and strength == place.strength)
    return Place(found, strength, damping, step, settled, arrived)


class Saved:
    """The file of a descent.

    Parameters
    ----------
    path : path or None
        None saves nothing.
    settings : dict
        What must agree for a descent to go on.
    """

    def __init__(self, path: str | os.PathLike[str] | None, settings: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.settings = settings

    def save(self, place: Place) -> None:
        """Write it, if there is a file for it."""
        if self.path is not None:
            at = {"strength": list(place.strength), "damping": place.damping, "step": place.step}
            header = {"settings": self.settings, **at, "settled": place.settled, "arrived": place.arrived}
            storage.write(self.path, header, {"density_coefficients": place.state.c})

    def load(self, solver: Solver) -> Place | None:
        """Where to go on, if there is a file. `ValueError` if it was made with other settings."""
        if self.path is None or not self.path.exists():
            return None
        header, arrays = storage.read(self.path)
        if header.get("settings") != self.settings:
            raise ValueError(f"{self.path} was made with other settings or data: remove it, or resume with its own")
        strength = Strength(*header["strength"])
        state = solver.state(arrays["density_coefficients"], strength)
        return Place(state, strength, header["damping"], header["step"], header["settled"], header["arrived"])


def follow(places: Iterator[Place], saved: Saved, tell: Callable[[Place], None]) -> tuple[Place, bool]:
    """Go all the way; after Ctrl-C the last place, and that it was interrupted.

    Raises
    ------
    KeyboardInterrupt
        If there is no place yet.
    """
    last: Place | None = None
    try:
        for place in places:
            last = place
            saved.save(place)
            tell(place)
    except KeyboardInterrupt:
        if last is None:
            raise
        return last, True
    assert last is not None
    return last, False
