"""The command line refuses bad input in one line: exit code 1 for data, 2 for usage, 130 after Ctrl-C."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

from ase_kan import KANEAM, KANPotential
from ase_kan.cli.main import main
from tests.fit.test_eam import structures
from tests.shared import lj_energy
from tests.synthetic_eam import SyntheticEAM

R = np.linspace(0.95, 2.5, 60)


@pytest.fixture
def folder(tmp_path, monkeypatch, potential):
    """A folder with a curve, bad files of many kinds and a potential."""
    monkeypatch.chdir(tmp_path)
    np.savetxt("lj.csv", np.column_stack([R, lj_energy(R)]), delimiter=",")
    np.savetxt("tiny.csv", np.column_stack([np.append(1e-300, R), np.append(0, lj_energy(R))]))
    np.savetxt("metres.csv", np.column_stack([R * 1e-10, lj_energy(R)]))
    np.savetxt("large.csv", np.column_stack([R, lj_energy(R) * 1e305]))
    Path("empty.extxyz").touch()
    Path("empty.csv").touch()
    Path("short.extxyz").write_text("3\nenergy=1 Properties=species:S:1:pos:R:3\nAr 0 0 0\n")
    pair = "2\nenergy=1 Properties=species:S:1:pos:R:3\nAr 0 0 0\n{} 0 0 3\n"
    Path("zz.extxyz").write_text(pair.format("Ar") + pair.format("Zz"))
    Path("far.extxyz").write_text(pair.format("Ar"))
    Path("noise").write_bytes(bytes(range(256)))
    Path("notes.txt").write_text("mine")
    potential.save("p.kan")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("fit none.csv -o x.kan", 1, "no curve file at none.csv"),
        ("fit none.extxyz -o x.kan", 1, "no file of structures at none.extxyz"),
        ("fit none.extxyz -o x.kan --cutoff 3", 1, "no file of structures"),
        ("fit none.csv -o x.kan --validation 0.1", 2, "validation is for structures"),
        ("fit zz.extxyz -o x.kan --cutoff 3 --units bohr eV", 2, "units is for curves"),
        ("fit lj.csv -o x.kan --cutoff nan", 2, "must be above 0, got nan"),
        ("fit lj.csv -o x.kan --cutoff -1", 2, "must be above 0, got -1"),
        ("fit lj.csv -o x.kan --cutoff inf", 2, "must be finite, got inf"),
        ("fit lj.csv -o x.kan --cutoff 0.9", 1, "leaves 0 of 60 points"),
        ("fit lj.csv -o x.kan --grid 0", 2, "must be at least 1, got 0"),
        ("fit lj.csv -o x.kan --seed -1", 2, "must be at least 0, got -1"),
        ("fit lj.csv -o x.kan --seed 99999999999", 2, "must be below"),
        ("fit lj.csv -o x.kan --validation 1", 2, "must be below 1, got 1"),
        ("fit lj.csv -o x.kan --subtract some", 2, "must be a number or limit, got some"),
        ("fit lj.csv -o x.kan --units bohr furlong", 1, "unknown unit of energy 'furlong'"),
        ("fit lj.csv -o x.kan --columns r,what", 1, "columns are a list of"),
        ("fit lj.csv -o x.kan --elements Zz Ar", 1, "two chemical symbols"),
        ("fit tiny.csv -o x.kan", 1, "tiny.csv: distances must lie between 0.0001 and 100000 A, got r = 1e-300"),
        ("fit metres.csv -o x.kan", 1, "got r = 9.5e-11: other units?"),
        ("fit large.csv -o x.kan", 1, "large.csv: energy[0] is 4.9"),
        ("fit empty.csv -o x.kan", 1, "empty.csv: there is no row of numbers"),
        ("fit empty.extxyz -o x.kan --cutoff 3", 1, "empty.extxyz, structure 0: ASE cannot read it"),
        ("fit short.extxyz -o x.kan --cutoff 3", 1, "short.extxyz, structure 0: ASE cannot read it"),
        ("fit zz.extxyz -o x.kan --cutoff 3", 1, "zz.extxyz, structure 1: ASE cannot read it: KeyError: 'Zz'"),
        ("fit far.extxyz -o x.kan --cutoff 4 --elements Zz", 1, "elements must be chemical symbols, got 'Zz'"),
        ("fit lj.csv -o x.kan --weights energy=1", 2, "weights is for structures"),
        ("fit lj.csv -o x.kan --group-key kind", 2, "group_key is for structures"),
        ("fit lj.csv -o x.kan --baseline zbl", 1, "needs the elements of the curve"),
        ("fit lj.csv -o x.kan --baseline Na=one", 2, "must be name=number, with commas between, got Na=one"),
        ("fit lj.csv -o x.kan --baseline none.kan", 1, "no potential file at none.kan"),
        ("fit zz.extxyz -o x.kan --cutoff 3 --weights energy", 2, "must be name=value, with commas between"),
        ("fit zz.extxyz -o x.kan --cutoff 3 --weights e=1", 1, "weights are those of energy, forces, virial"),
        ("fit far.extxyz -o x.kan --cutoff 4 --no-smooth --onset 0.9", 1, "smooth=False subtracts"),
        ("fit noise -o x.kan --cutoff 3", 1, "noise, structure 0: ASE cannot read it"),
        ("fit lj.csv -o lj.csv", 1, "lj.csv is read and would be overwritten"),
        ("fit lj.csv -o ./lj.csv", 1, "lj.csv is read and would be overwritten"),
        ("fit lj.csv -o notes.txt", 1, "notes.txt exists and is not a potential"),
        ("fit lj.csv -o .", 1, "it is a folder"),
        ("fit lj.csv -o nowhere/x.kan", 1, "there is no folder nowhere"),
        ("inspect none.kan", 1, "no potential file"),
        ("inspect noise", 1, "noise is damaged or not an ase_kan potential"),
        ("plot p.kan -o noext", 1, "noext has no suffix of a figure: choose one of"),
        ("plot p.kan -o p.kan", 1, "p.kan is read and would be overwritten"),
        ("plot p.kan -o notes.txt", 1, "notes.txt exists and is not a figure"),
        ("export p.kan -o p.kan", 1, "p.kan is read and would be overwritten"),
        ("export p.kan -o notes.txt", 1, "notes.txt exists and is not a LAMMPS table"),
        ("export p.kan -o in.in", 2, "in.in is where the commands go"),
        ("export p.kan -o x.table --tol nan", 2, "must be above 0, got nan"),
        ("bench --sizes -5", 2, "must be at least 1, got -5"),
        ("bench --rounds 0", 2, "must be at least 1, got 0"),
        ("bench --peers nobody", 1, "unknown peer 'nobody'"),
        ("bench --json notes.txt", 1, "notes.txt exists and is not a benchmark"),
        ("demo -o notes.txt", 1, "notes.txt"),
        ("frobnicate", 2, "invalid choice"),
    ],
)
def test_refusals(command, code, message, folder, capsys):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    try:
        returned, by_argparse = main(command.split()), False
    except SystemExit as stop:
        returned, by_argparse = stop.code, True
    err = capsys.readouterr().err
    assert message in err
    assert returned == code
    if not by_argparse:  # which puts its usage before the line
        assert err.count("\n") == 1 or "fit ━" in err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_hard_links_and_links_are_the_same_file(folder, capsys):
    Path("hard.csv").hardlink_to("lj.csv")
    Path("soft.csv").symlink_to("lj.csv")
    for name in ("hard.csv", "soft.csv"):
        assert main(["fit", "lj.csv", "-o", name]) == 1
        assert "would be overwritten" in capsys.readouterr().err


def test_what_a_command_wrote_it_may_write_again(folder, capsys):
    """Also over an empty file. A file beside the output that is somebody's stops the command before it works."""
    Path("x.kan").touch()
    for _ in range(2):
        assert main(["fit", "lj.csv", "-o", "x.kan"]) == 0
        assert main(["plot", "x.kan", "-o", "x.svg"]) == 0
        assert main(["export", "x.kan", "-o", "x.table", "--tol", "1e-2"]) == 0
    Path("in.x").write_text("pair_style lj/cut 2.5\n")
    assert main(["export", "x.kan", "-o", "x.table", "--tol", "1e-2"]) == 1
    assert "in.x exists and is not a LAMMPS script" in capsys.readouterr().err
    Path("y-fit.png").write_text("notes")
    assert main(["fit", "lj.csv", "-o", "y.kan"]) == 1
    assert not Path("y.kan").exists()


