"""Training data of many atoms: structures with energies, forces and stresses or virials, read as a stream."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from ase_kan.data.labels import checked, checked_forces, first_line, listed, look_alikes, results_of, symmetric
from ase_kan.types import Array

#: What may have weights of its own.
WEIGHTED = ("energy", "forces", "virial")


@dataclass(frozen=True)
class Sample:
    """One structure with what is known of it.

    Attributes
    ----------
    atoms : Atoms
    energy : float or None
        eV.
    forces : ndarray of shape (n, 3) or None
        eV/Angstrom; rows of NaN for atoms without a label.
    virial : ndarray of shape (3, 3) or None
        -stress * volume, eV.
    weight : float
    origin : str
        File and index, for messages.
    notes : tuple of str
        What a report should count.
    group : str or None
        Its kind, for the report.
    property_weights : mapping of str to float
        Of its energy, forces and virial beside `weight`; 1 where left out.
    atom_weights : ndarray of shape (n,) or None
        Of the forces of its atoms beside that.
    """

    atoms: Atoms
    energy: float | None
    forces: Array | None
    virial: Array | None
    weight: float
    origin: str
    notes: tuple[str, ...] = ()
    group: str | None = None
    property_weights: Mapping[str, float] = field(default_factory=dict)
    atom_weights: Array | None = None

    def weight_of(self, name: str) -> float:
        """Of a property of this structure."""
        return self.weight * self.property_weights.get(name, 1.0)

    def labelled(self) -> Atoms:
        """A copy of the atoms that carries its energy and forces as results."""
        atoms: Atoms = self.atoms.copy()
        forces = None if self.forces is None or not self.labeled.all() else self.forces
        atoms.calc = SinglePointCalculator(atoms, energy=self.energy, forces=forces)
        return atoms

    @property
    def labeled(self) -> NDArray[np.bool_]:
        """Mask (n,) of the atoms whose force is known."""
        if self.forces is None:
            return np.zeros(len(self.atoms), dtype=bool)
        return np.asarray(np.isfinite(self.forces).all(axis=1))


class Structures:
    """Structures with energies, and where known forces and stresses or virials.

    Parameters
    ----------
    images : sequence of Atoms
        Energies, forces and stresses come from their calculators or from the keys below. Stored results
        (`SinglePointCalculator`, as `ase.io.read` leaves them) are taken if they belong to the atoms as they are;
        any other calculator that has not run for these atoms is run: energy, and forces if it has them.
        Where there is no "energy" but a "free_energy", that is taken and counted.
    energy_key, stress_key, virial_key : str, optional
        Name in ``atoms.info``, or else in the calculator's results, instead (say "free_energy"). Stresses in
        eV/Angstrom^3, positive when the cell wants to shrink; virials in eV, virial = -stress * volume. Either is
        3x3 or in Voigt order (xx, yy, zz, yz, xz, xy). A virial needs no cell; a stress without one is ignored and
        counted.
    forces_key : str, optional
        Name in ``atoms.arrays``, or else in the calculator's results, instead. NaN for all three components:
        an atom without a label.
    weight_key : str
        Key in ``atoms.info`` of a structure's weight (default 1); structures of weight 0 are left out.
    property_weight_keys : mapping of str to str, optional
        Names of further weights of ``"energy"``, ``"forces"`` and ``"virial"`` in ``atoms.info``; that of forces may
        be in ``atoms.arrays`` instead, a number for each atom. 1 where a structure has none, 0 leaves the label out.
    group_key : str, optional
        Key in ``atoms.info`` of what kind of structure it is: the report has the errors of each.
    energies : sequence of float, optional
        Energies in the order of the structures, for files that hold none (a LAMMPS dump, say).

    Raises
    ------
    ValueError
        While reading: for a value that is not finite, a wrong shape, a structure without any energy or force,
        results that belong to other atoms, an `energy_key` that a structure lacks, or `energies` of another number;
        the message names the file and the index of the structure.
    """

    def __init__(
        self,
        images: Sequence[Atoms],
        *,
        energy_key: str | None = None,
        forces_key: str | None = None,
        stress_key: str | None = None,
        virial_key: str | None = None,
        weight_key: str = "weight",
        property_weight_keys: Mapping[str, str] | None = None,
        group_key: str | None = None,
        energies: Sequence[float] | None = None,
    ) -> None:
        if isinstance(images, Atoms):
            raise TypeError("give a list of structures, not one: Structures([atoms])")
        if isinstance(images, str | os.PathLike):
            raise TypeError(f"Structures takes Atoms; those of a file are Structures.read({os.fspath(images)!r})")
        if energies is not None and energy_key is not None:
            raise ValueError("give either energies or energy_key, not both")
        if stress_key is not None and virial_key is not None:
            raise ValueError("give either stress_key or virial_key, not both")
        self._images: Sequence[Atoms] | None = images
        self._path: Path | None = None
        self._index = ":"
        self._format: str | None = None
        self._energies = energies
        self.keys = {"energy": energy_key, "forces": forces_key, "stress": stress_key, "virial": virial_key}
        self._weight_key = weight_key
        if unknown := set(property_weight_keys or {}) - set(WEIGHTED):
            raise ValueError(f"property_weight_keys are for {', '.join(WEIGHTED)}, got {', '.join(sorted(unknown))}")
        self._property_weight_keys = dict(property_weight_keys or {})
        self.group_key = group_key

    def __repr__(self) -> str:
        where = f"{len(self._images)} in memory" if self._images is not None else f"{self._path}, index {self._index!r}"
        keys = "".join(f", {name}_key={key!r}" for name, key in self.keys.items() if key is not None)
        return f"Structures({where}{keys})"

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

    @property
    def name(self) -> str:
        """The file, or "the list"."""
        return "the list" if self._path is None else str(self._path)

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
        number = -1
        self._met: set[str] = set()
        for number, atoms in enumerate(self._atoms()):
            self._met |= {key for key in self._asked().values() if key in atoms.info or key in atoms.arrays}
            place = f"structure {number}" if self._path is None else f"{self._path}, structure {number}"
            yield self._sample(number, atoms, place)
        for what, key in self._asked().items():
            if number >= 0 and key not in self._met:
                raise ValueError(f"no structure has the {what} named {key!r}")
        if self._energies is not None and len(self._energies) > number + 1:
            raise ValueError(f"{len(self._energies)} energies were given for {number + 1} structures")

    def _asked(self) -> dict[str, str]:
        """What at least one structure must have, and its key."""
        weights = {f"weight of {name}": key for name, key in self._property_weight_keys.items()}
        return weights | ({} if self.group_key is None else {"group": self.group_key})

    def unread(self, samples: Sequence[Sample], known: Collection[str]) -> list[tuple[str, str | None, str]]:
        """What should have been read and is not among the `known` of "energy", "forces" and "virial".

        Returns
        -------
        list of (str, str or None, str)
            Name of the label, the key that was given for it, and the names in the samples that look like it.
        """
        found = []
        for name, key in self.keys.items():
            twin = name == "virial" or (name == "stress" and self.keys["virial"] is not None)
            if ("virial" if name == "stress" else name) in known or (key is None and twin):
                continue
            found.append((name, key, ", ".join(look_alikes([sample.atoms for sample in samples], name, key))))
        return found

    def _atoms(self) -> Iterator[Atoms]:
        if self._images is not None:
            yield from self._images
            return
        assert self._path is not None
        from ase.io import iread
        from ase.io.formats import UnknownFileTypeError

        number = 0
        reader = iter(iread(self._path, index=self._index, format=self._format))
        while True:
            try:
                atoms = next(reader)
            except StopIteration:
                return
            except Exception as error:  # ASE's readers raise whatever their parsing meets, OSErrors of their own too
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                told = f"{type(error).__name__}: {first_line(error)}"
                if isinstance(error, UnknownFileTypeError):
                    told += " is no ending it knows: name the file .extxyz, .traj, ..., or .csv for columns"
                raise ValueError(f"{self._path}, structure {number}: ASE cannot read it: {told}") from error
            yield atoms
            number += 1

    def _sample(self, number: int, atoms: Atoms, origin: str) -> Sample:
        n = len(atoms)
        if n == 0:
            raise ValueError(f"{origin} has no atoms: leave it out")
        checked(atoms.positions, (n, 3), "positions", origin)
        checked(atoms.cell.array, (3, 3), "cell", origin)
        labels, notes = self._labels(number, atoms, origin)
        energy = None if labels["energy"] is None else float(checked(labels["energy"], (), "energy", origin))
        forces = None if labels["forces"] is None else checked_forces(labels["forces"], n, origin)
        if energy is None and forces is None:
            raise ValueError(
                f"{origin} has neither energy nor forces: name their keys, or leave it out"
                f"{listed(look_alikes([atoms], 'energy') + look_alikes([atoms], 'forces'))}"
            )
        virial = None if labels["virial"] is None else symmetric(labels["virial"], "virial", origin)
        if labels["stress"] is not None:
            stress = symmetric(labels["stress"], "stress", origin)
            if atoms.cell.rank == 3:
                virial = -stress * atoms.get_volume()
            else:
                notes.append("with a stress but no cell (ignored)")
        weight = float(checked(atoms.info.get(self._weight_key, 1.0), (), "weight", origin))
        if weight < 0:
            raise ValueError(f"{origin} has the negative weight {weight:g}")
        weights, of_atoms = self._property_weights(atoms, origin)
        if forces is not None and of_atoms is not None:
            forces[of_atoms == 0] = np.nan
        if weights.get("forces") == 0 or not np.isfinite(forces if forces is not None else np.nan).any():
            forces = None
        return Sample(
            atoms,
            energy if weights.get("energy") != 0 else None,
            forces,
            virial if weights.get("virial") != 0 else None,
            weight,
            origin,
            tuple(notes),
            None if self.group_key is None else str(atoms.info.get(self.group_key, "no group")),
            weights,
            None if forces is None else of_atoms,
        )

    def _property_weights(self, atoms: Atoms, origin: str) -> tuple[dict[str, float], Array | None]:
        """Of the properties, and of the forces of the atoms."""
        weights: dict[str, float] = {}
        of_atoms = None
        for name, key in self._property_weight_keys.items():
            if name == "forces" and key in atoms.arrays:
                of_atoms = checked(atoms.arrays[key], (len(atoms),), f"the weight {key!r}", origin)
            else:
                weights[name] = float(checked(atoms.info.get(key, 1.0), (), f"the weight {key!r}", origin))
        if min([0.0, *weights.values(), *([] if of_atoms is None else of_atoms)]) < 0:
            raise ValueError(f"{origin} has a negative weight of {', '.join(self._property_weight_keys)}")
        return weights, of_atoms

    def _labels(self, number: int, atoms: Atoms, origin: str) -> tuple[dict[str, Any], list[str]]:
        """Labels as they were given, None where unknown, and what to count of them."""
        compute = self._energies is None and self.keys["energy"] is None
        results = results_of(atoms, origin, compute, read=self._path is not None)
        found: dict[str, Any] = {name: results.get(name) for name in ("energy", "forces", "stress")}
        for name, key in self.keys.items():
            if key is not None:
                found[name] = (atoms.arrays if name == "forces" else atoms.info).get(key, results.get(key))
        notes = []
        if self._energies is not None:
            if number >= len(self._energies):
                raise ValueError(f"{origin} is one more than the {len(self._energies)} energies given")
            found["energy"] = self._energies[number]
        elif (key := self.keys["energy"]) is not None:
            if found["energy"] is None:
                known = ", ".join(sorted({*atoms.info, *results})) or "none"
                raise ValueError(f"{origin} has no info key {key!r} for its energy; it has: {known}")
        elif found["energy"] is None and results.get("free_energy") is not None:
            found["energy"] = results["free_energy"]
            notes.append("with a free energy as the energy")
        elif self._path is not None and np.array_equal(found["energy"], 0) and np.any(found["forces"]):
            # ASE's reader of LAMMPS dumps gives this energy to every frame with forces.
            found["energy"] = None
            notes.append("with an energy of exactly 0 beside forces (taken as missing)")
        if self.keys["virial"] is not None:
            found["stress"] = None
        return {"virial": None, **found}, notes
