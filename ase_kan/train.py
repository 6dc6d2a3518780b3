"""``ase-kan fit``: from a data file to a potential, a report and figures."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ase_kan.calculator import KANCalculator
from ase_kan.data import PairCurve
from ase_kan.fitting import fit
from ase_kan.plot import plot_fit, plot_pairs, plot_parity, save
from ase_kan.potential import KANPotential
from ase_kan.structures import Structures

#: Structures in the parity figure.
PARITY_STRUCTURES = 200


def curve(data: Path, output: Path, keywords: dict[str, Any]) -> list[Path]:
    """Fit a curve file; returns the files written."""
    points = PairCurve.read(data, keywords.pop("elements", None))
    result = fit(points, progress=True, **keywords)
    print(result)
    result.potential.save(output)
    figure = output.with_name(f"{output.stem}-fit.png")
    save(plot_fit(result.potential, points), figure)
    return [output, figure]


def structures(data: Path, output: Path, keys: dict[str, str], keywords: dict[str, Any], resume: bool) -> list[Path]:
    """Fit a file of structures; returns the files written. The checkpoint is removed once the pass is complete."""
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    read = Structures.read(data, **keys)
    result = fit(read, checkpoint=checkpoint, resume=resume, progress=True, **keywords)
    print(result)
    result.potential.save(output)
    written = [output]
    for name, figure in (
        ("pairs", plot_pairs(result.potential, result.potential.pairs)),
        ("parity", _parity(read, result.potential)),
    ):
        path = output.with_name(f"{output.stem}-{name}.png")
        save(figure, path)
        written.append(path)
    if result.potential.info["interrupted"]:
        return [*written, checkpoint]
    checkpoint.unlink(missing_ok=True)
    return written


def _parity(read: Structures, potential: KANPotential) -> Any:
    """Of the first structures of the file."""
    calculator = KANCalculator(potential)
    energies, forces = [], []
    for sample in islice(read, PARITY_STRUCTURES):
        atoms = sample.atoms.copy()
        atoms.calc = calculator
        if sample.energy is not None and len(atoms):
            energies.append((sample.energy / len(atoms), atoms.get_potential_energy() / len(atoms)))
        if sample.forces is not None:
            known = sample.labeled
            forces.append(np.stack([sample.forces[known].ravel(), atoms.get_forces()[known].ravel()]))
    e = np.array(energies).reshape(-1, 2)
    f = np.concatenate(forces, axis=1) if forces else np.empty((2, 0))
    return plot_parity((e[:, 0], e[:, 1]), (f[0], f[1]))
