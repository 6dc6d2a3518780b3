"""A first look at all structures of an embedded-atom fit: elements, distances, energies, and what each is for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from ase_kan.data.structures import Sample, Structures
from ase_kan.fit.eam_data import Role
from ase_kan.fit.equations import energy_baseline, pairs_within
from ase_kan.fit.structures import held_out
from ase_kan.types import Pair


@dataclass
class Survey:
    """What `survey` finds.

    Attributes
    ----------
    roles : bytearray
        Of each structure: one of `Role`.
    shortest : dict of pair to float
        Angstrom; pairs within the cutoff only.
    baseline : dict of str to float
        Energies per atom of each element that come closest to the energies, eV.
    unit : float
        Standard deviation of the energies per atom about those, eV.
    squares : dict of str to float
        Weighted mean squares of the labels of training structures about that.
    counts : Counter
        For the report.
    digest : str
        Of the content of all structures and labels.
    """

    roles: bytearray = field(default_factory=bytearray)
    shortest: dict[Pair, float] = field(default_factory=dict)
    baseline: dict[str, float] = field(default_factory=dict)
    unit: float = 1.0
    squares: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("energy", "forces", "virial"), 0.0))
    counts: Counter[str] = field(default_factory=Counter)
    digest: str = ""

    @property
    def elements(self) -> tuple[str, ...]:
        """In alphabetical order."""
        return tuple(sorted(self.baseline))


def survey(structures: Structures, cutoff: float, seed: int, validation: float, given: Mapping[str, float]) -> Survey:
    """Look at every structure once.

    Parameters
    ----------
    structures : Structures
    cutoff : float
    seed, validation
        Which part is held out; one that has the closest pair of its kind so far is trained on.
    given : mapping of str to float
        Energies of lone atoms, eV.

    Raises
    ------
    ValueError
        Unless there are structures to train on, atoms apart from each other, and energies or forces.
    """
    found = Survey()
    hashes: set[bytes] = set()
    everything = hashlib.sha256()
    energies: list[Sample] = []
    for number, sample in enumerate(structures):
        key = _content(sample)
        everything.update(key + _labels(sample))
        twice = key in hashes
        hashes.add(key)
        if twice:
            found.counts["duplicates left out"] += 1
        elif sample.weight == 0:
            found.counts["of weight 0 left out"] += 1
        if twice or sample.weight == 0:
            found.roles.append(Role.LEFT_OUT)
            continue
        near = _shortest(sample, cutoff)
        wants = held_out(number, seed, validation)
        held = bool(wants and near) and all(r >= found.shortest.get(pair, np.inf) for pair, r in near.items())
        for pair, r in near.items():
            found.shortest[pair] = min(found.shortest.get(pair, np.inf), r)
        found.roles.append(Role.HELD if held else Role.TRAINING)
        found.counts["used"] += 1
        found.counts["held out"] += held
        found.counts["without forces"] += sample.forces is None
        found.counts["without energy"] += sample.energy is None
        found.counts["lone atoms"] += len(sample.atoms) == 1
        for note in sample.notes:
            found.counts[note] += 1
        if not held:
            energies.append(_light(sample))
            _add_squares(found.squares, sample)
    if not found.shortest:
        raise ValueError(f"no two atoms of the structures are within the cutoff, {cutoff:g} A")
    found.digest = everything.hexdigest()
    _energies(found, energies, given)
    return found


def _energies(found: Survey, samples: list[Sample], given: Mapping[str, float]) -> None:
    symbols = sorted({symbol for sample in samples for symbol in sample.atoms.symbols})
    found.baseline = dict.fromkeys(symbols, 0.0) | energy_baseline(samples, dict(given))
    residues, weights = [], []
    for sample in samples:
        if sample.energy is not None:
            lone = sum(found.baseline[symbol] for symbol in sample.atoms.symbols)
            residues.append((sample.energy - lone) / len(sample.atoms))
            weights.append(sample.weight_of("energy"))
    found.squares["energy"] = float(np.dot(weights, np.square(residues))) if residues else 0.0
    spread = float(np.std(residues)) if residues else 0.0
    found.unit = spread or 1.0


def _light(sample: Sample) -> Sample:
    """What is needed of it for energies."""
    return Sample(
        Atoms(numbers=sample.atoms.numbers),
        sample.energy,
        None,
        None,
        sample.weight,
        sample.origin,
        property_weights=sample.property_weights,
    )


def _add_squares(squares: dict[str, float], sample: Sample) -> None:
    if sample.forces is not None and sample.labeled.any():
        of_atoms = 1.0 if sample.atom_weights is None else sample.atom_weights[sample.labeled][:, None]
        squares["forces"] += sample.weight_of("forces") * float(np.mean(of_atoms * sample.forces[sample.labeled] ** 2))
    if sample.virial is not None:
        squares["virial"] += sample.weight_of("virial") * float(np.mean((sample.virial / len(sample.atoms)) ** 2))


def _shortest(sample: Sample, cutoff: float) -> dict[Pair, float]:
    """Of the pairs of a structure, by their elements."""
    i, j, _, r = pairs_within(sample, cutoff)
    if len(r) and r.min() == 0:
        raise ValueError(f"{sample.origin}: atoms {i[r.argmin()]} and {j[r.argmin()]} are at the same place")
    species, kinds = np.unique(np.array(sample.atoms.get_chemical_symbols()), return_inverse=True)
    low, high = np.minimum(kinds[i], kinds[j]), np.maximum(kinds[i], kinds[j])
    nearest = np.full(len(species) ** 2, np.inf)
    np.minimum.at(nearest, low * len(species) + high, r)
    seen = np.flatnonzero(np.isfinite(nearest))
    return {(str(species[n // len(species)]), str(species[n % len(species)])): float(nearest[n]) for n in seen}


def _content(sample: Sample) -> bytes:
    atoms = sample.atoms
    content = (atoms.numbers.tobytes(), atoms.positions.tobytes(), atoms.cell.array.tobytes(), atoms.pbc.tobytes())
    return hashlib.blake2b(b"|".join(content), digest_size=16).digest()


def _labels(sample: Sample) -> bytes:
    parts = [np.array([np.nan if sample.energy is None else sample.energy, sample.weight])]
    parts += [part for part in (sample.forces, sample.virial, sample.atom_weights) if part is not None]
    return b"".join(part.tobytes() for part in parts) + repr(sorted(sample.property_weights.items())).encode()
