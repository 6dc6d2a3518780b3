"""Errors of a potential by group of structures: bulk, surfaces, liquid, ... as the data name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ase_kan.data.structures import Sample
from ase_kan.engines.batch import evaluate_batch
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import VOIGT, Array

#: Structures evaluated at a time.
BATCH = 32


def group_errors(
    samples: Iterable[Sample], potential: KANPotential, used: Callable[[Sample], bool]
) -> dict[str, dict[str, float | int | None]]:
    """Root-mean-square errors of each group.

    Parameters
    ----------
    samples : iterable of Sample
        With groups.
    potential : KANPotential
    used : callable
        Whether a sample counts.

    Returns
    -------
    dict of str to dict
        By group: ``"structures"``, their number, and the errors of ``"energy"`` (eV per atom), ``"forces"``
        (eV/Angstrom, components of all labelled atoms) and ``"virial"`` (eV per atom, components); None where nothing
        is known.
    """
    squares: dict[str, dict[str, list[Array]]] = {}
    numbers: dict[str, int] = {}
    batch: list[Sample] = []
    for sample in samples:
        if used(sample):
            batch.append(sample)
        if len(batch) == BATCH:
            _add(batch, potential, squares, numbers)
            batch = []
    _add(batch, potential, squares, numbers)
    found: dict[str, dict[str, float | int | None]] = {}
    for group in sorted(numbers):
        found[group] = {"structures": numbers[group]}
        for name, sums in squares[group].items():
            total, count = np.sum(sums, axis=0) if sums else (0.0, 0)
            found[group][name] = float(np.sqrt(total / count)) if count else None
    return found


def group_lines(groups: Mapping[str, Mapping[str, float | int | None]]) -> list[str]:
    """A table for the report."""
    wide = max([len("group"), *map(len, groups)])
    names = ("energy", "forces", "virial")
    heads = " ".join(f"{name:>11s}" for name in names)
    lines = [f"{'group':{wide}s} {'structures':>10s} {heads}   RMSE, held-out structures included"]
    for group, found in groups.items():
        shown = " ".join(f"{'-':>11s}" if found[name] is None else f"{found[name]:11.3e}" for name in names)
        lines.append(f"{group:{wide}s} {found['structures']:10d} {shown}")
    return lines


def _add(
    batch: list[Sample], potential: KANPotential, squares: dict[str, dict[str, list[Array]]], numbers: dict[str, int]
) -> None:
    """Squared errors and their number, of each structure."""
    result = evaluate_batch(potential, [sample.atoms for sample in batch])
    for sample, energy, forces, stress in zip(batch, result.energies, result.forces, result.stresses, strict=True):
        group, n = sample.group or "no group", len(sample.atoms)
        numbers[group] = numbers.get(group, 0) + 1
        sums = squares.setdefault(group, {"energy": [], "forces": [], "virial": []})
        if sample.energy is not None:
            sums["energy"].append(np.array([((energy - sample.energy) / n) ** 2, 1]))
        if sample.forces is not None:
            error = (forces - sample.forces)[sample.labeled]
            sums["forces"].append(np.array([np.sum(error**2), error.size]))
        if sample.virial is not None and sample.atoms.cell.rank == 3:
            six = sample.virial[VOIGT]
            error = (-stress * sample.atoms.get_volume() - six) / n
            sums["virial"].append(np.array([np.sum(error**2), 6]))
