"""Exported EAM files in LAMMPS, read back, and what cannot be written."""

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from ase_kan import KANCalculator, evaluate_batch, from_setfl
from ase_kan.cli.main import main
from ase_kan.exports.eam import write_table
from ase_kan.exports.lammps import write_table as write_pair_table
from ase_kan.exports.matscipy import MatscipyPair
from ase_kan.exports.openmm import to_openmm
from ase_kan.exports.pairs import ExportWarning
from tests.lammps_eam import PUBLISHED, in_lammps
from tests.potentials.test_eam import potential
from tests.synthetic_eam import SyntheticEAM

POTENTIALS = {
    "one": SyntheticEAM(elements=("Cu",)),
    "alloy": SyntheticEAM(),
    "fs": SyntheticEAM(neighbor_decides=False),
    "negative": SyntheticEAM(sign=-1.0),
    "splines": potential(channels=1),
    "splines of both": potential("finnis-sinclair", channels=1),
    "published": from_setfl(PUBLISHED / "Cu_mishin1.eam.alloy"),
}


def squeezed(symbols, factor):
    rng = np.random.default_rng(2)
    atoms = bulk("Cu", "fcc", a=3.6 * factor, cubic=True) * (3, 3, 2)
    atoms.set_cell(atoms.cell.array @ np.array([[1.02, 0, 0], [0.05, 0.98, 0], [-0.03, 0.02, 1]]), scale_atoms=True)
    atoms.rattle(0.08 * factor, rng=rng)
    atoms.symbols[:] = rng.choice(symbols, len(atoms))
    return atoms


@pytest.mark.parametrize("name", POTENTIALS)
def test_lammps_has_the_same_energies_forces_and_pressure(tmp_path, name):
    potential = POTENTIALS[name]
    with warnings.catch_warnings():
        if name != "published":
            warnings.simplefilter("error")
        else:  # whose F is too rough near zero density
            warnings.simplefilter("ignore", ExportWarning)
        script, commands = write_table(potential, tmp_path / "a.setfl", potential.elements[::-1])
    # Below the data of a pair f is written as a straight line: pairs with other data have other f there.
    style = "eam/fs" if name in ("fs", "splines", "splines of both") else "eam/alloy"
    assert commands == [f"pair_style {style}", f"pair_coeff * * a.setfl {' '.join(potential.elements[::-1])}"]
    assert script.read_text().splitlines()[2:] == commands
    # Equilibrium, and all atoms at 0.7 of their distances; a lone atom.
    images = [squeezed(potential.elements, factor) for factor in (1.0, 0.7)]
    images.append(Atoms("Cu", [[0, 0, 0]], cell=[20, 20, 20], pbc=True))
    calc = KANCalculator(potential, on_extrapolation="ignore")
    for atoms, lammps in zip(images, in_lammps(tmp_path, images, tmp_path / "a.setfl", style), strict=True):
        size = max(1.0, np.abs(lammps["forces"]).max())
        assert calc.get_potential_energy(atoms) == pytest.approx(lammps["energy"], abs=1e-7)
        np.testing.assert_allclose(calc.get_forces(atoms), lammps["forces"], rtol=0, atol=1e-7 * size)
        virial = calc.get_stress(atoms) * -atoms.get_volume()
        scale = max(1.0, np.abs(lammps["virial"]).max())
        np.testing.assert_allclose(virial, lammps["virial"], rtol=0, atol=1e-7 * scale)


def test_files_are_read_back(tmp_path):
    potential = SyntheticEAM(neighbor_decides=False)
    write_table(potential, tmp_path / "a.eam.fs")
    back = from_setfl(tmp_path / "a.eam.fs")
    assert (back.elements, back.cutoff) == (potential.elements, potential.cutoff)
    r = torch.linspace(1.2, 5.0, 500, dtype=torch.float64)
    for a in ("Cu", "Ni"):
        for b in ("Cu", "Ni"):
            np.testing.assert_allclose(back.density(r, a, b), potential.density(r, a, b), atol=1e-9)
            np.testing.assert_allclose(back.pair_energy(r, (a, b)), potential.pair_energy(r, (a, b)), atol=1e-8)
        rho = torch.linspace(0.0, 20.0, 500, dtype=torch.float64)
        expected = potential.embedding(rho, a) + potential.reference_energies[a]
        np.testing.assert_allclose(back.embedding(rho, a), expected, atol=1e-8)
    lines = (tmp_path / "a.eam.fs").read_text().splitlines()
    assert "UNITS: metal" in lines[0]
    assert lines[5] == "29 63.546 3.61 fcc"


