"""Export for OpenMM: a `CustomNonbondedForce` that looks pair energies up in tables.

OpenMM interpolates a `Continuous1DFunction` by a natural cubic spline through evenly spaced values, and takes it as
zero outside. The tables are even in r^2; closer than they go, the energy goes on as a power law with the value and the
slope there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms, units
from scipy.interpolate import CubicSpline

from ase_kan.exports.extras import optional
from ase_kan.exports.pairs import ExportWarning, tables, without_data
from ase_kan.potentials.compiled import SplinePotential
from ase_kan.potentials.protocol import PairPotential, missing_pairs, require_pair_potential
from ase_kan.types import Array, Pair
from ase_kan.warn import warn_user

KJ_PER_MOL = units.kJ / units.mol
NANOMETER = 10.0
FIRST_VALUES, MOST_VALUES = 1024, 1 << 16
DEFAULT_TOLERANCE = 1e-5


def to_openmm(potential: PairPotential, atoms: Atoms | None = None, tol: float = DEFAULT_TOLERANCE) -> Any:
    """The potential as an `openmm.CustomNonbondedForce` (kJ/mol and nm).

    Parameters
    ----------
    potential : PairPotential
        Its compiled form is tabulated, which is what `KANCalculator` evaluates.
    atoms : Atoms, optional
        Fills in the particles, and chooses a cutoff with or without periodic boundaries (all three or none).
        Without them, add particles yourself with the number of their element in `potential.elements`, in
        alphabetical order: ``force.addParticle([number])``, and set the nonbonded method.
    tol : float
        Largest error of OpenMM's interpolation of forces, relative to their scale (`scale.energy_scale`) plus value.

    Returns
    -------
    openmm.CustomNonbondedForce
        The energy is NaN while two atoms whose pair has no data are within the cutoff.

    Raises
    ------
    ImportError
        Without OpenMM.
    TypeError
        For an embedded-atom potential.
    ValueError
        For unknown elements, partly periodic atoms, or a tolerance that is not positive.

    Warns
    -----
    ExportWarning
        If pairs of the elements have no data, or `tol` cannot be met; the warning says what is.
    """
    require_pair_potential(potential, "to_openmm", "LAMMPS with the export 'eam', or KANCalculator")
    mm = optional("openmm", "openmm")
    if not tol > 0:
        raise ValueError(f"tol must be positive, got {tol}")
    compiled = tables(potential)
    elements: Sequence[str] = compiled.elements or ("every element",)
    missing: list[Pair] = []
    if compiled.elements:
        present = compiled.elements if atoms is None else list(atoms.symbols)
        without_data(compiled, present, "the energy is NaN when such atoms come within the cutoff")
        missing = missing_pairs(compiled)
    pairs: list[Pair | None] = [None] if not compiled.elements else list(combinations_with_replacement(elements, 2))
    terms = []
    kind = np.zeros((len(elements), len(elements)))
    functions = []
    for number, pair in enumerate(pairs):
        if pair is not None:
            a, b = (elements.index(symbol) for symbol in pair)
            kind[a, b] = kind[b, a] = -1 if pair in missing else number
            if pair in missing:
                continue
        x, energy, power, edge = _values(compiled, pair, tol)
        functions.append((f"table{number}", mm.Continuous1DFunction(energy.tolist(), float(x[0]), float(x[-1]))))
        near = f"{energy[0]:.17g}*({edge:.17g}/r)^{power:.17g}"
        inside = f"select(step(r-{edge:.17g}), table{number}(max(r*r, {x[0]:.17g})), {near})"
        # Every pair within its own cutoff.
        terms.append(f"delta(kind(element1, element2)-{number})*step({np.sqrt(x[-1]):.17g}-r)*({inside})")
    if missing:
        # No number would be right, and zero would let the atoms pass through each other: OpenMM stops at NaN.
        terms.append(
            f"select(delta(kind(element1, element2)+1)*step({compiled.cutoff / NANOMETER:.17g}-r), sqrt(-r), 0)"
        )
    force = mm.CustomNonbondedForce(" + ".join(terms))
    force.addPerParticleParameter("element")
    force.addTabulatedFunction("kind", mm.Discrete2DFunction(len(elements), len(elements), kind.ravel().tolist()))
    for name, function in functions:
        force.addTabulatedFunction(name, function)
    force.setCutoffDistance(compiled.cutoff / NANOMETER)
    force.setNonbondedMethod(mm.CustomNonbondedForce.CutoffNonPeriodic)
    if atoms is not None:
        if atoms.pbc.any():
            if not atoms.pbc.all():
                raise ValueError(
                    f"OpenMM has atoms periodic in three directions or in none, got pbc {atoms.pbc.tolist()}"
                )
            force.setNonbondedMethod(mm.CustomNonbondedForce.CutoffPeriodic)
        for symbol in atoms.symbols:
            force.addParticle([float(elements.index(symbol)) if compiled.elements else 0.0])
    return force


def _values(potential: SplinePotential, pair: Pair | None, tol: float) -> tuple[Array, Array, float, float]:
    """x = r^2 (nm^2), energies (kJ/mol), and exponent and start (nm) of the power law below."""
    spline = potential.spline(pair)
    n = FIRST_VALUES
    while True:
        x = np.linspace(spline.start, spline.cutoff**2, n)
        r = np.sqrt(x)
        r[-1] = spline.cutoff
        energy, force = potential.energy(r, pair), potential.force(r, pair)
        table = CubicSpline(x, energy, bc_type="natural")
        # Natural ends spoil the first intervals, where nothing comes: by less than 3.7^-32 after 32 of them.
        fresh = (x[32:-1, None] + (x[1] - x[0]) * np.array([0.0, 0.2, 0.5, 0.8])).ravel()
        true = potential.force(np.sqrt(fresh), pair)
        error = float(
            (np.abs(-2 * np.sqrt(fresh) * table(fresh, 1) - true) / (spline.scale.force + np.abs(true))).max()
        )
        if error <= tol:
            break
        if 2 * n > MOST_VALUES:
            name = "" if pair is None else f" of {'-'.join(pair)}"
            warn_user(
                f"tol={tol:g} is out of reach for OpenMM with {n} values{name}: the largest error is {error:.1e}",
                ExportWarning,
            )
            break
        n *= 2
    power = float(r[0] * force[0] / energy[0]) if energy[0] > 0 and force[0] > 0 else 0.0
    return x / NANOMETER**2, energy / KJ_PER_MOL, power, float(r[0]) / NANOMETER
