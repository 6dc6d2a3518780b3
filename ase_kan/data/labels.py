"""The labels of one structure: whose they are, their shapes, and what only looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic

from ase_kan.types import Array

#: Changes of the atoms after which stored results are those of another structure.
GEOMETRY = ("positions", "numbers", "cell", "pbc")
#: What names of a label have in common.
STEMS = {"energy": "energ", "forces": "forc", "stress": "stress|virial", "virial": "stress|virial"}
#: Largest |A - A^T| of a stress or virial: as a part of its largest component, and what noise may add (eV/A^3, eV).
ASYMMETRY, NOISE = 1e-2, 1e-4
#: Atoms that moved by a cell vector, to this many Angstrom, have not moved.
WRAPPED = 1e-8


def results_of(atoms: Atoms, origin: str, compute: bool, read: bool) -> Mapping[str, Any]:
    """What the calculator knows of these atoms as they are.

    Parameters
    ----------
    atoms : Atoms
    origin : str
        For messages.
    compute : bool
        Run a calculator that has no energy of these atoms; else its results are left alone.
    read : bool
        The atoms come straight from a file: their stored results are theirs.

    Raises
    ------
    ValueError
        If stored results belong to other atoms, or the calculator cannot compute.
    """
    calc = atoms.calc
    if calc is None:
        return {}
    results: Mapping[str, Any] = getattr(calc, "results", {})
    if read:  # nobody has touched them since
        return results
    changes = calc.check_state(atoms) if hasattr(calc, "check_state") else all_changes
    if isinstance(calc, SinglePointCalculator):
        changed = [what for what in GEOMETRY if what in changes]
        wrapped = changed == ["positions"] and calc.atoms is not None and _wrapped(atoms, calc.atoms)
        if changed and not wrapped:
            raise ValueError(
                f"{origin}: its stored results belong to other {' and '.join(changed)}; if they hold for the atoms as "
                "they are, attach them again: atoms.calc = SinglePointCalculator(atoms, **atoms.calc.results)"
            )
        return results
    if not changes and results.get("energy") is not None:
        return results
    if not compute:
        return {} if changes else results
    try:
        own = {"energy": atoms.get_potential_energy()}
        if "forces" in getattr(calc, "implemented_properties", ()):
            own["forces"] = atoms.get_forces(apply_constraint=False)
    except Exception as error:
        raise ValueError(
            f"{origin}: its calculator has no results for it and cannot compute them: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error
    return {**getattr(calc, "results", {}), **own}


def _wrapped(atoms: Atoms, old: Atoms) -> bool:
    """Whether atoms differ by whole cell vectors only."""
    return bool(find_mic(atoms.positions - old.positions, atoms.cell, atoms.pbc)[1].max() < WRAPPED)


def checked_forces(values: Any, n: int, origin: str) -> Array | None:
    """Forces with rows of NaN for atoms without a label; None if no atom has one."""
    forces = checked(values, (n, 3), "forces", origin, finite=False)
    missing = np.isnan(forces).all(axis=1)
    bad = np.flatnonzero(~np.isfinite(forces).all(axis=1) & ~missing)
    if len(bad):
        raise ValueError(f"{origin}: forces is not finite for atom {bad[0]}: repair it, or give NaN for all of x, y, z")
    return None if missing.all() else forces


def symmetric(values: Any, name: str, origin: str) -> Array:
    """A stress or virial as a symmetric 3x3 matrix."""
    array = _numbers(values, name, origin)
    if array.shape == (6,):
        xx, yy, zz, yz, xz, xy = array
        array = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    elif array.shape == (9,):
        array = array.reshape(3, 3)
    array = checked(array, (3, 3), name, origin)
    if np.abs(array - array.T).max() > ASYMMETRY * np.abs(array).max() + NOISE:
        raise ValueError(f"{origin}: {name} is not symmetric: {array.tolist()}")
    return np.asarray((array + array.T) / 2)


def checked(values: Any, shape: tuple[int, ...], name: str, origin: str, finite: bool = True) -> Array:
    """A copy as floats. `ValueError`, which names structure and label, for another shape or what is not finite."""
    array = _numbers(values, name, origin)
    if array.shape != shape:
        raise ValueError(f"{origin}: {name} must have shape {shape}, got {array.shape}")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{origin}: {name} is not finite everywhere: repair or leave out this structure")
    return array


def _numbers(values: Any, name: str, origin: str) -> Array:
    """A copy, since calculators write into the arrays that they hand out."""
    try:
        return np.array(values, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{origin}: {name} is not a number or an array of numbers: {values!r:.60}") from None


def look_alikes(structures: Iterable[Atoms], name: str, key: str | None = None) -> list[str]:
    """Names in structures that could be a label: those that contain its name, and those close to `key`."""
    found: set[str] = set()
    for atoms in structures:
        holders = [("info", atoms.info), ("arrays", atoms.arrays)]
        if key is not None:  # unasked, results are read anyway
            holders.append(("results", getattr(atoms.calc, "results", {})))
        for holder, content in holders:
            names = [str(n) for n in content]
            close = get_close_matches(key, names) if key else []
            found |= {f"{holder} {n!r}" for n in names if re.search(STEMS[name], n, re.IGNORECASE) or n in close}
    return sorted(found)


def first_line(error: Exception) -> str:
    """Of its message."""
    return next(iter(str(error).splitlines()), "")


def listed(names: Sequence[str]) -> str:
    """The end of a message."""
    return f"; it has {', '.join(names)}" if names else ""
