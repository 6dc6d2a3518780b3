"""Published potential files: what is read, in between the values and beyond them, and what is refused."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch

from ase_kan import EmbeddedAtomPotential, PairPotential, from_setfl
from ase_kan.potentials.features import value_and_slope
from tests.lammps_eam import PUBLISHED

CU = PUBLISHED / "Cu_mishin1.eam.alloy"


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(scope="module")
def copper():
    return from_setfl(CU)


def numbers(path, lines):
    return np.array(" ".join(path.read_text().splitlines()[lines]).split(), dtype=float)


def test_the_values_are_those_of_the_file(copper):
    n, drho, dr = 10001, 0.00016401626143851118, 0.00089991000899910004
    f = numbers(CU, slice(6, 6 + n))
    density = numbers(CU, slice(6 + n, 6 + 2 * n))
    product = numbers(CU, slice(6 + 2 * n, 6 + 3 * n))
    k = np.arange(2, 6000, 7)
    r = torch.from_numpy(k * dr)
    np.testing.assert_allclose(copper.embedding(torch.from_numpy(k * drho), "Cu"), f[k], atol=1e-12)
    np.testing.assert_allclose(copper.density(r, "Cu", "Cu"), density[k], atol=1e-12)
    np.testing.assert_allclose(copper.pair_energy(r, ("Cu", "Cu")) * r, product[k], atol=1e-11)
    assert copper.elements == ("Cu",)
    assert copper.cutoff == 5.50678999999999962967
    assert copper.channels == 1
    assert copper.domain(("Cu", "Cu")) == (dr, copper.cutoff)
    assert copper.density_domain("Cu") == (0.0, pytest.approx((n - 1) * drho, rel=1e-12))
    assert copper.breakpoints(("Cu", "Cu"))[-2:] == (pytest.approx(6119 * dr, rel=1e-12), copper.cutoff)
    assert isinstance(copper, EmbeddedAtomPotential)
    assert not isinstance(copper, PairPotential)


def test_slopes_at_the_values_are_lammps_differences(copper):
    y, step = numbers(CU, slice(6, 6 + 10001)), 0.00016401626143851118
    k = np.array([1.0, 2.0, 777.0, 9998.0, 9999.0])
    _, slope = value_and_slope(partial(copper.embedding, element="Cu"), (k + 1e-7) * step)
    expected = [(y[2] - y[0]) / 2, *[(y[n - 2] - 8 * y[n - 1] + 8 * y[n + 1] - y[n + 2]) / 12 for n in (2, 777, 9998)]]
    np.testing.assert_allclose(slope[:4] * step, expected, rtol=1e-6)
    assert slope[4] * step == pytest.approx((y[10000] - y[9998]) / 2, rel=1e-6)


def test_beyond_the_tables(copper):
    """F goes on straight above them and as a cubic below; no function is left at the cutoff."""
    end = copper.density_domain("Cu")[1]
    embedding = partial(copper.embedding, element="Cu")
    value, slope = value_and_slope(embedding, np.array([end * (1 - 1e-12), end, end + 0.1, end + 5.0]))
    np.testing.assert_allclose(value[2:], value[1] + slope[1] * np.array([0.1, 5.0]), rtol=1e-12)
    np.testing.assert_allclose(slope, slope[0], rtol=1e-8)
    below = embedding(torch.linspace(-4e-4, 1.6e-4, 8, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(np.diff(below, 4), 0.0, atol=1e-15)
    for r in (copper.cutoff, copper.cutoff + 1):
        assert copper.density(tensor(r), "Cu", "Cu") == copper.pair_energy(tensor(r), ("Cu", "Cu")) == 0


def test_elements_in_any_order_of_the_file():
    """The file has Ni, Al, H: f of a neighbor is that of its block, r phi of (Al, Ni) the second of all."""
    path = PUBLISHED / "NiAlH_jea.eam.alloy"
    potential = from_setfl(path)
    assert potential.elements == ("Al", "H", "Ni")
    body = [line for line in path.read_text().splitlines()[5:] if "fcc" not in line]
    values = np.array(" ".join(body).split(), dtype=float)
    assert len(values) == 3 * 2000 + 6 * 1000
    k, dr = np.arange(300, 900), 0.5678391959798995e-02
    r = torch.from_numpy(k * dr)
    for atom in potential.elements:
        np.testing.assert_allclose(potential.density(r, atom, "H"), values[4000 + 1000 + k], atol=1e-12)
        np.testing.assert_allclose(potential.density(r, atom, "Ni"), values[1000 + k], atol=1e-12)
    for pair in (("Al", "Ni"), ("Ni", "Al")):
        np.testing.assert_allclose(potential.pair_energy(r, pair) * r, values[6000 + 1000 + k], atol=1e-11)
    np.testing.assert_allclose(potential.pair_energy(r, ("H", "Al")) * r, values[6000 + 4000 + k], atol=1e-11)


def test_densities_of_pairs(tmp_path):
    """In eam/fs the block of an element has its density at each element, in the order of the file."""
    path = tmp_path / "a.eam.fs"
    blocks = [
        "\n".join(["29 63.5 3.6 fcc", "0 1 2 3 4", *(f"{k} 4 3 2 1 {k}" for k in pair)]) for pair in ((5, 6), (7, 8))
    ]
    path.write_text("\n".join(["", "", "", "2 Ni Al", "5 0.1 6 0.5 2.5", *blocks, *["9 1 1 1 1 0"] * 3]) + "\n")
    potential = from_setfl(path)
    at_zero = {(a, b): float(potential.density(tensor(0.0), a, b)) for a in ("Al", "Ni") for b in ("Al", "Ni")}
    assert at_zero == {("Ni", "Ni"): 5, ("Al", "Ni"): 6, ("Ni", "Al"): 7, ("Al", "Al"): 8}


def test_every_file_of_lammps_can_be_read():
    paths = sorted([*PUBLISHED.glob("*.eam.alloy"), *PUBLISHED.glob("*.eam.fs")])
    assert len(paths) >= 15
    for path in paths:
        potential = from_setfl(path)
        assert f"{', '.join(potential.elements)}; cutoff" in repr(potential)


def test_copies(copper):
    other = pickle.loads(pickle.dumps(copper))
    r = torch.linspace(1.0, 6.0, 50, dtype=torch.float64)
    assert torch.equal(other.pair_energy(r, ("Cu", "Cu")), copper.pair_energy(r, ("Cu", "Cu")))
    with pytest.raises(AttributeError):
        copper.cutoff = 3.0
    with pytest.raises(TypeError):
        copper.embeddings["Cu"] = None


def test_unknown_elements_and_channels(copper):
    with pytest.raises(ValueError, match="does not know 'Ag': it has tables for Cu"):
        copper.embedding(tensor(1.0), "Ag")
    with pytest.raises(ValueError, match=r"does not know \('Ag', 'Cu'\)"):
        copper.pair_energy(tensor(1.0), ("Cu", "Ag"))
    with pytest.raises(ValueError, match="channel 0 only, got 1"):
        copper.density(tensor(1.0), "Cu", "Cu", channel=1)


SMALL = """comment
comment
comment
1 Cu
5 0.1 6 0.5 2.5
29 63.5 3.6 fcc
0 1 2 3 4
5 4 3 2 1 0
6 5 4 3 2 0
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 Cu", "Cu", "lines 4 and 5 must be the elements"),
        ("1 Cu", "2 Cu", "line 4 must have the number of elements and the elements, got '2 Cu'"),
        ("1 Cu", "1 Xy", "'Xy' is no chemical symbol"),
        ("5 0.1 6 0.5 2.5", "5 0.1 6 0.5", "lines 4 and 5"),
        ("5 0.1 6 0.5 2.5", "4 0.1 6 0.5 2.5", "at least 5 densities and distances, got 4 and 6"),
        ("5 0.1 6 0.5 2.5", "5 -0.1 6 0.5 2.5", "must be positive, got -0.1, 0.5 and 2.5"),
        ("5 0.1 6 0.5 2.5", "5 0.1 6 nan 2.5", "must be positive, got 0.1, nan and 2.5"),
        ("5 0.1 6 0.5 2.5", "5 0.1 6 0.5 x", "could not convert"),
        ("6 5 4 3 2 0\n", "6 5 4 3 2\n", "20 words, but eam/alloy has 17 numbers"),
        ("6 5 4 3 2 0\n", "6 5 4 3 2 0 1\n", "22 words, but eam/alloy has 17 numbers"),
        ("6 5 4 3 2 0\n", "6 5 4 3 2 0\n7\n", "22 words, but eam/alloy has 17 numbers"),
        ("6 5 4 3 2 0\n", "6 5 nan 3 2 0\n", "numbers that are not finite"),
        ("6 5 4 3 2 0\n", "6 5 four 3 2 0\n", "words, but eam/alloy"),
    ],
)
def test_other_files_are_refused(tmp_path, old, new, message):
    path = tmp_path / "a.eam.alloy"
    path.write_text(SMALL)
    assert from_setfl(path).elements == ("Cu",)
    assert old in SMALL
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        from_setfl(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path} is not a setfl file")


def test_files_of_other_kinds_are_refused(tmp_path):
    for path in (PUBLISHED / "Cu_u3.eam", PUBLISHED / "library.meam", PUBLISHED / "W_zhou.eam.alloy"):
        if path.suffix == ".alloy":
            continue
        with pytest.raises(ValueError, match="is not a setfl file"):
            from_setfl(path)
    empty = tmp_path / "empty.setfl"
    for content in (b"", b"\x00\xff" * 5000, b"\n" * 10):
        empty.write_bytes(content)
        with pytest.raises(ValueError, match="is not a setfl file"):
            from_setfl(empty)
    with pytest.raises(FileNotFoundError):
        from_setfl(tmp_path / "none.eam.fs")
