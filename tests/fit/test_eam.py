"""Embedded-atom fits: against sums over all pairs of atoms written here, finite differences, and each other."""

import sys

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_kan import KANEAM, KANCalculator, Structures, fit
from ase_kan.fit import eam_data, eam_descent
from ase_kan.fit.eam_data import Chunks
from ase_kan.fit.eam_descent import descend, follow
from ase_kan.fit.eam_form import Form
from ase_kan.fit.eam_penalty import Strength
from ase_kan.fit.eam_solver import Solver
from ase_kan.potentials.eam_edges import Edge, straight_beyond
from ase_kan.potentials.features import value_and_slope
from tests.synthetic_eam import SyntheticEAM

CUTOFF = 4.5
WEIGHTS = {"energy": 900.0, "forces": 1.0, "virial": 0.0}


def direct(potential, atoms):
    """Energy, forces and virial (3, 3) of an embedded-atom potential: a sum over all atoms and images, by autograd."""
    positions = torch.tensor(atoms.positions, requires_grad=True)
    strain = torch.zeros((3, 3), dtype=torch.float64, requires_grad=True)
    bent = torch.eye(3, dtype=torch.float64) + strain
    x, cell = positions @ bent, torch.tensor(atoms.cell.array) @ bent
    reach = range(-2, 3) if atoms.pbc.all() else range(1)
    images = torch.tensor([[a, b, c] for a in reach for b in reach for c in reach], dtype=torch.float64) @ cell
    energy = sum(potential.reference_energies.get(s, 0.0) for s in atoms.symbols) + 0 * x.sum()
    for i, a in enumerate(atoms.symbols):
        rho = [torch.zeros((), dtype=torch.float64)] * potential.channels
        for j, b in enumerate(atoms.symbols):
            vectors = x[j] - x[i] + images
            r = vectors[(vectors.detach() ** 2).sum(dim=1) > 1e-9].norm(dim=1)
            r = r[r < potential.cutoff]
            if len(r):
                energy = energy + potential.pair_energy(r, (a, b)).sum() / 2
                rho = [rho[c] + potential.density(r, a, b, c).sum() for c in range(potential.channels)]
        energy = energy + sum(potential.embedding(rho[c], a, c) for c in range(potential.channels))
    forces, virial = torch.autograd.grad(energy, (positions, strain))
    return float(energy.detach()), -forces.numpy(), -(virial + virial.T).numpy() / 2


