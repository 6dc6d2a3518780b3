"""Our torch KAN against pykan itself."""

import numpy as np
import pytest
import torch
from kan import KAN

from ase_kan import KANPotential
from ase_kan.kan.network import KANLayer
from ase_kan.kan.pykan import from_pykan, new_model, to_pykan, train

CASES = [
    ((1, 1), 5, 3, "silu"),
    ((1, 2, 1), 3, 3, "silu"),
    ((1, 3, 2, 1), 7, 2, "identity"),
    ((1, 2, 1), 4, 5, "zero"),
    ((1, 1), 1, 1, "silu"),
]


@pytest.fixture(scope="module", params=CASES, ids=str)
def trained(request):
    """pykan models with adapted, uneven grids."""
    width, grid, k, base = request.param
    model = new_model(width, grid, k, seed=1, base=base)
    x = torch.linspace(0.95, 2.0, 60, dtype=torch.float64)[:, None]
    y = x**-12 - x**-6
    train(model, (x, y), (x, y), steps=5)
    return model


def inputs(model) -> torch.Tensor:
    """Inside, in the transition zone, far outside, and exactly on every knot of the first layer."""
    far = torch.linspace(-20, 30, 4001, dtype=torch.float64)
    near = torch.linspace(0.5, 3, 4001, dtype=torch.float64)
    return torch.cat([far, near, model.act_fun[0].grid[0]])[:, None]


def test_values_equal_pykan(trained):
    x = inputs(trained)
    expected = trained(x)
    # Relative to the numbers that are added up inside.
    tolerance = 1e-12 * max(1.0, expected.abs().max().item())
    assert (from_pykan(trained)(x) - expected).abs().max() < tolerance


@pytest.mark.parametrize("uneven", [0.0, 0.1])
def test_intervals_of_even_and_uneven_grids(uneven):
    rng = np.random.default_rng(0)
    grid = np.linspace([0.95, -3e3], [2.0, 7e5], 20, axis=1)
    grid += uneven * rng.uniform(-0.5, 0.5, grid.shape) * np.diff(grid)[:, :1]
    layer = KANLayer(
        *(torch.from_numpy(grid), torch.zeros(2, 1, 14), torch.zeros(2, 1), torch.zeros(2, 1), torch.zeros(1)), "zero"
    )
    assert layer.uniform == (uneven == 0)
    knots = np.concatenate([grid, np.nextafter(grid, -np.inf), np.nextafter(grid, np.inf)], axis=1)
    span = grid[:, -1:] - grid[:, :1]
    x = np.concatenate(
        [knots, grid[:, :1] + span * rng.uniform(-1, 2, (2, 500)), np.tile([-np.inf, np.inf, -1e300, 1e300], (2, 1))],
        axis=1,
    )
    expected = [np.searchsorted(knots, row, side="right") for knots, row in zip(grid, x, strict=True)]
    np.testing.assert_array_equal(layer.intervals(torch.from_numpy(x)), expected)
    assert layer(torch.tensor([[np.nan, 1.0]]).double()).isnan().all()


def test_slopes_equal_pykan(trained):
    x = inputs(trained)[:-20].requires_grad_()
    expected = torch.autograd.grad(trained(x).sum(), x)[0]
    ours = torch.autograd.grad(from_pykan(trained)(x).sum(), x)[0]
    tolerance = 1e-11 * max(1.0, expected.abs().max().item())
    assert (ours - expected).abs().max() < tolerance


def test_rebuilt_pykan_model_is_the_same(trained):
    x = inputs(trained)
    again = to_pykan(from_pykan(trained))
    assert (again(x) - trained(x)).abs().max() < 1e-12 * max(1.0, trained(x).abs().max().item())
    assert [w[0] for w in again.width] == [w[0] for w in trained.width]


