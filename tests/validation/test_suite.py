"""The physics of Lennard-Jones: from Lennard-Jones itself, and from the default fit to energies on [0.95, 2.0].

References are series, lattice sums, ASE's `LennardJones`, the Cambridge Cluster Database and NIST.
"""

import math

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones

from ase_kan import KANCalculator, KANPotential, PairCurve, fit
from ase_kan.cli.main import main
from ase_kan.validation import clusters, crystal, lennard_jones, liquid, suite, virial


@pytest.fixture(scope="module")
def fitted():
    curve = PairCurve.from_function(lennard_jones.energy, r_min=0.95, r_max=2.0, n=50, seed=0)
    return lennard_jones.reduced(fit(curve, cutoff=lennard_jones.REACH).potential)


@pytest.fixture(scope="module", autouse=True)
def short_simulations():
    """Half as long as the command's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liquid, "STEPS", 10_000)
        liquid._simulate.cache_clear()
        yield
    liquid._simulate.cache_clear()


@pytest.fixture(scope="module", params=["exact", "default fit"])
def subject(request, fitted):
    return lennard_jones.exact() if request.param == "exact" else fitted


def errors(reference, found):
    assert reference.keys() == found.keys()
    return {name: abs(found[name] - value) for name, value in reference.items()}


def test_gas(subject):
    """Beyond its cutoff of 20 sigma the potential lacks 4 pi/3 rho_6 / 20^3, which is 3e-4 of B2 at T = 2."""
    apart = errors(virial.reference(), virial.check(subject))
    assert apart.pop("Boyle temperature") < 1.5e-3
    assert max(apart.values()) < 1.5e-3
    assert virial.reference()["Boyle temperature"] == pytest.approx(3.4179, abs=5e-5)
    assert virial.series(1.0) == pytest.approx(-2.5381, abs=1e-4)  # Hirschfelder, Curtiss and Bird, table I-B


def test_crystal(subject):
    reference, found = crystal.reference(), crystal.check(subject)
    assert reference["energy per atom"] == pytest.approx(-8.6102, abs=5e-5)
    assert reference["nearest distance"] == pytest.approx(1.0902, abs=5e-5)
    for name, value in reference.items():
        assert found[name] == pytest.approx(value, rel=3e-4), name


def test_lattice_sums_converge():
    """Half as many shells give the same elastic constants, with the integral beyond them."""
    crystal.reference.cache_clear()
    far, crystal.FAR = crystal.FAR, 15.0
    try:
        near = crystal.reference()
    finally:
        crystal.FAR = far
        crystal.reference.cache_clear()
    for name, value in crystal.reference().items():
        assert near[name] == pytest.approx(value, rel=2e-5), name


def test_clusters(subject):
    reference, found = clusters.reference(), clusters.check(subject)
    assert reference.keys() == found.keys()
    for name, value in reference.items():
        assert found[name] == pytest.approx(value, rel=3e-7, abs=2e-6), name


def test_liquid(subject):
    reference, found = liquid.reference(), liquid.check(subject)
    for name, value in reference.items():
        if isinstance(found[name], liquid.Sampled):
            assert found[name].error < (0.01 if "energy" in name else 0.06), name
            assert abs(found[name] - value) < 4 * found[name].error + 0.002, name
        else:
            assert abs(found[name] - value) < 0.1, name


def test_exact_is_that_of_ase():
    atoms = Atoms("Ar3", [[0, 0, 0], [1, 0, 0], [0, 1.2, 0]], calculator=LennardJones(epsilon=1, sigma=1, rc=1e3))
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = KANCalculator(lennard_jones.exact())
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-8)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-6)


def test_units():
    """A potential of argon in eV and Angstrom has the same B2 in units of its depth and size."""
    epsilon, sigma = 0.0103, 3.4
    curve = PairCurve.from_function(
        lambda r: epsilon * lennard_jones.energy(r / sigma), r_min=3.0, r_max=9.0, n=100, elements=("Ar", "Ar")
    )
    shown = lennard_jones.reduced(fit(curve, cutoff=20 * sigma).potential, epsilon, sigma)
    assert shown.cutoff == pytest.approx(20)
    assert max(errors(virial.reference(), virial.check(shown)).values()) < 2e-3
    with pytest.raises(ValueError, match="sigma must be a positive number, got 0"):
        lennard_jones.reduced(fit(curve).potential, epsilon, 0)


def test_what_is_left_out():
    """Of the interaction beyond 4 sigma: the integrals of -4 r^-6 between them and 20, written out."""
    whole = lennard_jones.exact()
    energy, pressure = lennard_jones.left_out(whole, lennard_jones.shortened(whole, 4.0), 0.8)
    between = [-8 * math.pi * 0.8 / 3 * (r**-3 - 19.0**-3) for r in (4.0, 3.6)]
    assert between[0] > energy > between[1]
    assert pressure < 0
    assert lennard_jones.shortened(whole, 30.0) is whole
    assert lennard_jones.left_out(whole, whole, 0.8) == (0.0, 0.0)


def test_bare_kan_fails(bare):
    """What pykan trained in 2024's way has no liquid and no crystal, and the table says "none"."""
    shown = lennard_jones.reduced(bare, 0.25)
    rows = suite.validate({"bare": shown}, ["virial", "liquid"])
    assert abs(rows[0].found[0] - rows[0].reference) > 0.1
    assert all(math.isnan(row.found[0]) for row in rows if row.check == "liquid")
    assert "| none" in suite.as_table(rows, ["bare"])


def test_command(tmp_path, capsys):
    curve = PairCurve.from_function(lambda r: 0.25 * lennard_jones.energy(r), r_min=0.95, r_max=2.0, n=50)
    fit(curve, cutoff=20).potential.save(tmp_path / "a.kan")
    assert main(["validate", str(tmp_path / "a.kan"), "--epsilon", "0.25", "--checks", "virial"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + len(virial.reference())
    assert "a.kan" in table[0]
    assert main(["validate", "--sigma", "2"]) == 2
    assert "give a file" in capsys.readouterr().err


def test_one_kind_of_atoms(mixture, tmp_path, capsys):
    mixture.save(tmp_path / "mix.kan")
    assert isinstance(KANPotential.load(tmp_path / "mix.kan"), KANPotential)
    assert main(["validate", str(tmp_path / "mix.kan")]) == 1
    assert "give a potential of one pair" in capsys.readouterr().err
