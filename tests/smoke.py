"""What an installed ase_kan must do, without pytest: `make smoke` runs this in every environment that it makes.

    python -P smoke.py {compiled,autograd} CHECKOUT

It must run from a directory outside the checkout, so that the installed package is what is imported. The references
are ASE's `LennardJones` and the bond of the Lennard-Jones dimer, 2^(1/6) sigma; the default fit is one least-squares
solve, the same on every processor.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.optimize import BFGS

import ase_kan
from ase_kan import KANCalculator, PairCurve, fit
from ase_kan.plots.figures import save
from ase_kan.plots.fit import plot_fit

EPSILON = 0.25
BOND = 2.0 ** (1.0 / 6.0)
# Run in a process of its own: a saved potential needs neither the trainer nor the figures.
RUN = """
import sys
from ase import Atoms
from ase_kan import KANCalculator

atoms = Atoms("Ar2", [[0, 0, 0], [1.2, 0, 0]], calculator=KANCalculator("ar.kan"))
print(repr(float(atoms.get_potential_energy())), *sorted({"kan", "matplotlib"} & set(sys.modules)))
"""


def check(what: str, right: bool, found: object) -> None:
    if not right:
        sys.exit(f"smoke test failed: {what}: {found}")
    print(f"  {what}: {found}")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, timeout=120).stdout.strip()


def main(engine: str, checkout: Path) -> None:
    home = Path(ase_kan.__file__).resolve()
    check("imported from", not home.is_relative_to(checkout.resolve()), home.parent)
    program = Path(sysconfig.get_path("scripts")) / "ase-kan"
    version = output(str(program), "--version")
    check("command", version == f"ase-kan {ase_kan.__version__}", version)

    lj = LennardJones(epsilon=EPSILON, sigma=1.0, rc=30.0)
    curve = PairCurve.from_calculator(lj, ("Ar", "Ar"), r_min=0.9, r_max=2.5, n=60, seed=2)
    result = fit(curve)
    result.potential.save("ar.kan")
    check("hold-out error (eV)", result.energy_rmse < 1e-4 * EPSILON, f"{result.energy_rmse:.1e}")

    calculator = KANCalculator(result.potential)
    dimer = Atoms("Ar2", [[0, 0, 0], [1.2, 0, 0]], calculator=calculator)
    stretched = dimer.get_potential_energy()
    check("engine", calculator.engine == engine, calculator.engine)
    BFGS(dimer, logfile=None).run(fmax=1e-5, steps=100)
    bond, energy = dimer.get_distance(0, 1), dimer.get_potential_energy()
    check("dimer, bond (A)", abs(bond - BOND) < 1e-4, f"{bond:.6f}, exactly {BOND:.6f}")
    check("dimer, energy (eV)", abs(energy + EPSILON) < 1e-4 * EPSILON, f"{energy:.6f}, exactly {-EPSILON:.6f}")

    cluster = Icosahedron("Ar", noshells=2, latticeconstant=1.6)
    cluster.rattle(0.03, seed=0)
    found = []
    for each in (calculator, lj):
        cluster.calc = each
        found.append((cluster.get_potential_energy(), cluster.get_forces()))
    (e_kan, f_kan), (e_lj, f_lj) = found
    check("LJ13, energy (eV)", abs(e_kan / e_lj - 1.0) < 1e-4, f"{e_kan:.6f}, LennardJones {e_lj:.6f}")
    error = np.abs(f_kan - f_lj).max() / np.abs(f_lj).max()
    check("LJ13, relative force error", error < 1e-3, f"{error:.1e}")

    saved, *extra = output(sys.executable, "-W", "ignore", "-c", RUN).split()
    check("saved and loaded, energy (eV)", float(saved) == stretched, saved)
    check("not imported to run it", not extra, " ".join(extra) or "pykan, matplotlib")

    # The imports of pykan (pandas, scikit-learn, sympy, ...) and of the figures work as well.
    name = type(result.potential.network()).__name__
    check("pykan's model", name == "MultKAN", name)
    save(plot_fit(result.potential, curve), "fit.png")
    check("figure (bytes)", Path("fit.png").stat().st_size > 10_000, Path("fit.png").stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
