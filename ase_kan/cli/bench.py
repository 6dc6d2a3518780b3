"""``ase-kan bench``: KANCalculator against the Lennard-Jones engines installed here, in paired runs.

Every contender runs in a process of its own, one thread unless asked otherwise, and they take turns: A B C A B C ...
The system is the Lennard-Jones liquid of LAMMPS's own benchmark (rho* = 0.8442, T* = 1.44 at the start, cutoff 2.5,
time step 0.005, NVE) with epsilon, sigma and mass 1; the KAN is fitted to it. ASE's calculators run in ASE's
VelocityVerlet, LAMMPS in its own loop.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.cluster import Icosahedron
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet

from ase_kan.exports.extras import optional

CUTOFF, TIMESTEP, TEMPERATURE, DENSITY = 2.5, 0.005, 1.44, 0.8442
SIZES = (13, 1372, 10976, 108_000)
#: Contender to the package it needs.
CONTENDERS = {
    "compiled": "ase_kan",
    "autograd": "ase_kan",
    "ase": "ase",
    "asap3": "asap3",
    "matscipy": "matscipy",
    "lammps": "lammps",
    "lammps-table": "lammps",
}
#: Above this many atoms only what takes microseconds per atom runs.
SLOW, MOST_FOR_SLOW = ("autograd", "ase", "matscipy"), 20_000
ROUNDS, ROUND_SECONDS, WARM_UP = 5, 0.5, 150


@dataclass(frozen=True)
class Row:
    """One contender at one size: median microseconds per step, and peak memory of its process in MB."""

    contender: str
    atoms: int
    threads: int
    step_us: float
    atom_step_us: float
    memory_mb: float
    rounds_us: tuple[float, ...]


def run(
    peers: Sequence[str] | None = None,
    sizes: Sequence[int] = SIZES,
    threads: int = 1,
    rounds: int = ROUNDS,
    report: Callable[[str], None] = print,
) -> list[Row]:
    """Time the contenders.

    Parameters
    ----------
    peers : sequence of str, optional
        Of `CONTENDERS`, besides the compiled engine; default all whose package is installed.
    sizes : sequence of int
        13 is a free icosahedron; others are the next periodic cube of 4 k^3 atoms.
    threads : int
        Above 1, the compiled engine runs with that many as well.
    rounds : int
        Turns of each contender; the median counts.
    report : callable
        Takes lines of progress.

    Raises
    ------
    ValueError
        For unknown or missing peers.
    """
    if peers is None:
        peers = [name for name, package in CONTENDERS.items() if find_spec(package)]
    for name in peers:
        if name not in CONTENDERS:
            raise ValueError(f"unknown peer {name!r}: choose from {', '.join(CONTENDERS)}")
        optional(CONTENDERS[name], "bench")
    names = ["compiled", *(name for name in peers if name != "compiled")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        potential = Path(folder) / "lj.kan"
        lennard_jones_potential().save(potential)
        for n in sizes:
            cast = [(name, 1) for name in names if n <= MOST_FOR_SLOW or name not in SLOW]
            if threads > 1:
                cast.append(("compiled", threads))
            workers = {}
            try:
                for key in cast:
                    report(f"{n} atoms: starting {key[0]}")
                    workers[key] = _Worker(*key, n, potential)
                times: dict[tuple[str, int], list[float]] = {key: [] for key in cast}
                for number in range(rounds):
                    report(f"{n} atoms: round {number + 1} of {rounds}")
                    for key, worker in workers.items():
                        times[key].append(worker.turn())
                for key, worker in workers.items():
                    step = median(times[key])
                    n_atoms, memory = worker.atoms, worker.memory()
                    rows.append(Row(key[0], n_atoms, key[1], step, step / n_atoms, memory, tuple(times[key])))
            finally:
                for worker in workers.values():
                    worker.close()
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as a table, with the time of the compiled engine on one thread as a part of each."""
    lines = [f"{'atoms':>9} {'engine':<22} {'us/step':>11} {'us/atom-step':>13} {'ase_kan / it':>13} {'peak MB':>8}"]
    ours = {row.atoms: row.step_us for row in rows if (row.contender, row.threads) == ("compiled", 1)}
    for row in rows:
        name = {"compiled": "ase_kan compiled", "autograd": "ase_kan autograd"}.get(row.contender, row.contender)
        name += f", {row.threads} threads" if row.threads > 1 else ""
        lines.append(
            f"{row.atoms:>9} {name:<22} {row.step_us:>11.1f} {row.atom_step_us:>13.4f} "
            f"{ours[row.atoms] / row.step_us:>13.3f} {row.memory_mb:>8.0f}"
        )
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> str:
    """The rows and what they were measured with."""
    import platform

    from ase_kan.version import __version__

    where = {"version": __version__, "machine": platform.platform(), "processors": os.cpu_count()}
    return json.dumps({**where, "rows": [asdict(row) for row in rows]}, indent=1)


def lennard_jones_potential() -> Any:
    """A KAN of the Lennard-Jones potential with a smooth end."""
    from ase_kan.data.curve import PairCurve
    from ase_kan.fit import fit

    curve = PairCurve.from_function(lambda r: 4 * (r**-12.0 - r**-6.0), r_min=0.8, r_max=2.6, seed=None)
    return fit(curve, cutoff=CUTOFF).potential


