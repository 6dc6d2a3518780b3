"""Imports, command line, examples: what a newcomer meets first."""

import subprocess
import sys
from pathlib import Path

import pytest

import ase_kan

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(*command, cwd):
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_import_is_cheap(tmp_path):
    """Nothing heavy is imported: what `import ase_kan` costs beyond `import ase` is its own few lines."""
    code = "import sys, ase; before = set(sys.modules); import ase_kan; print(*(set(sys.modules) - before))"
    new = run("-c", code, cwd=tmp_path).stdout.split()
    assert [name for name in new if not name.startswith("ase_kan")] == []


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
    assert (tmp_path / f"{script.stem}.png").stat().st_size > 10_000


def test_demo(tmp_path):
    done = run("-m", "ase_kan.cli", "demo", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("hold-out", "BFGS steps", "drift", "collapsed", "extrapolated"):
        assert word in done.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"potential.kan", "fit.png", "force.png", "extrapolation.png", "edges.png", "md_energy.png"}


def test_command_line_errors_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("-m", "ase_kan.cli", "demo", "-o", "file/out", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("ase-kan: ")
    assert done.stderr.count("\n") == 1