def structures(symbols, number, seed=0, potential=None):
    """Rattled and strained cells of four atoms of random composition, labelled by a potential."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(number):
        atoms = bulk("Cu", a=3.7, cubic=True)
        atoms.symbols = rng.choice(symbols, len(atoms))
        atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.06, 0.06)), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
        if n % 4 == 3:
            del atoms[0]
        if potential is not None:
            calculator = KANCalculator(potential, engine="autograd", on_extrapolation="ignore")
            atoms.calc = calculator
            results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
            atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


def chunks_of(images, form, weights=WEIGHTS, roles=None):
    baseline = dict.fromkeys(form.elements, 0.0)
    roles = bytes(len(images)) if roles is None else roles
    return Chunks(Structures(images), roles, form, baseline, weights)


@pytest.mark.parametrize("densities", ["alloy", "finnis-sinclair"])
def test_rows_are_what_a_sum_over_all_atoms_gives(densities, monkeypatch):
    """The errors that a fit tells, from its rows, are those of the potential it gives, by a direct sum."""
    monkeypatch.setattr(eam_descent, "STEPS", 2)
    truth = SyntheticEAM(cutoff=CUTOFF)
    images = structures(("Cu", "Ni"), 9, potential=truth)
    for n, atoms in enumerate(images):
        atoms.info |= {"kind": "small" if n < 4 else "large", "forces_weight": 0.0 if n == 2 else 2.0}
    result = fit(
        Structures(images, group_key="kind", property_weight_keys={"forces": "forces_weight"}),
        model="eam",
        cutoff=CUTOFF,
        channels=2,
        densities=densities,
        grid=8,
        embedding_grid=3,
        validation=0,
        weights={"energy": 900, "forces": 1, "virial": 1},
    )
    potential = result.potential
    assert isinstance(potential, KANEAM)
    errors = {"energy": [], "forces": [], "virial": []}
    for atoms in images:
        energy, forces, virial = direct(potential, atoms)
        errors["energy"].append((energy - atoms.get_potential_energy()) / len(atoms))
        errors["forces"].append((forces - atoms.get_forces()).ravel())
        stress = atoms.get_stress(voigt=False)
        errors["virial"].append(((virial + stress * atoms.get_volume()) / len(atoms))[np.triu_indices(3)])
        mine = atoms.copy()
        mine.calc = KANCalculator(potential, engine="autograd", on_extrapolation="ignore")
        assert mine.get_potential_energy() == pytest.approx(energy, abs=1e-10)
        assert mine.get_forces() == pytest.approx(forces, abs=1e-10)
    told = potential.info["errors"]
    for name, values in errors.items():
        values = [np.ravel(v) for n, v in enumerate(values) if name != "forces" or n != 2]
        rmse = np.sqrt(np.mean(np.concatenate(values) ** 2))
        assert told[name]["train"] == pytest.approx(rmse, rel=1e-6), name
        first = np.sqrt(np.mean(np.concatenate(values[: 3 if name == "forces" else 4]) ** 2))
        assert potential.info["groups"]["small"][name] == pytest.approx(first, rel=1e-6), name
    assert potential.info["groups"]["large"]["structures"] == 5


@pytest.mark.parametrize("densities", ["alloy", "finnis-sinclair"])
@pytest.mark.parametrize("channels", [1, 2])
def test_jacobian_is_the_finite_difference(densities, channels):
    """Of all rows by all coefficients of f, while phi, F and the grid of F stay."""
    truth = SyntheticEAM(cutoff=CUTOFF)
    images = structures(("Cu", "Ni"), 5, potential=truth)
    form = Form(("Cu", "Ni"), densities, channels, 1.8, CUTOFF, 7, 3, 5, (False, False))
    chunks = chunks_of(images, form, {"energy": 1.0, "forces": 1.0, "virial": 1.0})
    solver = Solver(chunks, 1.0)
    rng = np.random.default_rng(1)
    c = solver.in_gauge(rng.random((channels, form.kinds, form.size)) + 0.5)
    ranges = solver.state(c, Strength(-6, -6, -6)).ranges
    x = rng.normal(size=form.linear)
    (chunk,) = chunks
    # Ends of F's grid belong to atoms of the data; away from kinks nothing depends on the side.
    wider = type(ranges)(ranges.low - 1, ranges.high + 1, ranges.mean)
    jacobian, step = chunk.jacobian(c, x, wider), 1e-5
    for n in range(c.size):
        change = np.zeros(c.size)
        change[n] = step
        up, down = (chunk.linear(c + sign * change.reshape(c.shape), wider) @ x for sign in (1, -1))
        scale = np.abs(jacobian).max()
        assert (up - down) / (2 * step) == pytest.approx(jacobian[:, n], abs=1e-7 * scale)


def test_rows_beyond_the_densities_of_the_data_are_those_of_the_potential():
    """Held-out structures that are denser than all others: their errors are those of the potential."""
    truth = SyntheticEAM(elements=("Cu",), cutoff=CUTOFF)
    images = structures(("Cu",), 20, potential=truth)
    form = Form(("Cu",), "alloy", 1, 1.8, CUTOFF, 8, 4, 5, (False,))
    (chunk,) = chunks_of(images, form)
    state = Solver(chunks_of(images, form), 0.1).state(np.ones((1, 1, 8)), Strength(-6, -6, -6))
    middle = (state.ranges.low + state.ranges.high) / 2
    ranges = type(state.ranges)(middle - 0.3, middle + 0.3, middle)
    edge = Edge(*ranges.ends(form, 0, 0), 4, 5, x := np.arange(9.0) ** 2)
    rho = chunk.densities(state.c)[0]
    assert ((rho < ranges.low[0]) | (rho > ranges.high[0])).any()
    wanted = value_and_slope(lambda density: straight_beyond(edge, density), rho)
    value, slope, curvature = (part @ x for part in ranges.splines(form, 0, 0, rho, 2))
    assert np.ptp(value - wanted[0]) < 1e-9
    assert slope == pytest.approx(wanted[1], abs=1e-9)
    around = [ranges.splines(form, 0, 0, rho + step, 1)[1] @ x for step in (-1e-6, 1e-6)]
    assert curvature == pytest.approx((around[1] - around[0]) / 2e-6, abs=1e-3 * np.abs(curvature).max())


def test_gauge_does_not_change_what_is_measured():
    """Densities have the standard deviation 1, F' = 0 at their mean, and another scale gives the same state."""
    images = structures(("Cu",), 20, potential=SyntheticEAM(elements=("Cu",), cutoff=CUTOFF))
    form = Form(("Cu",), "alloy", 1, 1.8, CUTOFF, 8, 4, 5, (False,))
    chunks = chunks_of(images, form)
    solver = Solver(chunks, 0.1)
    strength = Strength(-10, -10, -10)
    first = solver.first(form)
    states = [solver.state(scale * first, strength) for scale in (1.0, 7.0)]
    assert states[0].cost == pytest.approx(states[1].cost, rel=1e-9)
    (chunk,) = chunks
    rows = [chunk.linear(state.c, state.ranges) @ state.x for state in states]
    assert rows[0] == pytest.approx(rows[1], abs=1e-7 * np.abs(rows[0]).max())
    rho = np.concatenate([chunk.densities(states[0].c)[0] for chunk in chunks])
    assert rho.std() == pytest.approx(1.0, rel=1e-10)
    assert rho.mean() == pytest.approx(states[0].ranges.mean[0, 0], rel=1e-10)
    slope = states[0].ranges.splines(form, 0, 0, states[0].ranges.mean[0], 1)[1] @ states[0].x[form.embedding_at(0, 0)]
    assert abs(slope[0]) < 1e-4


