"""What a fit to structures reports: errors by property, pairs, gaps, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from ase_kan.fit.equations import PROPERTIES
from ase_kan.fit.result import FitResult
from ase_kan.fit.smoothness import POWERS, Strength
from ase_kan.fit.solve import LeastSquares
from ase_kan.potentials.coverage import named_gaps
from ase_kan.potentials.features import value_and_slope
from ase_kan.potentials.pair import PairFunction
from ase_kan.potentials.potential import KANPotential
from ase_kan.types import Array, Pair, pair_name
from ase_kan.version import __version__


def result_of(
    problem: LeastSquares,
    functions: Mapping[Pair, PairFunction],
    energies: dict[str, float],
    strength: Strength,
    counts: Counter[str],
    notes: list[str],
    interrupted: bool,
) -> FitResult:
    """The potential of a fit to structures, its errors and its report."""
    z = problem.mesh_solution(functions, energies)
    errors, lines = _errors(problem, energies, z)
    interpolation, told = _pairs(problem, functions)
    lines += told
    unseen = [pair for pair in problem.train.meshes if pair not in functions]
    lines += [f"{'-'.join(pair)}: not in the data, an error at prediction" for pair in unseen]
    lines.append(f"lone atoms: {', '.join(f'{s} {e:.6f} eV' for s, e in energies.items())}")
    lines.append(f"largest interpolation error of the mesh: {interpolation:.1e} of the largest energy")
    lines += [*notes, tell_counts(counts)]
    if interrupted:
        lines.append("interrupted: fitted to the structures read so far; go on from the checkpoint with resume")
    info = {
        "ase_kan": __version__,
        "structures": dict(counts),
        "errors": errors,
        "smoothness": {"lambda_1": 10.0**strength.low, "lambda_k": 10.0**strength.high, "q": POWERS[strength.power]},
        "weights": {name: problem.weights[name] for name in errors},
        "interpolation_error": interpolation,
        "interrupted": interrupted,
    }
    by_pair: dict[Pair | None, PairFunction] = dict(functions.items())
    potential = KANPotential(by_pair, energies, info, problem.posterior(strength))

    def error_of(name: str, which: str) -> float:
        value = errors.get(name, {}).get(which)
        return float("nan") if value is None else value

    history = {which: np.array([error_of("energy", which)]) for which in ("train", "held_out")}
    return FitResult(
        potential,
        {"train": history["train"], "holdout": history["held_out"]},
        error_of("energy", "held_out"),
        error_of("forces", "held_out"),
        error_of("energy", "train"),
        error_of("forces", "train"),
        "\n".join(lines),
        energy_unit="eV/atom",
    )


def _errors(
    problem: LeastSquares, energies: Mapping[str, float], z: Array
) -> tuple[dict[str, dict[str, float | None]], list[str]]:
    """RMSE and share explained of every property, and the table of them."""
    lines = [f"{'property':10s} {'unit':9s} {'train RMSE':>11s} {'held out':>11s} {'explained':>10s}"]
    units = {"energy": "eV/atom", "forces": "eV/A", "virial": "eV/atom"}
    errors: dict[str, dict[str, float | None]] = {}
    for name in PROPERTIES:
        parts = [a.equations[name] for a in (problem.train, problem.held)]
        if parts[0].count == 0:
            continue
        rmse = [float(np.sqrt(part.mean_square(z))) if part.count else None for part in parts]
        explained = parts[0].explained(z, len(energies) if name == "energy" else 0)
        share = explained if np.isfinite(explained) else None
        errors[name] = {"train": rmse[0], "held_out": rmse[1], "explained": share}
        shown = [f"{value:11.3e}" if value is not None else f"{'-':>11s}" for value in rmse]
        lines.append(f"{name:10s} {units[name]:9s} {shown[0]} {shown[1]} {explained:10.4%}")
    return errors, lines


def _pairs(problem: LeastSquares, functions: Mapping[Pair, PairFunction]) -> tuple[float, list[str]]:
    """The largest interpolation error of the mesh, and a line or two for every pair."""
    lines: list[str] = []
    interpolation = 0.0
    for pair, function in functions.items():
        error = problem.train.meshes[pair].interpolation_error(function)
        interpolation = max(interpolation, error)
        r = np.linspace(*function.domain, 2000)
        energy = value_and_slope(function, r)[0]
        lines.append(
            f"{'-'.join(pair)}: {function.domain[0]:.3f} A to the cutoff {function.cutoff.radius:.3f} A, "
            f"minimum {energy.min():.6f} eV at {r[energy.argmin()]:.3f} A"
        )
        if function.gaps:
            lines.append(f"gaps, with hardly any pairs in the data: {named_gaps(pair_name(pair), function.gaps)}")
    if any(function.gaps for function in functions.values()):
        lines.append("in gaps the energy is a guess: calc.extrapolation counts the pairs there")
    return interpolation, lines


def tell_counts(counts: Counter[str]) -> str:
    return "structures: " + ", ".join(f"{number} {name}" for name, number in counts.items() if number)
