"""Laws found in curves: their form, numbers, verdicts, and the potentials that they make."""

import numpy as np
import pytest
import sympy
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from scipy.special import gammainc

from ase_kan import KANCalculator, LawPotential, PairCurve, discover, fit
from ase_kan.analysis.law.find import number_factor
from ase_kan.analysis.law.forms import Form, Free, Piece, changes, columns, library
from ase_kan.analysis.law.observations import Observations
from ase_kan.analysis.law.parameters import parameters
from ase_kan.analysis.law.projection import best_fit
from ase_kan.analysis.propagate import propagate
from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.files import load_potential
from ase_kan.potentials.formula import Term, total, values
from ase_kan.potentials.law_schema import NUMBERS


def points(seed=1, n=50):
    return np.sort(np.random.default_rng(seed).uniform(0.95, 2.0, n))


def lj(r):
    return r**-12.0 - r**-6.0


def morse(r):
    return np.exp(-12 * (r - 1.12)) - 2 * np.exp(-6 * (r - 1.12))


LAWS = {
    "Lennard-Jones 12-6": lj,
    "Mie 14-7": lambda r: r**-14.0 - r**-7.0,
    "Mie 9-6": lambda r: r**-9.0 - r**-6.0,
    "Morse": morse,
    "Buckingham": lambda r: 2.25e5 * np.exp(-12.5 * r) - 0.86 * r**-6.0,
    "Yukawa": lambda r: np.exp(-2 * r) / r,
    "Born-Mayer": lambda r: 1e3 * np.exp(-7 * r),
    "Gaussian": lambda r: 2 * np.exp(-2 * r**2),
    "Tang-Toennies-6": lambda r: 4e4 * np.exp(-11.5 * r) - 1.2 * gammainc(7, 11.5 * r) / r**6,
    "Coulomb": lambda r: -14.4 / r,
}


@pytest.fixture(scope="module")
def noisy():
    """Lennard-Jones with a noise of 1e-3."""
    r = points()
    return discover(PairCurve(r, lj(r) + 1e-3 * np.random.default_rng(2).normal(size=len(r))))


@pytest.mark.parametrize("name", LAWS)
def test_exact_data_give_the_law(name):
    law = discover(PairCurve(points(), LAWS[name](points())))
    assert (law.verdict, law.name) == ("found", name)
    r = np.array([0.7, 1.3, 5.0])
    assert law.energy(r) == pytest.approx(LAWS[name](r), rel=1e-6)


def test_noisy_lennard_jones(noisy):
    """Exponents exact, epsilon and sigma within three standard errors, which are of a sensible size."""
    assert (noisy.verdict, noisy.name) == ("found", "Lennard-Jones 12-6")
    epsilon, sigma = noisy.parameters["epsilon"], noisy.parameters["sigma"]
    assert (noisy.parameters["n"].value, noisy.parameters["m"].value) == (12, 6)
    assert noisy.parameters["n"].error == 0
    assert abs(epsilon.value - 0.25) < 3 * epsilon.error < 3e-3
    assert abs(sigma.value - 1) < 3 * sigma.error < 1e-3
    assert (epsilon.unit, sigma.unit) == ("eV", "A")
    assert noisy.noise["energy"] == pytest.approx(1e-3, rel=0.4)


def test_standard_errors_are_those_of_repeated_data():
    r, found = points(), []
    form = next(f for f in library() if f.pieces == (Piece(rate=Free(0, 2.0)), Piece(rate=Free(0))))
    for seed in range(40):
        data = Observations.of_curve(PairCurve(r, morse(r) + 1e-4 * np.random.default_rng(seed).normal(size=len(r))))
        fit_ = best_fit(form, data)
        known = parameters(fit_.terms(data.scale), number_factor(fit_, data))
        found.append([(known[name].value, known[name].error) for name in ("D", "a", "r0")])
    value, error = np.moveaxis(found, 2, 0)
    assert np.all(np.abs(np.log(value.std(axis=0, ddof=1) / error.mean(axis=0))) < 0.4)


def test_expression_and_formula(noisy):
    """The expression is the law within its errors, and its numbers are rounded."""
    r = np.linspace(0.9, 3, 50)
    symbol = next(iter(noisy.expression.free_symbols))
    evaluated = sympy.lambdify(symbol, noisy.expression)(r)
    assert np.all(np.abs(evaluated - noisy.energy(r)) < 0.1 * noisy.potential.uncertainty(r) + 1e-12)
    assert "/r)^12 - (" in noisy.formula
    assert max(len(str(number)) for number in noisy.expression.atoms(sympy.Float)) < 25
    assert r"r^{12}" in noisy.latex()
    damped = discover(PairCurve(r, LAWS["Tang-Toennies-6"](r)))
    assert sympy.lambdify(symbol, damped.expression)(r) == pytest.approx(LAWS["Tang-Toennies-6"](r), rel=1e-6)


