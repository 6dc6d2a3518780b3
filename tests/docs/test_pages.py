"""Code of README and of the pages runs as it stands there; the notebook does too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import nbclient
import nbformat
import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import ase_kan
from ase_kan import KANCalculator, PairCurve, fit
from tests.shared import lj_energy

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
#: Longer than a test may take: fewer steps do the same.
SHORTER = {"run.run(1_000_000)": "run.run(2_000)"}


def blocks(path):
    """Python code of a page, in order, and the lines where it begins."""
    text = path.read_text()
    for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield text[: found.start()].count("\n") + 2, found[1]


@pytest.fixture(scope="module")
def curve():
    return PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.5, n=80, elements=("Ar", "Ar"))


@pytest.fixture
def prepared(curve, tmp_path, monkeypatch):
    """What pages take for granted: a curve, its potential, atoms, files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    potential = fit(curve, cutoff=2.5).potential
    potential.save("ar.kan")
    rng = np.random.default_rng(0)
    structures = []
    for scale in np.linspace(0.97, 1.05, 8):
        atoms = bulk("Ar", "fcc", a=1.55 * scale, cubic=True) * (3, 3, 3)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        atoms.calc = LennardJones(epsilon=0.25, sigma=1, rc=2.2, smooth=True)
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        structures.append(atoms)
    write("train.extxyz", structures)

    def with_calculator(atoms):
        atoms.calc = KANCalculator(potential)
        return atoms

    crystal = bulk("Ar", "fcc", a=1.55, cubic=True) * (4, 4, 4)
    given = {
        **{name: getattr(ase_kan, name) for name in ("KANCalculator", "PairCurve", "Structures", "fit")},
        "curve": curve,
        "potential": potential,
        "r": np.linspace(1.0, 2.0, 5),
        "atoms": crystal,
        "list_of_atoms": [with_calculator(Atoms("Ar2", [[0, 0, 0], [d, 0, 0]])) for d in (1.1, 1.3)],
        "lattice_constant": lambda p: p.energy(np.linspace(1.0, 1.3, 50)).argmin(),
    }
    return given


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_pages_runs(page, prepared):
    namespace = dict(prepared)
    if page.name == "argon.md":
        namespace |= {"ab_initio": example_11()["ab_initio"]}
    if page.name == "exports.md":
        namespace["system"] = openmm.System()
    for line, code in blocks(page):
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        try:
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
        except Exception as error:
            raise AssertionError(f"{page.name}, the code at line {line}: {type(error).__name__}: {error}") from error


def test_input_of_lammps_runs(prepared):
    """The recipe's own input: LAMMPS begins at the energy of the calculator."""
    page = (ROOT / "docs" / "recipes.md").read_text()
    namespace = dict(prepared)
    exec(next(code for _, code in blocks(ROOT / "docs" / "recipes.md")), namespace)
    script = re.search(r"^```\n(# in\.run.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    Path("in.run").write_text(script)
    environment = os.environ | {"LD_LIBRARY_PATH": str(Path(sys.prefix, "lib"))}
    program = Path(sys.prefix, "bin", "lmp")
    subprocess.run([program, "-in", "in.run", "-screen", "none"], env=environment, check=True)
    rows = re.search(
        r"^\s*Step +Temp +E_pair.*?\n(.*?)^Loop", Path("log.lammps").read_text(), re.DOTALL | re.MULTILINE
    )[1]
    step, temperature, energy = np.array([row.split()[:3] for row in rows.splitlines()], dtype=float).T
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (5, 5, 5)
    atoms.calc = KANCalculator(namespace["potential"])
    assert energy[0] == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
    assert step[-1] == 1000
    assert 10 < temperature[-1] < 100


def example_11():
    """The functions of the argon example, without running it."""
    text = (ROOT / "examples" / "11_argon_from_first_principles.py").read_text()
    namespace: dict = {}
    exec(text[: text.index("\nrng = np.random")], namespace)
    return namespace


def test_argon():
    """The formulas of the example: B2 of the tables of the authors, and the bound states of the dimer."""
    example = example_11()
    classical = dict(zip(example["TEMPERATURES"], example["virial"](example["ab_initio"], quantum=False), strict=True))
    for kelvin, value in {100: -183.81, 150: -86.62, 200: -48.15, 300: -15.29, 500: 6.96, 1000: 20.30}.items():
        assert classical[kelvin] == pytest.approx(value, abs=0.05)
    with_quantum = example["virial"](example["ab_initio"])[1]
    assert with_quantum == pytest.approx(-182.4, abs=0.1)
    assert example["virial"](example["lennard_jones"], quantum=False)[1] == pytest.approx(-172.8, abs=0.2)
    assert example["dimer"](example["ab_initio"])[1] == pytest.approx(25.69, abs=0.1)  # measured
    lattice, energy = example["fcc"](example["lennard_jones"])
    epsilon, sigma = example["LJ"]
    assert lattice == pytest.approx(1.0902 * 2**0.5 * sigma, rel=1e-3)
    assert energy == pytest.approx(8.6102 * epsilon * 1000, rel=1e-3)


def test_notebook(tmp_path):
    notebook = nbformat.read(ROOT / "docs" / "first_steps.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("hold-out" in output.get("text", "") for output in shown)
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    assert all(not cell.get("outputs") for cell in nbformat.read(ROOT / "docs" / "first_steps.ipynb", 4).cells)
