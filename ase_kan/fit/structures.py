"""Fit one KAN per pair of elements to energies, forces and stresses of structures.

One pass over the structures adds up normal equations on a radial mesh (module `equations`); the KANs are fitted to
those. For single edges the least-squares solution is exact; deeper networks are then taught by it.
The loss is a weighted sum of the mean squared errors of energy per atom, force components and virial per atom.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers

from ase_kan.data.structures import Sample, Structures
from ase_kan.fit.baseline import baseline_of
from ase_kan.fit.checkpoint import Checkpoint
from ase_kan.fit.deep import EVALUATIONS
from ase_kan.fit.deepen import deepen
from ase_kan.fit.equations import PROPERTIES, Accumulator, RadialMesh, energy_baseline, pairs_within
from ase_kan.fit.groups import group_errors, group_lines
from ase_kan.fit.noise import checked_references, checked_weights
from ase_kan.fit.result import FitResult, training_bar
from ase_kan.fit.solve import LeastSquares
from ase_kan.fit.structure_report import result_of, tell_counts
from ase_kan.kan.network import check_architecture
from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.features import get_feature
from ase_kan.potentials.pair import Ends
from ase_kan.types import Pair
from ase_kan.warn import warn_user

if TYPE_CHECKING:
    from ase_kan.fit.baseline import Baseline

#: Structures looked at before the pass, for their elements and smallest distances.
PEEK = 200
#: The mesh starts at this part of the smallest distance seen there.
START_FRACTION = 0.8
#: Where switching starts, as a part of the cutoff. The data themselves say how a pair energy goes to zero: a narrow
#: switch lets the fit follow them (mixture of docs/accuracy.md: force error 2e-5 eV/A; 5e-5 with 0.9).
STRUCTURES_ONSET = 0.97
#: What to check where a fit explains nothing: one wrong property spoils the others.
LABELS = (
    "units and signs of all labels: total energies in eV, forces in eV/A (minus the gradient), stresses in eV/A^3 "
    "(positive when the cell wants to shrink), virials in eV (-stress * volume)"
)
#: Time between two reports of progress, s.
REPORT_INTERVAL = 2.0


def fit_structures(
    structures: Structures,
    *,
    cutoff: float | Mapping[Pair, float],
    onset: float | None = None,
    smooth: bool = True,
    core: str | None = "power",
    width: Sequence[int] = (1, 1),
    grid: int = 40,
    k: int = 5,
    feature: str = "1/r",
    seed: int = 0,
    steps: int = EVALUATIONS,
    validation: float = 0.1,
    weights: Sequence[float] | Mapping[str, float] | None = None,
    reference_energies: Mapping[str, float] | None = None,
    elements: Sequence[str] | None = None,
    start: float | None = None,
    baseline: Baseline | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    extend: bool = False,
    progress: bool = False,
) -> FitResult:
    """Fit to structures in one pass, whose memory does not depend on their number.

    Parameters
    ----------
    structures : Structures
    cutoff : float or mapping of pair to float
        Angstrom; for all pairs, or per unordered pair.
    onset : float, optional
        Where switching to zero starts, as a part of each cutoff: default 0.97 (the data say how to go to zero).
    smooth : bool
        False for data that were plainly cut, as by ``LennardJones(rc=cutoff)``: energies are zero at the cutoff, and
        forces end in a step there. There is no onset then.
    core : str or None
        What takes over below the shortest distance of each pair: ``"power"``, ``"zbl"`` or None, as for curves.
    width, grid, k, feature, seed, steps
        As for curves, per pair; the grid spans the distances in the data, from the smallest to the cutoff.
    validation : float
        Part of the structures held out, 0 to 0.5, chosen by `seed` and their number; one that brings the closest
        pair of its kind so far is trained on instead, so that the domain covers all the data.
    weights : (float, float, float) or mapping of str to float, optional
        Of the mean squared errors of energy per atom (eV), force components (eV/Angstrom), virial per atom (eV); or
        some of them by name: ``{"virial": 0}``. Default: one over the mean square that the fit leaves open of each,
        found with the fit (module `noise`).
    reference_energies : mapping of str to float, optional
        Energies of lone atoms, eV. Elements left out are fitted.
    elements : sequence of str, optional
        Chemical symbols; default those of the first 200 structures.
    start : float, optional
        Smallest distance that the mesh covers, Angstrom; default 0.8 of the smallest in the first 200
        structures, per pair. Structures with closer atoms are left out and counted.
    baseline : optional
        What is known before, of every pair: as for curves. It is cut off as all energies are.
    checkpoint : path, optional
        File that the sums are written to, atomically, at least every 30 s of the pass.
    resume : bool
        Go on from the checkpoint, if there is one: with the same structures, of which it skips those that it has.
    extend : bool
        Add these structures to those of the checkpoint, which are not needed any more: its equations stand for them.
        Elements and `start` must be those of the checkpoint, so give both from the beginning.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    FitResult
        After Ctrl-C during the pass: the fit to the structures read so far; its report says so.

    Raises
    ------
    ValueError
        For bad data (file and number of the structure are named), a key of a label that no structure has, elements
        that `elements` lacks, a cutoff that reaches no pair or more than the memory holds, a checkpoint of other
        settings, or fewer data than parameters.

    Warns
    -----
    UserWarning
        If the fit explains a property worse than its mean (energies: than lone atoms) does, or if names in the
        structures look like labels that were not read.
    """
    if not 0 <= validation <= 0.5:
        raise ValueError(f"validation must be a part of the structures from 0 to 0.5, got {validation}")
    if (resume or extend) and checkpoint is None:
        raise ValueError(f"{'resume' if resume else 'extend'} needs the checkpoint file to go on from")
    if resume and extend:
        raise ValueError("resume goes on with the same structures, extend with others: choose one")
    if extend and not Path(os.fspath(checkpoint or "")).exists():
        raise ValueError(f"there is no checkpoint {checkpoint} to extend: fit the first structures without extend")
    chosen = checked_weights(weights, PROPERTIES)
    references = checked_references(reference_energies)
    get_feature(feature)
    ends = Ends(core=core, tail=None)  # the data reach to the cutoff
    check_architecture(width, grid=grid, k=k, steps=steps)
    stream = iter(structures)
    first = list(islice(stream, PEEK))
    if not first:
        raise ValueError(f"there are no structures to fit to in {structures.name}")
    if len(first) == PEEK:  # more may come
        known = {name for name in PROPERTIES if any(getattr(sample, name) is not None for sample in first)}
        for name, key, alike in structures.unread(first, known):
            if key is not None:
                message = f"none of the first {PEEK} structures has the {name} named {key!r}"
                warn_user(f"{message}; they have {alike or 'nothing like it'}")
    meshes = _meshes(first, cutoff, onset, smooth, elements, start)
    symbols = sorted({s for pair in meshes for s in pair})
    shifts = energy_baseline(first, dict(references))
    train, held = Accumulator(symbols, meshes, shifts), Accumulator(symbols, meshes, shifts)
    state = Checkpoint(checkpoint, train, held, {"seed": seed, "validation": validation})
    if resume or extend:
        state.load()
    before = state.done if extend else 0
    baselines = {}
    if baseline is not None:
        baselines = {pair: baseline_of(baseline, pair, m.start, m.cutoff.radius) for pair, m in meshes.items()}
    problem = LeastSquares(train, held, chosen, references, baselines)

    def force_error() -> float:
        """RMSE of the forces so far; NaN while there are too few data."""
        try:
            functions, energies, _ = problem.solve(grid, k, feature, final=False)
        except ValueError:
            return float("nan")
        return float(np.sqrt(train.equations["forces"].mean_square(problem.mesh_solution(functions, energies))))

    with training_bar(progress, structures.count(), "eV/A") as report:
        follow = None if report is None else lambda number: report(number, force_error())
        interrupted = _accumulate(chain(first, stream), state, before, seed, validation, follow)
    counts = state.counts
    if counts["used"] == 0:
        raise ValueError(f"no structure could be used: {tell_counts(counts)}")
    for message in _check_labels(structures, first, state):
        warn_user(message)
    if not problem.seen:
        raise ValueError(f"no two atoms of the structures are within the cutoff, {train.reach:g} A")
    functions, energies, strength = problem.solve(grid, k, feature)
    notes = [note] if (note := problem.contradiction(strength)) else []
    if len(width) > 2:
        functions = {pair: deepen(f, width, grid, k, seed, steps) for pair, f in functions.items()}
    functions = {
        pair: replace(ends, cutoff=f.cutoff.radius, onset=f.cutoff.onset, smooth=smooth).attach(f, pair)
        for pair, f in functions.items()
    }
    result = result_of(problem, functions, energies, strength, counts, notes, interrupted)
    if structures.group_key is not None:
        whole = islice(structures, state.done - before)
        by_group = group_errors(whole, result.potential, lambda s: s.weight > 0 and train.find(s) is not None)
        result.potential.info["groups"] = by_group
        result = replace(result, report="\n".join([result.report, *group_lines(by_group)]))
    for name, errors in result.potential.info["errors"].items():
        share = errors["explained"]
        if problem.weights[name] and share is not None and share < 0:
            warn_user(
                f"the fit explains the {name} of the structures by {share:.2%}, worse than "
                f"{'lone atoms' if name == 'energy' else 'their mean'} would: check {LABELS}",
            )
    return result


def _meshes(
    first: list[Sample],
    cutoff: float | Mapping[Pair, float],
    onset: float | None,
    smooth: bool,
    elements: Sequence[str] | None,
    start: float | None,
) -> dict[Pair, RadialMesh]:
    seen = sorted({symbol for sample in first for symbol in sample.atoms.symbols})
    symbols = seen if elements is None else sorted(set(elements))
    if unknown := [symbol for symbol in symbols if symbol not in atomic_numbers]:
        raise ValueError(f"elements must be chemical symbols, got {', '.join(map(repr, unknown))}")
    pairs = Accumulator.pairs_of(symbols)
    if isinstance(cutoff, Mapping):
        given = {tuple(sorted(pair)): float(value) for pair, value in cutoff.items()}
        if len(given) < len(cutoff):
            raise ValueError(f"the cutoff names a pair twice: {sorted(cutoff)}")
        missing = ["-".join(pair) for pair in pairs if pair not in given]
        if missing:
            raise ValueError(f"give a cutoff for every pair; missing: {', '.join(missing)}")
        radii = {pair: given[pair] for pair in pairs}
    else:
        radii = dict.fromkeys(pairs, float(cutoff))
    if not smooth and onset is not None:
        raise ValueError("smooth=False subtracts the energy at the cutoff and has no onset: drop one of the two")
    fraction = STRUCTURES_ONSET if onset is None else onset
    if not 0 < fraction < 1:
        raise ValueError(f"for structures, onset is a part of each cutoff between 0 and 1, got {onset}")
    for pair, radius in radii.items():
        if not 0 < radius < np.inf:
            raise ValueError(f"the cutoff of {'-'.join(pair)} must be a positive distance in Angstrom, got {radius:g}")
    shortest = _shortest(first, max(radii.values()))
    overall = min(shortest.values(), default=np.inf)
    meshes = {}
    for pair, radius in radii.items():
        near = min(shortest.get(pair, overall), radius)
        begin = START_FRACTION * near if start is None else start
        if not 0 < begin < radius:
            raise ValueError(f"the mesh must start between 0 and the cutoff {radius:g}, got start = {begin:g}")
        meshes[pair] = RadialMesh(begin, Cutoff(radius, fraction * radius if smooth else None))
    return meshes


def _shortest(first: list[Sample], reach: float) -> dict[Pair, float]:
    found: dict[Pair, float] = {}
    for sample in first:
        i, j, _, r = pairs_within(sample, reach)
        if len(r) and r.min() == 0:
            raise ValueError(f"{sample.origin}: atoms {i[r.argmin()]} and {j[r.argmin()]} are at the same place")
        species, kinds = np.unique(np.array(sample.atoms.get_chemical_symbols()), return_inverse=True)
        low, high = np.minimum(kinds[i], kinds[j]), np.maximum(kinds[i], kinds[j])
        for a, b in set(zip(low.tolist(), high.tolist(), strict=True)):
            pair = (str(species[a]), str(species[b]))
            found[pair] = min(found.get(pair, np.inf), float(r[(low == a) & (high == b)].min()))
    return found


def _check_labels(structures: Structures, first: list[Sample], state: Checkpoint) -> list[str]:
    """Warnings about names that look like labels but were not read; `ValueError` for a key that no structure has."""
    known = {name for name in PROPERTIES for a in (state.train, state.held) if a.equations[name].count}
    if any("ignored" in name for name in state.counts):  # stresses without a cell
        known.add("virial")
    messages = []
    for name, key, alike in structures.unread(first, known):
        if key is not None:
            raise ValueError(f"no structure has the {name} named {key!r}; they have {alike or 'nothing like it'}")
        if alike:
            messages.append(f"nothing was read as {name}, but the structures have {alike}: name it with a key")
    return messages


def _accumulate(
    samples: Iterable[Sample],
    state: Checkpoint,
    before: int,
    seed: int,
    validation: float,
    follow: Callable[[int], None] | None,
) -> bool:
    """The pass, after `before` structures of others; `follow` hears of it. Returns whether it was interrupted."""
    known = set(state.train.elements)
    done = state.done
    told = time.monotonic()
    try:
        for number, sample in enumerate(samples, before):
            if number < done:
                continue
            unknown = sorted(set(sample.atoms.symbols) - known)
            if unknown:
                raise ValueError(
                    f"{sample.origin} has {', '.join(unknown)}, which the first {PEEK} structures lack: "
                    "name all elements with elements="
                )
            state.add(sample, held=held_out(number, seed, validation))
            if follow and time.monotonic() - told > REPORT_INTERVAL:
                follow(number + 1)
                told = time.monotonic()
    except KeyboardInterrupt:
        state.save()
        return True
    state.save()
    if follow:
        follow(state.done)
    return False


def held_out(number: int, seed: int, validation: float) -> bool:
    """Whether a structure is held out: the same for a seed and a number, in whatever order and piece they come."""
    return bool(np.random.default_rng([seed, number]).random() < validation)
