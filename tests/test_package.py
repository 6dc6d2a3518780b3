"""Imports, command line, examples: what a newcomer meets first."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ase_kan

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(*command, cwd):
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=600)


def test_import_is_cheap(tmp_path):
    """Nothing heavy is imported: what `import ase_kan` costs beyond `import ase` is its own few lines."""
    code = "import sys, ase; before = set(sys.modules); import ase_kan; print(*(set(sys.modules) - before))"
    new = run("-c", code, cwd=tmp_path).stdout.split()
    # importlib.util and its parts are the finder of an editable install.
    assert [name for name in new if name.split(".")[0] not in ("ase_kan", "importlib")] == []


def test_public_names():
    for name in ase_kan.__all__:
        assert getattr(ase_kan, name)
    assert set(ase_kan.__all__) <= set(dir(ase_kan))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ase_kan.nothing  # noqa: B018


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.stem)
def test_examples_run_and_save_their_figure(script, tmp_path):
    done = run(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    figures = sorted(tmp_path.glob("*.png"))
    assert tmp_path / f"{script.stem}.png" in figures
    assert min(figure.stat().st_size for figure in figures) > 10_000


def test_demo(tmp_path):
    """The default fit agrees with LennardJones to the digits shown; whatever the bare KANs do is counted."""
    done = run("-m", "ase_kan", "demo", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines()]
    for system, bond, energy in (("dimer", 2 ** (1 / 6), -0.25), ("LJ13", 1.08184, -44.326801 / 4)):
        ours, theirs = ([row for row in rows if row[:2] == [system, name]] for name in ("KAN", "LennardJones"))
        assert ours[0][2:] == theirs[0][2:]
        assert float(ours[0][2]) == pytest.approx(bond, abs=1e-5)
        assert float(ours[0][3]) == pytest.approx(energy, abs=1e-5)
    ends = {row[0]: row[1:] for row in rows if row and row[0].split(",")[0] in ("dimer", "LJ13")}
    for start in ("dimer, inside", "dimer, closer", "LJ13, inside", "LJ13, closer"):
        default, bare = ends[start]
        assert default == "6 at rest"
        assert sum(int(part.split()[0]) for part in bare.split(", ")) == 30
    assert "collapsed" in ends["dimer, closer"][1] + ends["LJ13, closer"][1]
    energies = [row for row in rows if len(row) == 6 and row[-1] in ("data", "outside")]
    assert len(energies) == 12
    noisy = {row[0].partition(", ")[2]: float(row[2]) for row in rows if len(row) == 3 and ", the" in row[0]}
    assert noisy["the points"] < 0.0025
    assert noisy["the gap"] < 2 * 0.0025
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "potential.kan",
        "fit.png",
        "force.png",
        "noisy.png",
        "extrapolation.png",
        "network.png",
        "md_energy.png",
    }


@pytest.mark.parametrize(
    ("pair_energy", "ends"),
    [
        (lambda r, n: r**-12.0 - r**-6.0, "at rest"),
        (lambda r, n: -1 / r, "fused"),
        (lambda r, n: (r - 0.5) ** 2, "collapsed"),
        (lambda r, n: 1 / r, "apart"),
        (lambda r, n: 0.01 * r * (-1) ** n, "moving"),
    ],
)
def test_every_end_of_a_relaxation_has_a_name(pair_energy, ends):
    """Of any potential: rest, collapse, r = 0, flight, no end."""
    from ase import Atoms
    from ase.calculators.calculator import Calculator, all_changes

    from ase_kan.cli.demo import outcome

    class Pair(Calculator):
        implemented_properties = ("energy", "forces")
        calls = 0

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            r, h = atoms.get_distance(0, 1), 1e-7
            self.calls += 1
            if r < 0.05:
                raise ValueError("atoms 0 and 1 are at the same place")
            slope = (pair_energy(r + h, self.calls) - pair_energy(r - h, self.calls)) / (2 * h)
            along = (atoms.positions[1] - atoms.positions[0]) / r
            self.results = {"energy": pair_energy(r, self.calls), "forces": np.array([slope * along, -slope * along])}

    assert outcome(Atoms("Ar2", [[0, 0, 0], [1.3, 0, 0]]), Pair(), r_min=0.95, reach=4.0) == ends


def test_command_line_errors_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("-m", "ase_kan", "demo", "-o", "file/out", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("ase-kan: ")
    assert done.stderr.count("\n") == 1


def test_fit_inspect_and_plot_a_curve(tmp_path):
    r = [0.95 + 0.02 * n for n in range(60)]
    rows = [f"{x},{x**-12 - x**-6},{12 * x**-13 - 6 * x**-7}" for x in r]
    (tmp_path / "lj.csv").write_text("r,E,F\n" + "\n".join(rows))
    done = run("-m", "ase_kan", "fit", "lj.csv", "-o", "lj.kan", "--elements", "Ar", "Ar", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hold-out" in done.stdout
    assert "wrote lj.kan, lj-fit.png" in done.stdout
    told = run("-m", "ase_kan", "inspect", "lj.kan", cwd=tmp_path).stdout
    for words in (
        "elements: Ar",
        "Ar-Ar: data from 0.95 to 2.13 A",
        "ase_kan: 0.1.0",
        "energy_rmse",
        "KAN [1, 1] of 1/r",
    ):
        assert words in told
    told = run("-m", "ase_kan", "inspect", "lj.kan", "--extrapolation", cwd=tmp_path).stdout
    for words in (
        "Ar-Ar:",
        "short range, bare KAN: atoms closer than",
        "expect collapse",
        "E -> ",
        "in this potential: +",
    ):
        assert words in told
    for name, flags in (("pairs.png", ()), ("extrapolation.png", ("--extrapolation",))):
        done = run("-m", "ase_kan", "plot", "lj.kan", "-o", name, *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).stat().st_size > 10_000


def test_core_and_tail_from_the_command_line(tmp_path):
    from ase_kan import KANPotential

    rows = [f"{x},{x**-12 - x**-6}" for x in (0.95 + 0.02 * n for n in range(60))]
    (tmp_path / "lj.csv").write_text("r,E\n" + "\n".join(rows))
    command = ("-m", "ase_kan", "fit", "lj.csv", "-o", "lj.kan", "--core", "none", "--tail", "none")
    assert run(*command, cwd=tmp_path).returncode == 0
    function = KANPotential.load(tmp_path / "lj.kan").function()
    assert function.core is None
    assert function.tail is None
    assert run(*command[:-4], "--core", "zbl", "--elements", "Ar", "Ar", cwd=tmp_path).returncode == 0
    assert KANPotential.load(tmp_path / "lj.kan").function().core.charges == (18, 18)


def test_fit_structures_from_the_command_line(tmp_path):
    from ase.build import bulk
    from ase.calculators.lj import LennardJones
    from ase.io import write

    images = []
    for seed in range(30):
        atoms = bulk("Ar", "fcc", a=1.56, cubic=True)
        atoms.rattle(0.06, seed=seed)
        atoms.calc = LennardJones(epsilon=0.25, rc=2.5, smooth=True)
        atoms.get_forces()
        images.append(atoms)
    write(tmp_path / "train.extxyz", images)
    command = ("-m", "ase_kan", "fit", "train.extxyz", "-o", "ar.kan", "--cutoff", "2.5", "--validation", "0.2")
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("explained", "Ar-Ar:", "lone atoms", "30 used", "wrote ar.kan, ar-pairs.png, ar-parity.png"):
        assert words in done.stdout
    assert "30/30" in done.stderr
    assert not (tmp_path / "ar.kan.checkpoint").exists()
    assert "errors: energy" in run("-m", "ase_kan", "inspect", "ar.kan", cwd=tmp_path).stdout


def test_reprs_say_what_things_are(potential):
    from ase import Atoms

    from ase_kan import KANCalculator, Structures

    assert "KANPotential of every element, cutoff 2.5 A" in repr(potential)
    assert "data from 0.9" in repr(potential)
    assert repr(KANCalculator(potential)).startswith("KANCalculator(KANPotential of every element, cutoff 2.5 A")
    assert repr(Structures([Atoms("Ar")])) == "Structures(1 in memory)"
