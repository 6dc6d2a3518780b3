"""Curves in text files: every habit of people and programs gives the same numbers, or one clear refusal."""

import ase.units
import numpy as np
import pytest

from ase_kan import PairCurve
from ase_kan.data.columns import is_curve
from ase_kan.data.units import energy_unit, force_unit, length_unit
from tests.shared import lj_energy, lj_force

R = np.linspace(0.95, 2.5, 40)
E, F = lj_energy(R), lj_force(R)


def text(separator=" ", columns=(R, E), mark=None, head="", number=repr):
    rows = [separator.join(number(float(x)) for x in row) for row in zip(*columns, strict=True)]
    rows = [row.replace(".", mark) for row in rows] if mark else rows
    return head + "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (text(), "utf-8-sig"),
        (text(","), "utf-8-sig"),
        (text("\t"), "utf-16"),
        (text(head="# Abst\u00e4nde in \u00c5\n"), "latin-1"),
        (text(head="% matlab\n@ xmgrace\n! fortran\n# numpy\n\n"), "ascii"),
        (text(","), "ascii"),
        (text(", "), "ascii"),
        (text(",", head="r,E\n"), "ascii"),
        (text(",", head='"r","Energy"\n'), "ascii"),
        (text(";"), "ascii"),
        (text(";", mark=",", head="r;E\n"), "ascii"),
        (text("\t", mark=","), "ascii"),
        (text(number=lambda x: f"{x:.17e}".replace("e", "D")), "ascii"),
        (text(number=lambda x: f"{x:.17e}".replace("e", "d")), "ascii"),
        (text(head="r E\nAngstrom eV\n"), "ascii"),
        (text(head="# r (A)   E (eV)\n"), "ascii"),
        (text(head="r[\u00c5] E[eV]\n"), "latin-1"),
        (text(head="distance/A energy/eV\n"), "ascii"),
        (text(number=lambda x: f'"{x!r}"', separator=","), "ascii"),
        (text().replace("\n", "  # a note\n"), "ascii"),
        (text().replace("\n", "\r\n"), "ascii"),
        (text(",").replace("\n", ",\n"), "ascii"),
        (text(columns=(E, R), head="E r\n"), "ascii"),
        (text(columns=(E, R), head="# E r\n"), "ascii"),
        (text(columns=(R / ase.units.Bohr, E / ase.units.Hartree), head="r/bohr E/hartree\n"), "ascii"),
        (text(columns=(R / ase.units.Bohr, 1e3 * E), head="# r E\n# a0 meV\n"), "ascii"),
        (text(columns=(R / ase.units.Bohr, E / ase.units.Hartree), head="# r [bohr], E [hartree]\n"), "ascii"),
        (text(columns=(R, E / ase.units.invcm), head="r V(r)[cm^-1]\n"), "ascii"),
        (text(head="# E in eV, r in Angstrom; 12:30 PM\n"), "ascii"),
        (text(";", columns=(R / 10, E / ase.units.kB), head="r (nm);E (K)\n"), "ascii"),
    ],
)
def test_two_columns(content, encoding, tmp_path):
    path = tmp_path / "curve.dat"
    path.write_bytes(content.encode(encoding))
    curve = PairCurve.read(path)
    np.testing.assert_allclose(curve.r, R, rtol=1e-14)
    np.testing.assert_allclose(curve.energy, E, rtol=1e-13)
    assert curve.force is None
    assert is_curve(path)


def test_fortran_exponents_without_a_letter(tmp_path):
    (tmp_path / "a.dat").write_text("1.0 0.5\n2.0 0.1234-101\n")
    np.testing.assert_allclose(PairCurve.read(tmp_path / "a.dat").energy, [0.5, 0.1234e-101])


@pytest.mark.parametrize(
    ("content", "keywords"),
    [
        (text(columns=(R, E, F)), {}),
        (text(columns=(R, E, F), head="r,E,F\n".replace(",", " ")), {}),
        (text(columns=(R, F, E), head="r force energy\n"), {}),
        (text(columns=(R, F, E), head="# r  force  energy\n"), {}),
        (text(columns=(R, E, -F), head="r E dE/dr\n"), {}),
        (text(columns=(R, E, -F)), {"columns": ("r", "energy", "gradient")}),
        (text(columns=(F, R, R, E, R)), {"columns": ("force", "skip", "r", "energy")}),
        (text(columns=(R, E, F / force_unit("Hartree/Bohr")), head="# r/A E/eV F/(Hartree/Bohr)\n"), {}),
        (
            text(columns=(R / ase.units.Bohr, E / ase.units.Ha, F * ase.units.Bohr / ase.units.Ha)),
            {"units": ("bohr", "hartree")},
        ),
        (
            text(columns=(R, E / ase.units.Ha, F), head="r (A),E (Ha),F (eV/A)\n".replace(",", " ")),
            {"units": ("Angstrom", "hartree")},
        ),
    ],
)
def test_forces(content, keywords, tmp_path):
    (tmp_path / "curve.txt").write_text(content)
    curve = PairCurve.read(tmp_path / "curve.txt", **keywords)
    np.testing.assert_allclose(curve.energy, E, rtol=1e-13)
    np.testing.assert_allclose(curve.force, F, rtol=1e-13)


