"""Formulas of the functions of embedded-atom potentials."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, Structures, discover
from ase_kan.analysis.law import discover_functions
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.formula import Term
from ase_kan.potentials.formula_eam import Embedding, FormulaEAM, radial
from tests.synthetic_eam import SyntheticEAM

#: Exponentials with a square root, switched off from 3 to 5 A.
TRUE = FormulaEAM(
    {("Cu", "Cu"): radial([Term(60.0, rate=2.2)], 3.0, 5.0)},
    {("Cu", "Cu"): radial([Term(3.0, rate=0.9)], 3.0, 5.0)},
    {"Cu": Embedding(-0.8, 0.0, 0.5, 1.0, 9.0)},
    {("Cu", "Cu"): 2.0},
    {"Cu": -1.0},
)


class WithLine:
    """The same energies, with a straight line moved from phi to F."""

    def __getattr__(self, name):
        return getattr(TRUE, name)

    elements, cutoff, channels, reference_energies = ("Cu",), 5.0, 1, {"Cu": -1.0}

    def domain(self, pair):
        return TRUE.domain(pair)

    density_domain, density = TRUE.density_domain, TRUE.density
    breakpoints, density_breakpoints = TRUE.breakpoints, TRUE.density_breakpoints

    def pair_energy(self, r, pair):
        return TRUE.pair_energy(r, pair) - 2 * 0.3 * TRUE.density(r, "Cu", "Cu")

    def embedding(self, density, element, channel=0):
        return TRUE.embedding(density, element) + 0.3 * density


def crystals():
    images = []
    for seed in range(4):
        atoms = bulk("Cu", a=3.6 + 0.05 * seed, cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = KANCalculator(TRUE, engine="autograd", on_extrapolation="ignore")
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        images.append(atoms)
    return images


def test_exponential_density_and_square_root_are_found_in_any_gauge():
    found = discover_functions(WithLine(), Structures(crystals()))
    embedding, density = found.potential.embeddings["Cu"], found.potential.densities["Cu", "Cu"]
    assert (embedding.power, embedding.log_scale) == (0.5, 0.0)
    assert embedding.scale == pytest.approx(-0.8, rel=1e-6)
    assert density.terms[0].rate == pytest.approx(0.9, rel=0.02)
    assert max(form.misfit for form in found.forms) < 0.02
    assert "sqrt(rho)" in str(found)
    (energy, with_formulas), (forces, forces_with) = found.losses["energy"], found.losses["forces"]
    assert energy == pytest.approx(0, abs=1e-9)
    assert forces == pytest.approx(0, abs=1e-9)
    assert 0 < with_formulas < 2e-2
    assert 0 < forces_with < 2e-2


def test_embedding_with_a_logarithm():
    """Slopes inside and outside the data, and that the form is found."""
    embedding = Embedding(-1.0, 0.7, 0.6, 1.0, 9.0)
    rho = np.array([0.5, 0.9999, 1.0001, 3.0, 8.9999, 9.0001, 12.0])
    _, slope = value_and_slope(embedding, rho)
    step = 1e-6
    ends = [embedding(torch.from_numpy(rho + s * step)).numpy() for s in (1, -1)]
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)
    potential = FormulaEAM(TRUE.pair_energies, TRUE.densities, {"Cu": embedding}, TRUE.shortest, {})
    found = discover_functions(potential).potential.embeddings["Cu"]
    assert found.power == pytest.approx(0.6)
    assert found.log_scale == pytest.approx(0.7, rel=1e-6)


def test_errors_at_the_door():
    with pytest.raises(ValueError, match="one density per atom, and the potential has 2"):
        discover_functions(SyntheticEAM(channels=2))
    with pytest.raises(ValueError, match="powers need positive ones"):
        discover_functions(SyntheticEAM(sign=-1.0))
    with pytest.raises(TypeError, match=r"use ase_kan\.analysis\.law\.discover_functions"):
        discover(SyntheticEAM())
    with pytest.raises(TypeError, match="reads embedded-atom potentials, got int"):
        discover_functions(1)
