"""The benchmark runs, takes turns and reports; what it measures is no test."""

import json

import pytest

from ase_kan.cli import bench
from ase_kan.cli.main import main
from tests.lammps_eam import PUBLISHED


def test_bench(tmp_path, capsys):
    path = tmp_path / "bench.json"
    arguments = [
        "bench",
        "--sizes",
        "38",
        "100",
        "--rounds",
        "2",
        "--peers",
        "autograd",
        "ase",
        "lammps-table",
        "lammps-opt-bench",
        "openmm",
    ]
    assert main([*arguments, "--threads", "2", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "ase_kan dynamics, 2 threads" in out
    assert "lammps-opt-bench, 2 ranks" in out
    assert "processor: " in out
    found = json.loads(path.read_text())
    assert len(found["rows"]) == 18
    assert {row["atoms"] for row in found["rows"]} == {38, 108}
    for row in found["rows"]:
        assert len(row["rounds_us"]) == 2
        assert min(row["rounds_us"]) <= row["step_us"] <= max(row["rounds_us"])
        assert row["memory_mb"] > 10


def test_bench_of_a_metal(capsys):
    file = PUBLISHED / "CuNi.eam.alloy"
    arguments = ["bench", "--metal", str(file), "--sizes", "100", "--rounds", "1", "--peers", "lammps", "lammps-opt"]
    assert main(arguments) == 0
    *rows, processor = capsys.readouterr().out.splitlines()[1:]
    ours = [["108", "ase_kan"]] * 2  # in two loops
    assert [row.split()[:2] for row in rows] == [*ours, ["108", "lammps"], ["108", "lammps-opt"]]
    assert processor.startswith("processor: ")
    assert main(["bench", "--metal", str(PUBLISHED / "Cu_u3.eam")]) == 1
    assert "Cu_u3.eam is not a setfl file" in capsys.readouterr().err
    assert main(["bench", "--metal", str(file), "--peers", "asap3"]) == 1
    assert (
        "unknown peer 'asap3': choose from dynamics, compiled, autograd, lammps, lammps-opt" in capsys.readouterr().err
    )


def test_bench_refuses(monkeypatch):
    with pytest.raises(ValueError, match="unknown peer 'gromacs': choose from dynamics, compiled"):
        bench.run(["gromacs"], sizes=[13])
    monkeypatch.setitem(bench.CONTENDERS, "ase", "no_such_package")
    with pytest.raises(ImportError, match=r"ase-kan\[bench\]"):
        bench.run(["ase"], sizes=[13])
