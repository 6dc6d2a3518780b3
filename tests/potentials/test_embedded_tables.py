"""Tables of embedded-atom potentials: exact for splines, certified otherwise, and the original where they end."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from ase_kan import EmbeddedAtomPotential, from_setfl, tabulate
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.quintics import tabulate_functions
from ase_kan.potentials.scale import Scale
from ase_kan.potentials.tables import _COMPILED, tabulate_once
from tests.lammps_eam import PUBLISHED
from tests.synthetic_eam import SyntheticEAM

ONE = Scale(1.0, 1.0)


def spline(degree, knots, seed):
    """A random spline as a torch function with a slope, and its scipy form."""
    t = np.concatenate([[knots[0]] * degree, knots, [knots[-1]] * degree])
    curve = BSpline(t, np.random.default_rng(seed).normal(size=len(knots) + degree - 1), degree)

    class Value(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.from_numpy(curve(x.detach().numpy()))

        @staticmethod
        def backward(ctx, out):
            return out * torch.from_numpy(curve.derivative()(ctx.saved_tensors[0].numpy()))

    return Value.apply, curve


@pytest.mark.parametrize("degree", [2, 3, 5])
@pytest.mark.parametrize("cells", [1, 7, 25])
def test_splines_are_exact_with_a_row_for_each_cell(degree, cells):
    breaks = [0.7, *np.linspace(1.3, 5.0, cells + 1)]
    curves = [spline(degree, breaks, seed) for seed in (1, 2)]
    table = tabulate_functions([f for f, _ in curves], [ONE, ONE], breaks, 1e-9, "splines")
    # A cell of another width has a break in the map; few cells are halved, up to four rows.
    assert len(table.rows) == 4 + (cells if cells >= 4 else 4)
    assert len(table.at) == 1
    x = np.random.default_rng(0).uniform(0.7, 5.0, 1000)
    for k, (_, curve) in enumerate(curves):
        value, slope = value_and_slope(partial(table, function=k), x)
        size = np.abs(curve(x)).max()
        np.testing.assert_allclose(value, curve(x), atol=1e-12 * size)
        np.testing.assert_allclose(slope, curve.derivative()(x), atol=1e-10 * size)
    assert table.errors.max() < 1e-9


def test_other_functions_have_rows_until_the_certificate_holds():
    def wave(x):
        return torch.sin(3 * x) + 0.1 * (x - 2).clamp(min=0) ** 2

    sizes = []
    for tol in (1e-4, 1e-8, 1e-10):
        table = tabulate_functions([wave], [ONE], [0.5, 2.0, 4.0], tol, "waves")
        sizes.append(len(table.rows))
        x = np.random.default_rng(1).uniform(0.5, 4.0, 5000)
        value, slope = value_and_slope(partial(table, function=0), x)
        true_value, true_slope = value_and_slope(wave, x)
        worst = [
            np.abs(value - true_value) / (1 + np.abs(true_value)),
            np.abs(slope - true_slope) / (1 + np.abs(true_slope)),
        ]
        assert [w.max() for w in worst] <= table.errors[0].tolist()
        assert 0 < table.errors.max() <= tol
    assert sizes == sorted(set(sizes))
    with pytest.raises(ValueError, match=r"tol=1e-14 is out of reach with 65536 rows between .* of waves: .* larger"):
        tabulate_functions([wave], [ONE], [0.5, 2.0, 4.0], 1e-14, "waves")


def test_breaks_that_differ_by_rounding_are_one():
    breaks = [1.0, 1.0 + 1e-12, 2.0, 2.0 + 1e-12, 3.0, 4.0 - 1e-12, 4.0]
    table = tabulate_functions([torch.exp], [ONE], breaks, 1e-8, "exponentials")
    assert table.at == ()
    x = np.linspace(1.0, 4.0, 100)
    np.testing.assert_allclose(value_and_slope(partial(table, function=0), x), [np.exp(x)] * 2, rtol=1e-7)


@pytest.mark.parametrize("neighbor_decides", [True, False])
def test_every_function_is_that_of_the_original(neighbor_decides):
    potential = SyntheticEAM(channels=2, neighbor_decides=neighbor_decides)
    tables = tabulate(potential)
    assert isinstance(tables, EmbeddedAtomPotential)
    r = np.concatenate([np.linspace(0.05, 5.2, 400), [potential.cutoff]])
    pairs = [("Cu", "Cu"), ("Cu", "Ni"), ("Ni", "Cu"), ("Ni", "Ni")]
    rho = np.linspace(-20, 40, 500)
    functions = [(partial(p.pair_energy, pair=pair), r) for pair in pairs for p in (potential, tables)]
    for c in range(2):
        for a, b in pairs:
            functions += [(partial(p.density, atom=a, neighbor=b, channel=c), r) for p in (potential, tables)]
        for a in ("Cu", "Ni"):
            functions += [(partial(p.embedding, element=a, channel=c), rho) for p in (potential, tables)]
    for (original, x), (compiled, _) in zip(functions[::2], functions[1::2], strict=True):
        for one, other in zip(value_and_slope(original, x), value_and_slope(compiled, x), strict=True):
            np.testing.assert_allclose(other, one, rtol=3e-8, atol=3e-8)
    for name in ("elements", "cutoff", "channels", "reference_energies"):
        assert getattr(tables, name) == getattr(potential, name)
    assert tables.domain(("Cu", "Ni")) == potential.domain(("Cu", "Ni"))
    assert tables.density_domain("Ni", 1) == potential.density_domain("Ni", 1)
    text = repr(copy.deepcopy(tables))
    assert "Cu-Ni:" in text
    assert "Ni, channel 1:" in text
    assert "certified errors" in text


def test_published_tables_are_exact():
    for file in ("CuNi.eam.alloy", "Fe_mm.eam.fs"):
        potential = from_setfl(PUBLISHED / file)
        tables = tabulate(potential)
        element = potential.elements[0]
        r = np.random.default_rng(0).uniform(1.5, potential.cutoff, 3000)
        rho = np.random.default_rng(0).uniform(0.0, 1.5 * potential.density_domain(element)[1], 3000)
        for x, name, arguments in (
            (r, "pair_energy", {"pair": (element, element)}),
            (r, "density", {"atom": element, "neighbor": element}),
            (rho, "embedding", {"element": element}),
        ):
            (one, rise), (other, other_rise) = (
                value_and_slope(partial(getattr(p, name), **arguments), x) for p in (potential, tables)
            )
            np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(other_rise, rise, rtol=1e-7, atol=1e-8)


def test_tables_are_made_once_and_again_after_a_change():
    potential = SyntheticEAM()
    one, two = tabulate_once(potential), tabulate_once(potential)
    assert one is not two
    assert one.pair_tables["Cu", "Cu"] is two.pair_tables["Cu", "Cu"]
    for change in ({"low": 0.6}, {"cutoff": 4.9}, {"sign": -1.0}, {"neighbor_decides": False}):
        changed = replace(potential, **change)
        vars(potential).update(vars(changed))  # the same object
        again = tabulate_once(potential)
        assert again.pair_tables["Cu", "Cu"] is not two.pair_tables["Cu", "Cu"]
        two = again
    key = id(potential)
    assert key in _COMPILED
    del one, two, again, potential
    assert key not in _COMPILED


def test_what_cannot_be_tabulated_is_told():
    with pytest.raises(ValueError, match="tol must be positive"):
        tabulate(SyntheticEAM(), 0.0)
    with pytest.raises(ValueError, match=r"out of reach .* of phi and f of Cu-Cu"):
        tabulate(SyntheticEAM(), 1e-15)
