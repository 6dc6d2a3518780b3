"""Exports of potentials that lack a pair, are too rough for a table, repel everywhere, or are wanted in other units."""

import warnings

import numpy as np
import pytest
from ase import Atoms, units

from ase_kan import KANCalculator, KANPotential, PairCurve, fit
from ase_kan.cli.main import main
from ase_kan.engines.batch import evaluate_batch
from ase_kan.exports.lammps import write_table
from ase_kan.exports.matscipy import MatscipyPair
from ase_kan.exports.openmm import to_openmm
from ase_kan.exports.pairs import ExportWarning, tables
from ase_kan.potentials.continuations import Continuation
from ase_kan.potentials.pair import PairFunction
from tests.exports.test_lammps import in_lammps
from tests.shared import lj_energy


def argon_energy(r):
    return 4 * 0.0104 * lj_energy(r / 3.4)


@pytest.fixture(scope="module")
def gappy():
    """Ar-Ar and Ar-Ne, but no Ne-Ne."""
    pairs = {}
    for pair, size in ((("Ar", "Ar"), 1.0), (("Ar", "Ne"), 0.95)):
        curve = PairCurve.from_function(
            lambda r, s=size: lj_energy(r / s), r_min=0.95 * size, r_max=2.0, n=50, seed=3, elements=pair
        )
        pairs[pair] = fit(curve, cutoff=2.5).potential.function()
    return KANPotential(pairs, {"Ar": -1.5, "Ne": 0.25})


@pytest.fixture(scope="module")
def rough():
    """Argon with a core that joins with one derivative: the force has a kink there."""
    r = np.linspace(3.0, 9.0, 60)
    smooth = fit(PairCurve(r, argon_energy(r), elements=("Ar", "Ar")), cutoff=12.0).potential.function()
    energy, force = (float(f(3.0)) for f in (KANPotential({None: smooth}).energy, KANPotential({None: smooth}).force))
    height = 3.0 * force / 12
    core = Continuation(3.0, ((height, 12.0),), energy - height)
    function = PairFunction(
        smooth.network, smooth.domain, smooth.cutoff, smooth.feature, smooth.x, smooth.e, core, smooth.tail
    )
    return KANPotential({("Ar", "Ar"): function})


def dimers(r, spacing=20.0):
    """Pairs of argon atoms at distances r, far from each other; the second atoms come last."""
    first = np.zeros((len(r), 3))
    first[:, 0] = spacing * (np.arange(len(r)) + 0.5)
    second = first + np.stack([0 * r, r, 0 * r], axis=1)
    return Atoms(f"Ar{2 * len(r)}", np.concatenate([first, second]), cell=[spacing * len(r), 30.0, 30.0])


def apart(n=6, ne=(0, 3)):
    """A chain of atoms, Ne where told, 1.1 A from the next: Ne atoms that are not neighbors do not meet."""
    symbols = ["Ne" if k in ne else "Ar" for k in range(n)]
    return Atoms(symbols, [[1.1 * k + 0.5, 1.0, 1.0] for k in range(n)], cell=[20.0, 20.0, 20.0])


# A pair without data


def test_lammps_leaves_out_a_pair_without_data(tmp_path, gappy):
    with pytest.warns(ExportWarning, match="no data for Ne-Ne, which is left out: LAMMPS will ask") as caught:
        script, commands = write_table(gappy, tmp_path / "mix.table", elements=["Ne", "Ar"])
    assert [warning.filename for warning in caught] == [__file__]
    assert [c.split()[:3] for c in commands[1:]] == [["pair_coeff", "1", "2"], ["pair_coeff", "2", "2"]]
    text = script.read_text()
    assert "# No data for Ne-Ne, so no coefficient." in text
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "mix.table").symlink_to(tmp_path / "mix.table")
    with pytest.raises(AssertionError, match="All pair coeffs are not set"):
        in_lammps(tmp_path / "plain", apart(), script, ["Ne", "Ar"])
    # The command in the comment, taken: it runs unless such atoms meet.
    script.write_text(text.replace("# pair_coeff", "pair_coeff"))
    atoms = apart()
    found = in_lammps(tmp_path, atoms, script, ["Ne", "Ar"])
    atoms.calc = KANCalculator(gappy, on_extrapolation="ignore")
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-6)
    with pytest.raises(AssertionError, match="Pair distance < table inner cutoff"):
        in_lammps(tmp_path, apart(ne=(2, 3)), script, ["Ne", "Ar"])


def test_a_pair_that_no_type_needs_is_not_told(tmp_path, gappy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        script, _ = write_table(gappy, tmp_path / "ar.table", elements=["Ar", "Ar"])
    assert "No data" not in script.read_text()
    with pytest.warns(ExportWarning), pytest.raises(ValueError, match="no data for any pair of Ne"):
        write_table(gappy, tmp_path / "ne.table", elements=["Ne"])


def openmm_energy(potential, atoms):
    import openmm

    system = openmm.System()
    for _ in atoms:
        system.addParticle(1.0)
    system.addForce(to_openmm(potential, atoms))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(atoms.positions / 10)
    state = context.getState(getEnergy=True)
    return state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole) * units.kJ / units.mol