def test_benchmarks_are_overwritten(folder, monkeypatch):
    from ase_kan.cli import bench

    monkeypatch.setattr(bench, "run", lambda *_: [])
    monkeypatch.setattr(bench, "table", lambda _: "")
    for _ in range(2):
        assert main(["bench", "--json", "b.json"]) == 0
    assert json.loads(Path("b.json").read_text())["rows"] == []


def test_ctrl_c(folder, monkeypatch, capsys):
    from ase_kan.cli import fit as train

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "curve", interrupted)
    assert main(["fit", "lj.csv", "-o", "x.kan"]) == 130
    assert capsys.readouterr().err == "ase-kan: interrupted\n"


def test_units_columns_and_subtract(folder, capsys):
    """A file in bohr and hartree with total energies and an error estimate, against the same curve in eV."""
    from ase.units import Bohr, Hartree

    energies = lj_energy(R) / Hartree - 527.5
    np.savetxt("total.out", np.column_stack([R / Bohr, energies, 0 * R + 1e-6]), fmt="%.17g")
    command = "fit total.out -o total.kan --columns r,energy,skip --units bohr hartree --subtract -527.5"
    assert main(command.split()) == 0
    assert "subtracted -14354.0" in capsys.readouterr().out
    assert main(["fit", "lj.csv", "-o", "lj.kan"]) == 0
    total, plain = (KANPotential.load(name) for name in ("total.kan", "lj.kan"))
    assert total.info["subtracted"] == pytest.approx(-527.5 * Hartree)
    np.testing.assert_allclose(total.energy(R), plain.energy(R), atol=1e-6)
    np.testing.assert_allclose(total.energy(R), lj_energy(R), atol=1e-4)


