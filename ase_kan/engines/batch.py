"""Many small systems in one evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from ase_kan.engines.neighbors import half_list
from ase_kan.potentials.protocol import PairPotential, require_pair_potential
from ase_kan.types import VOIGT, Array, Index, Pair, sorted_pair

DTYPES = (torch.float64, torch.float32)
#: Clusters of at most so many atoms need no neighbor list: looking at all of their pairs is faster.
SMALL = 64


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
    potential: PairPotential,
    systems: Sequence[Atoms],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Energies, forces and stresses of many systems at once, as `KANCalculator` with autograd gives them.

    Neighbor lists are made on the CPU in double precision; functions of distances run on `device` in `dtype`.

    Raises
    ------
    TypeError
        For an embedded-atom potential.
    ValueError
        For another dtype, positions that are not finite, atoms at the same place, or unknown elements and pairs.
    """
    require_pair_potential(potential, "evaluate_batch", "KANCalculator for each system")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
    if not len(systems):
        return Batch(np.zeros(0), [], np.zeros((0, 6)))
    counts = np.array([len(atoms) for atoms in systems], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    positions = np.concatenate([atoms.positions for atoms in systems])
    cells = np.stack([atoms.cell.array for atoms in systems])
    if not (np.isfinite(positions).all() and np.isfinite(cells).all()):
        finite = [np.isfinite(a.positions).all() and np.isfinite(a.cell.array).all() for a in systems]
        raise ValueError(f"positions and cells must be finite; those of system {finite.index(False)} are not")
    i, j, vectors = _pairs(systems, positions, cells, offsets, potential.cutoff)
    numbers = np.concatenate([atoms.numbers for atoms in systems])
    model = potential
    if dtype != torch.float64 or torch.device(device).type != "cpu":
        if not hasattr(potential, "to"):
            raise ValueError(f"a {type(potential).__name__} has float64 on the CPU only, got {dtype} on {device}")
        model = potential.to(device, dtype)
    position = torch.from_numpy(vectors).to(device=device, dtype=dtype)
    r = position.norm(dim=1).requires_grad_()
    energy = torch.zeros_like(r)
    for pair, mine in _kinds(potential, numbers, i, j):
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
        a, b = map(list, VOIGT)
        virials = torch.zeros((n_systems, 6), dtype=dtype, device=device)
        virials.index_add_(0, owner, pair_force[:, a] * position[:, b])
    volumes = np.abs(np.linalg.det(cells))
    references = np.zeros(len(chemical_symbols))
    for symbol, reference in potential.reference_energies.items():
        references[atomic_numbers[symbol]] = reference
    lone = np.append(references[numbers], 0.0)
    stresses = np.full((n_systems, 6), np.nan)
    solid = volumes > 0
    stresses[solid] = virials.double().cpu().numpy()[solid] / volumes[solid, None]
    return Batch(
        energies.detach().double().cpu().numpy() + np.add.reduceat(lone, offsets[:-1]) * (counts > 0),
        np.split(forces.double().cpu().numpy(), offsets[1:-1]),
        stresses,
    )


def _pairs(
    systems: Sequence[Atoms], positions: Array, cells: Array, offsets: Index, cutoff: float
) -> tuple[Index, Index, Array]:
    """All pairs within the cutoff: numbers of both atoms among all systems', and vectors between them."""
    every_pair: dict[int, tuple[Index, Index]] = {}
    firsts, seconds, shifts = [], [], []
    for number, (atoms, cell) in enumerate(zip(systems, cells, strict=True)):
        start, stop = offsets[number], offsets[number + 1]
        n = int(stop - start)
        if n > SMALL or atoms.pbc.any():
            i, j, shift = half_list(positions[start:stop], cell, atoms.pbc, cutoff)
        else:
            if n not in every_pair:
                every_pair[n] = np.triu_indices(n, 1)
            i, j = every_pair[n]
            shift = np.zeros((len(i), 3))
        firsts.append(i + start)
        seconds.append(j + start)
        shifts.append(shift)
    i, j = np.concatenate(firsts), np.concatenate(seconds)
    vectors = positions[j] - positions[i] + np.concatenate(shifts)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if not squares.all():
        n = int(squares.argmin())
        system = int(np.searchsorted(offsets, i[n], side="right")) - 1
        raise ValueError(
            f"atoms {i[n] - offsets[system]} and {j[n] - offsets[system]} of system {system} are at the same place"
        )
    near = squares < cutoff**2
    return i[near], j[near], vectors[near]


def _kinds(potential: PairPotential, numbers: Index, i: Index, j: Index) -> list[tuple[Pair | None, Index]]:
    """Each pair of elements, and which pairs of atoms it has."""
    if potential.pairs == (None,):
        return [(None, np.arange(len(i)))]
    present, number = np.unique(numbers, return_inverse=True)
    names = [chemical_symbols[z] for z in present]
    for name in names:
        if name not in potential.elements:
            raise ValueError(f"the potential does not know {name}: it was fitted for {', '.join(potential.elements)}")
    low, high = np.sort([number[i], number[j]], axis=0)
    kind = low * len(names) + high
    return [
        (sorted_pair((names[k // len(names)], names[k % len(names)])), np.flatnonzero(kind == k))
        for k in np.unique(kind)
    ]
