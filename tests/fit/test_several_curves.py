"""Several curves, each of another pair of elements, in one potential."""

import numpy as np
import pytest
from ase import Atoms

from ase_kan import KANCalculator, KANPotential, PairCurve, fit

from ..shared import lj_energy, lj_force

PAIRS = {("Ar", "Ar"): 1.0, ("Ne", "Ar"): 0.9, ("Ne", "Ne"): 0.8}


def curve(pair, sigma, n=60):
    r = np.linspace(0.95, 2.5, n) * sigma
    return PairCurve(r, lj_energy(r / sigma), lj_force(r / sigma) / sigma, elements=pair)


def test_each_pair_has_its_own(tmp_path):
    result = fit([curve(pair, sigma) for pair, sigma in PAIRS.items()])
    for pair, sigma in PAIRS.items():
        r = np.linspace(0.9, 2.4, 50) * sigma
        np.testing.assert_allclose(result.potential.energy(r, pair), lj_energy(r / sigma), atol=1e-6)
    assert result.energy_rmse < 1e-6
    assert "Ar-Ne:\ntrain" in result.report
    result.potential.save(tmp_path / "p.kan")
    atoms = Atoms("ArNe", [[0, 0, 0], [0, 0, 1.1]])
    atoms.calc = KANCalculator(KANPotential.load(tmp_path / "p.kan"))
    assert atoms.get_potential_energy() == pytest.approx(lj_energy(1.1 / 0.9), abs=1e-6)


def test_curves_that_do_not_make_a_potential_are_refused():
    first = curve(("Ar", "Ne"), 1.0)
    with pytest.raises(ValueError, match="curve 1 of 2 has no elements"):
        fit([first, curve(None, 1.0)])
    with pytest.raises(ValueError, match="curves 0 and 1 are both of Ar-Ne"):
        fit([first, curve(("Ne", "Ar"), 0.9)])
    with pytest.raises(TypeError, match="takes a PairCurve or Structures"):
        fit([])


def test_mixed_lennard_jones_is_the_one_of_mixed_parameters():
    """Lorentz-Berthelot: the mean of the distances, the geometric mean of the depths."""
    first, second = curve(("Ar", "Ar"), 1.2, 80), curve(("Ne", "Ne"), 0.9, 80)
    second = PairCurve(second.r, 0.25 * second.energy, 0.25 * second.force, ("Ne", "Ne"))
    result = fit([first, second], mixing="lorentz-berthelot")
    r = np.linspace(1.0, 2.5, 60) * 1.05
    np.testing.assert_allclose(result.potential.energy(r, ("Ar", "Ne")), 0.5 * lj_energy(r / 1.05), atol=1e-6)
    assert "Ar-Ne, by lorentz-berthelot mixing:" in result.report
    assert result.potential.info["pairs"]["Ar-Ne"]["mixing"] == "lorentz-berthelot"
    unmixed = fit([first, second]).potential
    assert set(unmixed.pairs) == {("Ar", "Ar"), ("Ne", "Ne")}


def test_mixing_is_refused_where_there_is_nothing_to_mix_from():
    first, unlike = curve(("Ar", "Ar"), 1.0), curve(("Ar", "Ne"), 0.9)
    r = np.linspace(0.8, 2.0, 60)
    soft = PairCurve(r, np.exp(-r / 0.1), elements=("Kr", "Kr"))
    with pytest.raises(ValueError, match="unknown mixing 'kong': choose 'lorentz-berthelot'"):
        fit([first, unlike], mixing="kong")
    with pytest.raises(ValueError, match="its own curve Ne-Ne is needed"):
        fit([first, unlike, curve(("Kr", "Kr"), 1.0)], mixing="lorentz-berthelot")
    with pytest.raises(ValueError, match="Kr-Kr has no well from which to mix"):
        fit([first, soft], mixing="lorentz-berthelot")
    with pytest.raises(TypeError, match="mixing is for several curves"):
        fit(first, mixing="lorentz-berthelot")
