"""Hard use: damaged files, random systems, killed processes, full disks, long runs, threads and processes.

python docs/benchmarks/reliability.py [files] [flips] [systems] [kills] [disk] [steps] [together]

All take about 15 minutes on a quiet machine, of which damaged files are half.

From the root of the repository, since what damages files is that of the tests.
"""

import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.velocitydistribution import Stationary, thermalize_momenta

sys.path.insert(0, str(Path(__file__).parents[2]))
from ase_kan import KANCalculator, KANPotential, PairCurve, Structures, fit
from ase_kan.dynamics import VelocityVerlet
from tests.potentials import mutated_files


def memory():
    """Resident memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def argon(cutoff=2.5):
    curve = PairCurve.from_function(lambda r: 4 * (r**-12.0 - r**-6.0), r_min=0.9, r_max=3.0, n=200, seed=0)
    return fit(curve, cutoff=cutoff).potential


def files(count=10_000):
    """Damaged files with the checksum repaired: refused in one line, or finite."""
    for embedded in (False, True):
        name = "embedded-atom" if embedded else "pair"
        with tempfile.TemporaryDirectory() as folder:
            began, before = time.perf_counter(), memory()
            counts, wrong = mutated_files.run(count, 1, Path(folder), embedded=embedded)
            spent = 1000 * (time.perf_counter() - began) / count
            grown = memory() - before
            print(
                f"{name}, checksum repaired: {dict(counts)}, {len(wrong)} wrong; {spent:.1f} ms each, {grown:+.0f} MB"
            )
            for done, found in wrong[:5]:
                print(f"    {done}\n    {found}")


def flips(count=10_000):
    """Bytes of a file flipped, or its end missing: refused, or equal."""
    with tempfile.TemporaryDirectory() as folder:
        sound, damaged = Path(folder, "sound.kan"), Path(folder, "damaged.kan")
        potential = argon()
        potential.save(sound)
        content, rng, r = sound.read_bytes(), np.random.default_rng(0), np.linspace(0.5, 2.4, 50)
        ends = {"refused": 0, "equal": 0, "wrong": 0}
        for _ in range(count):
            bytes_ = bytearray(content)
            if rng.random() < 0.2:
                bytes_ = bytes_[: rng.integers(len(bytes_))]
            else:
                for place in rng.integers(len(bytes_), size=rng.integers(1, 4)):
                    bytes_[place] = rng.integers(256)
            damaged.write_bytes(bytes_)
            try:
                same = np.array_equal(KANPotential.load(damaged).energy(r), potential.energy(r))
                ends["equal" if same else "wrong"] += 1
            except ValueError:
                ends["refused"] += 1
        print(f"flipped or missing bytes: {ends}")


def direct_sum(positions, cell, periodic, phi, slope, cutoff):
    """Energy, forces and virial by a sum over all pairs and images, in numpy alone."""
    inverse = np.linalg.inv(cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    spread = np.ptp(positions @ inverse, axis=0)
    reach = [int(np.ceil(cutoff / h + s)) if p else 0 for h, s, p in zip(heights, spread, periodic, strict=True)]
    shifts = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    energy, forces, virial = 0.0, np.zeros_like(positions), np.zeros((3, 3))
    for number, here in enumerate(positions):
        d = (positions[None] + (shifts @ cell)[:, None] - here).reshape(-1, 3)
        r = np.linalg.norm(d, axis=1)
        keep = (r < cutoff) & (r > 1e-12)
        d, r = d[keep], r[keep]
        energy += 0.5 * phi(r).sum()
        pull = (slope(r) / r)[:, None] * d
        forces[number] = pull.sum(axis=0)
        virial += 0.5 * pull.T @ d
    return energy, forces, virial


def systems(count=2000):
    """Random cells, periodicities and numbers of atoms, each against `direct_sum`; the worst relative differences."""
    potential = argon()
    calculator = KANCalculator(potential, on_extrapolation="ignore")
    worst = np.zeros(3)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 40))
        cell = np.eye(3) * rng.uniform(1.2, 6.0, 3) + rng.normal(0, 0.5, (3, 3))
        if abs(np.linalg.det(cell)) < 1.0:
            cell = cell + 3 * np.eye(3)
        periodic = rng.random(3) < 0.6
        fractional = rng.uniform(-1.5, 2.5, (n, 3)) if rng.random() < 0.3 else rng.random((n, 3))
        kept = []
        for r in fractional @ cell:  # closer than 0.7 sigma energies are all that is left of the sums
            near = Atoms("Ar", [r], cell=cell, pbc=periodic)
            if (
                not kept
                or (near + Atoms(f"Ar{len(kept)}", kept)).get_distances(0, range(1, len(kept) + 1), True).min() > 0.7
            ):
                kept.append(r)
        positions = np.array(kept)
        atoms = Atoms(f"Ar{len(positions)}", positions, cell=cell, pbc=periodic, calculator=calculator)
        found = atoms.get_potential_energy(), atoms.get_forces()
        energy, forces, virial = direct_sum(
            positions, cell, periodic, potential.energy, lambda r: -potential.force(r), potential.cutoff
        )
        scale = 1 + np.abs(forces).max()
        stress = np.abs(atoms.get_stress(voigt=False) - virial / abs(np.linalg.det(cell))).max()
        differences = [
            abs(found[0] - energy) / (1 + abs(energy)),
            np.abs(found[1] - forces).max() / scale,
            stress * abs(np.linalg.det(cell)) / (1 + np.abs(virial).max()),
        ]
        worst = np.maximum(worst, differences)
    print(f"{count} random systems: energy {worst[0]:.1e}, forces {worst[1]:.1e}, virial {worst[2]:.1e}, relative")


def work(images):
    """Fit and save without end."""
    number = 0
    while True:
        number += 1
        curve = PairCurve.from_function(lambda r: number * (r**-12.0 - r**-6.0), r_min=0.95, r_max=2.0, n=50)  # noqa: B023
        fit(curve).potential.save("curve.kan")
        found = fit(Structures(images), cutoff=2.0, checkpoint="sums.checkpoint", seed=number)
        found.potential.save("structures.kan")


def kills(count=100):
    """Processes that fit and save all the time, killed at random moments: files are whole, and fits go on from them."""
    rng = np.random.default_rng(0)
    images = []
    for seed in range(30):
        atoms = bulk("Ar", "fcc", a=1.6, cubic=True) * (2, 2, 2)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = LennardJones(rc=2.0)
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        images.append(atoms)
    loads, broken, most = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            child = os.fork()  # what is killed has imported everything, so that the moment is one of work
            if child == 0:
                os.chdir(folder)
                warnings.simplefilter("ignore")
                work(images)
            time.sleep(rng.uniform(0.05, 2.0))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            for path in Path(folder).glob("*.kan"):
                loads += 1
                try:
                    KANPotential.load(path)
                except ValueError as error:
                    broken += 1
                    print(error)
            most = max(most, sum(".tmp" in path.name for path in Path(folder).iterdir()))
        checkpoint = Path(folder, "sums.checkpoint")
        fit(Structures(images), cutoff=2.0, checkpoint=checkpoint).potential.save(Path(folder, "structures.kan"))
        argon().save(Path(folder, "curve.kan"))
        left = sum(".tmp" in path.name for path in Path(folder).iterdir())
    print(f"{count} kills: {loads} files loaded after them, {broken} broken; temporary files: at most {most}, "
          f"{left} after the next save")  # fmt: skip


def disk():
    """A disk that is full while a potential is saved (a limit of the size of files), and a folder that is read-only."""
    potential = argon()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.kan")
        potential.save(path)
        before = path.read_bytes()
        bigger = fit(
            PairCurve.from_function(lambda r: r**-12.0 - r**-6.0, r_min=0.9, r_max=3, n=300), grid=120
        ).potential
        limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ends = []
        bigger.save(Path(folder, "b.kan"))
        whole = Path(folder, "b.kan").stat().st_size
        Path(folder, "b.kan").unlink()
        for size in np.linspace(1, whole - 1, 50, dtype=int):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), limit[1]))
            try:
                bigger.save(path)
                ends.append("saved")
            except OSError as error:
                ends.append(str(error).replace(folder, ""))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
        same, left = path.read_bytes() == before, len(list(Path(folder).iterdir())) - 1
        print(
            f"disk full at 50 places of the file: {sorted(set(ends))}; old file whole: {same}; files left over: {left}"
        )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        user = os.geteuid()
        if user == 0:  # root may write anywhere
            os.seteuid(65534)
        found = "no error"
        try:
            potential.save(Path(folder, "a.kan"))
        except OSError as error:
            found = f"{type(error).__name__}: {error}".replace(folder, "")
        finally:
            os.seteuid(user)
        print(f"read-only folder: {found}")


def steps(count=1_000_000):
    """Constant energy, 108 atoms at T = 0.7 and density 0.8442: energy and memory along the way."""
    atoms = bulk("Ar", "fcc", a=(4 / 0.8442) ** (1 / 3), cubic=True) * (3, 3, 3)
    atoms.set_masses(np.ones(len(atoms)))
    thermalize_momenta(atoms, 1.4 / units.kB, rng=np.random.default_rng(0))
    Stationary(atoms)
    atoms.calc = KANCalculator(argon(), on_extrapolation="ignore")
    run = VelocityVerlet(atoms, 0.005)
    run.run(10_000)
    start, before, began, energies = atoms.get_total_energy(), memory(), time.perf_counter(), []
    run.attach(lambda: energies.append(atoms.get_total_energy()), 1000)
    run.run(count)
    spent, e = time.perf_counter() - began, np.array(energies) / len(atoms)
    slope = np.polyfit(np.arange(len(e)), e, 1)[0] * len(e)
    print(f"{count} steps in {spent:.0f} s: energy per atom drifts by {slope:+.1e} epsilon, is off by at most "
          f"{np.abs(e - start / len(atoms)).max():.1e}; memory {memory() - before:+.1f} MB")  # fmt: skip


def _energies(path):
    """Of 40 structures; one calculator each time, as every thread or process would have its own."""
    calculator = KANCalculator(path, on_extrapolation="ignore", threads=1)
    found = []
    for seed in range(40):
        atoms = bulk("Ar", "fcc", a=1.55, cubic=True) * (4, 4, 4)
        atoms.rattle(0.08, seed=seed)
        atoms.calc = calculator
        found.append(np.append(atoms.get_forces().ravel(), atoms.get_potential_energy()))
    return np.array(found)


def together():
    """The same structures in 16 threads, and in 8 processes: the same numbers to the last bit; fits in threads too."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "a.kan"))
        argon().save(path)
        one = _energies(path)
        with ThreadPoolExecutor(16) as pool:
            threads = [np.array_equal(one, found) for found in pool.map(_energies, [path] * 64)]
        with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
            processes = [np.array_equal(one, found) for found in pool.map(_energies, [path] * 16)]
        r = np.linspace(0.8, 2.4, 50)
        exact = argon().energy(r)
        with ThreadPoolExecutor(16) as pool:
            fits = [np.array_equal(exact, p.energy(r)) for p in pool.map(lambda _: argon(), range(32))]
        name = Path(folder, "shared.kan")
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: KANPotential.load(path).save(name), range(64)))
        with contextlib.suppress(FileNotFoundError):
            KANPotential.load(name)
        left = [p.name for p in Path(folder).iterdir() if ".tmp" in p.name]
    print(f"16 threads: {sum(threads)} of 64 the same, fits {sum(fits)} of 32; 8 processes: {sum(processes)} of 16; "
          f"64 saves to one name by 16 threads: whole, {len(left)} files left over")  # fmt: skip


PARTS = {
    "files": files,
    "flips": flips,
    "systems": systems,
    "kills": kills,
    "disk": disk,
    "steps": steps,
    "together": together,
}


def main():
    for name in sys.argv[1:] or PARTS:
        began = time.perf_counter()
        PARTS[name]()
        print(f"    ({name}: {time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
