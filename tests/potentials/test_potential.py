"""The potential: values, cutoffs, files."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones
from safetensors.torch import load_file, save_file

from ase_kan import KANPotential, PairPotential
from ase_kan.potentials import storage
from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.pair import PairFunction


def test_protocol_and_contract(potential, mixture):
    assert isinstance(potential, PairPotential)
    assert potential.cutoff == 2.5
    assert potential.elements == ()
    assert mixture.elements == ("Ar", "Ne")
    r_min, r_max = potential.domain(("Ar", "Ar"))
    assert 0.9 <= r_min < r_max <= 2.6


def test_energy_and_force_of_any_shape(potential):
    r = np.linspace(0.9, 2.6, 12).reshape(3, 4)
    assert potential.energy(r).shape == (3, 4)
    assert potential.force(1.1).shape == ()
    np.testing.assert_array_equal(potential.energy(r)[1, 2], potential.energy(r[1, 2]))
    h = 1e-6
    numerical = -(potential.energy(r + h) - potential.energy(r - h)) / (2 * h)
    np.testing.assert_allclose(potential.force(r), numerical, atol=1e-7)
    torch_r = torch.from_numpy(r).requires_grad_()
    assert torch.autograd.gradcheck(potential, (torch_r,))


def test_network_is_the_genuine_model(potential):
    model = potential.network()
    assert type(model).__module__ == "kan.MultKAN"
    r = np.linspace(0.95, 1.99, 50)  # below the onset
    values = model(torch.from_numpy(r)[:, None]).detach().numpy()[:, 0]
    np.testing.assert_allclose(values, potential.energy(r), atol=1e-12)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, [1.0, 0.0]])
def test_bad_distances_are_refused(potential, bad):
    with pytest.raises(ValueError, match="positive and finite"):
        potential.energy(bad)
    with pytest.raises(ValueError, match="positive and finite"):
        potential.force(bad)


def test_pairs_are_unordered_and_checked(mixture):
    assert mixture.energy(1.2, ("Ar", "Ne")) == mixture.energy(1.2, ("Ne", "Ar"))
    with pytest.raises(ValueError, match="several pairs"):
        mixture.energy(1.2)
    with pytest.raises(ValueError, match="no pair Ar-Xe"):
        mixture.energy(1.2, ("Ar", "Xe"))
    with pytest.raises(ValueError, match="two chemical symbols"):
        mixture.energy(1.2, "Ar")


def test_smooth_cutoff_has_two_continuous_derivatives(potential):
    function = potential.function()
    for edge in (2.0, 2.5):
        sides = []
        for r in (edge - 1e-9, edge + 1e-9):
            x = torch.tensor(r, dtype=torch.float64, requires_grad=True)
            e = function(x)
            (f,) = torch.autograd.grad(e, x, create_graph=True)
            (c,) = torch.autograd.grad(f, x, allow_unused=True, materialize_grads=True) if f.requires_grad else (f * 0,)
            sides.append([e.item(), f.item(), c.item()])
        np.testing.assert_allclose(sides[0], sides[1], atol=1e-5)
    assert potential.energy(2.5) == 0
    assert potential.energy(3.0) == 0
    assert potential.force(3.0) == 0


def test_below_the_onset_the_function_is_bare(potential):
    r = torch.linspace(0.5, 2.0, 50, dtype=torch.float64)
    function = potential.function()
    assert torch.equal(function(r), function.bare(r))


def test_plain_shift_is_that_of_ase(potential):
    """phi(r) - phi(rc), as LennardJones(rc) does: checked on the difference between two distances and at rc."""
    bare = potential.function()
    shifted = PairFunction(bare.network, bare.domain, Cutoff(2.2, None))
    r = torch.linspace(0.95, 2.19, 40, dtype=torch.float64)
    expected = bare.bare(r) - bare.bare(torch.tensor([2.2], dtype=torch.float64))
    torch.testing.assert_close(shifted(r), expected, rtol=0, atol=1e-14)
    assert shifted(torch.tensor([2.2, 2.3], dtype=torch.float64)).tolist() == [0, 0]
    assert LennardJones(rc=2.2).parameters.smooth is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1.0, None), "positive"), ((np.inf, None), "positive"), ((2.0, 2.0), "onset"), ((2.0, 0.0), "onset")],
)
def test_bad_cutoffs_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Cutoff(*arguments)


def test_save_and_load_bit_for_bit(tmp_path, mixture):
    path = tmp_path / "mixture.kan"
    mixture.save(path)
    loaded = KANPotential.load(path)
    r = np.linspace(0.3, 3.1, 500)
    for pair in mixture.pairs:
        np.testing.assert_array_equal(loaded.energy(r, pair), mixture.energy(r, pair))
        np.testing.assert_array_equal(loaded.force(r, pair), mixture.force(r, pair))
        assert loaded.domain(pair) == mixture.domain(pair)
    assert loaded.reference_energies == mixture.reference_energies
    assert loaded.info == mixture.info
    again = tmp_path / "again.kan"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["again.kan", "mixture.kan"]


def test_load_in_another_process_without_pykan(tmp_path, potential):
    path = tmp_path / "p.kan"
    potential.save(path)
    code = (
        "import sys, json; from ase_kan import KANPotential, KANCalculator; from ase import Atoms\n"
        f"p = KANPotential.load({str(path)!r})\n"
        "a = Atoms('Ar2', [[0, 0, 0], [1.2, 0, 0]], calculator=KANCalculator(p)); a.get_forces()\n"
        "bad = [m for m in ('kan', 'matplotlib', 'sklearn', 'pandas', 'sympy.core') if m in sys.modules]\n"
        "print(json.dumps([float(p.energy(1.2)).hex(), a.get_potential_energy().hex(), bad]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    energy, total, bad = json.loads(out)
    assert float.fromhex(energy) == potential.energy(1.2) == pytest.approx(float.fromhex(total), rel=1e-7)
    # torch brings sympy along, pykan's other dependencies must stay out
    assert [m for m in bad if m != "sympy.core"] == []


def test_every_flipped_byte_is_refused(tmp_path, bare):
    path, bad = tmp_path / "p.kan", tmp_path / "bad.kan"
    bare.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    positions = np.unique(np.concatenate([np.arange(0, 120), rng.integers(0, len(content), 250)]))
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        bad.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bad\.kan") as error:
            KANPotential.load(bad)
        assert "\n" not in str(error.value)


def test_every_cut_is_refused(tmp_path, bare):
    path, bad = tmp_path / "p.kan", tmp_path / "bad.kan"
    bare.save(path)
    content = path.read_bytes()
    for length in [*range(0, len(content), 97), len(content) - 1]:
        bad.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"bad\.kan"):
            KANPotential.load(bad)
    bad.write_bytes(content + b"x")
    with pytest.raises(ValueError, match=r"bad\.kan"):
        KANPotential.load(bad)


def test_foreign_and_newer_files_are_refused(tmp_path, bare):
    path = tmp_path / "p.kan"
    with pytest.raises(FileNotFoundError, match="no potential file"):
        KANPotential.load(path)
    path.write_text("not a potential")
    with pytest.raises(ValueError, match="is a text file, not an ase_kan potential"):
        KANPotential.load(path)
    import pickle

    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="damaged or not an ase_kan potential"):
        KANPotential.load(path)
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="not an ase_kan potential"):
        KANPotential.load(path)
    bare.save(path)
    newer = {"version": storage.FORMAT_VERSION + 1, "header": "{}", "sha256": ""}
    save_file(load_file(path), path, {"ase_kan": json.dumps(newer)})
    with pytest.raises(ValueError, match="upgrade ase_kan"):
        KANPotential.load(path)


def test_failed_save_leaves_the_old_file(tmp_path, bare, monkeypatch):
    path = tmp_path / "p.kan"
    bare.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        bare.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["p.kan"]


def test_saving_into_a_missing_folder(tmp_path, bare):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        bare.save(tmp_path / "nowhere" / "p.kan")
