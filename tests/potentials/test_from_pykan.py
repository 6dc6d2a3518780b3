"""pykan models of standardised numbers: refused as they are, exact with their shifts and scales."""

import numpy as np
import pytest
import torch

from ase_kan import KANCalculator, KANPotential
from ase_kan.kan.pykan import new_model

#: Mean and standard deviation of distances (Angstrom) and energies (eV) that someone trained with.
STANDARDS = {"x_shift": 4.2, "x_scale": 1.3, "e_shift": -0.004, "e_scale": 0.02}


@pytest.fixture(scope="module")
def standardised():
    """A model on the grid [-1.7, 1.7] as pykan makes it: any parameters will do."""
    from kan import KAN

    new_model((1, 1), 3, 3, 0)  # imports pykan with the random states kept
    return KAN(width=[1, 2, 1], grid=5, k=3, grid_range=[-1.7, 1.7], seed=0, auto_save=False).double()


def test_a_grid_below_zero_is_refused(standardised):
    with pytest.raises(
        ValueError, match=r"grid, -1\.7 to 1\.7, reaches below .* give x_shift, x_scale, e_shift, e_scale"
    ):
        KANPotential.from_pykan(standardised)
    with pytest.raises(ValueError, match="reaches below the distance zero"):
        KANCalculator(standardised)
    with pytest.raises(ValueError, match=r"grid, -0\.7 to 2\.7, reaches below"):
        KANPotential.from_pykan(standardised, **STANDARDS | {"x_shift": 1.0, "x_scale": 1.0})


def test_standards_are_an_exact_transform(standardised):
    """The energy is e_shift + e_scale * model((r - x_shift) / x_scale), and the force its derivative."""
    potential = KANPotential.from_pykan(standardised, **STANDARDS, core=None, tail=None, cutoff=12.0, onset=11.0)
    assert potential.domain() == pytest.approx((4.2 - 1.7 * 1.3, 4.2 + 1.7 * 1.3), rel=1e-6)
    r = torch.linspace(2.1, 6.3, 60, dtype=torch.float64).requires_grad_()
    model = standardised(((r - 4.2) / 1.3)[:, None])[:, 0]
    (slope,) = torch.autograd.grad(model.sum(), r)
    expected = -0.004 + 0.02 * model.detach().numpy()
    np.testing.assert_allclose(potential.energy(r.detach().numpy()), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(potential.force(r.detach().numpy()), -0.02 * slope.numpy(), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "wrong", [{"e_scale": None}, {"x_shift": None}, {"x_scale": 0.0}, {"e_scale": -1.0}, {"e_shift": np.nan}]
)
def test_all_four_or_none(standardised, wrong):
    with pytest.raises(ValueError, match=f"together, .* got {next(iter(wrong))} = "):
        KANPotential.from_pykan(standardised, **STANDARDS | wrong)


def test_a_diverged_model_is_refused():
    model = new_model((1, 1), 3, 3, 0)
    with torch.no_grad():
        model.act_fun[0].coef[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite: its training diverged"):
        KANPotential.from_pykan(model, **STANDARDS)
