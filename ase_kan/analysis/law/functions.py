"""Formulas for the functions of an embedded-atom potential with one density, and what they cost.

Energies do not change when a straight line c rho is taken from F and c f is added to phi for each of the two atoms. So
F is read as A rho^p + c rho + d, with p = 1/2 (M. W. Finnis, J. E. Sinclair, Phil. Mag. A 50, 45, 1984) where that does
nearly as well as the best power, or with B rho^p log rho beside it (A. Banerjea, J. R. Smith, Phys. Rev. B 37, 6632,
1988); d goes to the energies of lone atoms, and c rho to phi before that is read. Densities are exponentials,
Gaussians, Yukawa's law or powers, phi is a sum of one or two terms. Every function of r is times a switching function
that ends at the cutoff, whose onset is chosen with the form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor

from ase_kan.analysis.law.choice import ranked
from ase_kan.analysis.law.forms import Form, library
from ase_kan.analysis.law.observations import ROUNDING, Group, Observations
from ase_kan.analysis.law.parameters import formula
from ase_kan.data.structures import Structures
from ase_kan.engines.embedded_autograd import EmbeddedAutogradEngine
from ase_kan.potentials.cutoff import switch
from ase_kan.potentials.formula_eam import Embedding, FormulaEAM, Radial, radial
from ase_kan.potentials.law_schema import NUMBERS
from ase_kan.potentials.protocol import EmbeddedAtomPotential
from ase_kan.types import Array, Pair, pair_name

#: Onsets of switching that are tried, as parts of the cutoff; distances and densities at which functions are read.
ONSETS, POINTS = (0.2, 0.4, 0.6, 0.8, 0.95), 120
#: Powers of the density that are tried, and what 1/2 may be worse than the best one.
POWERS, NEARLY = np.arange(0.1, 0.91, 0.02), 1.5
#: Digits of the numbers that are shown.
SHOWN = 6
#: A difference of misfits, eV, that is rounding.
EXACT = 1e-12
#: A form is simple and right if it misses this part of the function.
RIGHT = 0.02


@dataclass(frozen=True)
class FunctionForm:
    """A formula for one function.

    Attributes
    ----------
    name : str
        "phi Cu-Cu", "f Cu of Cu" or "F Cu".
    formula : str
    misfit : float
        Root-mean-square difference from the function over that of the function from its mean, within its data.
    """

    name: str
    formula: str
    misfit: float

    def __str__(self) -> str:
        judged = "" if self.misfit <= RIGHT else ", no simple form"
        return f"{self.name}: {self.formula} (misses {100 * self.misfit:.2g} %{judged})"


@dataclass(frozen=True, eq=False)
class Functions:
    """Formulas for all functions of a potential.

    Attributes
    ----------
    forms : tuple of FunctionForm
    potential : FormulaEAM
        The formulas as a potential.
    losses : dict of str to (float, float)
        Errors of the original and of the formulas for structures: "energy" (eV per atom), "forces" (eV/Angstrom).
    """

    forms: tuple[FunctionForm, ...]
    potential: FormulaEAM
    losses: dict[str, tuple[float, float]]

    def __str__(self) -> str:
        lines = [str(form) for form in self.forms]
        units = {"energy": "eV per atom", "forces": "eV/A"}
        for name, (before, after) in self.losses.items():
            lines.append(f"error of {name}: {before:.3g}, with the formulas {after:.3g} {units[name]}")
        return "\n".join(lines)


def discover_functions(potential: EmbeddedAtomPotential, structures: Structures | None = None) -> Functions:
    """Read the functions of an embedded-atom potential as formulas.

    Parameters
    ----------
    potential : EmbeddedAtomPotential
        With one density per atom.
    structures : Structures, optional
        For which the accuracy that the formulas cost is told, in energies (each set of errors about its mean per atom)
        and forces.

    Returns
    -------
    Functions

    Raises
    ------
    TypeError
        For pair potentials.
    ValueError
        For several densities per atom, or densities that are not positive, which have no powers.
    """
    if not isinstance(potential, EmbeddedAtomPotential):
        raise TypeError(f"discover_functions reads embedded-atom potentials, got {type(potential).__name__}")
    if potential.channels != 1:
        raise ValueError(f"formulas are read for one density per atom, and the potential has {potential.channels}")
    elements = tuple(sorted(potential.elements))
    forms: list[FunctionForm] = []
    embeddings: dict[str, Embedding] = {}
    lines, lone = {}, dict(potential.reference_energies)
    for element in elements:
        found, embeddings[element], lines[element], constant = _embedding(potential, element)
        forms.append(found)
        lone[element] = lone.get(element, 0.0) + constant
    known = [pair for pair in combinations_with_replacement(elements, 2) if _knows(potential, pair)]
    pair_energies: dict[Pair, Radial] = {}
    densities: dict[Pair, Radial] = {}
    one = tuple(f for f in library() if len(f.pieces) == 1 and f.shapes)
    two = tuple(f for f in library() if (len(f.pieces) <= 2 and len(f.shapes) <= 1) or f.shapes == ("rate", "rate"))
    for pair in known:
        for atom, neighbor in dict.fromkeys((pair, pair[::-1])):

            def density(r: Tensor, atom: str = atom, neighbor: str = neighbor) -> Tensor:
                return potential.density(r, atom, neighbor)

            densities[atom, neighbor], found = _radial(f"f {atom} of {neighbor}", density, potential, pair, one)
            forms.append(found)

        def phi(r: Tensor, pair: Pair = pair) -> Tensor:
            a, b = pair
            return (
                potential.pair_energy(r, pair)
                + lines[a] * potential.density(r, a, b)
                + lines[b] * potential.density(r, b, a)
            )

        pair_energies[pair], found = _radial(f"phi {pair_name(pair)}", phi, potential, pair, two)
        forms.append(found)
    shortest = {pair: potential.domain(pair)[0] for pair in known}
    formulas = FormulaEAM(pair_energies, densities, embeddings, shortest, lone)
    return Functions(tuple(forms), formulas, {} if structures is None else _losses(potential, formulas, structures))


def _knows(potential: EmbeddedAtomPotential, pair: Pair) -> bool:
    try:
        potential.domain(pair)
    except ValueError:
        return False
    return True


def _embedding(potential: EmbeddedAtomPotential, element: str) -> tuple[FunctionForm, Embedding, float, float]:
    """F of an element: its form, its formula, and the straight line c, d that is not part of it."""
    low, high = potential.density_domain(element)
    if not 0 < low < high:
        raise ValueError(f"the densities of {element} reach from {low:.4g} to {high:.4g}: powers need positive ones")
    rho = np.linspace(low, high, POINTS)
    with torch.no_grad():
        value = potential.embedding(torch.from_numpy(rho), element).numpy()
    fits = {(float(p), log): _power_fit(rho, value, float(p), log) for log in (False, True) for p in (0.5, *POWERS)}
    best = min(fits, key=lambda form: fits[form][0])
    # The simplest of those that do nearly as well: the square root, a power, a power with a logarithm.
    plain = min((form for form in fits if not form[1]), key=lambda form: fits[form][0])
    power, log = next(form for form in ((0.5, False), plain, best) if fits[form][0] <= NEARLY * fits[best][0] + EXACT)
    misfit, (scale, line, constant, log_scale) = fits[power, log]
    name = "sqrt(rho)" if power == 0.5 else f"rho^{power:.2f}"
    logarithm = f" + {log_scale:.6g}*{name}*log(rho)" if log else ""
    written = f"{scale:.6g}*{name}{logarithm} + {line:.6g}*rho + {constant:.6g}".replace("+ -", "- ")
    form = FunctionForm(f"F {element}", written, misfit / (float(np.std(value)) or 1.0))
    return form, Embedding(scale, log_scale, power, float(low), float(high)), line, constant


def _power_fit(rho: Array, value: Array, power: float, log: bool) -> tuple[float, tuple[float, float, float, float]]:
    """Misfit, and A, c, d and B of A rho^p + c rho + d + B rho^p log rho."""
    columns = [rho**power, rho, np.ones_like(rho), *([rho**power * np.log(rho)] if log else [])]
    matrix = np.stack(columns, axis=1)
    size = np.abs(matrix).max(axis=0)
    found = np.linalg.lstsq(matrix / size, value, rcond=None)[0] / size
    misfit = float(np.sqrt(np.mean((matrix @ found - value) ** 2)))
    a, c, d, b = (*found.tolist(), 0.0)[:4]
    return misfit, (a, c, d, b)


def _radial(
    name: str,
    function: Callable[[Tensor], Tensor],
    potential: EmbeddedAtomPotential,
    pair: Pair,
    forms: tuple[Form, ...],
) -> tuple[Radial, FunctionForm]:
    """The best form and onset for a function of the distance."""
    low, radius = potential.domain(pair)
    r = np.linspace(low, radius * (1 - 1e-6), POINTS)
    with torch.no_grad():
        value = function(torch.from_numpy(r)).numpy()
    if not value.any():
        raise ValueError(f"{name} is zero everywhere: it has no form")
    floor = float((ROUNDING * value) @ (ROUNDING * value))
    best = None
    for part in ONSETS:
        with torch.no_grad():
            fading = switch(torch.from_numpy(r), part * radius, radius).numpy()
        group = Group("energy", value, 1 / np.maximum(fading, 1e-30), float(POINTS), floor)
        data = Observations(r, (low, radius), (group,))
        found = ranked(forms, data)[0].fit
        if best is None or found.squares[0] < best[0]:
            terms = found.terms(data.scale)
            best = float(found.squares[0]), radial(terms, part * radius, radius), terms
    assert best is not None
    squares, form, terms = best
    misfit = float(np.sqrt(squares / POINTS)) / (float(np.std(value)) or 1.0)
    text = formula(terms, np.zeros((len(terms), len(NUMBERS), 0)), most=SHOWN).removeprefix("E(r) = ")
    return form, FunctionForm(name, f"({text}) * S(r, {form.cutoff.onset:.3g}, {radius:.4g})", misfit)


def _losses(
    potential: EmbeddedAtomPotential, formulas: FormulaEAM, structures: Structures
) -> dict[str, tuple[float, float]]:
    """Root-mean-square errors of both potentials; energies about the mean error per atom, which lone atoms take up."""
    engines = [EmbeddedAutogradEngine(one, 0.0) for one in (potential, formulas)]
    energies: list[list[float]] = []
    forces: list[Array] = []
    for sample in structures:
        results = [engine.evaluate(sample.atoms, False, engine.changes(sample.atoms)) for engine in engines]
        n = len(sample.atoms)
        if sample.energy is not None:
            lone = [
                sum(one.reference_energies.get(s, 0.0) for s in sample.atoms.get_chemical_symbols())
                for one in (potential, formulas)
            ]
            energies.append([(x.energy + e - sample.energy) / n for x, e in zip(results, lone, strict=True)])
        if sample.forces is not None:
            known = sample.labeled
            forces.append(np.stack([(x.forces - sample.forces)[known].ravel() for x in results]))
    found = {}
    if energies:
        before, after = np.array(energies).std(axis=0)
        found["energy"] = float(before), float(after)
    if forces:
        before, after = np.sqrt(np.mean(np.concatenate(forces, axis=1) ** 2, axis=1))
        found["forces"] = float(before), float(after)
    return found
