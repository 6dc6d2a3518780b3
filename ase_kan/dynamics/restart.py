"""Restart files: a run that goes on from one is the run that wrote it, to the last bit.

A file (NumPy's npz) holds the arrays of the atoms as they are in memory, and as JSON what else the run needs.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import dict2constraint
from ase.io.jsonio import decode, encode

from ase_kan.calculator import KANCalculator
from ase_kan.data.files import replacing
from ase_kan.dynamics.integrators import Bussi, Langevin, VelocityVerlet

FORMAT = "ase_kan dynamics"
VERSION = 1
CLASSES = {cls.__name__: cls for cls in (VelocityVerlet, Langevin, Bussi)}


def save(run: VelocityVerlet | Langevin | Bussi, path: str | os.PathLike[str]) -> None:
    """Write a restart file.

    The neighbor list is built anew after this, here as in a run that goes on from the file: another list would add
    forces in another order, and change their last digits.

    Parameters
    ----------
    run : VelocityVerlet, Langevin or Bussi
        Not while it is running, unless from a function that is attached.
    path : path
        A file that exists is replaced at once.
    """
    if type(run).__name__ not in CLASSES or type(run) is not CLASSES[type(run).__name__]:
        raise TypeError(f"restart files are for {', '.join(CLASSES)}, got {type(run).__name__}")
    atoms = run.atoms
    told = {
        "format": FORMAT,
        "version": VERSION,
        "class": type(run).__name__,
        "arguments": run.arguments(),
        "nsteps": run.nsteps,
        "state": run.state(),
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
        "constraints": [constraint.todict() for constraint in atoms.constraints],
    }
    arrays = {f"atoms/{name}": array for name, array in atoms.arrays.items()}
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(encode(told)), **arrays)  # type: ignore[arg-type]
    atoms.calc.reset()


def load(path: str | os.PathLike[str], calculator: KANCalculator, **kwargs: Any) -> VelocityVerlet | Langevin | Bussi:
    """Go on from a restart file.

    Parameters
    ----------
    path : path
        Written by `save`.
    calculator : KANCalculator
        With the potential, the skin and the threads of the run that wrote the file.
    **kwargs
        Trajectory, logfile, loginterval and append_trajectory of the run that goes on.

    Returns
    -------
    VelocityVerlet, Langevin or Bussi
        Its `atoms` have the calculator, and `nsteps` counts on. What was attached to the other run is not here.

    Raises
    ------
    ValueError
        For a file that is no restart file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            told = decode(str(file["about"]))
            arrays = {name.removeprefix("atoms/"): file[name] for name in file.files if name.startswith("atoms/")}
        if told["format"] != FORMAT:
            raise KeyError(told["format"])
    except (KeyError, TypeError, ValueError, EOFError, json.JSONDecodeError, zipfile.BadZipFile):
        raise ValueError(f"{path} is no restart file of ase_kan.dynamics: give one that `save` wrote") from None
    if told["version"] != VERSION:
        raise ValueError(f"{path} has version {told['version']} of restart files, and this ase_kan reads {VERSION}: "
                         "read it with the version of ase_kan that wrote it")  # fmt: skip
    atoms = Atoms(arrays["numbers"], arrays["positions"], cell=told["cell"], pbc=told["pbc"])
    atoms.arrays.update(arrays)
    atoms.set_constraint([dict2constraint(constraint) for constraint in told["constraints"]])
    atoms.calc = calculator
    run = CLASSES[told["class"]](atoms, **told["arguments"], **kwargs)
    run.nsteps = told["nsteps"]
    run.go_on(told["state"])
    return run