@pytest.mark.parametrize("n", [6, 10, 400])
@pytest.mark.parametrize("span", [(0.8, 5.0), (1.0, 1.5), (1.2, 3.0)])
def test_a_third_column_is_held_against_the_slope(n, span, tmp_path):
    """Coarse, fine, random and noisy points; forces pass, gradients and error estimates do not."""
    rng = np.random.default_rng(n)
    path = tmp_path / "curve.dat"
    for r in (np.linspace(*span, n), np.sort(rng.uniform(*span, n))):
        noisy = lj_energy(r) + rng.normal(0, 1e-3, n) * (n > 50)
        path.write_text(text(columns=(r, noisy, lj_force(r))))
        np.testing.assert_array_equal(PairCurve.read(path).force, lj_force(r))
        path.write_text(text(columns=(r, noisy, -lj_force(r))))
        for keywords in ({}, {"columns": ("r", "energy", "force")}):
            with pytest.raises(ValueError, match=r"looks like a gradient dE/dr: say --columns r,energy,gradient"):
                PairCurve.read(path, **keywords)
        # Six points on a steep wall cannot tell a wrong unit, nor random numbers of the right size.
        thirds = [np.full(n, 1e-3), 0.01 * np.abs(noisy) + 1e-4, rng.uniform(0, 0.1, n), 0.04 * lj_force(r)]
        for third in thirds[: 2 if n == 6 else 4]:
            path.write_text(text(columns=(r, noisy, third)))
            with pytest.raises(
                ValueError, match=r"error estimate, or has other units: say --columns r,energy,error|gradient"
            ):
                PairCurve.read(path)
            assert PairCurve.read(path, columns=("r", "energy", "skip")).force is None
            if third.min() > 0:
                np.testing.assert_array_equal(PairCurve.read(path, columns=("r", "energy", "error")).errors, third)
    path.write_text(text(columns=(r, noisy, third)))
    np.testing.assert_array_equal(PairCurve.read(path, columns=("r", "energy", "force")).force, third)
    path.write_text(text(columns=(r, noisy, lj_force(r)), head="r E gradient\n"))
    with pytest.raises(ValueError, match=r"looks like a force -dE/dr: say --columns r,energy,force"):
        PairCurve.read(path)


@pytest.mark.parametrize(
    ("content", "keywords", "message"),
    [
        (text(columns=(R, E, F, F)), {}, r"got 4: say what each is: --columns"),
        (text(columns=(R,)), {}, r"got 1"),
        (text(columns=(R, E, F), head="r E sigma\n"), {}, r"column 3 is named 'sigma', which is not understood"),
        (text(columns=(R, E, F), head="# r E sigma\n"), {}, r"column 3 is named 'sigma'"),
        (text(head="r E F\n"), {}, r"'r E F' does not name 2 columns"),
        (text(head="Argon dimer\n"), {}, r"column 1 is named 'Argon'"),
        (text(head="# distances in bohr\n"), {}, r"a comment speaks of 'bohr': give the units"),
        (text(head="# E_int (kcal/mol)\n"), {"columns": ("r", "energy")}, r"a comment speaks of 'kcal/mol'"),
        ("l.0 0.5\n" + text(), {"columns": ("r", "energy")}, r"'l\.0 0\.5' is neither a row of numbers nor names"),
        (text(head="r r\n"), {}, r"the columns are named r, r"),
        (text(head="r/bohr E/eV\n"), {"units": ("A", "eV")}, r"says r is in bohr, and the units given say A"),
        (text(head="r (parsec) E\n"), {}, r"unknown unit of length 'parsec'"),
        (text(), {"units": ("bohr", "furlong")}, r"unknown unit of energy 'furlong': choose one of eV, meV"),
        (text(), {"units": ("bohr", "MeV")}, r"unknown unit of energy 'MeV'"),
        (text(), {"columns": ("r", "energy", "force")}, r"3 columns are named, and the file has 2"),
        (text(), {"columns": ("r", "e")}, r"columns are a list of r, energy"),
        (text(), {"columns": "r,energy"}, r"columns are a list of"),
        (text(), {"columns": ("r", "r")}, r"must name r and energy once"),
        ("1 2\n2 nan\n", {}, r"line 2: energy is nan"),
        ("# x\n1 2\n\n0 3\n", {}, r"line 4: r is 0: distances must be positive"),
        ("1 2\n2 *****\n", {}, r"line 2: '\*\*\*\*\*' is not a number"),
        ("1 2\n2 3 4\n", {}, r"line 2 has 3 columns, and the rows before have 2"),
        ("1,,2\n2,,3\n", {}, r"line 1: a column is empty"),
        ("0,95 1,2\n1,0 0,5\n", {}, r"a decimal comma needs ; or a tab"),
        ("", {}, "no row of numbers"),
        ("# nothing\n", {}, "no row of numbers"),
        ("1 2\0", {}, "not a text file"),
        (text(), {"subtract": "mean"}, "a finite number or 'limit'"),
        (text(), {"subtract": np.nan}, "a finite number or 'limit'"),
        ("1 2\n2 3\n", {"subtract": "limit"}, "the limit of the energy needs 5 points"),
    ],
)
def test_refusals_name_file_and_line(content, keywords, message, tmp_path):
    (tmp_path / "bad.dat").write_text(content)
    with pytest.raises(ValueError, match=message) as raised:
        PairCurve.read(tmp_path / "bad.dat", **keywords)
    assert "\n" not in str(raised.value)
    assert "bad.dat" in str(raised.value) or "columns" in keywords