def test_warnings_are_one_line(folder, capsys):
    np.savetxt("total.dat", np.column_stack([R, lj_energy(R) + 28_700]))
    assert main(["fit", "total.dat", "-o", "x.kan"]) == 0
    err = capsys.readouterr().err.splitlines()
    assert [line for line in err if "warning" in line] == err
    assert any("does not head for zero" in line for line in err)


def test_baseline_weights_and_errors(folder, capsys):
    """A baseline from a file, errors of points, no switching; weights and groups of structures."""
    errors = np.where(np.arange(len(R)) % 2, 1.0, 1e-3)
    noisy = lj_energy(R) + np.where(errors == 1, 0.05, 0.0)
    np.savetxt("noisy.csv", np.column_stack([R, noisy, errors]), delimiter=",", header="r,E,error", comments="")
    assert main(["fit", "noisy.csv", "-o", "x.kan", "--no-smooth", "--cutoff", "3"]) == 0
    fitted = KANPotential.load("x.kan")
    assert fitted.function().cutoff.onset is None
    inside = R[4:-4]
    shift = fitted.energy(2.9) - lj_energy(2.9)
    np.testing.assert_allclose(fitted.energy(inside) - shift, lj_energy(inside), atol=5e-3)
    assert main(["fit", "lj.csv", "-o", "y.kan", "--baseline", "x.kan"]) == 0
    assert KANPotential.load("y.kan").function().baseline is not None
    frames = "2\nenergy={} kind={} w={} Properties=species:S:1:pos:R:3\nAr 0 0 0\nAr 0 0 {}\n"
    rows = [(lj_energy(r), "near" if r < 1.5 else "far", float(r < 2.4), r) for r in R]
    Path("dimers.extxyz").write_text("".join(frames.format(*row) for row in rows))
    command = "fit dimers.extxyz -o z.kan --cutoff 2.6 --grid 8 --group-key kind --property-weight-keys energy=w"
    assert main([*command.split(), "--weights", "energy=2"]) == 0
    info = KANPotential.load("z.kan").info
    assert set(info["groups"]) == {"near", "far"}
    assert info["weights"]["energy"] == 2


def test_embedded_atom_potentials(folder, capsys):
    """Fitted, inspected, plotted and exported; options of the other model are refused."""
    truth = SyntheticEAM(elements=("Cu",), cutoff=4.5)
    write("cu.extxyz", structures(("Cu",), 20, potential=truth))
    command = "fit cu.extxyz --model eam --cutoff 4.5 --grid 6 --embedding-grid 3 -o cu.kan"
    assert main(command.split()) == 0
    told = capsys.readouterr().out
    assert "a pair potential" in told
    assert "cu-functions.png" in told
    assert Path("cu-parity.png").exists()
    assert not Path("cu.kan.checkpoint").exists()
    assert KANEAM.load("cu.kan").grid == 6
    assert main(["inspect", "cu.kan"]) == 0
    assert "embedded-atom potential of Cu: 1 density per atom" in capsys.readouterr().out
    assert main(["plot", "cu.kan", "-o", "figure.png"]) == 0
    assert main(["inspect", "cu.kan", "--extrapolation"]) == 1
    assert main(f"{command} --width 1 2 1".split()) == 2
    assert "width is for pair potentials" in capsys.readouterr().err
    assert main(["fit", "cu.extxyz", "--channels", "2", "--cutoff", "4.5", "-o", "x.kan"]) == 2
    assert "channels is for embedded-atom potentials" in capsys.readouterr().err
    assert main(["fit", "lj.csv", "--model", "eam", "-o", "x.kan"]) == 2
