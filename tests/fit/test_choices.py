"""What a fit to a curve chooses and reports: features, cutoffs, tails."""

import warnings

import numpy as np
import pytest

from ase_kan import PairCurve, fit
from ase_kan.fit import curve as module
from ase_kan.fit import trainers
from ase_kan.fit.holdout import HOLDOUT_POINTS
from ase_kan.potentials.features import FEATURES
from tests.shared import lj_energy, lj_force


def rms(values):
    return np.sqrt(np.mean(values**2))


def curve_of(function, r_min=0.95, r_max=2.0, n=34, **keywords):
    """Plain points, so that nothing fresh can be asked for."""
    r = np.linspace(r_min, r_max, n)
    return PairCurve(r, function(r), **keywords)


def test_errors_are_those_of_the_potential_with_its_cutoff():
    curve = curve_of(lj_energy, 0.95, 2.7, 80, force=lj_force(np.linspace(0.95, 2.7, 80)))
    source = PairCurve(curve.r, curve.energy, curve.force, source=lambda r: (lj_energy(r), lj_force(r)))
    for keywords in ({"cutoff": 2.5}, {"cutoff": 2.5, "smooth": False}, {"cutoff": 2.0, "onset": 1.2}):
        result = fit(source, **keywords)
        r = np.linspace(0.95, 2.7, HOLDOUT_POINTS)
        assert result.energy_rmse == pytest.approx(rms(result.potential.energy(r) - lj_energy(r)), rel=1e-10)
        assert result.force_rmse == pytest.approx(rms(result.potential.force(r) - lj_force(r)), rel=1e-10)
        expected = rms(result.potential.energy(curve.r) - curve.energy)
        assert result.train_energy_rmse == pytest.approx(expected, rel=1e-10)
        assert result.energy_rmse > 1e-4
        assert "the fit alone: energy RMSE" in str(result)
        assert result.history["holdout"][-1] < 1e-5
    assert "the fit alone" not in str(fit(source))
    assert fit(source).energy_rmse < 1e-7


@pytest.mark.parametrize("keywords", [{"cutoff": 0.8}, {"cutoff": 1.0}, {"cutoff": 2.0, "onset": 1.0}])
def test_a_cutoff_that_leaves_no_data_is_refused(keywords):
    """Data from 0.95 A every 0.03 A; a potential that is zero over its data has no meaning."""
    with pytest.raises(ValueError, match=r"points of data \(from 0\.95 to 2 A\) as they are: .* larger cutoff"):
        fit(curve_of(lj_energy), **keywords)
    with pytest.raises(ValueError, match="cutoff"):
        fit(curve_of(lj_energy), cutoff=float("nan"))


@pytest.mark.parametrize("seed", range(3))
def test_auto_is_right_whatever_points_are_held_out(seed):
    """34 noisy energies: the choice is the same for every seed, and not worse than the default, against the truth."""
    rng = np.random.default_rng(100 + seed)
    curve = curve_of(lambda r: lj_energy(r) + rng.normal(0, 3e-3, len(r)))
    r = np.linspace(0.95, 2.0, 500)
    results = [fit(curve, feature="auto", seed=s) for s in range(2)]
    assert results[0].potential.info["feature_trials"] == results[1].potential.info["feature_trials"]
    default = rms(fit(curve).potential.energy(r) - lj_energy(r))
    assert rms(results[0].potential.energy(r) - lj_energy(r)) < 1.1 * default


def test_auto_keeps_the_default_unless_another_is_clearly_better(monkeypatch):
    """Made-up errors of five folds: a mean that is better by less than its standard error does not count."""
    folds = {"1/r": [1.0, 1.1, 0.9, 1.0, 1.0], "r": [0.9, 1.3, 0.6, 1.2, 0.8]}
    errors = [error for f in FEATURES for error in folds.get(f, [2.0] * 5)]
    monkeypatch.setattr(module, "_rms", lambda _: errors.pop(0))
    plan = module.Plan.choose(curve_of(lj_energy), "least-squares", None, 5, None, "auto", 0, None)
    best, means = module._choose_feature(curve_of(lj_energy), plan, False)
    assert means["r"] < means["1/r"]
    assert best == "1/r"
    folds["r"] = [0.8, 0.9, 0.7, 0.8, 0.8]
    errors += [error for f in FEATURES for error in folds.get(f, [2.0] * 5)]
    assert module._choose_feature(curve_of(lj_energy), plan, False)[0] == "r"


