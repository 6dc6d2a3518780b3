"""KANEAM: its functions against scipy's B-splines, what they are outside the data, its file."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.interpolate import BSpline

from ase_kan import KANEAM, KANCalculator, KANPotential
from ase_kan.kan.bsplines import uniform_knots
from ase_kan.potentials import storage
from ase_kan.potentials.coverage import Coverage
from ase_kan.potentials.eam_schema import check
from ase_kan.potentials.features import two_derivatives
from ase_kan.potentials.files import load_potential
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.potentials.tables import tabulate

START, CUTOFF, GRID, EMBEDDING, K = 2.0, 5.0, 9, 4, 5
SHORTEST = {("Cu", "Cu"): 2.2, ("Cu", "Ni"): 2.0, ("Ni", "Ni"): 2.4}


def potential(densities="alloy", channels=2, **changes):
    """Random coefficients: densities that decay, a repulsive phi."""
    rng = np.random.default_rng(3)
    kinds = 2 if densities == "alloy" else 4
    decay = np.exp(-np.arange(GRID) / 3.0)
    ends = np.tile([1.0, 9.0], (channels, 2, 1))
    keywords = {
        "elements": ("Cu", "Ni"),
        "densities": densities,
        "start": START,
        "cutoff": CUTOFF,
        "grid": GRID,
        "embedding_grid": EMBEDDING,
        "k": K,
        "pair_coefficients": decay**2 * (1 + 0.1 * rng.random((3, GRID))),
        "density_coefficients": decay * (1 + 0.1 * rng.random((channels, kinds, GRID))),
        "embedding_coefficients": 0.2 * rng.normal(size=(channels, 2, EMBEDDING + K)),
        "embedding_ends": ends,
        "domains": {pair: (low, CUTOFF) for pair, low in SHORTEST.items()},
        "density_domains": ends,
        "reference_energies": {"Cu": -1.0, "Ni": 2.0},
        "coverage": {("Cu", "Cu"): Coverage((2.2, 3.0, 4.0, 4.5, 5.0), (5, 0, 0, 9))},
        "density_coverage": {"Cu": (Coverage((1.0, 3.0, 6.0, 9.0), (10, 20, 3)),) * channels},
        "info": {"made": "by hand"},
    }
    return KANEAM(**keywords | changes)


def numbers(r):
    return torch.as_tensor(r, dtype=torch.float64)


@pytest.mark.parametrize("densities", ["alloy", "finnis-sinclair"])
def test_functions_are_b_splines_within_their_data(densities):
    """Of scipy, with the last k coefficients zero, so that k - 1 derivatives vanish at the cutoff."""
    p = potential(densities)
    knots = uniform_knots(START, CUTOFF, GRID, K)
    r = np.linspace(2.41, CUTOFF - 1e-9, 200)
    phi = BSpline(knots, np.append(p.pair_coefficients[1], np.zeros(K)), K)
    assert p.pair_energy(numbers(r), ("Ni", "Cu")).numpy() == pytest.approx(phi(r), abs=1e-13)
    f = BSpline(knots, np.append(p.density_coefficients[1, 1], np.zeros(K)), K)
    assert p.density(numbers(r), "Cu", "Ni", 1).numpy() == pytest.approx(f(r), abs=1e-13)
    kind = 0 if densities == "alloy" else 2
    f = BSpline(knots, np.append(p.density_coefficients[0, kind], np.zeros(K)), K)
    assert p.density(numbers(r), "Ni", "Cu", 0).numpy() == pytest.approx(f(r), abs=1e-13)
    rho = np.linspace(1, 9, 100)[1:-1]
    embedding = BSpline(uniform_knots(1.0, 9.0, EMBEDDING, K), p.embedding_coefficients[1, 1], K)
    assert p.embedding(numbers(rho), "Ni", 1).numpy() == pytest.approx(embedding(rho), abs=1e-13)
    near = CUTOFF - 1e-3
    assert abs(float(p.pair_energy(numbers([near]), ("Cu", "Cu")))) < 1e-13
    assert float(p.pair_energy(numbers([CUTOFF + 1]), ("Cu", "Cu"))) == 0
    assert float(p.density(numbers([CUTOFF + 1]), "Cu", "Cu")) == 0


def test_functions_go_on_smoothly_outside():
    """Value, slope and (of f and phi) curvature are continuous at every end of the data; F is straight, f saturates."""
    p = potential("finnis-sinclair")
    for pair, low in SHORTEST.items():
        functions = [lambda r, pair=pair: p.pair_energy(r, pair), lambda r, pair=pair: p.density(r, *pair, 0)]
        for function in functions:
            for below, above in two_derivatives(function, np.array([low - 1e-9, low + 1e-9])):
                assert below == pytest.approx(above, abs=1e-5)
        near = p.density(numbers([0.1, 0.5, low]), *pair, 0)
        assert abs(float(near[0] - near[1])) < 0.05 * abs(float(near[1] - near[2])) + 1e-3
    rho = np.array([-50.0, -20.0, 1.0 - 1e-9, 1.0 + 1e-9, 9.0 - 1e-9, 9.0 + 1e-9, 40.0, 70.0])
    value, slope, _ = two_derivatives(lambda x: p.embedding(x, "Cu", 1), rho)
    assert np.ptp(slope[:4]) < 1e-6
    assert np.ptp(slope[4:]) < 1e-6
    assert value[2] == pytest.approx(value[3], abs=1e-6)
    assert value[4] == pytest.approx(value[5], abs=1e-6)
    assert value[0] - value[1] == pytest.approx(-30 * slope[0], rel=1e-9)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_close_atoms_repel_each_other_whatever_the_fit_says(sign):
    """Also where phi of the data is attractive and F pulls: in a dimer, and in a crystal that is pressed together."""
    p = potential(pair_coefficients=-0.3 * np.ones((3, GRID)))
    p = potential(
        pair_coefficients=np.array(p.pair_coefficients), embedding_coefficients=5 * sign * p.embedding_coefficients
    )
    calculator = KANCalculator(p, engine="autograd", on_extrapolation="ignore")
    for pair, low in SHORTEST.items():
        for r in np.linspace(0.3, 0.93 * low, 30):
            atoms = Atoms(pair, [[0, 0, 0], [r, 0, 0]], calculator=calculator)
            assert atoms.get_forces()[1, 0] > 0, (pair, r)
    energies = []
    for a in np.linspace(1.5, 2.6, 12):
        atoms = bulk("Cu", a=a)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    assert np.all(np.diff(energies) < 0)


def test_engines_and_tables_agree():
    """The compiled kernel, from tables, gives what the functions themselves give, outside the data too."""
    p = potential("finnis-sinclair")
    rng = np.random.default_rng(0)
    atoms = bulk("Cu", a=3.7, cubic=True) * (2, 2, 2)
    atoms.symbols = rng.choice(["Cu", "Ni"], len(atoms))
    atoms.positions += rng.normal(0, 0.25, atoms.positions.shape)
    found = []
    for engine in ("autograd", "compiled"):
        atoms.calc = KANCalculator(p, engine=engine, on_extrapolation="ignore")
        found.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    for mine, other in zip(*found, strict=True):
        assert mine == pytest.approx(other, abs=1e-6 * np.abs(other).max())
    assert tabulate(p).channels == 2


def test_protocol_and_errors():
    """It is an embedded-atom potential, and names what it does not know."""
    p = potential()
    assert isinstance(p, EmbeddedAtomPotential)
    assert p.domain(("Ni", "Cu")) == (2.0, CUTOFF)
    assert p.density_domain("Ni", 1) == (1.0, 9.0)
    assert p.breakpoints(("Cu", "Cu"))[-1] == CUTOFF
    assert 2.2 in p.breakpoints(("Cu", "Cu"))
    assert len(p.density_breakpoints("Cu")) == EMBEDDING + 1
    assert p.gaps(("Cu", "Cu")) == ((3.0, 4.5),)
    assert p.gaps(("Cu", "Ni")) == ()
    assert p.density_gaps("Ni") == ()
    assert "data from 2.2 A" in p.describe()
    assert "Cu, channel 1" in p.describe()
    assert repr(p) == "KANEAM(Cu, Ni; 2 channels; cutoff 5 A)"
    with pytest.raises(ValueError, match="no pair Cu-Al"):
        p.pair_energy(numbers([3.0]), ("Cu", "Al"))
    with pytest.raises(ValueError, match="does not know 'Al'"):
        p.embedding(numbers([3.0]), "Al")
    with pytest.raises(ValueError, match="channels 0 to 1, got 2"):
        p.density(numbers([3.0]), "Cu", "Cu", 2)
    with pytest.raises(TypeError):
        p.reference_energies["Cu"] = 1.0
    with pytest.raises(ValueError, match="density_domains must ascend"):
        potential(density_domains=np.tile([9.0, 1.0], (2, 2, 1)))


@pytest.mark.parametrize("densities", ["alloy", "finnis-sinclair"])
def test_file_has_everything(tmp_path, densities):
    """Saved, loaded, pickled and copied potentials are the same; the same content gives the same bytes."""
    p, file = potential(densities), tmp_path / "cuni.kan"
    p.save(file)
    for q in (KANEAM.load(file), load_potential(file), pickle.loads(pickle.dumps(p)), deepcopy(p)):
        assert type(q) is KANEAM
        assert q.describe() == p.describe()
        assert q.info == p.info
        assert dict(q.domains) == dict(p.domains)
        assert q.gaps(("Cu", "Cu")) == p.gaps(("Cu", "Cu"))
        assert q.density_gaps("Cu") == p.density_gaps("Cu")
        r = numbers(np.linspace(0.5, 6, 50))
        assert torch.equal(q.pair_energy(r, ("Cu", "Ni")), p.pair_energy(r, ("Cu", "Ni")))
        assert torch.equal(q.density(r, "Ni", "Cu", 1), p.density(r, "Ni", "Cu", 1))
        assert torch.equal(q.embedding(3 * r, "Ni", 1), p.embedding(3 * r, "Ni", 1))
        q.save(tmp_path / "again.kan")
        assert (tmp_path / "again.kan").read_bytes() == file.read_bytes()


def test_each_loader_says_what_the_other_kind_is(tmp_path):
    """A pair potential is not read as an embedded-atom potential, nor the other way round."""
    file = tmp_path / "cuni.kan"
    potential().save(file)
    with pytest.raises(ValueError, match=r"holds an embedded-atom potential.*KANEAM\.load"):
        KANPotential.load(file)
    pair = "tests/files/bare.kan"
    with pytest.raises(ValueError, match=r"holds a pair potential.*KANPotential\.load"):
        KANEAM.load(pair)
    assert isinstance(load_potential(pair), KANPotential)


def damage(name):
    """The content of a file with one thing wrong."""
    header, tensors = potential().content()
    tensors = dict(tensors)
    changes = {
        "no elements": lambda: header.update(elements=[]),
        "elements not in order": lambda: header.update(elements=["Ni", "Cu"]),
        "an unknown entry": lambda: header.update(extra=1),
        "a missing entry": lambda: header.pop("grid"),
        "a cutoff below the start": lambda: header.update(cutoff=1.0),
        "a grid of another size": lambda: header.update(grid=GRID + 1),
        "a negative degree": lambda: header.update(k=-1),
        "a pair twice": lambda: header["pairs"].append(header["pairs"][0]),
        "a pair of no element": lambda: header["pairs"][0].update(elements=["Al", "Al"]),
        "a domain outside": lambda: header["pairs"][0].update(domain=[0.1, CUTOFF]),
        "no coverage of densities": lambda: header.update(density_coverage=[]),
        "an array missing": lambda: tensors.pop("embedding_ends"),
        "an array too many": lambda: tensors.update(more=np.zeros(1)),
        "a NaN": lambda: tensors["pair_coefficients"].__setitem__((0, 0), np.nan),
        "single precision": lambda: tensors.update(pair_coefficients=tensors["pair_coefficients"].astype(np.float32)),
        "no channels": lambda: tensors.update(density_coefficients=tensors["density_coefficients"][:0]),
        "ends that descend": lambda: tensors.update(embedding_ends=-tensors["embedding_ends"]),
        "a grid without width": lambda: tensors.update(embedding_ends=1e-170 * tensors["embedding_ends"]),
        "infinite energies": lambda: header.update(reference_energies={"Cu": float("inf")}),
        "another form": lambda: header.update(densities="finnis-sinclair"),
    }
    if name is None:
        return list(changes)
    changes[name]()
    return header, tensors


@pytest.mark.parametrize("name", damage(None))
def test_files_are_checked(tmp_path, name):
    """One line says what is wrong, and with which file."""
    header, tensors = damage(name)
    storage.write(tmp_path / "bad.kan", header, tensors)
    with pytest.raises(ValueError, match=r"bad\.kan is not a valid potential") as found:
        KANEAM.load(tmp_path / "bad.kan")
    assert "\n" not in str(found.value)
    with pytest.raises(ValueError, match=r"."):
        check(header, tensors)