def test_synthetic_potential_is_recovered():
    """Data of an embedded-atom potential leave an error a tenth of that of the pair potential, or less."""
    truth = SyntheticEAM(elements=("Cu",), cutoff=CUTOFF)
    result = fit(Structures(structures(("Cu",), 80, potential=truth)), model="eam", cutoff=CUTOFF, validation=0.2)
    assert result.force_rmse < 0.1 * result.pair.force_rmse
    assert result.energy_rmse < 0.05 * result.pair.energy_rmse
    assert result.force_rmse < 4e-4
    assert "a pair potential" in result.report
    new = structures(("Cu",), 5, seed=5, potential=truth)
    for atoms in new:
        energy, forces, _ = direct(truth, atoms)
        mine = atoms.copy()
        mine.calc = KANCalculator(result.potential, on_extrapolation="ignore")
        assert mine.get_potential_energy() == pytest.approx(energy, abs=2e-3)
        assert np.sqrt(np.mean((mine.get_forces() - forces) ** 2)) < 3e-3


def test_every_channel_helps():
    """Two densities per atom describe data of two better than one does."""
    truth = SyntheticEAM(elements=("Cu",), channels=2, cutoff=CUTOFF)
    data = Structures(structures(("Cu",), 30, potential=truth))
    one, two = (fit(data, model="eam", cutoff=CUTOFF, channels=n, validation=0) for n in (1, 2))
    assert two.potential.channels == 2
    loss = [900 * r.train_energy_rmse**2 + r.train_force_rmse**2 for r in (one, two)]
    assert loss[1] < 0.8 * loss[0]


def test_pieces_equal_the_whole(monkeypatch):
    """Chunks that are small, some kept and some made anew in every pass, give the same potential."""
    data = Structures(structures(("Cu", "Ni"), 16, potential=SyntheticEAM(cutoff=CUTOFF)))

    monkeypatch.setattr(eam_descent, "STEPS", 3)

    def fitted():
        return fit(data, model="eam", cutoff=CUTOFF, grid=8, embedding_grid=3).potential

    whole = fitted()
    monkeypatch.setattr(eam_data, "CHUNK_ATOMS", 20)
    monkeypatch.setattr(eam_data, "KEPT_BYTES", 3e5)
    pieces = fitted()
    r = torch.linspace(2.2, CUTOFF, 50, dtype=torch.float64)
    assert pieces.pair_energy(r, ("Cu", "Ni")) == pytest.approx(whole.pair_energy(r, ("Cu", "Ni")), abs=1e-6)
    errors = [potential.info["errors"]["forces"]["train"] for potential in (whole, pieces)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_interrupted_fit_goes_on_where_it_was(tmp_path, monkeypatch):
    """Ctrl-C after some steps keeps what there is; resumed, it ends where an uninterrupted fit does."""
    data = Structures(structures(("Cu",), 20, potential=SyntheticEAM(elements=("Cu",), cutoff=CUTOFF)))
    keywords = {"model": "eam", "cutoff": CUTOFF, "grid": 8, "embedding_grid": 3, "channels": 2}
    whole = fit(data, **keywords)
    file = tmp_path / "fit.checkpoint"

    def interrupted(places, saved, tell):
        def some():
            for n, place in enumerate(places):
                if n == 4:
                    raise KeyboardInterrupt
                yield place

        return follow(some(), saved, tell)

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["ase_kan.fit.eam"], "follow", interrupted)
        half = fit(data, checkpoint=file, **keywords)
    assert half.potential.info["interrupted"]
    assert "interrupted" in half.report
    assert half.potential.channels == 1
    resumed = fit(data, checkpoint=file, resume=True, **keywords)
    assert resumed.potential.channels == 2
    assert not resumed.potential.info["interrupted"]
    assert resumed.train_force_rmse == pytest.approx(whole.train_force_rmse, rel=1e-4)
    with pytest.raises(ValueError, match="other settings or data"):
        fit(data, checkpoint=file, resume=True, **keywords | {"grid": 9})
    fewer = Structures(structures(("Cu",), 19, potential=SyntheticEAM(elements=("Cu",), cutoff=CUTOFF)))
    with pytest.raises(ValueError, match="other settings or data"):
        fit(fewer, checkpoint=file, resume=True, **keywords)


