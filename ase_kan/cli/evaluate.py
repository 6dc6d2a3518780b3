"""``ase-kan evaluate``: the errors of a potential on structures that it has not seen."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ase_kan.cli.arguments import add_labels, labels_of
from ase_kan.types import Array

if TYPE_CHECKING:
    from ase_kan.data.structures import Structures


def add(commands: Any) -> None:
    """The command and its arguments."""
    evaluate = commands.add_parser("evaluate", help="errors of a potential on structures with energies and forces")
    evaluate.add_argument("potential", type=Path)
    evaluate.add_argument("data", type=Path, help="structures that ASE reads")
    add_labels(evaluate)
    evaluate.set_defaults(command=run)


class Errors(NamedTuple):
    """Of some structures, one by one.

    Attributes
    ----------
    energy : list of float
        eV per atom.
    forces : list of ndarray
        eV/Angstrom, of the components with labels.
    structures : int
    """

    energy: list[float]
    forces: list[Array]
    structures: int

    def shown(self) -> str:
        """Root-mean-square errors."""
        force = np.concatenate([np.empty(0), *self.forces])
        energies = f"{1e3 * _rms(np.array(self.energy)):11.4g}" if self.energy else f"{'-':>11s}"
        forces = f"{1e3 * _rms(force):11.4g}" if force.size else f"{'-':>11s}"
        return f"{self.structures:10d} {energies} {forces}"


def run(args: argparse.Namespace) -> None:
    """``ase-kan evaluate``."""
    from ase_kan.data.structures import Structures

    keys = labels_of(args)
    groups, outside = errors_by_group(args.potential, Structures.read(args.data, **keys))
    if not groups:
        raise ValueError(f"{args.data} has no structures")
    print("\n".join(table(groups)))
    if outside:
        print(f"{outside} structures have atoms outside the data of the potential")


def errors_by_group(potential: Any, structures: Structures) -> tuple[dict[str, Errors], int]:
    """Errors of a potential (or its file) on structures, and how many have atoms outside its data."""
    from ase_kan.calculator import KANCalculator

    calculator = KANCalculator(potential, on_extrapolation="ignore")
    groups: dict[str, Errors] = {}
    outside = 0
    for sample in structures:
        atoms = sample.atoms.copy()
        group = groups.get(sample.group or "all", Errors([], [], 0))
        energy, forces = calculator.get_potential_energy(atoms), calculator.get_forces(atoms)
        outside += bool(calculator.extrapolation and calculator.extrapolation.outside)
        if sample.energy is not None and len(atoms):
            group.energy.append((energy - sample.energy) / len(atoms))
        if sample.forces is not None:
            group.forces.append((forces - sample.forces)[sample.labeled].ravel())
        groups[sample.group or "all"] = group._replace(structures=group.structures + 1)
    return groups, outside


def table(groups: Mapping[str, Errors]) -> list[str]:
    """Lines: each group and, if there are several, all of them."""
    width = max(map(len, [*groups, "group"]))
    lines = [
        f"{'group':{width}s} structures energy RMSE  force RMSE",
        f"{'':{width}s}              meV/atom       meV/A",
    ]
    lines += [f"{name:{width}s} {groups[name].shown()}" for name in sorted(groups)]
    if len(groups) > 1:
        found = list(groups.values())
        total = Errors(
            [e for errors in found for e in errors.energy],
            [f for errors in found for f in errors.forces],
            sum(errors.structures for errors in found),
        )
        lines.append(f"{'all':{width}s} {total.shown()}")
    return lines


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
