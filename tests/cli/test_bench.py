"""The benchmark runs, takes turns and reports; what it measures is no test."""

import json

import pytest

from ase_kan.cli import bench
from ase_kan.cli.main import main


def test_bench(tmp_path, capsys):
    path = tmp_path / "bench.json"
    arguments = [
        "bench",
        "--sizes",
        "100",
        "--rounds",
        "2",
        "--peers",
        "autograd",
        "ase",
        "lammps-table",
        "lammps-opt-bench",
    ]
    assert main([*arguments, "--threads", "2", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "ase_kan dynamics, 2 threads" in out
    assert "processor: " in out
    found = json.loads(path.read_text())
    assert len(found["rows"]) == 6
    assert {row["atoms"] for row in found["rows"]} == {108}
    for row in found["rows"]:
        assert len(row["rounds_us"]) == 2
        assert min(row["rounds_us"]) <= row["step_us"] <= max(row["rounds_us"])
        assert row["memory_mb"] > 10


def test_bench_refuses(monkeypatch):
    with pytest.raises(ValueError, match="unknown peer 'gromacs': choose from dynamics, compiled"):
        bench.run(["gromacs"], sizes=[13])
    monkeypatch.setitem(bench.CONTENDERS, "ase", "no_such_package")
    with pytest.raises(ImportError, match=r"ase-kan\[bench\]"):
        bench.run(["ase"], sizes=[13])