def test_auto_takes_a_feature_that_is_clearly_better():
    """exp(-3 r) sin in r: a KAN of r with few cells is exact enough, one of r^-6 is not."""
    curve = curve_of(lambda r: np.exp(-((r - 3.0) ** 2)) + 0.3 * np.cos(2 * r), 1.0, 6.0, 60)
    result = fit(curve, feature="auto", grid=10, k=3, core=None, tail=None)
    trials = result.potential.info["feature_trials"]
    chosen = result.potential.function().feature
    assert chosen == min(trials, key=trials.get) == "r"
    assert trials["r"] < 0.1 * trials["1/r"]


def test_auto_stops_at_ctrl_c(monkeypatch):
    """The first interrupted training ends all: no further ones run."""
    calls = 0

    def interrupted(*arguments, **keywords):
        nonlocal calls
        calls += 1
        network, history, _ = original(*arguments, **keywords)
        return network, history, True

    original = trainers.fit_deep
    monkeypatch.setattr(trainers, "fit_deep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(curve_of(lj_energy, n=50), width=(1, 2, 1), grid=3, k=3, steps=2, feature="auto")
    assert calls == 1


def test_auto_is_silent_about_fits_that_it_throws_away():
    """Data that begin on the attractive side warn of their core: once, for the fit that is kept."""
    with pytest.warns(UserWarning, match="not repulsive") as caught:
        fit(curve_of(lj_energy, 1.2, 2.5, 40), feature="auto")
    assert len(caught) == 1


@pytest.mark.parametrize("shift", [28_700.0, -28_700.0, 1.0, -1.0])
def test_total_energies_warn(shift):
    curve = curve_of(lambda r: lj_energy(r) + shift, 0.95, 3.0, 60)
    with pytest.warns(UserWarning, match=r"does not head for zero at the longest distance .*--subtract"):
        fit(curve)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(curve, tail=None, cutoff=2.5)  # nothing is made up
        fit(PairCurve(curve.r, curve.energy - curve.limit()))
    assert curve.limit() == pytest.approx(shift, abs=1e-4)


@pytest.mark.parametrize("function", [lj_energy, lambda r: 0.25 * r**-12.0, lambda r: np.exp(-3 * r), lambda r: -1 / r])
@pytest.mark.parametrize("r_max", [2.0, 6.0])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_pair_energies_do_not_warn(function, r_max, noise):
    rng = np.random.default_rng(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*head for zero")
        fit(curve_of(lambda r: function(r) + rng.normal(0, noise, len(r)), 0.95, r_max, 80))


def test_keywords_of_fit_are_those_of_its_two_kinds():
    """Editors and help show them; a mistyped one is told which was meant."""
    import inspect

    from ase_kan.data.structures import Structures
    from ase_kan.fit import CurveKeywords, EAMKeywords, StructureKeywords, fit_curve, fit_eam, fit_structures

    kinds = ((CurveKeywords, fit_curve), (StructureKeywords, fit_structures), (EAMKeywords, fit_eam))
    for kind, function in kinds:
        own = {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert own == set(kind.__annotations__)
        assert own < set(inspect.signature(fit).parameters)
    curve = PairCurve.from_function(lambda r: r**-12.0 - r**-6.0, r_min=0.95, r_max=2.0, n=50)
    for data, keywords, message in (
        (curve, {"feture": "r"}, "no keyword 'feture' for curves: did you mean 'feature'"),
        (curve, {"validation": 0.1}, "'validation' for other data than curves"),
        (Structures([]), {"cutof": 3.0}, "no keyword 'cutof' for structures: did you mean 'cutoff'"),
        (Structures([]), {}, "needs the keyword 'cutoff' for structures"),
    ):
        with pytest.raises(TypeError, match=message):
            fit(data, **keywords)