def test_no_simple_law():
    """A smooth curve that is no law is not taken for one, with and without noise."""
    r = points()
    for noise in (0.0, 1e-4):
        energy = lj(r) + 0.1 * np.exp(-(((r - 1.5) / 0.2) ** 2)) + noise * np.random.default_rng(0).normal(size=len(r))
        law = discover(PairCurve(r, energy))
        assert law.verdict == "no simple law"
        assert not law.found
        assert np.isinf(law.potential.uncertainty([0.8, 2.5])).all()
        assert np.isfinite(law.potential.uncertainty(1.5))


def test_undecided_where_noise_hides_the_law():
    """Then the potential does not claim to know what lies outside."""
    r = points()
    law = discover(PairCurve(r, lj(r) + 3e-2 * np.random.default_rng(0).normal(size=len(r))))
    assert law.verdict.startswith("undecided between ")
    others = [values(terms, 0.7) for _, terms in law.potential.alternatives]
    assert law.potential.uncertainty(0.7) > 0.1 * np.std(others) > 0.1
    drawn = propagate(lambda p: p.energy(0.7), law.potential, 100)
    assert drawn.std > 0.1


def test_forces_help():
    """Energies that are nearly useless, and exact forces."""
    r = points()
    force = 12 * r**-13 - 6 * r**-7
    law = discover(PairCurve(r, lj(r) + 1e-2 * np.random.default_rng(0).normal(size=len(r)), force))
    assert (law.verdict, law.name) == ("found", "Lennard-Jones 12-6")
    assert law.force(0.7) == pytest.approx(12 * 0.7**-13 - 6 * 0.7**-7, rel=1e-3)
    assert set(law.noise) == {"energy", "forces"}


def test_errors_of_points_are_heeded():
    """Points that are known to be bad do not spoil the law."""
    r = points()
    errors = np.where(np.arange(len(r)) % 3, 1e-5, 0.1)
    energy = lj(r) + errors * np.random.default_rng(0).normal(size=len(r))
    assert discover(PairCurve(r, energy, errors=errors)).name == "Lennard-Jones 12-6"


def test_few_points():
    r = np.linspace(0.95, 2.0, 6)
    assert discover(PairCurve(r, lj(r))).name == "Lennard-Jones 12-6"
    with pytest.raises(ValueError, match="at least 6 different distances, got 5"):
        discover(PairCurve(r[:5], lj(r[:5])))


def test_errors_at_the_door():
    curve = PairCurve(points(), lj(points()))
    with pytest.raises(TypeError, match="for potentials, not for PairCurve"):
        discover(curve, errors=1e-3)
    with pytest.raises(TypeError, match="got list"):
        discover([1.0])
    with pytest.raises(ValueError, match="all energies are zero"):
        discover(PairCurve(points(), 0 * points()))


def test_of_a_potential():
    """A KAN of noisy data is read within what it knows of its errors."""
    r = points()
    law = discover(fit(PairCurve(r, morse(r) + 1e-4 * np.random.default_rng(0).normal(size=50))).potential)
    assert (law.verdict, law.name) == ("found", "Morse")
    assert law.parameters["a"].value == pytest.approx(6, abs=0.01)


def test_agrees_with_ase():
    """Energy, forces and stress of ASE's own Lennard-Jones, from the cutoff that it has."""
    curve = PairCurve.from_calculator(LennardJones(epsilon=0.0104, sigma=3.4, rc=300), ("Ar", "Ar"), r_min=3.2, r_max=7)
    potential = discover(curve, cutoff=8.0, smooth=False).potential
    atoms = bulk("Ar", a=5.26, cubic=True) * (3, 3, 3)
    atoms.rattle(0.1, seed=0)
    ours, theirs = atoms.copy(), atoms.copy()
    ours.calc = KANCalculator(potential, engine="autograd")
    theirs.calc = LennardJones(epsilon=0.0104, sigma=3.4, rc=8.0)
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-10)
    assert ours.get_forces() == pytest.approx(theirs.get_forces(), abs=1e-10)
    assert ours.get_stress() == pytest.approx(theirs.get_stress(), abs=1e-10)


