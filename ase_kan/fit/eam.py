"""Fit an embedded-atom potential to energies, forces and stresses of structures.

The functions phi, f and F are B-splines (module `eam_form`). phi and F are solved for exactly at every f, and f is
found by Levenberg-Marquardt (module `eam_solver`); their smoothness is chosen by its evidence (module `eam_penalty`).
A pair potential fitted to the same data with the same weights is what the embedding is compared with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from ase_kan.data.structures import Structures
from ase_kan.fit.eam_data import Chunks
from ase_kan.fit.eam_descent import STEPS, Place, Saved, descend, follow
from ase_kan.fit.eam_form import Form
from ase_kan.fit.eam_report import EAMFitResult, result_of
from ase_kan.fit.eam_solver import Solver
from ase_kan.fit.eam_survey import Survey, survey
from ase_kan.fit.equations import PROPERTIES
from ase_kan.fit.noise import checked_references, checked_weights
from ase_kan.fit.result import training_bar
from ase_kan.fit.structures import fit_structures
from ase_kan.potentials.eam_schema import DENSITIES, HIGHEST_DEGREE, MOST_CELLS, MOST_CHANNELS

#: Weights of squared errors of energies per atom, force components and virials per atom, unless others are given.
WEIGHTS = {"energy": 900.0, "forces": 1.0, "virial": 0.0}
#: Widest cell of phi and f, Angstrom, and cells of F, unless others are asked for.
CELL, EMBEDDING_CELLS = 0.2, 6


def fit_eam(
    structures: Structures,
    *,
    cutoff: float,
    channels: int = 1,
    densities: str = "alloy",
    grid: int | None = None,
    embedding_grid: int = EMBEDDING_CELLS,
    k: int = 5,
    seed: int = 0,
    validation: float = 0.1,
    weights: Sequence[float] | Mapping[str, float] | None = None,
    reference_energies: Mapping[str, float] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> EAMFitResult:
    """Fit to structures, whose memory does not grow with their number beyond what is kept to be fast.

    Parameters
    ----------
    structures : Structures
    cutoff : float
        Angstrom, of all functions. Data from another embedded-atom potential need the cutoff of that one.
    channels : int
        Densities per atom, fitted one after another. Only potentials with one can be written for LAMMPS.
    densities : str
        ``"alloy"``: what an atom adds to the density of another depends on its own element; ``"finnis-sinclair"``: on
        both. Of one element they are the same.
    grid : int, optional
        Cells of phi and f from the shortest distance to the cutoff: default 0.2 Angstrom or less each.
    embedding_grid : int
        Cells of F over the densities of the data.
    k : int
        Degree of all functions, 3 to 9.
    seed : int
        For the choice of structures that are held out.
    validation : float
        Part of the structures held out, 0 to 0.5, as for pair potentials.
    weights : (float, float, float) or mapping of str to float, optional
        Of the mean squared errors of energy per atom (eV), force components (eV/Angstrom), virial per atom (eV); or
        some of them by name. Default 900, 1 and 0: 1 meV per atom counts as much as 0.03 eV/Angstrom.
    reference_energies : mapping of str to float, optional
        Energies of lone atoms, eV: there F = 0 where there are no neighbors. Those of other elements are not
        determined by condensed matter.
    checkpoint : path, optional
        File that every step is written to, atomically.
    resume : bool
        Go on from the checkpoint, if there is one: with the same structures.
    progress : bool
        Show progress bars on stderr.

    Returns
    -------
    EAMFitResult
        With the pair potential as ``pair``. After Ctrl-C what the last step gave; the report says so.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C before the first step.
    ValueError
        For bad data (file and number of the structure are named), arguments that make no sense, a cutoff that reaches
        no pair, a checkpoint of other settings or data.
    """
    _check(cutoff, channels, densities, grid, embedding_grid, k)
    given = checked_references(reference_energies)
    if not 0 <= validation <= 0.5:
        raise ValueError(f"validation must be a part of the structures from 0 to 0.5, got {validation}")
    if resume and checkpoint is None:
        raise ValueError("resume needs the checkpoint file to go on from")
    wanted = checked_weights(WEIGHTS if weights is None else weights, PROPERTIES)
    wanted = {name: wanted.get(name, WEIGHTS[name]) for name in PROPERTIES}
    # The structures are checked here, too: what is wrong with them is told before the long way down.
    pair = fit_structures(
        structures,
        cutoff=cutoff,
        seed=seed,
        validation=validation,
        weights=wanted,
        reference_energies=given,
        progress=progress,
    )
    if pair.potential.info["interrupted"]:  # nothing is known of densities yet
        raise KeyboardInterrupt
    seen = survey(structures, cutoff, seed, validation, given)
    form = _form(seen, cutoff, channels, densities, grid, embedding_grid, k, given)
    chunks = Chunks(structures, bytes(seen.roles), form, seen.baseline, _scaled(wanted, seen))
    solver = Solver(chunks, seen.unit)
    settings = {"form": repr(form), "data": seen.digest, "weights": wanted, "roles": bytes(seen.roles).hex()}
    saved = Saved(checkpoint, settings)
    with training_bar(progress, STEPS * channels, "(relative to lone atoms)") as report:

        def tell(place: Place) -> None:
            if report:
                report((len(place.state.c) - 1) * STEPS + place.step, float(np.sqrt(place.state.cost)))

        place, interrupted = follow(descend(solver, form, saved.load(solver) if resume else None), saved, tell)
    return result_of(chunks, seen, place, pair, wanted, interrupted)


def _check(
    cutoff: float,
    channels: int,
    densities: str,
    grid: int | None,
    embedding_grid: int,
    k: int,
) -> None:
    if isinstance(cutoff, bool) or not isinstance(cutoff, int | float) or not 0 < cutoff < np.inf:
        raise ValueError(f"the cutoff of an embedded-atom potential is one distance in Angstrom, got {cutoff!r}")
    if densities not in DENSITIES:
        raise ValueError(f"densities must be one of {', '.join(map(repr, DENSITIES))}, got {densities!r}")
    numbers = {
        "channels": (channels, 1, MOST_CHANNELS),
        "grid": (grid, 4, MOST_CELLS),
        "embedding_grid": (embedding_grid, 1, MOST_CELLS),
        "k": (k, 3, HIGHEST_DEGREE),
    }
    for name, (value, low, high) in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
            raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def _form(
    seen: Survey,
    cutoff: float,
    channels: int,
    densities: str,
    grid: int | None,
    embedding_grid: int,
    k: int,
    given: Mapping[str, float],
) -> Form:
    start = min(seen.shortest.values())
    cells = max(k + 1, int(np.ceil((cutoff - start) / CELL))) if grid is None else grid
    pinned = tuple(symbol in given for symbol in seen.elements)
    return Form(seen.elements, densities, channels, start, float(cutoff), cells, embedding_grid, k, pinned)


def _scaled(weights: Mapping[str, float], seen: Survey) -> dict[str, float]:
    """Of one structure, so that the loss of lone atoms is 1; properties without weight or data are left out."""
    total = sum(weights[name] * seen.squares[name] for name in PROPERTIES)
    if not total:
        raise ValueError("the structures have no energies, forces or stresses that are not zero and have a weight")
    return {name: weights[name] / total for name in PROPERTIES if weights[name] and seen.squares[name]}
