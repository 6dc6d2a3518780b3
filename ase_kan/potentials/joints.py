"""Laws joined to a KAN: exactly continuous, up to the second derivative, and still what the data said farther out.

The KAN was tied to the law at the joint as well as the law is known there; what is left between the two goes into terms
that do not change the law's character.

    wall   the coefficients A, B and the constant D are solved for again, from E, r E' and r^2 E'' of the KAN
    tail   three terms that die out faster than the law take the rest of E, r E' and r^2 E''

Where two atoms are so close that energies pass some 10 eV, nuclei repel each other through fewer and fewer electrons,
and no law fitted farther out holds: with elements known, the wall goes over to the ZBL repulsion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ase_kan.kan.householder import least_squares
from ase_kan.potentials.continuations import Continuation, zbl
from ase_kan.potentials.end_laws import EndLaw, Form, columns, form_of, repels
from ase_kan.potentials.features import two_derivatives
from ase_kan.types import Array

#: Energies (eV) of the wall where ZBL begins to count, and of ZBL where it is all.
BLEND_FROM, BLEND_TO = 3.0, 100.0
#: If the wall and ZBL differ by more than this factor where one begins to go over to the other, the units are not eV
#: and Angstrom, or the symbols mean nothing.
COMPARABLE = 5.0
#: ZBL is all at this part of the distance where it begins to count at the latest.
WIDEST, NARROWEST = 0.6, 0.2
#: The terms that correct a tail: how much faster they die out than the law, for powers and (times) for exponentials.
FASTER = (6.0, 12.0, 18.0)
#: Corrections below this part of the energy are rounding.
ROUNDING = 1e-9


def ends_of(bare: Callable[[Tensor], Tensor], joint: float) -> Array:
    """E, r E' and r^2 E'' of a torch function at a distance, eV."""
    energy, slope, curvature = (float(v[0]) for v in two_derivatives(bare, np.array([joint])))
    return np.array([energy, slope * joint, curvature * joint**2])


def join_wall(law: EndLaw, bare: Callable[[Tensor], Tensor], charges: tuple[int, int] | None) -> Continuation | None:
    """The wall below the joint, or None if no repulsive, convex one of this form joins the KAN."""
    wanted = ends_of(bare, law.law.joint)
    powers, rates, _ = form = (*form_of(law.law)[:2], True)
    matrix = np.concatenate(columns(np.array([law.law.joint]), law.law.joint, form))
    if len(powers) + len(rates) == 2:
        for order in (2, 1):
            if order == 2:
                a, b, constant = least_squares(matrix, wanted)
            else:  # the shape of the law, steeper or flatter
                a, b = np.array([c for c, _ in (*law.law.terms, *law.law.exponentials)])
                a, b = np.array([a, b]) * wanted[1] / float(matrix[1, :2] @ [a, b])
                constant = wanted[0] - a - b
            terms = tuple(zip((float(a), float(b)), powers or rates, strict=True))
            wall = Continuation(
                law.law.joint,
                terms if powers else (),
                float(constant),
                order=order,
                exponentials=() if powers else terms,
            )
            if repels(wall):
                return with_zbl(wall, charges)
    return None


def with_zbl(wall: Continuation, charges: tuple[int, int] | None) -> Continuation:
    """A wall that goes over to ZBL, where both can be compared."""
    if charges is None:
        return wall
    r = wall.joint * np.linspace(0.01, 1, 2000)
    with torch.no_grad():
        energy = wall(torch.from_numpy(r)).numpy()
        nuclear = zbl(torch.from_numpy(r), *charges).numpy()
    below = energy <= BLEND_FROM
    # Both fall with r.
    high = float(r[below.argmax()]) if below.any() else wall.joint
    at = int(np.searchsorted(r, high))
    at = min(at, len(r) - 1)
    if energy[at] <= 0 or not 1 / COMPARABLE < energy[at] / nuclear[at] < COMPARABLE:
        return wall
    low = min(float(r[int((nuclear <= BLEND_TO).argmax())]), WIDEST * high)
    while low > NARROWEST * WIDEST * high:
        blended = replace(wall, charges=charges, blend=(low, high))
        if _convex(blended):
            return blended
        low *= 0.9
    return wall


def _convex(wall: Continuation) -> bool:
    r = wall.joint * np.linspace(0.02, 1, 400)
    _, slope, curvature = two_derivatives(wall, r)
    return bool((slope < 0).all() and (curvature > 0).all())


def join_tail(law: EndLaw, bare: Callable[[Tensor], Tensor]) -> Continuation:
    """The tail beyond the joint."""
    tail = law.law
    rest = ends_of(bare, tail.joint) - law.derivatives()
    form: Form
    if tail.exponentials:
        rates = tuple((1 + faster / 6) * max(n for _, n in tail.exponentials) for faster in FASTER)
        form = ((), rates, False)
    else:
        form = (tuple(max([6.0, *(n for _, n in tail.terms)]) + faster for faster in FASTER), (), False)
    coef = least_squares(np.concatenate(columns(np.array([tail.joint]), tail.joint, form)), rest).tolist()
    if np.abs(coef).max() <= ROUNDING * np.abs(law.derivatives()[0]):
        return replace(tail, order=2)
    if tail.exponentials:
        return replace(tail, exponentials=(*tail.exponentials, *zip(coef, form[1], strict=True)), order=2)
    return replace(tail, terms=(*tail.terms, *zip(coef, form[0], strict=True)), order=2)
