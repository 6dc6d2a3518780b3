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


def figure(output: Path, name: str) -> Path:
    """The file of a figure beside a potential."""
    return output.with_name(f"{output.stem}-{name}.png")


def checkpoint(output: Path) -> Path:
    """The file of a pass over structures that is not complete."""
    return output.with_name(f"{output.name}.checkpoint")


def curve(data: Path, output: Path, keywords: dict[str, Any]) -> list[Path]:
    """Fit a curve file; returns the files written."""
    reading = {name: keywords.pop(name, None) for name in ("elements", "columns", "units", "subtract")}
    points = PairCurve.read(data, **reading)
    if points.subtracted:
        print(f"subtracted {points.subtracted:.10g} eV, the energy of two atoms far apart")
    result = fit(points, progress=True, **keywords)
    print(result)
    result.potential.save(output)
    path = figure(output, "fit")
    save(plot_fit(result.potential, points), path)
    return [output, path]


def structures(data: Path, output: Path, keys: dict[str, str], keywords: dict[str, Any], resume: bool) -> list[Path]:
    """Fit a file of structures; returns the files written. The checkpoint is removed once the pass is complete."""
    unfinished = checkpoint(output)
    read = Structures.read(data, **keys)
    result = fit(read, checkpoint=unfinished, resume=resume, progress=True, **keywords)
    print(result)
    result.potential.save(output)
    written = [output]
    for name, drawn in (
        ("pairs", plot_pairs(result.potential, result.potential.pairs)),
        ("parity", _parity(read, result.potential)),
    ):
        path = figure(output, name)
        save(drawn, path)
        written.append(path)
    if result.potential.info["interrupted"]:
        return [*written, unfinished]
    unfinished.unlink(missing_ok=True)
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
