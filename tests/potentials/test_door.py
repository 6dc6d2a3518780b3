"""What every pair potential refuses at its door, and what it takes although it need not be hashable."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from ase import Atoms

from ase_kan import KANCalculator, KANPotential, PairCurve, fit
from ase_kan.exports.matscipy import MatscipyPair
from ase_kan.potentials.tables import tabulate, tabulate_once
from tests.shared import lj_energy


@pytest.fixture(scope="module")
def exact():
    return fit(PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=3)).potential


BAD = [0.0, -1.0, np.nan, np.inf, -np.inf, [1.0, 0.0], [[1.0], [-2.0]]]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", ["energy", "force"])
@pytest.mark.parametrize("which", ["kan", "compiled"])
def test_distances_must_be_positive_and_finite(exact, which, kind, bad):
    potential = exact if which == "kan" else tabulate(exact)
    value = np.array(bad).flat[-1]
    with pytest.raises(ValueError, match=f"^distances must be positive and finite, got {value}$"):
        getattr(potential, kind)(bad)


def test_the_same_door_for_matscipy(exact):
    interaction = MatscipyPair(exact)
    for function in (interaction, interaction.derivative(1), interaction.derivative(2)):
        with pytest.raises(ValueError, match="positive and finite, got -1"):
            function(np.array([1.0, -1.0]))


@pytest.mark.parametrize("bad", ["abc", None, 1j, [[1.0], [1.0, 2.0]], np.array([1 + 1j])])
def test_distances_must_be_numbers(exact, bad):
    with pytest.raises(ValueError, match=r"^distances must be"):
        exact.energy(bad)


@pytest.mark.parametrize("which", ["kan", "compiled"])
def test_an_overflow_is_no_value(exact, which):
    potential = exact if which == "kan" else tabulate(exact)
    with pytest.raises(ValueError, match=r"^the energy at r = 1e-60 A overflows$"):
        potential.energy([1.0, 1e-60])
    with pytest.raises(ValueError, match=r"^the force at r = 1e-25 A overflows$"):
        potential.force(1e-25)


@dataclass
class Plain:
    """The protocol by a class whose objects cannot be hashed: ``eq=True`` of a dataclass takes that away."""

    depth: float

    elements = ()
    pairs = (None,)
    cutoff = 3.0
    reference_energies = {}  # noqa: RUF012

    def __call__(self, r, pair=None):
        energy = self.depth * (r**-12 - 2 * r**-6) * (1 - (r / 3.0) ** 2).clamp(min=0) ** 3
        return torch.where(r < 3.0, energy, 0.0)

    def energy(self, r, pair=None):
        return self(torch.as_tensor(np.asarray(r, dtype=float))).numpy()

    def force(self, r, pair=None):
        raise NotImplementedError

    def domain(self, pair=None):
        return 0.9, 3.0

    def breakpoints(self, pair=None):
        return (3.0,)


@dataclass(slots=True)
class Slotted(Plain):
    """No weak references to it either."""


@pytest.mark.parametrize("kind", [Plain, Slotted])
@pytest.mark.parametrize("engine", ["auto", "compiled", "autograd"])
def test_a_potential_need_not_be_hashable(kind, engine):
    potential = kind(0.5)
    with pytest.raises(TypeError, match="unhashable"):
        hash(potential)
    atoms = Atoms("Ar2", [[0, 0, 0], [1.1, 0, 0]], calculator=KANCalculator(potential, engine=engine))
    assert atoms.get_potential_energy() == pytest.approx(float(potential.energy(1.1)), rel=1e-7)
    potential.depth = 1.0
    atoms.calc = KANCalculator(potential, engine=engine)
    assert atoms.get_potential_energy() == pytest.approx(float(potential.energy(1.1)), rel=1e-7)


def test_equal_potentials_do_not_share_tables():
    a, b = Plain(0.5), Plain(0.5)
    assert a == b
    assert tabulate_once(a).spline() is tabulate_once(a).spline()
    assert tabulate_once(a).spline() is not tabulate_once(b).spline()


def test_a_pair_has_one_function(exact):
    f = exact.function()
    with pytest.raises(ValueError, match="the pair Ar-Ne is given twice"):
        KANPotential({("Ne", "Ar"): f, ("Ar", "Ne"): f})


@pytest.mark.parametrize("pair", ["Ar", ("Ar",), ("Ar", 18), 3])
def test_what_is_no_pair(exact, pair):
    with pytest.raises(ValueError, match="a pair is two chemical symbols"):
        KANPotential({pair: exact.function()})


def test_symbols_and_lone_atoms_are_checked(exact):
    f = exact.function()
    with pytest.raises(ValueError, match="'Zz' is not the symbol"):
        KANPotential({("Ar", "Zz"): f})
    with pytest.raises(ValueError, match="'Argon' is not the symbol"):
        KANPotential({("Ar", "Ar"): f}, {"Argon": 1.0})
    with pytest.raises(ValueError, match="a lone Ar atom must be finite, got nan"):
        KANPotential({("Ar", "Ar"): f}, {"Ar": np.nan})


def test_lone_atom_energies_are_read_only(exact):
    mine = {"Ar": -3.0}
    potential = KANPotential({("Ar", "Ar"): exact.function()}, mine)
    mine["Ar"] = 7.0
    for one in (potential, tabulate(potential), copy.deepcopy(potential), pickle.loads(pickle.dumps(potential))):
        assert dict(one.reference_energies) == {"Ar": -3.0}
        with pytest.raises(TypeError, match="does not support item assignment"):
            one.reference_energies["Ar"] = 0.0
    atoms = Atoms("Ar", calculator=KANCalculator(potential))
    assert atoms.get_potential_energy() == -3.0
