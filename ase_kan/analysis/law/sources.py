"""Observations from structures (the equations of module `fit.equations`) and from potentials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ase_kan.analysis.law.observations import ROUNDING, Group, Observations
from ase_kan.analysis.uncertainty import UncertainPotential
from ase_kan.data.structures import Structures
from ase_kan.fit.equations import Accumulator, Equations, RadialMesh, energy_baseline, pairs_within
from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.protocol import PairPotential
from ase_kan.types import Array, Pair, pair_name, sorted_pair

#: Distances at which a potential is asked.
POINTS = 60
#: Directions in which a potential is known better than this part of where it is known worst are left out: the forms of
#: its splines decide there.
KNOWN = 1e-2
#: Part of the squares of energies or forces that normal equations resolve.
RESOLUTION = 1e-14
#: Without a cutoff, switching starts beyond all distances, and ends at this times the longest.
BEYOND = 1.2
#: The mesh starts at this part of the shortest distance.
START = 0.98


@dataclass(frozen=True, eq=False)
class FromStructures:
    """What structures say, and what belongs to it.

    Parameters
    ----------
    observations : Observations
    pair : (str, str)
    cutoff : Cutoff
    equations : Accumulator
    """

    observations: Observations
    pair: Pair
    cutoff: Cutoff
    equations: Accumulator

    def lone_energy(self, pair_energy: Array) -> float:
        """Energy of a lone atom (eV) that goes best with pair energies at the points of the observations."""
        mesh, known = self.equations.meshes[self.pair], self.equations.equations["energy"]
        values = _uncut(mesh, pair_energy[::-1])
        solution = np.concatenate([[0.0], mesh.interpolate(values), [0.0]])
        (symbol,) = self.equations.elements
        found = (known.vector[0] - known.matrix[0] @ solution) / known.matrix[0, 0] if known.count else 0.0
        return float(found) + self.equations.baseline.get(symbol, 0.0)


def of_structures(
    structures: Structures, cutoff: float | None = None, onset: float | None = None, smooth: bool = True
) -> FromStructures:
    """Energies and forces of structures of one element; stresses and virials are not used.

    Raises
    ------
    ValueError
        If there are several elements, no pairs, or periodic structures without a cutoff.
    """
    samples = list(structures)
    elements = sorted({symbol for sample in samples for symbol in sample.atoms.get_chemical_symbols()})
    if len(elements) != 1:
        raise ValueError(
            f"a law is that of one pair, and the structures have {', '.join(elements) or 'no atoms'}: fit a potential "
            "to them and give that with pair="
        )
    if cutoff is None and any(sample.atoms.pbc.any() for sample in samples):
        raise ValueError("periodic structures need a cutoff: give cutoff= in Angstrom")
    far = max(float(np.linalg.norm(np.ptp(sample.atoms.positions, axis=0))) for sample in samples)
    reach = far * (1 + 1e-9) if cutoff is None else float(cutoff)
    distances = [pairs_within(sample, reach)[3] for sample in samples] if reach > 0 else []
    if not sum(map(len, distances)):
        raise ValueError("the structures have no two atoms closer than the cutoff: there is no law to be found")
    shortest, longest = min(d.min() for d in distances if len(d)), max(d.max() for d in distances if len(d))
    rule = (
        Cutoff(BEYOND * longest, longest * (1 + 1e-9))
        if cutoff is None
        else Cutoff.choose(longest, cutoff, onset, smooth)
    )
    pair = (elements[0], elements[0])
    mesh = RadialMesh(START * shortest, rule)
    sums = Accumulator(elements, {pair: mesh}, energy_baseline(samples, {}))
    for sample in samples:
        if sample.weight > 0 and (neighbors := sums.find(sample)) is not None:
            sums.add(sample, neighbors)
    interpolation = mesh.interpolate(_uncut(mesh, np.eye(len(mesh.points()))))
    groups = [
        _compressed(name, equations, interpolation)
        for name in ("energy", "forces")
        if (equations := sums.equations[name]).count > (1 if name == "energy" else 0)
    ]
    if not groups:
        raise ValueError("one energy and no forces do not make a law: give more structures")
    seen = Observations(mesh.points()[::-1].copy(), (float(shortest), float(longest)), tuple(groups))
    return FromStructures(seen, pair, rule, sums)


def _uncut(mesh: RadialMesh, values: Array) -> Array:
    """Energies at the points of the mesh, less that at the cutoff where that is subtracted; points first."""
    return values if mesh.cutoff.onset is not None else values - values[:1]


def _compressed(name: str, equations: Equations, interpolation: Array) -> Group:
    """A group of as many rows as the normal equations have independent ones, without the energies of lone atoms."""
    size = len(equations.vector) - 1  # the last column is that of the virial
    factor = equations.count / equations.weight
    matrix, vector = equations.matrix[:size, :size] * factor, equations.vector[:size] * factor
    squares = equations.squares * factor
    # sum of squares = |rows c - target|^2 + rest, with rows^T rows the matrix
    scale = np.sqrt(np.diagonal(matrix).clip(1e-300))
    scale = np.where(scale > 1e-12 * scale.max(), scale, 1.0)
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    kept = values > RESOLUTION * values[-1]
    rows = (np.sqrt(values[kept])[:, None] * vectors[:, kept].T) * scale
    target = (vectors[:, kept].T @ (vector / scale)) / np.sqrt(values[kept])
    rest = max(squares - float(target @ target), 0.0)
    lone, operator = rows[:, :1], rows[:, 1:] @ interpolation
    count = float(equations.count)
    if lone.any():
        unit = lone / np.linalg.norm(lone)
        operator, target = operator - unit @ (unit.T @ operator), target - unit[:, 0] * float(unit[:, 0] @ target)
        count -= 1
    # The points of observations ascend, those of the mesh descend.
    return Group(
        name, target, np.ones(len(target)), count, RESOLUTION * float(squares), operator[:, ::-1].copy(), rest=rest
    )


def of_potential(potential: PairPotential, pair: Pair | None, errors: ArrayLike | None) -> Observations:
    """A pair energy over its domain, as far as the cutoff does not act.

    Parameters
    ----------
    potential : PairPotential
    pair : (str, str) or None
    errors : float, optional
        How far the law may be from it, eV. Default: the standard deviations that the potential knows.

    Raises
    ------
    ValueError
        If it does not know its errors and none are given, or if it has several pairs and none is chosen.
    """
    if pair is None and len(potential.pairs) > 1:
        known = ", ".join(pair_name(one) for one in potential.pairs)
        raise ValueError(f"the potential has several pairs, {known}: say which, e.g. pair={potential.pairs[0]}")
    key = potential.pairs[0] if pair is None else sorted_pair(pair)
    low, high = potential.domain(key)
    inside = [r for r in potential.breakpoints(key) if r > low]
    # The last two breakpoints are the onset and the end of the cutoff.
    high = min(high, inside[-2] if len(inside) > 1 else inside[-1])
    r = np.geomspace(low * (1 + 1e-9), high * (1 - 1e-9), POINTS)
    energy = potential.energy(r, key)
    if errors is None:
        operator = _whitening(potential, r, key)
    else:
        scale = np.broadcast_to(np.asarray(errors, dtype=float), r.shape)
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError(f"errors must be positive energies in eV, got {errors!r}")
        operator = np.diag(1 / scale)
    size = np.abs(operator) @ np.abs(energy)
    floor = float(((ROUNDING * size) ** 2).sum())
    group = Group(
        "energy", operator @ energy, np.ones(len(operator)), float(len(operator)), floor, operator, known=True
    )
    return Observations(r, (float(low), float(high)), (group,))


def _whitening(potential: PairPotential, r: Array, pair: Pair | None) -> Array:
    """What makes the errors of a potential at some distances independent and of unit size: (independent ones, r)."""
    if not isinstance(potential, UncertainPotential):
        raise ValueError("this potential does not know its errors: give errors=, how far the law may be off, in eV")
    try:
        modes = potential.modes(r, pair).value
    except ValueError as error:
        raise ValueError(f"{error}: give errors=, how far the law may be off, in eV") from None
    if potential.blind(r, pair).any() or not modes.any():
        raise ValueError("the potential tells no errors within its domain: give errors=, how far the law may be off")
    # Of a covariance of M M^T the singular values of M have all digits.
    directions, deviations, _ = np.linalg.svd(modes, full_matrices=False)
    kept = deviations > KNOWN * deviations[0]
    return np.asarray((directions[:, kept] / deviations[kept]).T)
