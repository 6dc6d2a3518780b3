"""Many small systems in one evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from ase_kan.features import Array
from ase_kan.neighbors import Index, half_list
from ase_kan.potential import KANPotential, Pair, sorted_pair

DTYPES = (torch.float64, torch.float32)


@dataclass(frozen=True)
class Batch:
    """Results of many systems.

    Attributes
    ----------
    energies : ndarray, shape (systems,)
        eV.
    forces : list of ndarray, shape (atoms, 3) each
        eV/Angstrom.
    stresses : ndarray, shape (systems, 6)
        eV/Angstrom^3, Voigt order; NaN for a system without volume.
    """

    energies: Array
    forces: list[Array]
    stresses: Array


def evaluate_batch(
    potential: KANPotential,
    systems: Sequence[Atoms],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Energies, forces and stresses of many systems at once, as `KANCalculator` with autograd gives them.

    Neighbor lists are made on the CPU in double precision; functions of distances run on `device` in `dtype`.

    Raises
    ------
    ValueError
        For another dtype, positions that are not finite, atoms at the same place, or unknown elements and pairs.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
    counts = np.array([len(atoms) for atoms in systems], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    i, j, vectors = _pairs(systems, offsets, potential.cutoff)
    symbols = np.array([s for atoms in systems for s in atoms.get_chemical_symbols()], dtype=str)
    model = deepcopy(potential).to(device=device, dtype=dtype)
    position = torch.from_numpy(vectors).to(device=device, dtype=dtype)
    r = position.norm(dim=1).requires_grad_()
    energy = torch.zeros_like(r)
    for pair, mine in _kinds(potential, symbols, i, j):
        where = torch.from_numpy(mine).to(device)
        energy = energy.index_put((where,), model(r[where], pair))
    slope = torch.autograd.grad(energy.sum(), r)[0] if len(r) else torch.zeros_like(r)
    with torch.no_grad():
        n_atoms, n_systems = int(offsets[-1]), len(systems)
        first, second = (torch.from_numpy(index).to(device) for index in (i, j))
        owner = torch.from_numpy(np.repeat(np.arange(n_systems), counts)).to(device)[first]
        pair_force = (slope / r)[:, None] * position
        forces = torch.zeros((n_atoms, 3), dtype=dtype, device=device)
        forces.index_add_(0, first, pair_force).index_add_(0, second, -pair_force)
        energies = torch.zeros(n_systems, dtype=dtype, device=device).index_add_(0, owner, energy)
        a, b = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
        virials = torch.zeros((n_systems, 6), dtype=dtype, device=device)
        virials.index_add_(0, owner, pair_force[:, a] * position[:, b])
    volumes = np.array([abs(np.linalg.det(atoms.cell.array)) for atoms in systems])
    references = potential.reference_energies
    lone = np.array([references.get(str(s), 0.0) for s in symbols]) if references else np.zeros(n_atoms)
    stresses = np.full((n_systems, 6), np.nan)
    solid = volumes > 0
    stresses[solid] = virials.double().cpu().numpy()[solid] / volumes[solid, None]
    per_system = np.add.reduceat(np.append(lone, 0.0), offsets[:-1]) * (counts > 0) if n_systems else np.zeros(0)
    return Batch(
        energies.detach().double().cpu().numpy() + per_system,
        np.split(forces.double().cpu().numpy(), offsets[1:-1]) if n_systems else [],
        stresses,
    )


def _pairs(systems: Sequence[Atoms], offsets: Index, cutoff: float) -> tuple[Index, Index, Array]:
    """All pairs within the cutoff: numbers of both atoms among all systems', and vectors between them."""
    found: list[tuple[Index, Index, Array]] = []
    for atoms, offset in zip(systems, offsets, strict=False):
        positions = atoms.positions
        if not (np.isfinite(positions).all() and np.isfinite(atoms.cell.array).all()):
            raise ValueError(f"positions and cells must be finite; those of system {len(found)} are not")
        i: Index
        j: Index
        if atoms.pbc.any() or len(atoms) > 64:
            i, j, shifts = half_list(positions, atoms.cell.array, atoms.pbc, cutoff)
            vectors = positions[j] - positions[i] + shifts
        else:
            i, j = np.triu_indices(len(atoms), 1)
            vectors = positions[j] - positions[i]
        found.append((i + offset, j + offset, vectors))
    i, j = (np.concatenate([np.empty(0, dtype=np.int64), *(f[k] for f in found)]) for k in (0, 1))
    vectors = np.concatenate([np.empty((0, 3)), *(f[2] for f in found)])
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if not squares.all():
        n = int(squares.argmin())
        system = int(np.searchsorted(offsets, i[n], side="right")) - 1
        raise ValueError(
            f"atoms {i[n] - offsets[system]} and {j[n] - offsets[system]} of system {system} are at the same place"
        )
    near = squares < cutoff**2
    return i[near], j[near], vectors[near]


def _kinds(potential: KANPotential, symbols: Array, i: Index, j: Index) -> list[tuple[Pair | None, Index]]:
    """Each pair of elements, and which pairs of atoms it has."""
    if potential.pairs == (None,):
        return [(None, np.arange(len(i)))]
    names, number = np.unique(symbols, return_inverse=True)
    for name in names:
        if name not in potential.elements:
            raise ValueError(f"the potential does not know {name}: it was fitted for {', '.join(potential.elements)}")
    low, high = np.sort([number[i], number[j]], axis=0)
    kind = low * len(names) + high
    return [
        (sorted_pair((str(names[k // len(names)]), str(names[k % len(names)]))), np.flatnonzero(kind == k))
        for k in np.unique(kind)
    ]
