"""The command ``ase-kan discover``."""

import numpy as np
import pytest

from ase_kan import KANPotential, LawPotential, PairCurve, fit
from ase_kan.cli.main import main
from tests.analysis.test_law import lj, points
from tests.analysis.test_law_structures import clusters


def test_curve(tmp_path, capsys):
    """The formula as a person writes it, the file, the figure; `inspect`, `plot` and `export` take the file."""
    data, law = tmp_path / "lj.csv", tmp_path / "law.kan"
    np.savetxt(data, np.column_stack([points(), lj(points())]), delimiter=",")
    assert main(["discover", str(data), "-o", str(law), "--elements", "Ar", "Ar"]) == 0
    told = capsys.readouterr().out
    assert "found: Lennard-Jones 12-6\n  E(r) = 4 * 0.25 * ((1/r)^12 - (1/r)^6)" in told
    assert (tmp_path / "law-law.png").stat().st_size > 20_000
    assert LawPotential.load(law).pairs == (("Ar", "Ar"),)
    assert main(["inspect", str(law)]) == 0
    assert "a formula, data from 0.978937 to 1.97977 A" in capsys.readouterr().out
    assert main(["plot", str(law), "-o", str(tmp_path / "pairs.png")]) == 0
    assert main(["export", str(law), "-o", str(tmp_path / "law.table")]) == 0
    with pytest.raises(ValueError, match=r"it holds a law, not a KAN: use LawPotential\.load"):
        KANPotential.load(law)


def test_structures_and_potentials(tmp_path, capsys):
    from ase.io import write

    write(tmp_path / "clusters.extxyz", clusters(8))
    assert main(["discover", str(tmp_path / "clusters.extxyz"), "-o", str(tmp_path / "a.kan")]) == 0
    assert "found: Lennard-Jones 12-6" in capsys.readouterr().out
    fit(PairCurve(points(), lj(points()))).potential.save(tmp_path / "kan.kan")
    assert main(["discover", str(tmp_path / "kan.kan"), "-o", str(tmp_path / "b.kan"), "--errors", "1e-6"]) == 0
    assert "found: Lennard-Jones 12-6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("discover none.csv -o x.kan", 1, "no curve file at none.csv"),
        ("discover none.extxyz -o x.kan --units bohr eV", 2, "units is for curves, and none.extxyz is none"),
        ("discover lj.csv -o x.kan --errors 1", 2, "errors is for potentials, and lj.csv is none"),
        ("discover lj.csv -o lj.csv", 1, "lj.csv is read and would be overwritten"),
        ("discover few.csv -o x.kan", 1, "at least 6 different distances, got 4"),
    ],
)
def test_refusals(command, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savetxt("lj.csv", np.column_stack([points(), lj(points())]))
    np.savetxt("few.csv", np.column_stack([points(), lj(points())])[:4])
    assert main(command.split()) == code
    assert message in capsys.readouterr().err
