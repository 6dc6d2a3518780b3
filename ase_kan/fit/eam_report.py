"""The potential of an embedded-atom fit, its errors beside those of a pair potential, and its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.linalg

from ase_kan.fit.eam_data import Chunks
from ase_kan.fit.eam_descent import Place
from ase_kan.fit.eam_rows import Chunk
from ase_kan.fit.eam_solver import effective_count
from ase_kan.fit.eam_survey import Survey
from ase_kan.fit.equations import PROPERTIES
from ase_kan.fit.groups import group_lines
from ase_kan.fit.result import FitResult
from ase_kan.fit.structure_report import tell_counts
from ase_kan.potentials.coverage import Coverage
from ase_kan.potentials.eam import KANEAM
from ase_kan.potentials.eam_posterior import EAMPosterior
from ase_kan.potentials.posterior import fewer_modes
from ase_kan.types import Array, Index, Pair, pair_name
from ase_kan.version import __version__

#: Cells of the histograms of distances and densities before they are joined.
CELLS = 200
UNITS = {"energy": "eV/atom", "forces": "eV/A", "virial": "eV/atom"}


@dataclass(frozen=True, eq=False, repr=False)
class EAMFitResult(FitResult):
    """What an embedded-atom fit gives: as for pair potentials, and beside it

    Attributes
    ----------
    potential : KANEAM
    pair : FitResult
        The fit of a pair potential to the same structures, with the same cutoff and weights.
    """

    potential: KANEAM  # type: ignore[assignment]  # everything else is the same
    pair: FitResult = field(kw_only=True)


class _Errors:
    """Sums of squared errors and numbers of data, by property and whether held out, and by group."""

    def __init__(self) -> None:
        self.squares, self.counts = np.zeros((2, 3)), np.zeros((2, 3))
        self.weighted = np.zeros(3)  # of training
        self.groups: dict[str, tuple[Array, Array, list[int]]] = {}

    def add(self, chunk: Chunk, weighted: Array) -> None:
        """Of the weighted rows of a chunk; rows without weight count nowhere."""
        known = chunk.roots > 0
        errors = np.divide(weighted, chunk.roots, out=np.zeros_like(weighted), where=known)
        for which, rows in enumerate((known & chunk.training_rows, known & ~chunk.training_rows)):
            self.squares[which] += np.bincount(chunk.properties[rows], errors[rows] ** 2, 3)
            self.counts[which] += np.bincount(chunk.properties[rows], minlength=3)
        training = chunk.training_rows
        self.weighted += np.bincount(chunk.properties[training], weighted[training] ** 2, 3)
        names = np.array([group or "no group" for group in chunk.groups])
        for name in np.unique(names):
            rows = known & (names[chunk.owners] == name)
            squares, counts, number = self.groups.setdefault(str(name), (np.zeros(3), np.zeros(3), [0]))
            squares += np.bincount(chunk.properties[rows], errors[rows] ** 2, 3)
            counts += np.bincount(chunk.properties[rows], minlength=3)
            number[0] += int(np.sum(names == name))

    def of(self, name: str, held: bool) -> float | None:
        """Root-mean-square error; None without data."""
        n = PROPERTIES.index(name)
        count = self.counts[int(held), n]
        return float(np.sqrt(self.squares[int(held), n] / count)) if count else None

    def residual(self) -> dict[str, float]:
        """RMS errors over training and held-out structures, of the properties that there are data of."""
        counts = self.counts.sum(axis=0)
        roots = np.sqrt(self.squares.sum(axis=0) / np.maximum(counts, 1))
        return {name: float(roots[n]) for n, name in enumerate(PROPERTIES) if counts[n]}

    def effective_count(self) -> float:
        """The number of equally good training data whose mean square is as well known as the loss."""
        return effective_count(self.weighted, self.counts[0])

    def by_group(self) -> dict[str, dict[str, float | int | None]]:
        """As `groups.group_errors` gives them."""
        found: dict[str, dict[str, float | int | None]] = {}
        for group in sorted(self.groups):
            squares, counts, number = self.groups[group]
            found[group] = {"structures": number[0]}
            for n, name in enumerate(PROPERTIES):
                found[group][name] = float(np.sqrt(squares[n] / counts[n])) if counts[n] else None
        return found


class _Histograms:
    """Of distances by pair, and of densities by channel and element."""

    def __init__(self, chunks: Chunks, place: Place) -> None:
        form, ranges = chunks.form, place.state.ranges
        self.edges = np.linspace(form.start, form.cutoff, CELLS + 1)
        self.pairs: Index = np.zeros((len(form.pairs), CELLS), dtype=np.int64)
        high = np.where(ranges.high > ranges.low, ranges.high, ranges.low + 1.0)
        self.density_edges = np.linspace(ranges.low, high, CELLS + 1, axis=-1)
        self.densities: Index = np.zeros((*ranges.low.shape, CELLS), dtype=np.int64)

    def add(self, chunk: Chunk, c: Array) -> None:
        """Those of a chunk; each pair of atoms counts once."""
        pairs = chunk.form.pair_of[chunk.kinds[chunk.i], chunk.kinds[chunk.j]]
        for number in range(len(self.pairs)):
            self.pairs[number] += np.histogram(chunk.distances[pairs == number], self.edges)[0] // 2
        for channel, rho in enumerate(chunk.densities(c)):
            for a, rows in enumerate(chunk.members):
                self.densities[channel, a] += np.histogram(rho[rows], self.density_edges[channel, a])[0]


def result_of(
    chunks: Chunks, seen: Survey, place: Place, pair: FitResult, weights: Mapping[str, float], interrupted: bool
) -> EAMFitResult:
    """The potential of a descent, and what can be said of it."""
    errors, histograms = _Errors(), _Histograms(chunks, place)
    state = place.state
    for chunk in chunks:
        errors.add(chunk, chunk.linear(state.c, state.ranges) @ state.x - chunk.roots * chunk.target)
        histograms.add(chunk, state.c)
    table: dict[str, dict[str, float | None]] = {
        name: {"train": errors.of(name, False), "held_out": errors.of(name, True)}
        for name in PROPERTIES
        if errors.of(name, False) is not None
    }
    info = {
        "ase_kan": __version__,
        "structures": dict(seen.counts),
        "errors": table,
        "pair_errors": pair.potential.info["errors"],
        "smoothness": {name: 10.0**power for name, power in place.strength._asdict().items()},
        "weights": dict(weights),
        "interrupted": interrupted,
    }
    groups = errors.by_group()
    if chunks.structures.group_key is not None:
        info["groups"] = groups
    potential = _potential(chunks, seen, place, histograms, _posterior(chunks, place, errors), info)
    lines = _lines(potential, table, pair, seen, weights)
    if chunks.structures.group_key is not None:
        lines += group_lines(groups)
    if interrupted:
        lines.append("interrupted: the functions of the last step; go on from the checkpoint with resume")

    def error_of(name: str, which: str) -> float:
        value = table.get(name, {}).get(which)
        return float("nan") if value is None else value

    energy = {which: error_of("energy", which) for which in ("train", "held_out")}
    return EAMFitResult(
        potential,
        {"train": np.array([energy["train"]]), "holdout": np.array([energy["held_out"]])},
        energy["held_out"],
        error_of("forces", "held_out"),
        energy["train"],
        error_of("forces", "train"),
        "\n".join(lines),
        energy_unit="eV/atom",
        pair=pair,
    )


def _posterior(chunks: Chunks, place: Place, errors: _Errors) -> EAMPosterior:
    """Covariance s^2 (R^T R)^-1 of x, with R the factor of data and penalties and s^2 the loss per effective datum.

    F is counted from its value at the reference, as in the potential.
    """
    state = place.state
    form = replace(chunks.form, channels=len(state.c))
    triangle = state.factor[:-1, :-1]
    root = scipy.linalg.solve_triangular(triangle, np.eye(len(triangle))) * np.sqrt(
        state.cost / errors.effective_count()
    )
    root[: len(form.elements)][np.array(form.pinned)] = 0.0
    for c in range(form.channels):
        for a in range(len(form.elements)):
            at = form.embedding_at(c, a)
            root[at] -= state.ranges.value_at_reference(form, c, a, root[at])
    return EAMPosterior(fewer_modes(root), errors.residual())


def _potential(
    chunks: Chunks,
    seen: Survey,
    place: Place,
    histograms: _Histograms,
    posterior: EAMPosterior,
    info: dict[str, object],
) -> KANEAM:
    state = place.state
    form, x, ranges = replace(chunks.form, channels=len(state.c)), state.x, state.ranges
    n, channels = len(form.elements), range(form.channels)
    embedding = np.stack([[x[form.embedding_at(c, a)] for a in range(n)] for c in channels])
    # F is counted from its value at the reference: the splines add up to 1 everywhere.
    for c in channels:
        for a in range(n):
            embedding[c, a] -= ranges.value_at_reference(form, c, a, embedding[c, a])
    coverage: dict[Pair, Coverage] = {}
    domains: dict[Pair, tuple[float, float]] = {}
    for number, pair in enumerate(form.pairs):
        if pair in seen.shortest:
            domains[pair] = (seen.shortest[pair], form.cutoff)
            coverage[pair] = Coverage.of(histograms.edges, histograms.pairs[number], seen.shortest[pair])
    return KANEAM(
        elements=form.elements,
        densities=form.densities,
        start=form.start,
        cutoff=form.cutoff,
        grid=form.grid,
        embedding_grid=form.embedding_grid,
        k=form.k,
        pair_coefficients=np.stack([x[form.pair_at(number)] for number in range(len(form.pairs))]),
        density_coefficients=state.c,
        embedding_coefficients=embedding,
        embedding_ends=np.array([[ranges.ends(form, c, a) for a in range(n)] for c in channels]),
        domains=domains,
        density_domains=np.stack([ranges.low, ranges.high], axis=2),
        reference_energies={s: seen.baseline[s] + float(x[a]) for a, s in enumerate(form.elements)},
        coverage=coverage,
        density_coverage={
            element: tuple(
                Coverage.of(histograms.density_edges[c, a], histograms.densities[c, a], float(ranges.low[c, a]))
                for c in channels
            )
            for a, element in enumerate(form.elements)
        },
        info=info,
        posterior=posterior,
    )


def _lines(
    potential: KANEAM,
    table: Mapping[str, Mapping[str, float | None]],
    pair: FitResult,
    seen: Survey,
    weights: Mapping[str, float],
) -> list[str]:
    def shown(value: float | None) -> str:
        return f"{'-':>11s}" if value is None else f"{value:11.3e}"

    of_pair = pair.potential.info["errors"]
    lines = [f"{'property':10s} {'unit':9s} {'train RMSE':>11s} {'held out':>11s}   a pair potential: train, held out"]
    for name, errors in table.items():
        other = of_pair.get(name, {})
        lines.append(
            f"{name:10s} {UNITS[name]:9s} {shown(errors['train'])} {shown(errors['held_out'])}   "
            f"{shown(other.get('train'))} {shown(other.get('held_out'))}"
        )
    for name in PROPERTIES:
        if seen.squares[name] and not weights[name]:
            told = "stresses and virials" if name == "virial" else name
            lines.append(f"{told} of the structures have no weight and were not used: weights={{{name!r}: ...}}")
    for of in potential.pairs:
        lines.append(f"{pair_name(of)}: data from {potential.domain(of)[0]:.3f} A to the cutoff")
    for element in potential.elements:
        for channel in range(potential.channels):
            low, high = potential.density_domain(element, channel)
            lines.append(f"{element}, density {channel}: data from {low:.3f} to {high:.3f}")
    lines.append(tell_counts(seen.counts))
    return lines