def test_openmm_leaves_out_a_pair_without_data(gappy):
    atoms = apart()
    with pytest.warns(ExportWarning, match="no data for Ne-Ne, which is left out: the energy is NaN") as caught:
        found = openmm_energy(gappy, atoms)
    assert [warning.filename for warning in caught] == [__file__]
    atoms.calc = KANCalculator(gappy, on_extrapolation="ignore")
    lone = sum(gappy.reference_energies[s] for s in atoms.symbols)
    assert found == pytest.approx(atoms.get_potential_energy() - lone, rel=1e-5)
    with pytest.warns(ExportWarning):
        assert np.isnan(openmm_energy(gappy, apart(ne=(2, 3))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openmm_energy(gappy, apart(ne=()))


def test_matscipy_stops_at_a_pair_without_data(gappy):
    from matscipy.calculators.pair_potential import PairPotential

    with pytest.warns(ExportWarning, match="no data for Ne-Ne, which is left out: an error when") as caught:
        pairs = {p: MatscipyPair(gappy, s) for p, s in (((10, 10), ("Ne", "Ne")), ((10, 18), ("Ne", "Ar")),
                                                     ((18, 18), ("Ar", "Ar")))}  # fmt: skip
    assert [warning.filename for warning in caught] == [__file__]
    theirs, atoms = PairPotential(pairs), apart()
    ours = KANCalculator(gappy, engine="autograd", on_extrapolation="ignore")
    np.testing.assert_allclose(theirs.get_forces(atoms), ours.get_forces(atoms), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match=r"two atoms are 1\.1 A apart whose pair has no data: Ne-Ne"):
        theirs.get_forces(apart(ne=(2, 3)))


def test_batches_stop_at_a_pair_without_data(gappy):
    fine = evaluate_batch(gappy, [apart()])
    assert np.isfinite(fine.energies).all()
    with pytest.raises(ValueError, match="no pair Ne-Ne"):
        evaluate_batch(gappy, [apart(), apart(ne=(2, 3))])


# A tolerance out of reach


def test_a_table_is_written_with_its_error(tmp_path, rough):
    """At distances beside the joints, LAMMPS itself is within the error that is told, of the scale that is kept."""
    with pytest.warns(ExportWarning, match=r"tol=1e-07 is out of reach with 131072 values: .* is (.*) \(Ar-Ar\)"):
        script, commands = write_table(rough, tmp_path / "ar.table")
    head = (tmp_path / "ar.table").read_text()[:1000]
    told = float(head.split("certified ")[1].split()[0])
    assert 1e-7 < told < 1e-2
    n = int(commands[0].split()[-1])
    function, scale = rough.function(), tables(rough).spline().scale
    h = 12.0**2 / n
    near = [np.sqrt(joint**2 + h * np.linspace(-3, 3, 60)) for joint in (function.core.joint, function.tail.joint)]
    r = np.concatenate([*near, np.linspace(2.5, 11.9, 80)])
    found = in_lammps(tmp_path, dimers(r), script, ["Ar"])["forces"][len(r) :, 1]
    expected = rough.force(r)
    error = np.abs(found - expected) / (scale.force + np.abs(expected))
    assert 1e-7 < error.max() <= 1.2 * told


def test_the_command_writes_a_table_too(tmp_path, rough, capsys):
    rough.save(tmp_path / "ar.kan")
    assert main(["export", str(tmp_path / "ar.kan"), "-o", str(tmp_path / "ar.table")]) == 0
    assert (tmp_path / "ar.table").stat().st_size > 1e4
    told = capsys.readouterr()
    assert "wrote" in told.out
    assert "out of reach" in told.err


# Curves that repel everywhere


@pytest.mark.parametrize("which", ["r^-12", "WCA"])
def test_repulsive_curves_export(tmp_path, which):
    """A soft core has no well: LAMMPS follows it to 1e-6 of the energy's scale, and r^-12 itself to the fit's error."""

    def wca(r):
        return np.where(r < 2 ** (1 / 6), 4 * lj_energy(r) + 1, 0.0)

    function, r_max = ((lambda r: r**-12.0), 2.0) if which == "r^-12" else (wca, 2 ** (1 / 6))
    r = np.linspace(0.9, r_max, 60)
    potential = fit(PairCurve(r, function(r), elements=("Ar", "Ar"))).potential
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        script, _ = write_table(potential, tmp_path / "soft.table", tol=1e-6)
    r = np.linspace(0.8, potential.cutoff - 1e-3, 100)
    found = in_lammps(tmp_path, dimers(r), script, ["Ar"])["forces"][100:, 1]
    expected = potential.force(r)
    scale = tables(potential).spline().scale
    assert 1e-4 < scale.energy < 1.0
    assert (np.abs(found - expected) / (scale.force + np.abs(expected))).max() < 1e-6
    if which == "r^-12":
        inside = (r > 0.95) & (r < 1.9)
        np.testing.assert_allclose(found[inside], 12 * r[inside] ** -13.0, rtol=1e-3, atol=1e-4)


# Units


@pytest.mark.parametrize("name", ["metal", "real"])
def test_units_of_lammps(tmp_path, name, rough):
    rough.save(tmp_path / "ar.kan")
    given = ["--units", name, "--tol", "1e-2"]
    assert main(["export", str(tmp_path / "ar.kan"), "-o", str(tmp_path / "ar.table"), *given]) == 0
    assert f"UNITS: {name} " in (tmp_path / "ar.table").read_text()[:200]
    atoms = dimers(np.linspace(3.2, 11.0, 40))
    found = in_lammps(tmp_path, atoms, tmp_path / "in.ar", ["Ar"], lammps_units=name)
    unit = 1.0 if name == "metal" else 23.060548  # kcal/mol in an eV: LAMMPS, update.cpp and the tests of CODATA
    atoms.calc = KANCalculator(rough)
    assert found["rows"][0][0] == pytest.approx(unit * atoms.get_potential_energy(), rel=1e-3)
    np.testing.assert_allclose(found["forces"], unit * atoms.get_forces(), rtol=0, atol=1e-2 * unit * 0.01)


def test_lone_atoms_are_told_in_those_units(tmp_path, gappy):
    with pytest.warns(ExportWarning):
        script, _ = write_table(gappy, tmp_path / "mix.table", units="real")
    assert "(kcal/mol): Ar -34.590" in script.read_text()
