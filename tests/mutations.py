"""Break the package in known ways, one at a time, and see that the tests notice.

    python -m tests.mutations [WORD ...]      # all, or those whose line contains a word; some minutes

Each mutation changes one expression in a copy of the package (the kernel stays as built) and runs the tests that should
fail. Exit code 1 if a mutation is not caught, or if its expression is no longer in the file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ase_kan.engines._kernel as kernel

ROOT = Path(__file__).parents[1]
#: File, expression, what stands there instead, tests.
MUTATIONS = (
    ("analysis/law/forms.py", "add(piece.damping, x * density, d * density * (1 + n - x - x * density))", "add(piece.damping, x * density, d * density)", "tests/analysis/test_law.py"),
    ("analysis/law/forms.py", "if abs(found.setdefault(a.number, wanted) - wanted) > 1e-6 * abs(wanted):", "if False:", "tests/analysis/test_law.py"),
    ("analysis/law/projection.py", "jacobian = jacobian - basis @ (basis.T @ jacobian)", "pass", "tests/analysis/test_law.py"),
    ("analysis/law/projection.py", "c * r0**n * np.exp(b * r0 + g * r0**2)", "c * r0**n * np.exp(b * r0)", "tests/analysis/test_law.py"),
    ("analysis/law/choice.py", "np.log1p(np.linalg.svd(jacobian, compute_uv=False) ** 2).sum()", "0.0", "tests/analysis/test_law.py"),
    ("analysis/law/choice.py", "return min(_smooth(fit, data), _alike(fit, data)) > UNLIKELY", "return True", "tests/analysis/test_law.py"),
    ("analysis/law/find.py", "jacobian[t, 0, column] += terms[t].coefficient * by_coefficient * change", "pass", "tests/analysis/test_law.py"),
    ("analysis/law/sources.py", "operator - unit @ (unit.T @ operator)", "operator", "tests/analysis/test_law_structures.py"),
    ("analysis/law/sources.py", "values - values[:1]", "values", "tests/analysis/test_law_structures.py"),
    ("analysis/law/functions.py", "+ lines[a] * potential.density(r, a, b)", "", "tests/analysis/test_law_functions.py"),
    ("potentials/formula.py", "return plain, -torch.log(r) * energy, -r * energy, -(r**2) * energy, by_damping", "return plain, -torch.log(r) * energy, -r * energy, -r * energy, by_damping", "tests/analysis/test_law.py"),
    ("potentials/law.py", "return np.asarray(outside & (not self.trusted))", "return np.zeros(len(r), dtype=bool)", "tests/analysis/test_law.py"),
    ("kan/symbolic.py", "fix(1, number, t, \"x\", -term[1 + place])", "fix(1, number, t, \"x\", term[1 + place])", "tests/analysis/test_law.py"),
    ("potentials/eam_edges.py", "steep = max(-slope, pull + FADING * abs(curvature))", "steep = -slope", "tests/potentials/test_eam.py"),
    ("potentials/eam_edges.py", "above = high + high_slope * (density - edge.high)", "above = high + low_slope * (density - edge.high)", "tests/potentials/test_eam.py"),
    ("potentials/eam.py", "kind += self._element(atom) * len(self.elements)", "kind = kind * len(self.elements) + self._element(atom)", "tests/potentials/test_eam.py"),
    ("engines/compiled.py", "motion.undo()", "pass", "tests/dynamics/test_integrators.py"),
    ("potentials/scale.py", "(float(found.x), -float(found.fun))", "(float(found.x), float(found.fun))", "tests/cli/test_people.py"),
    ("potentials/compiled.py", "for n, (_, rows) in enumerate(entries)", "for n, (_, rows) in enumerate(entries[::-1])", "tests/potentials/test_stored.py"),
    ("cli/evaluate.py", "(energy - sample.energy) / len(atoms)", "energy - sample.energy", "tests/cli/test_people.py"),
    ("potentials/eam.py", "first = n + len(self._all_pairs()) * self.grid + before", "first = n + before", "tests/analysis/test_embedded_uncertainty.py"),
    ("potentials/coverage.py", "more = (limit - 1) * DENSITY_STEP", "more = limit * DENSITY_STEP", "tests/analysis/test_embedded_uncertainty.py"),
    ("analysis/embedded_uncertainty.py", "csr_matrix((taken *", "csr_matrix((given *", "tests/analysis/test_embedded_uncertainty.py"),
    ("fit/eam_report.py", "state.cost / errors.effective_count()", "state.cost", "tests/analysis/test_embedded_uncertainty.py"),
    ("fit/eam_rows.py", "mine = slope[:, None, None] * pulls + pull[:, :, None] * change[:, None, :]", "mine = slope[:, None, None] * pulls", "tests/fit/test_eam.py"),
    ("fit/eam_rows.py", "data.append(-s.virial[VOIGT] / len(s.atoms))", "data.append(s.virial[VOIGT] / len(s.atoms))", "tests/fit/test_eam.py"),
    ("fit/eam_form.py", "values[0] + beyond * values[1] - at_reference", "values[0] - at_reference", "tests/fit/test_eam.py"),
    ("fit/eam_solver.py", "f[kinds] *= sign / deviation", "f[kinds] *= sign", "tests/fit/test_eam.py"),
    ("fit/eam_report.py", "embedding[c, a] -= ranges.value_at_reference(form, c, a, embedding[c, a])", "pass", "tests/fit/test_eam.py"),
    ("fit/eam_descent.py", 'if header.get("settings") != self.settings:', "if False:", "tests/fit/test_eam.py"),
    ("calculator.py", "found.virial / -self._volume", "found.virial / self._volume", "tests/test_calculator.py"),
    ("calculator.py", "found.virials / -self._volume", "found.virials / -1.0", "tests/test_calculator.py"),
    ("calculator.py", "energy += float(self._lone_atoms.sum())", "energy += 0.0", "tests/test_calculator.py"),
    ("calculator.py", "self._valid = False\n        if changes", "if changes", "tests/test_calculator_state.py"),
    ("dynamics/base.py", "momenta[held] = 0.0", "pass", "tests/dynamics/test_integrators.py"),
    ("dynamics/base.py", "interval - run.nsteps % interval if", "interval if", "tests/dynamics/test_integrators.py"),
    ("dynamics/integrators.py", "* (1 - keep**2)", "* (1 - keep)", "tests/dynamics/test_integrators.py"),
    ("dynamics/integrators.py", "0.5 * (self._freedom - 1)", "0.5 * (self._freedom - 100)", "tests/dynamics/test_integrators.py"),
    ("dynamics/noise.py", "self._used = state[\"used\"]", "pass", "tests/dynamics/test_restart.py"),
    ("dynamics/restart.py", "atoms.calc.reset()", "pass", "tests/dynamics/test_restart.py"),
    ("engines/guard.py", "self._quiet = motion.quiet", "pass", "tests/dynamics/test_integrators.py"),
    ("types.py", "VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))", "VOIGT = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))", "tests/test_calculator.py"),
    ("engines/autograd.py", "full = -(pair_force @ vectors.T)", "full = -(pair_force @ vectors.T) / 2", "tests/test_calculator.py"),
    ("engines/autograd.py", "np.bincount(i, pair_force[x], n) - np.bincount(j, pair_force[x], n)", "np.bincount(i, pair_force[x], n) + np.bincount(j, pair_force[x], n)", "tests/test_calculator.py"),
    ("engines/autograd.py", "np.bincount(i, energy / 2, n)", "np.bincount(i, energy, n)", "tests/test_calculator.py"),
    ("engines/autograd.py", "below[part] = (r < low) & within", "below[part] = (r <= high) & within", "tests/engines/test_engines.py"),
    ("engines/neighbors.py", "<= (self.skin / 2) ** 2", "<= self.skin**2", "tests/engines/test_neighbors.py"),
    ("engines/neighbors.py", "self.cutoff + self.skin)", "self.cutoff)", "tests/engines/test_neighbors.py tests/test_calculator.py"),
    ("engines/neighbors.py", "translations + turns[i] - turns[j]", "translations - turns[i] + turns[j]", "tests/engines/test_neighbors.py"),
    ("engines/batch.py", "virials.double().cpu().numpy()[solid] / volumes", "-virials.double().cpu().numpy()[solid] / volumes", "tests/exports"),
    ("engines/radial.py", "table_of[rows, columns] = table_of[columns, rows] = np.arange(len(rows))", "table_of[rows, columns] = np.arange(len(rows))", "tests/engines/test_engines.py"),
    ("engines/guard.py", "return self.below + self.above", "return self.below", "tests/analysis"),
    ("kan/bsplines.py", "knots[k], knots[-k - 1] = low, high", "knots[k + 1], knots[-k - 1] = low, high", "tests/kan tests/fit"),
    ("kan/bsplines.py", "return m[:, None] - k + np.arange(k + 1), values", "return m[:, None] - k + 1 + np.arange(k + 1), values", "tests/fit/test_trainers.py"),
    ("kan/dense.py", "silu = (x * s, s + x * ds,", "silu = (x * s, s - x * ds,", "tests/fit/test_trainers.py"),
    ("kan/dense.py", "gamma = np.einsum(\"no,nio->ni\", gamma, f1) +", "gamma = np.einsum(\"no,nio->ni\", gamma, f1) -", "tests/fit/test_trainers.py"),
    ("potentials/cutoff.py", "return 1 - u**3 * (10 - 15 * u + 6 * u**2)", "return 1 - u**3 * (10 - 15 * u + 5 * u**2)", "tests/potentials tests/test_calculator.py"),
    ("potentials/cutoff.py", "- bare(r.new_full((), self.radius))", "", "tests/potentials tests/test_calculator.py"),
    ("potentials/features.py", "Feature(lambda r: r**-3,", "Feature(lambda r: r**-2,", "tests/fit/test_curve.py tests/analysis"),
    ("potentials/protocol.py", "-value_and_slope(phi, array)[1]", "value_and_slope(phi, array)[1]", "tests/potentials"),
    ("potentials/tables.py", "rows[:, 4] = -15 * gap + 8 * d0 + 7 * d1", "rows[:, 4] = -15 * gap + 7 * d0 + 8 * d1", "tests/potentials/test_tables.py"),
    ("potentials/tables.py", "float(SAFETY * errors[1])", "float(errors[1] / 100)", "tests/potentials/test_tables.py"),
    ("potentials/continuations.py", "Hartree * Bohr * z1 * z2 / r * screening", "Hartree * Bohr * z1 / r * screening", "tests/analysis"),
    ("potentials/storage.py", "digest.update(np.ascontiguousarray(array)", "(np.ascontiguousarray(array)", "tests/potentials"),
    ("fit/linear.py", "-curve.force / self.e.scale", "curve.force / self.e.scale", "tests/fit/test_curve.py tests/fit/test_trainers.py"),
    ("fit/equations.py", "for atom, sign in ((i, 1.0), (j, -1.0)):", "for atom, sign in ((i, 1.0), (j, 1.0)):", "tests/fit/test_structures.py"),
    ("data/structures.py", "virial = -stress * atoms.get_volume()", "virial = stress * atoms.get_volume()", "tests/fit/test_structures.py tests/data/test_labels.py"),
    ("exports/lammps.py", "\"real\": mol / kcal", "\"real\": kcal / mol", "tests/exports"),
    ("exports/openmm.py", "energy / KJ_PER_MOL", "energy * KJ_PER_MOL", "tests/exports"),
    ("kan/householder.py", "reflector[0] += np.copysign(length, reflector[0])", "reflector[0] += length", "tests/fit/test_trainers.py"),
    ("fit/evidence.py", "+ joined.log_determinant() - prior +", "- prior +", "tests/fit/test_evidence.py"),
    ("fit/evidence.py", "row[:k] = row[1 : k + 1]", "row[:k] = row[:k]", "tests/fit/test_evidence.py"),
    ("fit/evidence.py", "left[c + 1 : c + k + 1] -= self.rows[c, 1 : k + 1] * left[c]", "pass", "tests/fit/test_evidence.py"),
    ("fit/curve_model.py", "- cross * residual[n:]) / rest", "+ cross * residual[n:]) / rest", "tests/fit/test_evidence.py"),
    ("fit/curve_model.py", "np.sqrt(np.maximum(1.0, size / HUBER))", "np.ones(len(size))", "tests/fit/test_evidence.py"),
    ("fit/trainers.py", "if law is not None and law.exact", "if False", "tests/fit/test_end_laws.py"),
    ("potentials/end_laws.py", "(b * t) ** 2 * exponential", "b * t * exponential", "tests/fit/test_end_laws.py"),
    ("potentials/end_laws.py", "NOTHING_MARGIN = 6.0", "NOTHING_MARGIN = 600.0", "tests/fit/test_end_laws.py"),
    ("potentials/joints.py", "blended = replace(wall, charges=charges, blend=(low, high))", "blended = wall", "tests/fit/test_end_laws.py"),
    ("potentials/pair.py", "return float(2 * np.pi * LIQUID", "return float(4 * np.pi * LIQUID", "tests/fit/test_end_laws.py"),
    ("engines/embedded_autograd.py", "slope[part] += push[atoms, channel] * rise", "slope[part] += push[atoms, 0] * rise", "tests/engines/test_embedded.py"),
    ("engines/embedded_autograd.py", "((first, a, b), (second, b, a))", "((first, b, a), (second, a, b))", "tests/engines/test_embedded.py"),
    ("engines/guard.py", "(rho < low) | (rho > high)", "rho > high", "tests/engines/test_embedded.py"),
    ("engines/embedded_compiled.py", "*embedding.limits,", "-np.inf,\n                    np.inf,", "tests/engines/test_embedded.py"),
    ("engines/autograd.py", "energy.sum() + terms.embedding.sum()", "energy.sum()", "tests/engines/test_embedded.py"),
    ("engines/guard.py", "return self.pairs + self.densities", "return self.pairs", "tests/engines/test_embedded.py"),
    ("potentials/quintics.py", "rows[:, 0] = first", "rows[:, 0] = middle", "tests/potentials/test_embedded_tables.py"),
    ("potentials/quintics.py", "error = SAFETY * np.array", "error = 1e-3 * np.array", "tests/potentials/test_embedded_tables.py"),
    ("potentials/quintics.py", "if misplaced.any() else", "if False else", "tests/potentials/test_embedded_tables.py"),
    ("potentials/compiled.py", "self.channels if atom > neighbor else 0", "0", "tests/potentials/test_embedded_tables.py"),
    ("potentials/embedded_tables.py", "goes_on_straight(function, table.end, 1.0, width, tol)", "True", "tests/engines/test_embedded.py"),
    ("potentials/setfl.py", "slope[[1, -2]] = (y[2] - y[0]) / 2, (y[-1] - y[-3]) / 2", "slope[[1, -2]] = y[2] - y[1], y[-1] - y[-2]", "tests/potentials/test_setfl.py"),
    ("potentials/setfl.py", "(number if columns == n else 0) * nr", "0 * nr", "tests/potentials/test_setfl.py"),
    ("exports/eam.py", "potential.embedding(sign * density, element)", "potential.embedding(density, element)", "tests/exports/test_eam.py"),
    ("exports/eam.py", "while best[2] > tol and", "while False and", "tests/exports/test_eam.py"),
    ("exports/eam.py", "= bare + potential.reference_energies.get(symbol, 0.0)", "= bare", "tests/exports/test_eam.py"),
    ("potentials/eam_schema.py", "embedding_ends\"]) > 1 / LARGEST", "embedding_ends\"]) > 0", "tests/potentials/test_eam.py"),
    ("data/files.py", "error.filename = str(target)", "pass", "tests/data/test_files.py"),
    ("validation/virial.py", "+ INNER**3", "", "tests/validation/test_suite.py -k gas"),
    ("validation/crystal.py", "size if i == j else size / 2", "size", "tests/validation/test_suite.py -k crystal"),
    ("validation/crystal.py", "+ beyond * part", "", "tests/validation/test_suite.py -k lattice_sums"),
    ("validation/clusters.py", "min(best, *(energy for _, energy in trials))", "best", "tests/validation/test_suite.py -k clusters"),
    ("validation/lennard_jones.py", "potential(r * sigma, pair)", "potential(r, pair)", "tests/validation/test_suite.py -k units"),
    ("validation/liquid.py", "+ left_out(potential, short, density)", "", "tests/validation/test_suite.py -k test_liquid"),
)  # fmt: skip
#: Tests run in a process that looks for the package in the copy, not where the editable installation points.
RUN = """import sys
sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
import pytest
sys.exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--durations=0", "--durations-min=99", *sys.argv[1:]]))"""


def passes(copy: Path, tests: str) -> bool:
    """Whether the tests pass on a copy of the package."""
    command = [sys.executable, "-c", RUN, *tests.split()]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(copy)}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True).returncode == 0


def main(words: list[str]) -> int:
    """Try every mutation; the number of those not caught decides the exit code."""
    missed = 0
    sound: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "docs", "examples"))
        shutil.copy(kernel.__file__, copy / "ase_kan" / "engines")
        for name, old, new, tests in MUTATIONS:
            line = f"{name}: {old!r} -> {new!r}".replace("\n", " ")
            if words and not any(word in line for word in words):
                continue
            if tests not in sound:
                sound[tests] = passes(copy, tests)
            path = copy / "ase_kan" / name
            text = path.read_text()
            if text.count(old) != 1 or not sound[tests]:
                print(f"{'NOT FOUND ONCE' if sound[tests] else 'FAILS UNBROKEN'}  {line}", flush=True)
                missed += 1
                continue
            path.write_text(text.replace(old, new))
            caught = not passes(copy, tests)
            path.write_text(text)
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}  {line}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
