"""Training data of many atoms: structures with energies, forces and stresses, read as a stream."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One structure with what is known of it. Units eV, Angstrom; stress as a 3x3 matrix in eV/A^3."""

    atoms: Atoms
    energy: float | None
    forces: Array | None
    stress: Array | None
    weight: float
    origin: str


class Structures:
    """Structures with energies, and where known forces and stresses.

    Parameters
    ----------
    images : sequence of Atoms
        Energies, forces and stresses come from their calculators (as `ase.io.read` leaves them), or from the
        keys below.
    energy_key, stress_key : str, optional
        Key in ``atoms.info`` instead.
    forces_key : str, optional
        Key in ``atoms.arrays`` instead.
    weight_key : str
        Key in ``atoms.info`` of a structure's weight (default 1).
    energies : sequence of float, optional
        Energies in the order of the structures, for files that hold none (a LAMMPS dump, say).

    Raises
    ------
    ValueError
        While reading: for a value that is not finite, a wrong shape, a structure without any energy or force,
        or an `energy_key` that a structure lacks; the message names the file and the index of the structure.
    """

    def __init__(
        self,
        images: Sequence[Atoms],
        *,
        energy_key: str | None = None,
        forces_key: str | None = None,
        stress_key: str | None = None,
        weight_key: str = "weight",
        energies: Sequence[float] | None = None,
    ) -> None:
        if energies is not None and energy_key is not None:
            raise ValueError("give either energies or energy_key, not both")
        self._images: Sequence[Atoms] | None = images
        self._path: Path | None = None
        self._index = ":"
        self._format: str | None = None
        self._energies = energies
        self._keys = (energy_key, forces_key, stress_key)
        self._weight_key = weight_key

    @classmethod
    def read(cls, path: str | os.PathLike[str], index: str = ":", format: str | None = None, **keys: Any) -> Structures:
        """Structures of a file that `ase.io.iread` opens (extxyz, traj, db, ...), read anew on every pass.

        Parameters
        ----------
        path : path
        index : str
            Which of them, as ASE writes it: ``":"``, ``"::10"``, ...
        format : str, optional
            ASE's name of the file format; default: as ASE guesses.
        **keys
            As for `Structures`.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"no file of structures at {path}")
        structures = cls([], **keys)
        structures._images, structures._path, structures._index, structures._format = None, Path(path), index, format
        return structures

    def count(self) -> int | None:
        """Number of structures, where that is cheap to know: lists, and whole xyz files."""
        if self._images is not None:
            return len(self._images)
        assert self._path is not None
        if self._index != ":" or self._path.suffix not in (".xyz", ".extxyz"):
            return None
        number = 0
        with open(self._path) as file:
            while (line := file.readline().strip()).isdigit():
                for _ in range(int(line) + 1):
                    file.readline()
                number += 1
        return number

    def __iter__(self) -> Iterator[Sample]:
        if self._images is not None:
            for number, atoms in enumerate(self._images):
                yield self._sample(number, atoms, f"structure {number}")
            return
        assert self._path is not None
        for number, atoms in enumerate(_frames(self._path, self._index, self._format)):
            yield self._sample(number, atoms, f"{self._path}, structure {number}")

    def _sample(self, number: int, atoms: Atoms, origin: str) -> Sample:
        energy_key, forces_key, stress_key = self._keys
        if energy_key is not None and energy_key not in atoms.info:
            known = ", ".join(sorted(atoms.info)) or "none"
            raise ValueError(f"{origin} has no info key {energy_key!r} for its energy; it has: {known}")
        results = atoms.calc.results if atoms.calc is not None else {}
        energy = atoms.info[energy_key] if energy_key else results.get("energy")
        if self._energies is not None:
            if number >= len(self._energies):
                raise ValueError(f"{origin} is one more than the {len(self._energies)} energies given")
            energy = self._energies[number]
        forces = atoms.arrays.get(forces_key) if forces_key else results.get("forces")
        stress = atoms.info.get(stress_key) if stress_key else results.get("stress")
        if energy is None and forces is None:
            raise ValueError(f"{origin} has neither energy nor forces: name their keys, or leave it out")
        n = len(atoms)
        energy = None if energy is None else float(_checked(energy, (), "energy", origin))
        forces = None if forces is None else _checked(forces, (n, 3), "forces", origin)
        if stress is not None:
            stress = np.asarray(stress, dtype=float)
            if stress.shape == (6,):
                xx, yy, zz, yz, xz, xy = stress
                stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            stress = _checked(stress, (3, 3), "stress", origin)
        _checked(atoms.positions, (n, 3), "positions", origin)
        weight = float(_checked(atoms.info.get(self._weight_key, 1.0), (), "weight", origin))
        if weight < 0:
            raise ValueError(f"{origin} has the negative weight {weight:g}")
        return Sample(atoms, energy, forces, stress, weight, origin)


def _frames(path: Path, index: str, format: str | None) -> Iterator[Atoms]:
    """`ase.io.iread`, whose many kinds of errors (one for each format) become one that names the structure."""
    from ase.io import iread

    number = 0
    try:
        for atoms in iread(path, index=index, format=format):
            yield atoms
            number += 1
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}, structure {number}, cannot be read by ASE: {why}") from error


def _checked(values: Any, shape: tuple[int, ...], name: str, origin: str) -> Array:
    array = np.asarray(values, dtype=float)
    if array.shape != shape:
        raise ValueError(f"{origin}: {name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{origin}: {name} is not finite everywhere: repair or leave out this structure")
    return array