def test_closer_than_the_data_atoms_still_repel(tmp_path):
    """Below the distances that are tabulated, r phi goes on straight, to a positive value at zero."""
    write_table(SyntheticEAM(), tmp_path / "a.setfl")
    back = from_setfl(tmp_path / "a.setfl")
    phi = back.pair_energy(torch.linspace(0.01, 1.5, 200, dtype=torch.float64), ("Cu", "Ni"))
    assert (phi.diff() < 0).all()


def test_more_values_for_a_smaller_error(tmp_path):
    sizes = []
    for tol in (1e-5, 1e-10):
        write_table(SyntheticEAM(), tmp_path / "a.setfl", tol=tol)
        sizes.append(int((tmp_path / "a.setfl").read_text().splitlines()[4].split()[2]))
    assert sizes[0] < sizes[1]
    with pytest.warns(ExportWarning, match="tol=1e-14 is out of reach with 131072 values: LAMMPS's largest error is"):
        write_table(SyntheticEAM(elements=("Cu",)), tmp_path / "a.setfl", tol=1e-14)


def test_large_energies_of_lone_atoms_do_not_hide_errors(tmp_path):
    """As of density-functional codes: thousands of eV."""
    sizes = []
    for energy in (0.0, -4000.0):
        potential = SyntheticEAM(elements=("Cu",), low=0.01, reference_energies={"Cu": energy})
        write_table(potential, tmp_path / "a.setfl", tol=1e-6)
        sizes.append((tmp_path / "a.setfl").read_text().splitlines()[4])
    assert sizes[0] == sizes[1]
    assert int(sizes[0].split()[0]) > 4000


class Endless(SyntheticEAM):
    def embedding(self, density, element, channel=0):
        return torch.log(density)


def test_what_is_not_finite_is_not_written(tmp_path):
    with (
        pytest.warns(ExportWarning, match="no straight line"),
        pytest.raises(ValueError, match="a function of the potential is not finite at 0"),
    ):
        write_table(Endless(elements=("Cu",)), tmp_path / "a.setfl")
    assert not list(tmp_path.iterdir())


class Parabolic(SyntheticEAM):
    def embedding(self, density, element, channel=0):
        return 0.1 * (density - 2.0) ** 2


def test_an_embedding_that_does_not_go_on_straight_is_told(tmp_path):
    with pytest.warns(ExportWarning, match="F of Cu is no straight line beyond the density 4:"):
        write_table(Parabolic(elements=("Cu",)), tmp_path / "a.setfl", tol=1e-4)


@pytest.mark.parametrize(
    ("potential", "keywords", "message"),
    [
        (SyntheticEAM(channels=2), {}, "one density per atom, and the potential has 2 channels"),
        (SyntheticEAM(low=-0.5), {}, r"both signs \(Cu -0.5 to 4, Ni -0.5 to 4.1\)"),
        (SyntheticEAM(), {"units": "lj"}, "units must be one of metal, real, got 'lj'"),
        (SyntheticEAM(), {"elements": ["Cu", "Ag"]}, "does not know Ag: it was fitted for Cu, Ni"),
        (SyntheticEAM(), {"tol": -1.0}, "tol must be positive"),
    ],
)
def test_refused(tmp_path, potential, keywords, message):
    with pytest.raises(ValueError, match=message):
        write_table(potential, tmp_path / "a.setfl", **keywords)
    assert not list(tmp_path.iterdir())


def test_pair_potentials_and_others_do_not_mix(tmp_path, bare):
    metal = SyntheticEAM()
    with pytest.raises(TypeError, match="write a pair potential with format 'lammps'"):
        write_table(bare, tmp_path / "a.setfl")
    for refuses, instead in (
        (lambda: write_pair_table(metal, tmp_path / "a.table"), "eam/alloy and eam/fs, format 'eam'"),
        (lambda: to_openmm(metal), "LAMMPS"),
        (lambda: MatscipyPair(metal), "KANCalculator"),
        (lambda: evaluate_batch(metal, [Atoms("Cu2", [[0, 0, 0], [0, 0, 2]])]), "KANCalculator"),
    ):
        with pytest.raises(TypeError, match="takes pair potentials, not embedded-atom potentials: use") as error:
            refuses()
        assert instead in str(error.value)


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = str(PUBLISHED / "NiAlH_jea.eam.alloy")
    assert main(["export", source, "--format", "eam", "-o", "ni.eam.alloy", "--elements", "Ni", "--tol", "1e-2"]) == 0
    assert "pair_coeff * * ni.eam.alloy Ni" in capsys.readouterr().out
    assert from_setfl("ni.eam.alloy").elements == ("Ni",)
    assert main(["export", source, "-o", "ni.table"]) == 2
    assert "use the export for eam/alloy and eam/fs, format 'eam'" in capsys.readouterr().err
