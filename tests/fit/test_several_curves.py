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
