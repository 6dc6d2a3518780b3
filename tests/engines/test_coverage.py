"""Which distances the data have: histograms, gaps, and pairs of atoms that get there."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANCalculator, KANPotential, Structures, fit
from ase_kan.engines.guard import ExtrapolationError, ExtrapolationWarning
from ase_kan.potentials.coverage import Coverage
from tests.fit.test_smoothness import CUTOFF, copper

ENGINES = ("compiled", "autograd")


@pytest.fixture(scope="module")
def images():
    return copper(0, 4, 0.03, 0.01)


@pytest.fixture(scope="module")
def potential(images):
    return fit(Structures(images), cutoff=CUTOFF, validation=0.0).potential


def all_distances(images):
    """Of every pair of atoms within the cutoff, each once, by brute force over images of the cell."""
    found = []
    for atoms in images:
        shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ atoms.cell.array
        vectors = atoms.positions[:, None] - atoms.positions
        r = np.linalg.norm(vectors[:, :, None] + shifts, axis=-1)
        found.append(np.sort(r[(r > 0) & (r < CUTOFF)])[::2])
    return np.concatenate(found)


def test_the_histogram_is_that_of_all_pairs(images, potential, tmp_path):
    coverage = potential.function().coverage
    expected = np.histogram(all_distances(images), coverage.edges)[0]
    assert coverage.counts == tuple(expected)
    assert sum(coverage.counts) == len(all_distances(images))
    potential.save(tmp_path / "a.kan")
    loaded = KANPotential.load(tmp_path / "a.kan")
    assert loaded.function().coverage == coverage
    assert loaded.gaps() == potential.gaps()


def test_the_gaps_are_between_the_shells(images, potential):
    """fcc copper has neighbors at 2.556, 3.615, 4.427, 5.112 and 5.716 A; displacements are 0.04 A along a pair."""
    r = all_distances(images)
    gaps = [gap for gap in potential.gaps() if gap[0] > r.min() * 1.02]
    assert len(gaps) >= 2
    for (low, high), shells in zip(gaps, ((2.556, 3.615), (3.615, 4.427)), strict=False):
        assert shells[0] < low < shells[0] + 0.35
        assert shells[1] - 0.45 < high < shells[1]
        assert np.sum((r > low) & (r < high)) < 12
    assert potential.gaps()[0][0] >= potential.domain()[0]


def test_what_is_a_gap():
    edges = tuple(np.linspace(1.0, 2.0, 11))

    def gaps(*counts, domain=(1.0, 2.0)):
        return [tuple(round(x, 9) for x in gap) for gap in Coverage(edges, counts).gaps(domain)]

    many = (100,) * 10
    assert gaps(*many) == []
    assert gaps(9, 9, 9, 0, 9, 9, 9, 9, 9, 9) == []  # one empty cell is bridged
    assert gaps(99, 99, 99, 0, 2, 99, 99, 99, 99, 99) == [(1.3, 1.5)]
    assert gaps(2, 99, 99, 99, 99, 99, 99, 99, 99, 99, domain=(1.05, 2.0)) == [(1.05, 1.1)]
    assert gaps(0, 0, 99, 99, 99, 99, 99, 99, 99, 0, domain=(1.25, 1.95)) == [(1.9, 1.95)]
    assert gaps(1, 2, 1, 1, 2, 1, 1, 2, 1, 1) == []  # few everywhere: none is sparse beside the others
    assert gaps(*(0,) * 10) == []


def test_few_data_have_wide_cells():
    """Ninety dimers, evenly spaced: nothing is missing between them, and all beyond them is."""
    fine = 1 / np.linspace(1 / 6.0, 1 / 1.6, 201)[::-1]
    r = np.linspace(2.0, 5.0, 90)
    coverage = Coverage.of(fine, np.histogram(r, fine)[0], r[0])
    (gap,) = coverage.gaps((2.0, 6.0))
    assert 5.0 < gap[0] < 5.7
    assert gap[1] == 6.0
    assert len(coverage.counts) < 30
    many = Coverage.of(fine, np.histogram(np.linspace(2.0, 5.0, 20000), fine)[0], 2.0)
    assert np.sum(np.array(many.edges[1:]) > 2.0) == pytest.approx(40, abs=5)


@pytest.mark.parametrize("engine", ENGINES)
def test_pairs_in_gaps_are_counted(potential, engine):
    gaps, low = potential.gaps(), potential.domain()[0]
    calc = KANCalculator(potential, engine=engine, on_extrapolation="ignore")
    met = 0
    for seed in range(6):
        atoms = Atoms("Cu30", np.random.default_rng(seed).uniform(0, 9, (30, 3)))
        calc.get_potential_energy(atoms)
        r = atoms.get_all_distances()
        first, second = np.triu_indices(30, 1)
        r = r[first, second]
        within = (r < CUTOFF) & np.any([(r >= a) & (r < b) for a, b in gaps], axis=0)
        found = calc.extrapolation
        assert (found.below, found.inside_gaps) == (np.sum(r < low), np.sum(within))
        assert found.pairs == found.below + found.inside_gaps
        outside = within | (r < low)
        assert found.atoms.tolist() == sorted({*first[outside], *second[outside]})
        met += found.inside_gaps
    assert met > 20


@pytest.mark.parametrize("engine", ENGINES)
def test_gaps_are_named(potential, engine):
    low, high = next(gap for gap in potential.gaps() if gap[0] > 2.6)
    name = f"1 in gaps of these \\(Cu-Cu {low:.3f} to {high:.3f} A\\)"
    dimer = Atoms("Cu2", [[0, 0, 0], [0, 0, (low + high) / 2]])
    dimer.calc = KANCalculator(potential, engine=engine)
    with pytest.warns(ExtrapolationWarning, match=name):
        dimer.get_potential_energy()
    dimer.calc = KANCalculator(potential, engine=engine, on_extrapolation="raise")
    with pytest.raises(ExtrapolationError, match=name):
        dimer.get_potential_energy()
    dimer.set_distance(0, 1, 2.556)
    dimer.get_potential_energy()
    assert dimer.calc.extrapolation.pairs == 0


def test_gaps_of_one_pair_of_elements_are_not_those_of_another():
    rng, images = np.random.default_rng(0), []
    for _ in range(200):  # Ne-Ne from 2.6 to 5 A, Ne-Xe from 3.5 A and rarely from 4.2 to 4.8 A
        a, b = rng.uniform(2.6, 5.0), rng.choice([rng.uniform(3.5, 4.1), rng.uniform(4.9, 6.0)])
        for symbols, r in (("Ne2", a), ("NeXe", b)):
            atoms = Atoms(symbols, [[0, 0, 0], [0, 0, r]])
            forces = [[0, 0, -np.exp(-r)], [0, 0, np.exp(-r)]]
            atoms.calc = SinglePointCalculator(atoms, energy=np.exp(-r), forces=forces)
            images.append(atoms)
    cutoffs = {("Ne", "Ne"): 5.0, ("Ne", "Xe"): 6.0, ("Xe", "Xe"): 6.0}
    potential = fit(Structures(images), cutoff=cutoffs, grid=10).potential
    assert len(potential.gaps(("Ne", "Xe"))) == 1
    assert potential.gaps(("Ne", "Ne")) == ()
    for engine in ENGINES:
        calc = KANCalculator(potential, engine=engine, on_extrapolation="ignore")
        atoms = Atoms("NeNe", [[0, 0, 0], [0, 0, 4.5]], calculator=calc)
        atoms.get_potential_energy()
        assert calc.extrapolation.inside_gaps == 0
        atoms.symbols[1] = "Xe"
        atoms.get_potential_energy()
        assert calc.extrapolation.inside_gaps == 1
        assert "Ne-Xe" in str(calc.extrapolation)


def test_a_fit_with_gaps_says_so(images, potential):
    from ase_kan.plots.fit import plot_pairs

    result = fit(Structures(images), cutoff=CUTOFF, validation=0.0)
    low, high = result.potential.gaps()[-1]
    assert "in gaps the energy is a guess" in str(result)
    for text in (str(result), potential.describe()):
        assert f"{low:.3f} to {high:.3f} A" in text
    figure = plot_pairs(potential, potential.pairs)
    assert "hardly any pairs" in figure.axes[0].get_legend().get_texts()[-1].get_text()
    dense = fit(Structures(copper(0, 40, 0.25, 0.0)), cutoff=CUTOFF)
    assert not [gap for gap in dense.potential.gaps() if gap[0] > 2.0]


def test_resumed_passes_have_the_same_histogram(images, tmp_path):
    class Stopped(Structures):
        def __iter__(self):
            for number, sample in enumerate(super().__iter__()):
                if number == 3:
                    raise KeyboardInterrupt
                yield sample

    from ase_kan.fit import structures as module

    path, many = tmp_path / "a.checkpoint", copper(1, 6, 0.1, 0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PEEK", 2)
        fit(Stopped(many), cutoff=CUTOFF, start=1.9, grid=10, checkpoint=path)
        resumed = fit(Structures(many), cutoff=CUTOFF, start=1.9, grid=10, checkpoint=path, resume=True)
    whole = fit(Structures(many), cutoff=CUTOFF, start=1.9, grid=10)
    assert resumed.potential.function().coverage == whole.potential.function().coverage
