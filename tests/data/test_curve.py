"""Training data: sampling, calculators, and bad input refused at the door."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_kan import PairCurve
from tests.shared import lj_energy, lj_force


def test_from_function_samples_the_range():
    curve = PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=3)
    assert len(curve) == 50
    assert (np.diff(curve.r) > 0).all()
    assert curve.r[0] >= 0.95
    assert curve.r[-1] <= 2.0
    np.testing.assert_array_equal(curve.energy, lj_energy(curve.r))
    again = PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=3)
    np.testing.assert_array_equal(curve.r, again.r)
    even = PairCurve.from_function(lj_energy, r_min=0.95, r_max=2.0, n=50, seed=None)
    np.testing.assert_allclose(np.diff(even.r), 1.05 / 49)
    assert even.r[0] == 0.95


def test_numerical_force_of_a_function_is_accurate():
    curve = PairCurve.from_function(lj_energy, r_min=0.8, r_max=5.0, n=50)
    assert curve.force is None
    force = curve.source(curve.r)[1]
    np.testing.assert_allclose(force, lj_force(curve.r), rtol=1e-8, atol=1e-10)


def test_from_calculator_equals_the_calculator():
    lj = LennardJones(epsilon=0.25, sigma=1.0, rc=30.0)
    curve = PairCurve.from_calculator(lj, ("Ar", "Ar"), r_min=0.95, r_max=2.0, n=20)
    shift = lj_energy(30.0)
    np.testing.assert_allclose(curve.energy, lj_energy(curve.r) - shift, atol=1e-13)
    np.testing.assert_allclose(curve.force, lj_force(curve.r), atol=1e-11)
    assert curve.elements == ("Ar", "Ar")


def test_from_calculator_subtracts_lone_atoms():
    """EMT gives lone atoms an energy; an interaction energy must vanish far away."""
    curve = PairCurve.from_calculator(EMT(), ("Cu", "Au"), r_min=2.0, r_max=30.0, n=30, seed=None)
    assert abs(curve.energy[-1]) < 1e-10
    assert curve.energy.min() < -0.1


def test_plain_arrays_are_sorted_together():
    curve = PairCurve([3.0, 1.0, 2.0], [30.0, 10.0, 20.0], [0.3, 0.1, 0.2], elements=("Ar", "Ne"))
    np.testing.assert_array_equal(curve.energy, [10, 20, 30])
    np.testing.assert_array_equal(curve.force, [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, np.nan], [0, 0]), r"r\[1\] is nan"),
        (([1.0, 2.0], [0, np.inf]), r"energy\[1\] is inf"),
        (([1.0, 2.0], [0, 0], [np.nan, 0]), r"force\[0\] is nan"),
        (([0.0, 2.0], [0, 0]), "must be positive"),
        (([-1.0, 2.0], [0, 0]), "must be positive"),
        (([1.0, 2.0], [0]), r"energy must have shape \(2,\)"),
        (([1.0, 2.0], [0, 0], [0]), r"force must have shape \(2,\)"),
        (([[1.0], [2.0]], [0, 0]), r"r must have shape \(n,\)"),
        (([1.0], [0]), "at least 2 points"),
        (([1.0, 1.0], [0, 0]), "different ones"),
        (([1.0, 2.0], [0, 0], None, ("Ar", "Unobtainium")), "chemical symbols"),
        (([1.0, 2.0], [0, 0], None, "Ar"), "chemical symbols"),
    ],
)
def test_bad_arrays_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PairCurve(*arguments)


@pytest.mark.parametrize(("r_min", "r_max"), [(2.0, 1.0), (1.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (np.nan, 1.0)])
def test_bad_ranges_are_refused(r_min, r_max):
    with pytest.raises(ValueError, match="0 < r_min < r_max"):
        PairCurve.from_function(lj_energy, r_min=r_min, r_max=r_max)


def test_functions_must_be_vectorised():
    import math

    with pytest.raises(ValueError, match=r"wrap it in numpy\.vectorize"):
        PairCurve.from_function(lambda r: math.exp(-r), r_min=1, r_max=2)
    with pytest.raises(ValueError, match="one value each"):
        PairCurve.from_function(lambda r: 1.0, r_min=1, r_max=2)
    curve = PairCurve.from_function(np.vectorize(lambda r: math.exp(-r)), r_min=1, r_max=2)
    np.testing.assert_allclose(curve.source(curve.r)[1], np.exp(-curve.r), rtol=1e-9)


def test_curve_files(tmp_path):
    table = np.column_stack([np.linspace(1, 2, 9), np.arange(9.0), -np.arange(9.0)])
    np.savetxt(tmp_path / "a.dat", table, header="r E F")
    (tmp_path / "b.csv").write_text("r, E\n" + "\n".join(f"{r},{e}" for r, e, _ in table) + "\n")
    three, two = PairCurve.read(tmp_path / "a.dat", ("Ar", "Ne")), PairCurve.read(tmp_path / "b.csv")
    np.testing.assert_allclose(three.force, table[:, 2])
    np.testing.assert_allclose(two.energy, table[:, 1])
    assert two.force is None
    assert three.elements == ("Ar", "Ne")
    (tmp_path / "c.dat").write_text("1 2 3 4\n2 3 4 5\n")
    with pytest.raises(ValueError, match=r"c\.dat: need two or three columns .*--columns"):
        PairCurve.read(tmp_path / "c.dat")
    (tmp_path / "d.dat").write_text("1 2\n2 x\n")
    with pytest.raises(ValueError, match=r"d\.dat: line 2: .x. is not a number"):
        PairCurve.read(tmp_path / "d.dat")
    (tmp_path / "e.dat").write_text("1 2\n-2 3\n")
    with pytest.raises(ValueError, match=r"e\.dat: line 2: r is -2: distances must be positive"):
        PairCurve.read(tmp_path / "e.dat")
    with pytest.raises(FileNotFoundError, match="no curve file"):
        PairCurve.read(tmp_path / "nothing.dat")


def test_weights_are_one_over_squared_errors():
    r = np.linspace(1, 2, 6)
    weights = np.array([1.0, 4.0, 0.0, 0.25, 1.0, 1.0])
    curve = PairCurve(r[::-1], lj_energy(r[::-1]), lj_force(r[::-1]), weights=weights[::-1])
    used = weights > 0
    np.testing.assert_array_equal(curve.r, r[used])
    np.testing.assert_allclose(curve.force, lj_force(r[used]), rtol=1e-14)
    np.testing.assert_allclose(curve.errors, [1, 0.5, 2, 1, 1])
    for bad, message in ((-weights, "not be negative"), (0 * weights, "not all zero"), (weights[:3], r"shape \(6,\)")):
        with pytest.raises(ValueError, match=message):
            PairCurve(r, lj_energy(r), weights=bad)
    with pytest.raises(ValueError, match="either errors or weights"):
        PairCurve(r, lj_energy(r), errors=np.ones(6), weights=weights)


def test_parts_of_a_curve_keep_their_errors():
    from ase_kan.fit.holdout import part

    r = np.linspace(1, 2, 6)
    curve = PairCurve(r, lj_energy(r), errors=0.1 * r)
    np.testing.assert_array_equal(part(curve, r > 1.3).errors, 0.1 * r[r > 1.3])
