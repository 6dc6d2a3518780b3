"""What is known before a fit: taken off, added again, saved with it."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree

from ase_kan import KANCalculator, KANPotential, PairCurve, Structures, fit
from ase_kan.potentials.continuations import zbl

from ..shared import brute_force, lj_energy, lj_force

COULOMB = Hartree * Bohr


def salt(r):
    return -COULOMB / r + 1000 * np.exp(-r / 0.32)


def nuclei(r):
    import torch

    return zbl(torch.from_numpy(np.asarray(r)), 18, 18).numpy()


def argon(r):
    return 0.04 * lj_energy(r / 3.4)


def curve(function, elements=("Ar", "Ar"), low=3.0, high=8.0, n=60):
    return PairCurve.from_function(function, r_min=low, r_max=high, n=n, elements=elements)


def test_charges_go_on_beyond_the_data(tmp_path):
    """Without the baseline no summable law fits; with it the potential follows -e^2/r up to its cutoff."""
    data = curve(salt, ("Na", "Cl"), 2.0)
    result = fit(data, baseline={"Na": 1, "Cl": -1}, cutoff=20.0)
    r = np.linspace(2.1, 17.9, 200)
    np.testing.assert_allclose(result.potential.energy(r), salt(r), atol=1e-6)
    # The core is that of all of the energy, whose law the data support, not of what the charges leave.
    np.testing.assert_allclose(result.potential.energy(1.4), salt(1.4), atol=0.5)
    result.potential.save(tmp_path / "salt.kan")
    again = KANPotential.load(tmp_path / "salt.kan")
    np.testing.assert_array_equal(again.energy(r), result.potential.energy(r))
    assert "baseline that is added to the KAN and beyond the data: -14.3996 (1/r)^1 eV" in again.describe()


def test_nuclei_are_taken_off_and_added(tmp_path):
    function = fit(curve(argon), baseline="zbl").potential.function()
    r = np.linspace(3.1, 7.9, 50)
    import torch

    learned = function.learned(torch.from_numpy(r)).detach().numpy()
    np.testing.assert_allclose(learned + nuclei(r), argon(r), atol=1e-7)
    assert np.abs(learned - argon(r)).max() > 0.01


@pytest.mark.parametrize("known", ["potential", "calculator"])
def test_another_potential_is_saved_with_the_fit(known, tmp_path):
    def data(r):
        return argon(r) + 1e-3 * np.exp(-((r - 4) ** 2))

    before = fit(curve(argon)).potential
    given = before if known == "potential" else LennardJones(sigma=3.4, epsilon=0.01, rc=60.0, smooth=False)
    potential = fit(curve(data), baseline=given).potential
    potential.save(tmp_path / "sum.kan")
    again = KANPotential.load(tmp_path / "sum.kan")
    r = np.linspace(3.1, 7.9, 50)
    np.testing.assert_allclose(again.energy(r), data(r), atol=1e-6)
    np.testing.assert_array_equal(again.energy(r), potential.energy(r))
    atoms = Atoms("Ar4", [[0, 0, 0], [3.5, 0, 0], [0, 4, 0], [1, 1, 5]], cell=[9] * 3, pbc=True)
    energies = []
    for engine in ("autograd", "compiled"):
        atoms.calc = KANCalculator(again, engine=engine)
        energies.append(atoms.get_potential_energy())
    np.testing.assert_allclose(energies, brute_force(atoms, again)[0], rtol=1e-9)


def test_structures_learn_the_rest():
    """Forces of a known potential plus another: the fit of the difference is as good as the fit of all."""
    rng = np.random.default_rng(0)
    images = []
    true = LennardJones(sigma=3.4, epsilon=0.01, rc=8.0, smooth=True)
    for _ in range(12):
        atoms = Atoms("Ar8", cell=[8.4] * 3, pbc=True)
        lattice = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * 4.2
        atoms.positions = lattice + rng.normal(0, 0.25, (8, 3))
        atoms.calc = true
        images.append(atoms)
    known = fit(curve(lambda r: 0.9 * argon(r), low=2.6)).potential
    plain, helped = (fit(Structures(images), cutoff=8.0, grid=20, baseline=b) for b in (None, known))
    assert helped.train_force_rmse < 2 * plain.train_force_rmse < 0.01
    assert helped.potential.function(("Ar", "Ar")).baseline is not None
    # The errors are those of KAN and baseline together.
    atoms = images[0].copy()
    atoms.calc = KANCalculator(helped.potential)
    assert np.abs(atoms.get_forces() - images[0].get_forces()).max() < 20 * helped.train_force_rmse + 1e-6


@pytest.mark.parametrize(
    ("given", "elements", "error", "message"),
    [
        ("d3", ("Ar", "Ar"), TypeError, "baseline must be 'zbl', charges"),
        (3.0, ("Ar", "Ar"), TypeError, "baseline must be 'zbl', charges"),
        ("zbl", None, ValueError, "needs the elements of the curve"),
        ({"Na": 1}, ("Na", "Cl"), ValueError, "no charge of Cl"),
        ({"Na": np.nan, "Cl": 1}, ("Na", "Cl"), ValueError, "finite numbers of e, got 'Na'"),
        ({"Q": 1}, ("Na", "Cl"), ValueError, "got 'Q'"),
    ],
)
def test_refusals(given, elements, error, message):
    with pytest.raises(error, match=message):
        fit(curve(argon, elements), baseline=given)


def test_a_baseline_of_a_baseline_is_refused():
    once = fit(curve(argon), baseline="zbl").potential
    with pytest.raises(ValueError, match="has a baseline of its own"):
        fit(curve(argon), baseline=once)


def test_deeper_networks_and_forces_too():
    data = PairCurve(r := np.linspace(3.0, 8.0, 80), argon(r), 0.04 * lj_force(r / 3.4) / 3.4, elements=("Ar", "Ar"))
    potential = fit(data, baseline="zbl", width=(1, 2, 1), steps=60).potential
    np.testing.assert_allclose(potential.force(r[1:-1]), data.force[1:-1], atol=5e-3)


def test_stored_results_without_energy_are_not_a_baseline():
    atoms = Atoms("Ar2", [[0, 0, 0], [3, 0, 0]])
    with pytest.raises(Exception, match=r"energy|property|results"):
        fit(curve(argon), baseline=SinglePointCalculator(atoms))