class _Worker:
    """A contender in its own process: told how many steps to run, it answers with seconds."""

    def __init__(self, name: str, threads: int, n: int, potential: Path) -> None:
        library = Path(sys.prefix) / "lib"  # of LAMMPS's MPI
        paths = f"{library}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}"
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ase_kan.cli.bench", name, str(threads), str(n), str(potential)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | one | {"LD_LIBRARY_PATH": paths},
        )
        self.name = name
        self.atoms = int(self._ask(None))
        # Long enough for the lattice to melt, which is where neighbor lists begin to change.
        self._ask(10)
        pace = max(self._ask(10) / 10, 1e-6)
        self._ask(max(0, min(WARM_UP, int(20 / pace)) - 20))
        self.steps = max(2, int(ROUND_SECONDS / pace))

    def turn(self) -> float:
        """Microseconds per step."""
        return self._ask(self.steps) / self.steps * 1e6

    def memory(self) -> float:
        return self._ask(-1)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, steps: int | None) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if steps is not None:
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("bench "):
                return float(line.split()[1])
        raise ValueError(f"the benchmark of {self.name} ended before its time")


def liquid(n: int) -> Atoms:
    """The benchmark's atoms: an icosahedron of 13, or a periodic fcc cube, at rest as a whole."""
    if n == 13:
        atoms: Atoms = Icosahedron("Ar", noshells=2, latticeconstant=1.58)
        atoms.center(vacuum=2 * CUTOFF)  # asap3 wants a cell
        temperature = 0.1  # stays together
    else:
        cells = max(1, round((n / 4) ** (1 / 3)))
        atoms = bulk("Ar", "fcc", a=(4 / DENSITY) ** (1 / 3), cubic=True) * (cells, cells, cells)
        temperature = TEMPERATURE
    atoms.set_masses(np.ones(len(atoms)))
    atoms.set_momenta(np.random.default_rng(0).normal(0, np.sqrt(temperature), (len(atoms), 3)))
    Stationary(atoms)
    return atoms


def _stepper(name: str, threads: int, n: int, potential: str) -> tuple[int, Callable[[int], None]]:
    """The number of atoms, and what runs so many steps."""
    if name.startswith("lammps"):
        return _lammps(name, n, potential)
    atoms = liquid(n)
    if name in ("compiled", "autograd"):
        from ase_kan.calculator import KANCalculator

        atoms.calc = KANCalculator(potential, engine=name, threads=threads, on_extrapolation="ignore")
    elif name == "ase":
        from ase.calculators.lj import LennardJones

        atoms.calc = LennardJones(epsilon=1.0, sigma=1.0, rc=CUTOFF)
    elif name == "asap3":
        atoms.calc = optional("asap3", "bench").LennardJones([18], [1.0], [1.0], rCut=CUTOFF)
    else:
        pairs = optional("matscipy.calculators.pair_potential", "bench")
        atoms.calc = pairs.PairPotential({(18, 18): pairs.LennardJonesCut(1.0, 1.0, CUTOFF)})
    return len(atoms), VelocityVerlet(atoms, TIMESTEP).run


def _lammps(name: str, n: int, potential: str) -> tuple[int, Callable[[int], None]]:
    lmp = optional("lammps", "lammps").lammps(cmdargs=["-log", "none", "-screen", "none"])
    atoms = liquid(n)
    side = atoms.cell.lengths()[0]
    lmp.commands_string(f"""units lj
        atom_style atomic
        lattice fcc {DENSITY}
        boundary {"s s s" if n == 13 else "p p p"}
        region box block 0 {side:.17g} 0 {side:.17g} 0 {side:.17g} units box
        create_box 1 box
    """)
    if n == 13:
        lmp.create_atoms(13, list(range(1, 14)), [1] * 13, atoms.positions.ravel().tolist())
    else:
        lmp.command("create_atoms 1 box")
    lmp.command("mass 1 1.0")
    if name == "lammps-table":
        from ase_kan.exports.lammps import write_table
        from ase_kan.potentials.potential import KANPotential

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lj.table"
            _, commands = write_table(KANPotential.load(potential), path, units="lj")
            for command in commands:
                lmp.command(command.replace("lj.table", str(path)))
    else:
        lmp.commands_string(f"pair_style lj/cut {CUTOFF}\npair_coeff 1 1 1.0 1.0 {CUTOFF}")
    lmp.commands_string(f"""velocity all create {0.1 if n == 13 else TEMPERATURE} 87287 loop geom
        neighbor 0.3 bin
        neigh_modify delay 0 every 1 check yes
        fix 1 all nve
        timestep {TIMESTEP}
        thermo 1000000
    """)
    return lmp.get_natoms(), lambda steps: lmp.command(f"run {steps} post no")


def _peak_memory() -> float:
    """Of this process, MB. Linux's `getrusage` would count what the process was forked from."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 2**10
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _work(name: str, threads: str, n: str, potential: str) -> None:
    """The worker's side of `_Worker`."""
    atoms, step = _stepper(name, int(threads), int(n), potential)
    print("bench", atoms, flush=True)
    for line in sys.stdin:
        if int(line) < 0:
            print("bench", _peak_memory(), flush=True)
        else:
            start = time.perf_counter()
            if int(line):
                step(int(line))
            print("bench", time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    _work(*sys.argv[1:])
