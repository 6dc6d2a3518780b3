"""How far fits, engines and pykan's training are apart on different processors.

    python docs/benchmarks/processors.py ["NAME=value NAME=value" ...]

Every argument is an environment that makes the numerical libraries use the instructions of another processor. The
fits of this processor and of each other one are compared: the same 50 Lennard-Jones points (depth 0.25 eV) on
[0.95, 2.0], seeds 0 to 7. What a newer processor than this one would give cannot be had by emulation.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np

SEEDS = 8
R = np.linspace(0.95, 2.0, 500)
BARE_R = 0.6
FITS = {
    "default fit": {},
    "Levenberg-Marquardt [1, 2, 1] of 1/r, k = 5": {"width": (1, 2, 1)},
    "Levenberg-Marquardt [1, 2, 1] of r, k = 5": {"width": (1, 2, 1), "feature": "r"},
    "Levenberg-Marquardt [1, 2, 1] of r, k = 3, grid 3": {"width": (1, 2, 1), "feature": "r", "grid": 3, "k": 3},
    "pykan [1, 2, 1] of r, k = 3, grid 3": {"optimizer": "pykan"},
}
ENVIRONMENTS = (
    "OPENBLAS_CORETYPE=Prescott ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE NPY_DISABLE_CPU_FEATURES=AVX2,FMA3",
    "OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=avx2",
    "OPENBLAS_CORETYPE=Nehalem MKL_CBWR=SSE4_2",
    "MKL_ENABLE_INSTRUCTIONS=AVX2",
)


def measure(path: str) -> None:
    """Fit everything on this processor and write energies, forces and the bare energy at short range."""
    from ase_kan import PairCurve, fit

    warnings.simplefilter("ignore")
    found = {}
    for name, keywords in FITS.items():
        rows = []
        for seed in range(SEEDS):
            curve = PairCurve.from_function(lambda r: r**-12.0 - r**-6.0, r_min=0.95, r_max=2.0, n=50, seed=seed)
            potential = fit(curve, **keywords, seed=seed, cutoff=10.0, core=None, tail=None).potential
            rows.append(np.concatenate([potential.energy(R), potential.force(R), [potential.energy(BARE_R)]]))
        found[name] = np.array(rows)
    np.savez(path, **found)


def kernel_paths() -> tuple[list[str], float]:
    """The instruction sets that this processor runs of the kernel's three, and their largest relative difference."""
    from ase.build import bulk

    from ase_kan import KANCalculator, PairCurve, fit
    from ase_kan.engines import _kernel

    curve = PairCurve.from_function(lambda r: r**-12.0 - r**-6.0, r_min=0.9, r_max=2.6, n=100)
    potential = fit(curve, cutoff=2.5).potential
    atoms = bulk("Ar", "fcc", a=1.56, cubic=True) * (5, 5, 5)
    atoms.rattle(0.05, seed=0)
    names, results, original = [], [], _kernel.Kernel
    for name in ("baseline", "avx2", "avx512"):
        _kernel.Kernel = partial(original, instructions=name)
        atoms.calc = KANCalculator(potential, engine="compiled")
        try:
            results.append(np.append(atoms.get_forces(), atoms.get_potential_energy()))
            names.append(name)
        except ValueError as error:
            print(f"{name}: {error}")
    _kernel.Kernel = original
    return names, max(float(np.max(np.abs(one - results[0])) / np.max(np.abs(results[0]))) for one in results)


def main(environments: tuple[str, ...]) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, environment in enumerate(("", *environments)):
            given = dict(item.split("=", 1) for item in environment.split())
            paths.append(Path(folder, f"{number}.npz"))
            command = [sys.executable, __file__, "--measure", str(paths[-1])]
            subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"} | given, check=True)
        here, *others = (np.load(path) for path in paths)
        print(f"largest difference between this processor and {len(others)} emulated ones, seeds 0 to {SEEDS - 1}")
        print(f"| fit | energy (eV) | force (eV/A) | bare energy at {BARE_R} A (eV) |\n|---|---|---|---|")
        for name in FITS:
            apart = [np.abs(other[name] - here[name]) for other in others]
            parts = (slice(500), slice(500, 1000), slice(1000, None))
            energy, force, bare = (max(float(a[:, part].max()) for a in apart) for part in parts)
            print(f"| {name} | {energy:.0e} | {force:.0e} | {bare:.0e} |")
    names, apart = kernel_paths()
    print(f"kernel, instruction sets {', '.join(names)}: energy and forces of 500 atoms within {apart:.0e}, relative")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
    else:
        main(tuple(sys.argv[1:]) or ENVIRONMENTS)
