"""``ase-kan bench``: KANCalculator against the engines installed here, in paired runs.

Every contender runs in a process of its own, one thread unless asked otherwise, and they take turns: A B C A B C ...
What they run is in `bench_systems`: a Lennard-Jones liquid, or a metal with a published embedded-atom potential.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from ase_kan.cli.bench_systems import lennard_jones_potential, stepper
from ase_kan.exports.extras import optional

SIZES, METAL_SIZES = (13, 38, 1372, 10976, 108_000), (1372, 10976, 108_000)
#: Contender to the package it needs.
CONTENDERS = {
    "dynamics": "ase_kan",
    "compiled": "ase_kan",
    "autograd": "ase_kan",
    "ase": "ase",
    "asap3": "asap3",
    "matscipy": "matscipy",
    "lammps": "lammps",
    "lammps-bench": "lammps",
    "lammps-opt": "lammps",
    "lammps-opt-bench": "lammps",
    "lammps-table": "lammps",
    "openmm": "openmm",
}
#: What every benchmark times: the compiled engine in the loop of `ase_kan.dynamics`, and in ASE's.
OURS = ("dynamics", "compiled")
#: The same where the potential is a published one.
METAL_CONTENDERS = dict.fromkeys(OURS, "ase_kan") | {
    "autograd": "ase_kan",
    "lammps": "lammps",
    "lammps-opt": "lammps",
}
#: Those that share a system among processes, where more than one thread is asked for.
PARALLEL = ("lammps-opt-bench",)
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
    sizes: Sequence[int] | None = None,
    threads: int = 1,
    rounds: int = ROUNDS,
    report: Callable[[str], None] = print,
    metal: Path | None = None,
) -> list[Row]:
    """Time the contenders.

    Parameters
    ----------
    peers : sequence of str, optional
        Of `CONTENDERS`, besides `OURS`; default all whose package is installed.
    sizes : sequence of int, optional
        The next periodic cube of 4 k^3 atoms each; 13 and 38 Lennard-Jones atoms are free clusters.
    threads : int
        Above 1, the compiled engine runs with that many as well, and LAMMPS on as many MPI ranks.
    rounds : int
        Turns of each contender; the median counts.
    report : callable
        Takes lines of progress.
    metal : path, optional
        A published potential, e.g. ``Cu_mishin1.eam.alloy``: its first element instead of the Lennard-Jones liquid,
        and peers of `METAL_CONTENDERS`.

    Raises
    ------
    ValueError
        For unknown or missing peers, and files that are no such potentials.
    """
    contenders, default_sizes = (CONTENDERS, SIZES) if metal is None else (METAL_CONTENDERS, METAL_SIZES)
    if peers is None:
        peers = [name for name, package in contenders.items() if find_spec(package)]
    for name in peers:
        if name not in contenders:
            raise ValueError(f"unknown peer {name!r}: choose from {', '.join(contenders)}")
        optional(contenders[name], "bench")
    names = [*OURS, *(name for name in peers if name not in OURS)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if metal is None:
            potential = Path(folder) / "lj.kan"
            from ase_kan.potentials.tables import tabulate

            tabulate(lennard_jones_potential()).save(potential)
        else:
            from ase_kan.potentials.setfl import from_setfl

            from_setfl(metal)  # says what is wrong with it
            potential = metal
        for n in sizes or default_sizes:
            cast = [(name, 1) for name in names if n <= MOST_FOR_SLOW or name not in SLOW]
            if threads > 1:
                cast += [(name, threads) for name in names if name == "dynamics" or name in PARALLEL]
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
    """The rows as a table: medians, spread of the turns, and over each the time of "dynamics" on as many threads.

    The memory is that of one process; ranks have one each.
    """
    columns = f"{'us/step':>11} {'us/atom-step':>13} {'from':>8} {'to':>8} {'ase_kan / it':>13} {'peak MB':>8}"
    lines = [f"{'atoms':>9} {'engine':<25} {columns}"]
    ours = {(row.atoms, row.threads): row.step_us for row in rows if row.contender == "dynamics"}
    for row in rows:
        name = f"ase_kan {row.contender}" if row.contender in (*OURS, "autograd") else row.contender
        name += f", {row.threads} {'ranks' if row.contender in PARALLEL else 'threads'}" if row.threads > 1 else ""
        lines.append(
            f"{row.atoms:>9} {name:<25} {row.step_us:>11.1f} {row.atom_step_us:>13.4f} "
            f"{min(row.rounds_us) / row.atoms:>8.4f} {max(row.rounds_us) / row.atoms:>8.4f} "
            f"{ours[row.atoms, row.threads] / row.step_us:>13.3f} {row.memory_mb:>8.0f}"
        )
    return "\n".join([*lines, f"processor: {_processor()}"])


def _processor() -> str:
    """Its name, where the system tells."""
    import platform

    info = Path("/proc/cpuinfo")
    named = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return named[0] if named else platform.processor() or "unknown"


def as_json(rows: Sequence[Row]) -> str:
    """The rows and what they were measured with."""
    import platform

    from ase_kan.version import __version__

    where = {
        "version": __version__,
        "machine": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
    }
    return json.dumps({**where, "rows": [asdict(row) for row in rows]}, indent=1)


class _Worker:
    """A contender in its own process: told how many steps to run, it answers with seconds."""

    def __init__(self, name: str, threads: int, n: int, potential: Path) -> None:
        library = Path(sys.prefix) / "lib"  # of LAMMPS's MPI
        paths = f"{library}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}"
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command = [sys.executable, "-m", "ase_kan.cli.bench", name, str(threads), str(n), str(potential)]
        if threads > 1 and name in PARALLEL:
            handle, shared = tempfile.mkstemp(dir=potential.parent)
            os.close(handle)
            command = [str(Path(sys.prefix) / "bin" / "mpiexec"), "-n", str(threads), *command, shared]
        self._process = subprocess.Popen(
            command,
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


def _peak_memory() -> float:
    """Of this process, MB. Linux's `getrusage` would count what the process was forked from."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 2**10
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _work(name: str, threads: str, n: str, potential: str, shared: str | None = None) -> None:
    """The worker's side of `_Worker`; of several ranks the first answers."""
    first = int(os.environ.get("PMI_RANK", "0")) == 0
    atoms, step = stepper(name, int(threads), int(n), potential)
    if first:
        print("bench", atoms, flush=True)
    for line in _commands(first, shared):
        found = _peak_memory()
        if int(line) >= 0:
            start = time.perf_counter()
            if int(line):
                step(int(line))
            found = time.perf_counter() - start
        if first:
            print("bench", found, flush=True)


def _commands(first: bool, shared: str | None) -> Iterator[str]:
    """Lines from stdin, which the first rank alone has, and passes on through a file."""
    if shared is None:
        yield from sys.stdin
    elif first:
        with Path(shared).open("a") as file:
            for line in sys.stdin:
                print(line.strip(), file=file, flush=True)
                yield line
    else:
        with Path(shared).open() as file:
            while True:
                line = file.readline()
                if line.endswith("\n"):
                    yield line
                else:
                    time.sleep(0.001)


if __name__ == "__main__":
    _work(*sys.argv[1:])