def test_interrupt_before_the_first_step_is_an_interrupt():
    """There is nothing to give yet."""

    def never():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        follow(never(), None, print)


def test_lone_atoms_are_pinned_where_their_energies_are_given():
    """F(0) = 0, and E0 is what was given."""
    truth = SyntheticEAM(elements=("Cu",), cutoff=CUTOFF)
    data = Structures(structures(("Cu",), 40, potential=truth))
    lone = truth.reference_energies["Cu"] + float(truth.embedding(torch.zeros(1, dtype=torch.float64), "Cu"))
    result = fit(data, model="eam", cutoff=CUTOFF, reference_energies={"Cu": lone}, validation=0)
    atoms = Atoms("Cu", calculator=KANCalculator(result.potential, on_extrapolation="ignore"))
    assert atoms.get_potential_energy() == pytest.approx(lone, abs=1e-9)
    assert float(result.potential.embedding(torch.zeros(1, dtype=torch.float64), "Cu")) == pytest.approx(0, abs=1e-9)
    assert result.train_force_rmse < 0.02


def test_held_out_structures_are_not_trained_on():
    """Other labels of theirs change nothing but the errors that are told."""
    images = structures(("Cu",), 30, potential=SyntheticEAM(elements=("Cu",), cutoff=CUTOFF))
    form = Form(("Cu",), "alloy", 1, 1.8, CUTOFF, 8, 4, 5, (False,))
    roles = bytes([1 if n % 5 == 0 else 0 for n in range(30)])
    costs = []
    for change in (0.0, 1.0):
        changed = []
        for n, atoms in enumerate(images):
            energy = atoms.get_potential_energy() + (change if roles[n] else 0)
            new = atoms.copy()
            new.calc = SinglePointCalculator(new, energy=energy, forces=atoms.get_forces())
            changed.append(new)
        solver = Solver(chunks_of(changed, form, roles=roles), 0.1)
        *_, last = (place.state.cost for place in descend(solver, form, None))
        costs.append(last)
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"cutoff": -1.0}, "one distance in Angstrom, got -1.0"),
        ({"cutoff": {("Cu", "Cu"): 4.0}}, "one distance in Angstrom"),
        ({"cutoff": 0.5}, "no two atoms"),
        ({"channels": 0}, "channels must be a whole number from 1 to 20, got 0"),
        ({"channels": 1.5}, "channels must be a whole number"),
        ({"densities": "meam"}, "densities must be one of 'alloy', 'finnis-sinclair', got 'meam'"),
        ({"grid": 2}, "grid must be a whole number from 4"),
        ({"k": 1}, "k must be a whole number from 3"),
        ({"validation": 0.9}, "validation must be a part"),
        ({"resume": True}, "resume needs the checkpoint"),
        ({"weights": {"force": 1}}, "weights are those of"),
        ({"reference_energies": {"Xx": 0.0}}, "must map chemical symbols"),
    ],
)
def test_errors_at_the_door(keywords, message):
    """One clear line."""
    data = Structures(structures(("Cu",), 8, potential=SyntheticEAM(elements=("Cu",), cutoff=CUTOFF)))
    with pytest.raises(ValueError, match=message):
        fit(data, model="eam", **{"cutoff": CUTOFF} | keywords)


def test_keywords_and_models_are_checked():
    """By `fit`, which names what was probably meant."""
    data = Structures(structures(("Cu",), 8, potential=SyntheticEAM(elements=("Cu",), cutoff=CUTOFF)))
    with pytest.raises(TypeError, match="did you mean 'channels'"):
        fit(data, model="eam", cutoff=CUTOFF, chanels=2)
    with pytest.raises(ValueError, match="model must be one of 'pair', 'eam', got 'snap'"):
        fit(data, model="snap", cutoff=CUTOFF)
    with pytest.raises(TypeError, match="fitted to Structures"):
        fit([], model="eam", cutoff=CUTOFF)
    with pytest.raises(TypeError, match="needs the keyword 'cutoff'"):
        fit(data, model="eam")
    with pytest.raises(TypeError, match="ensembles are of pair potentials"):
        fit(data, model="eam", cutoff=CUTOFF, ensemble=3)


def test_interrupted_pass_of_the_pair_potential_is_an_interrupt(monkeypatch):
    """Ctrl-C there does not go on with a part of the data."""
    data = Structures(structures(("Cu",), 20, potential=SyntheticEAM(elements=("Cu",), cutoff=CUTOFF)))
    whole = fit(data, cutoff=CUTOFF)
    whole.potential.info["interrupted"] = True
    monkeypatch.setattr(sys.modules["ase_kan.fit.eam"], "fit_structures", lambda *_, **__: whole)
    with pytest.raises(KeyboardInterrupt):
        fit(data, model="eam", cutoff=CUTOFF)
