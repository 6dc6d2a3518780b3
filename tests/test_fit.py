"""The fit: quality, determinism, and what it leaves alone."""

import os
import random
import warnings

import numpy as np
import pytest
import torch

from ase_kan import KANPotential, PairCurve, fit

from .conftest import lj_energy, lj_force


def test_seed_case(seed_result):
    """The 2024 seed case; pykan's own training reaches 7e-5 to 3e-3 over seeds."""
    r = np.linspace(*seed_result.potential.domain(), 1001)
    error = seed_result.potential.energy(r) - lj_energy(r)
    assert np.sqrt(np.mean(error**2)) < 3e-3
    assert seed_result.energy_rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.05)
    force_error = seed_result.potential.force(r) - lj_force(r)
    assert seed_result.force_rmse == pytest.approx(np.sqrt(np.mean(force_error**2)), rel=0.05)
    assert len(seed_result.history["train"]) == 20
    assert seed_result.history["train"][-1] == pytest.approx(seed_result.train_energy_rmse, rel=1e-6)
    assert seed_result.history["train"][-1] < 0.1 * seed_result.history["train"][0]
    assert isinstance(seed_result.potential, KANPotential)


def test_deterministic_for_a_seed_and_different_between_seeds(seed_curve, seed_result):
    keep = [np.empty(n) for n in range(1, 3000, 7)]  # move memory around: results must not depend on addresses
    again = fit(seed_curve, width=(1, 2, 1), grid=3, k=3, seed=1)
    np.testing.assert_array_equal(again.history["train"], seed_result.history["train"])
    r = np.linspace(0.5, 2.9, 100)
    np.testing.assert_array_equal(again.potential.energy(r), seed_result.potential.energy(r))
    other = fit(seed_curve, width=(1, 2, 1), grid=3, k=3, seed=5)
    assert other.history["train"][-1] != again.history["train"][-1]
    assert len(keep)


def test_the_process_is_left_as_it_was(seed_curve, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    np.random.seed(6)
    random.seed(7)
    before = (
        torch.get_rng_state().clone(),
        np.random.get_state()[1].copy(),
        random.getstate(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        list(warnings.filters),
    )
    width = [1, 2, 1]
    fit(seed_curve, width=width, grid=3, k=3, seed=1, steps=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    assert torch.get_default_dtype() == before[3]
    assert torch.get_num_threads() == before[4]
    assert list(warnings.filters) == before[5]
    assert width == [1, 2, 1]
    assert os.listdir() == []
    assert capfd.readouterr() == ("", "")


def test_progress_shows_a_bar_with_the_loss(seed_curve, capfd):
    fit(seed_curve, steps=3, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "RMSE" in err


def test_an_interrupted_fit_leaves_pykan_usable(seed_curve, seed_result, monkeypatch):
    from kan.MultKAN import MultKAN

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    module = __import__("sys").modules["kan.MultKAN"]
    bar = module.tqdm
    with monkeypatch.context() as patch:
        patch.setattr(MultKAN, "update_grid", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(seed_curve, steps=3)
    assert module.tqdm is bar
    again = fit(seed_curve, width=(1, 2, 1), grid=3, k=3, seed=1)
    np.testing.assert_array_equal(again.history["train"], seed_result.history["train"])


def test_fits_in_two_threads_do_not_mix(seed_curve, seed_result):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda s: fit(seed_curve, width=(1, 2, 1), grid=3, k=3, seed=s), (1, 2)))
    np.testing.assert_array_equal(results[0].history["train"], seed_result.history["train"])


def test_plain_arrays_hold_points_out():
    r = np.linspace(0.95, 2.0, 80)
    result = fit(PairCurve(r, lj_energy(r), lj_force(r)), seed=0)
    assert 0 < result.energy_rmse < 0.1
    assert 0 < result.force_rmse < 5
    assert result.potential.domain() == (0.95, 2.0)
    without = fit(PairCurve(r, lj_energy(r)), seed=0)
    assert np.isnan(without.force_rmse)
    assert without.potential.info["force_rmse"] is None


def test_cutoff_keywords(seed_curve):
    potential = fit(seed_curve, steps=1).potential
    assert potential.cutoff == pytest.approx(1.5 * seed_curve.r[-1])
    assert fit(seed_curve, steps=1, cutoff=4.0, onset=3.0).potential.function().cutoff.onset == 3.0
    assert fit(seed_curve, steps=1, cutoff=4.0, smooth=False).potential.function().cutoff.onset is None
    with pytest.raises(ValueError, match="has no onset"):
        fit(seed_curve, cutoff=4.0, onset=3.0, smooth=False)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"width": (2, 1)}, "width must go from 1 to 1"),
        ({"width": (1,)}, "width must go from 1 to 1"),
        ({"width": (1, 0, 1)}, "width must go from 1 to 1"),
        ({"grid": 0}, "grid must be at least 1"),
        ({"k": 0}, "k must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"width": (1, 5, 1)}, "50 training points cannot fix the 70 parameters"),
        ({"cutoff": -1.0}, "cutoff must be a positive"),
    ],
)
def test_bad_arguments_are_refused(seed_curve, keywords, message):
    with pytest.raises(ValueError, match=message):
        fit(seed_curve, **keywords)


def test_only_curves_are_accepted():
    with pytest.raises(TypeError, match="PairCurve"):
        fit(np.ones((10, 2)))