def test_columns_given_keep_the_units_of_the_file(tmp_path):
    (tmp_path / "a.dat").write_text(text(columns=(R / ase.units.Bohr, E, E), head="r/bohr E/eV sigma\n"))
    curve = PairCurve.read(tmp_path / "a.dat", columns=("r", "energy", "skip"))
    np.testing.assert_allclose(curve.r, R, rtol=1e-14)


def test_units_are_those_of_ase():
    """Independent values: CODATA 2018, good to the eight digits that the editions share."""
    for name, value in (
        ("Bohr", 0.529177210903),
        ("a0", 0.529177210903),
        ("nm", 10),
        ("pm", 0.01),
        ("\u00c5", 1),
        ("ANGSTROM", 1),
    ):
        assert length_unit(name) == pytest.approx(value, rel=1e-7)
    for name, value in (
        ("Hartree", 27.211386245988),
        ("mEh", 27.211386245988e-3),
        ("Rydberg", 13.605693122994),
        ("kcal/mol", 0.0433641043),
        ("kJ/mol", 0.0103642697),
        ("K", 8.617333262e-5),
        ("cm^-1", 1.239841984e-4),
        ("cm-1", 1.239841984e-4),
        ("meV", 1e-3),
        ("J", 6.241509074e18),
    ):
        assert energy_unit(name) == pytest.approx(value, rel=1e-6)
    assert force_unit("kcal/mol/A") == energy_unit("kcal/mol")


def test_total_energies(tmp_path):
    """E(inf) of -1055.2 hartree, as a number in the file's unit or from the curve itself."""
    r = np.linspace(3.2, 9.0, 60)
    pair = 4 * 0.0104 * ((3.4 / r) ** 12 - (3.4 / r) ** 6)
    path = tmp_path / "total.dat"
    path.write_text(text(columns=(r, pair / ase.units.Hartree - 1055.2)))
    given = PairCurve.read(path, units=("A", "hartree"), subtract=-1055.2)
    np.testing.assert_allclose(given.energy, pair, atol=1e-10)
    found = PairCurve.read(path, units=("A", "hartree"), subtract="limit")
    np.testing.assert_allclose(found.energy, pair, atol=5e-6)
    assert found.subtracted == pytest.approx(-1055.2 * ase.units.Hartree, abs=5e-6)


def test_what_is_a_curve_is_decided_by_content(tmp_path):
    from ase import Atoms
    from ase.io import write

    for name in ("a.CSV", "b.Tsv", "c.TAB", "d.asc", "e.out", "f", "g.curve"):
        (tmp_path / name).write_text(text(head="# r E\n"))
        assert is_curve(tmp_path / name)
    assert is_curve(tmp_path / "missing.TSV")
    for name in ("a.xyz", "b.extxyz", "c.traj", "POSCAR", "d.cif", "e.json", "f.lmp"):
        write(tmp_path / name, Atoms("Ar2", [[0, 0, 0], [1, 0, 0]], cell=[5, 5, 5], pbc=True),
              **({"format": "lammps-data"} if name == "f.lmp" else {}))  # fmt: skip
        assert not is_curve(tmp_path / name)
    (tmp_path / "dump.lammpstrj").write_text("ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\n1 2\n3 4\n")
    assert not is_curve(tmp_path / "dump.lammpstrj")


def test_errors_of_energies_are_read_by_name_and_in_their_unit(tmp_path):
    path, r = tmp_path / "curve.dat", np.linspace(1, 2, 8)
    errors = np.linspace(0.1, 0.3, 8)
    path.write_text(text(columns=(r, lj_energy(r), lj_force(r), errors), head="r/A E/eV F error/meV\n"))
    curve = PairCurve.read(path)
    np.testing.assert_allclose(curve.errors, errors / 1e3)
    np.testing.assert_array_equal(curve.force, lj_force(r))
    path.write_text(text(columns=(r, lj_energy(r), errors), head="r E uncertainty\n"))
    np.testing.assert_allclose(
        PairCurve.read(path, units=("A", "kcal/mol")).errors, errors * ase.units.kcal / ase.units.mol
    )
    path.write_text(text(columns=(r, lj_energy(r), errors - 0.1), head="r E error\n"))
    with pytest.raises(ValueError, match="errors must be positive"):
        PairCurve.read(path)
    with pytest.raises(ValueError, match="error at most once"):
        PairCurve.read(path, columns=("r", "energy", "error", "error"))