def test_pruned_masks_and_affine_nodes_are_kept():
    model = KAN(width=[1, 3, 1], grid=4, k=3, seed=0, auto_save=False).double()
    model.act_fun[0].mask.data[0, 1] = 0.0
    model.act_fun[1].mask.data[2, 0] = 0.5
    for layer in range(2):
        for values in (model.node_bias, model.node_scale, model.subnode_bias, model.subnode_scale):
            values[layer].data += 0.1 * torch.arange(1, 1 + len(values[layer]))
    x = torch.linspace(-3, 3, 500, dtype=torch.float64)[:, None]
    assert (from_pykan(model)(x) - model(x)).abs().max() < 1e-12


def test_grid_and_degree_per_layer():
    model = KAN(width=[1, 2, 1], grid=[3, 6], k=[2, 4], seed=0, auto_save=False).double()
    x = torch.linspace(-3, 3, 500, dtype=torch.float64)[:, None]
    network = from_pykan(model)
    assert (network(x) - model(x)).abs().max() < 1e-12
    assert (to_pykan(network)(x) - model(x)).abs().max() < 1e-12


def test_second_derivatives_flow():
    network = from_pykan(new_model((1, 2, 1), 3, 3, seed=0))
    x = torch.linspace(-0.9, 0.9, 20, dtype=torch.float64)[:, None].requires_grad_()
    assert torch.autograd.gradgradcheck(network, (x,))


def test_unsupported_pykan_models_are_refused():
    with pytest.raises(ValueError, match="multiplication"):
        from_pykan(KAN(width=[1, [1, 1], 1], auto_save=False))
    model = KAN(width=[1, 2, 1], auto_save=False)
    model.fix_symbolic(0, 0, 1, "sin", fit_params_bool=False, verbose=False)
    with pytest.raises(ValueError, match=r"edge \(0, 0, 1\).*symbolic"):
        from_pykan(model)
    with pytest.raises(ValueError, match="base_fun"):
        from_pykan(KAN(width=[1, 1], base_fun=torch.sin, auto_save=False))
    with pytest.raises(ValueError, match="one input and one output"):
        KANPotential.from_pykan(KAN(width=[2, 1], grid_range=[1, 2], auto_save=False))
    with pytest.raises(ValueError, match="reaches below the distance zero"):
        KANPotential.from_pykan(KAN(width=[1, 1], grid_range=[-2, -1], auto_save=False))


def test_layer_shapes_are_checked():
    good = {"grid": torch.arange(10.0)[None], "coef": torch.ones(1, 2, 6), "bias": torch.zeros(2), "base": "silu"}
    ones = torch.ones(1, 2)
    KANLayer(**good, scale_base=ones, scale_spline=ones)
    with pytest.raises(ValueError, match="scale_base must have shape"):
        KANLayer(**good, scale_base=ones.T, scale_spline=ones)
    with pytest.raises(ValueError, match="base function"):
        KANLayer(**{**good, "base": "tanh"}, scale_base=ones, scale_spline=ones)


def test_splines_sum_to_one_inside_the_grid():
    """B-splines are a partition of unity: coefficients 1 give 1 on the grid and 0 outside the extended one."""
    rng = np.random.default_rng(0)
    for k in range(1, 6):
        knots = torch.from_numpy(np.cumsum(rng.uniform(0.1, 1.0, 8 + 2 * k)))[None]
        one = torch.ones(1, 1)
        layer = KANLayer(knots, torch.ones(1, 1, knots.shape[1] - 1 - k), 0 * one, one, torch.zeros(1), "zero")
        inside = torch.linspace(float(knots[0, k]), float(knots[0, -k - 1]), 101, dtype=torch.float64)[:-1, None]
        torch.testing.assert_close(layer(inside), torch.ones_like(inside), rtol=0, atol=1e-14)
        outside = torch.tensor([[float(knots[0, 0]) - 1e-9], [float(knots[0, -1])]], dtype=torch.float64)
        assert (layer(outside) == 0).all()