def test_compiled_engine_and_uncertainty(noisy):
    atoms = Atoms("Ar4", 1.1 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.3, 0.4, 0.8]]))
    results = []
    for engine in ("compiled", "autograd"):
        atoms.calc = KANCalculator(noisy.potential, engine=engine, on_extrapolation="ignore")
        results.append((atoms.get_potential_energy(), atoms.get_forces()))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-5)
    assert results[0][1] == pytest.approx(results[1][1], abs=1e-3)
    told = atoms.calc.uncertainty(atoms)
    drawn = propagate(lambda p: p.energy(atoms.get_all_distances()[np.triu_indices(4, 1)]).sum(), noisy.potential, 400)
    assert told.energy == pytest.approx(float(drawn.std), rel=0.15)


def test_network_is_the_law(noisy):
    """pykan's model with symbolic edges gives the same numbers; damped dispersion too."""
    tang = LawPotential([Term(4e4, rate=11.5), Term(-1.2, 6, damping=11.5)], (1, 2), Cutoff(5, None))
    for potential in (noisy.potential, tang):
        r = torch.linspace(0.9, 5, 200, dtype=torch.float64)
        with torch.no_grad():
            ours, theirs = potential.uncut(r), potential.network()(r[:, None])[:, 0]
        assert float((ours - theirs).abs().max()) < 1e-12 * float(ours.abs().max())


def test_file(noisy, tmp_path):
    path = tmp_path / "law.kan"
    noisy.potential.save(path)
    potential = load_potential(path)
    assert isinstance(potential, LawPotential)
    r = np.linspace(0.6, 6, 50)
    assert np.array_equal(potential.energy(r), noisy.potential.energy(r))
    assert np.array_equal(potential.uncertainty(r), noisy.potential.uncertainty(r))
    assert potential.info["verdict"] == "found"
    assert "E(r) = 4 * " in potential.describe()
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.2]])
    atoms.calc = KANCalculator(path)
    assert atoms.get_potential_energy() == pytest.approx(noisy.potential.energy(1.2), abs=1e-6)


def test_derivatives_of_terms():
    """By every number, and of the columns by the logarithms of the shapes, against finite differences."""
    r = torch.tensor([0.8, 1.7, 3.0], dtype=torch.float64)
    for term in (Term(1.3, 6.0, 0.2, 0.1), Term(1.3, 6.0, 0.2, 0.1, 3.0)):
        for name, found in zip(NUMBERS, term.gradient(r), strict=True):
            if getattr(term, name) is None or (name == "power" and term.damping):
                continue
            step = 1e-6
            ends = [Term(**(vars(term) | {name: getattr(term, name) + s * step})) for s in (1, -1)]
            assert found.numpy() == pytest.approx((ends[0](r) - ends[1](r)).numpy() / (2 * step), rel=1e-7)
        assert total(term.monomials(), r).numpy() == pytest.approx(term(r).numpy(), rel=1e-9)
    a, b = Free(0), Free(1, 2.0)
    form = Form((Piece(power=b, rate=a), Piece(power=6.0, damping=a), Piece(gauss=b)), ("rate", "power"))
    theta, x, step = np.array([3.0, 1.5]), r.numpy(), 1e-6
    found = changes(form, theta, x, 1.2)
    for number in range(2):
        up, down = (columns(form, (theta * np.exp(s * step * np.eye(2)[number]))[None], x, 1.2) for s in (1, -1))
        assert found.value[number] == pytest.approx((up.value - down.value)[0] / (2 * step), rel=1e-6, abs=1e-9)
        assert found.slope[number] == pytest.approx((up.slope - down.slope)[0] / (2 * step), rel=1e-6, abs=1e-9)


def test_special_cases_of_forms():
    """A law is no rival of what contains it."""
    free = next(f for f in library() if f.shapes == ("power", "power"))
    twelve_six = next(f for f in library() if f.pieces == (Piece(power=12.0), Piece(power=6.0)))
    three = next(f for f in library() if f.pieces == (Piece(power=12.0), Piece(power=6.0), Piece(power=1.0)))
    tied = next(f for f in library() if f.pieces == (Piece(power=Free(0, 2.0)), Piece(power=Free(0))))
    none = np.zeros(0)
    assert free.contains(twelve_six, none)
    assert three.contains(twelve_six, none)
    assert tied.contains(twelve_six, none)
    assert free.contains(tied, np.array([6.0]))
    assert not tied.contains(free, np.array([13.0, 6.0]))
    assert not twelve_six.contains(free, np.array([12.0, 6.0]))
    assert not twelve_six.contains(three, none)
    assert values([Term(1.0, 12.0), Term(-1.0, 6.0)], 1.3) == pytest.approx(lj(1.3))
