"""Model files at the door: damage under a repaired checksum, sizes that would take minutes, and what save refuses."""

import time

import numpy as np
import pytest
import torch

from ase_kan import KANPotential, PairCurve, fit
from ase_kan.kan.network import KANLayer
from tests.potentials.mutated_files import example, run


@pytest.mark.parametrize("embedded", [False, True])
def test_damaged_files_are_refused_or_finite(tmp_path, embedded):
    """One line of ValueError, or a potential that is finite, can be run, described and saved again."""
    counts, wrong = run(150, 7, tmp_path, embedded=embedded)
    assert wrong == []
    assert counts["refused"] > 75
    assert counts["finite"] > 5


def layer(k, grid, n_in=1, n_out=1):
    knots = torch.linspace(0.5, 3.0, grid + 2 * k + 1)[None].repeat(n_in, 1)
    one = torch.ones(n_in, n_out)
    return KANLayer(knots, torch.ones(n_in, n_out, grid + k), one, one, torch.zeros(n_out), "zero")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((200, 5), "k = 200 is too large: at most 15"),
        ((3, 20_000), "grid = 20000 is too large: at most 10000"),
        ((3, 5, 1, 2000), "width = 2000 is too large: at most 1000"),
        ((15, 5000, 100, 100), "a layer from 100 to 100 nodes with grid = 5000 and k = 15 is too large"),
    ],
)
def test_sizes_have_limits(sizes, message):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message):
        layer(*sizes)
    assert time.perf_counter() - start < 10.0


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"k": 200}, "k = 200 is too large"),
        ({"grid": 20_000}, "grid = 20000 is too large"),
        ({"width": (1, 2000, 1)}, "width = 2000 is too large"),
        ({"width": (1,) * 30}, "at most 16 layers, got 29"),
    ],
)
def test_fits_have_the_same_limits(keywords, message):
    r = np.linspace(0.9, 2.0, 50)
    with pytest.raises(ValueError, match=message):
        fit(PairCurve(r, r**-12 - r**-6), **keywords)


def test_what_cannot_be_loaded_is_not_saved(tmp_path):
    path = tmp_path / "p.kan"
    potential = example()
    potential.info["who"] = object()
    with pytest.raises(ValueError, match="what the potential remembers must be JSON"):
        potential.save(path)
    potential = example()
    with torch.no_grad():
        potential.function(("Ar", "Ar")).network[0].coef[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"cannot write .*functions\.0\.network\.layers\.0\.coef has NaN"):
        potential.save(path)
    assert not path.exists()


def test_the_message_names_file_and_entry(tmp_path):
    path = tmp_path / "p.kan"
    potential = example()
    potential.function(potential.pairs[0]).domain = (1.0, "x")
    with pytest.raises(ValueError, match=r"p\.kan: header\.pairs\[0\]\.domain\[1\] must be a number .*, got 'x'"):
        potential.save(path)
    example().save(path)
    assert KANPotential.load(path).pairs == (("Ar", "Ar"), ("Ar", "Ne"), ("Ne", "Ne"))
