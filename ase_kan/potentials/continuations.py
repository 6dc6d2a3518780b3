"""What a pair energy does where there were no data: a repulsive core below, a tail beyond.

A KAN itself goes over to its base functions there (module `extrapolation`), which know nothing of atoms. So at the
joint r0, the end of the data, another function takes over, with s = r0/r and E, E', E'' of the KAN at r0:

    core   E(r) = D + A s^12 + B s^6            72 A = r0^2 E'' + 7 r0 E',    6 B = -r0 E' - 12 A
    tail   E(r) = C s^m + D s^2m                2 E m^2 + 3 r0 E' m + r0 E' + r0^2 E'' = 0,  D = -r0 E'/m - E

Value and slope always match (C1), and the curvature too (C2) where it can be trusted: where it agrees with the
curvature of a smooth law fitted to the KAN over a stretch of data behind the joint. Otherwise the core takes the
curvature of that law, and the tail has one term, C s^m with m = -r0 E'/E.

A core with A > 0 and E' < 0 is monotone and convex everywhere below the joint: with B < 0, E' has the sign of
-(12 A + 6 B s^-6), which is largest at the joint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from ase.units import Bohr, Hartree
from torch import Tensor

from ase_kan.potentials.cutoff import switch
from ase_kan.potentials.features import value_and_slope
from ase_kan.types import Array
from ase_kan.warn import warn_user

CORES = ("auto", "power", "zbl")
TAILS = ("auto", "power", "coulomb")
#: Width of the stretch behind a joint that its curvature is compared with, as a part of the joint.
STRETCH = 0.15
#: Curvatures that differ by less than this part agree.
AGREEMENT = 0.1
#: Smallest exponent of a tail, that of bare charges (1) as noise may show it. And the largest that two terms may have.
SLOWEST, FASTEST = 0.9, 30.0
#: Data end flat if their last slope, over a stretch, amounts to less than this part of the energies there: as WCA does,
#: and exponentials faster than FASTEST (0.05); Lennard-Jones at sigma has 0.2.
FLAT = 0.06


@dataclass(frozen=True)
class Continuation:
    """constant + slope (r - joint) + sum_i c_i (joint / r)^n_i + sum_i c_i exp(-n_i (r / joint - 1)), and ZBL.

    With charges alone the ZBL repulsion is added; with a blend (low, high) too, the energy goes over to it there: the
    logarithms are mixed, from the other terms alone at `high` to ZBL alone at `low`.

    Parameters
    ----------
    joint : float
        Where it takes over, Angstrom.
    terms : tuple of (c, n)
        Energies (eV) and exponents.
    constant, slope : float
        eV and eV/Angstrom.
    charges : (int, int), optional
        Atomic numbers of a ZBL term.
    exponentials : tuple of (c, n)
        Energies (eV) and rates.
    blend : (float, float), optional
        Angstrom.
    order : int
        Derivatives that match at the joint, 1 or 2.
    """

    joint: float
    terms: tuple[tuple[float, float], ...] = ()
    constant: float = 0.0
    slope: float = 0.0
    charges: tuple[int, int] | None = None
    order: int = 1
    exponentials: tuple[tuple[float, float], ...] = ()
    blend: tuple[float, float] | None = None

    def __call__(self, r: Tensor) -> Tensor:
        energy = self.constant + self.slope * (r - self.joint)
        s = self.joint / r
        for coefficient, exponent in self.terms:
            energy = energy + coefficient * s**exponent
        for coefficient, rate in self.exponentials:
            energy = energy + coefficient * torch.exp(-rate * (r / self.joint - 1))
        if self.charges is None:
            return energy
        if self.blend is None:
            return energy + zbl(r, *self.charges)
        low, high = self.blend
        part = 1 - switch(r, low, high)  # of these terms
        mixed = torch.exp(part * torch.log(energy.clamp(min=1e-300)) + (1 - part) * torch.log(zbl(r, *self.charges)))
        return torch.where(r >= high, energy, mixed)

    @classmethod
    def restore(cls, header: dict[str, Any] | None) -> Continuation | None:
        """From the JSON of `dataclasses.asdict`."""
        if header is None:
            return None
        charges = header["charges"]
        return cls(
            float(header["joint"]),
            tuple((float(c), float(n)) for c, n in header["terms"]),
            float(header["constant"]),
            float(header["slope"]),
            None if charges is None else (charges[0], charges[1]),
            header["order"],
            # Files of format 2 have none of these.
            tuple((float(c), float(n)) for c, n in header.get("exponentials", ())),
            None if header.get("blend") is None else (float(header["blend"][0]), float(header["blend"][1])),
        )

    def describe(self) -> str:
        """The formula, and how smoothly it joins."""
        return f"{self.formula()}, C{self.order} at {self.joint:g} A"

    def formula(self) -> str:
        """The formula, with its unit."""
        parts = [f"{c:+.6g} ({self.joint:g}/r)^{n:.4g}" for c, n in self.terms]
        parts += [f"{c:+.6g} exp(-{n:.4g} (r/{self.joint:g} - 1))" for c, n in self.exponentials]
        if self.charges is not None and self.blend is None:
            parts.append(f"ZBL({self.charges[0]}, {self.charges[1]})")
        if self.slope:
            parts.append(f"{self.slope:+.6g} (r - {self.joint:g})")
        if self.constant:
            parts.append(f"{self.constant:+.6g}")
        if self.charges is not None and self.blend is not None:
            parts.append(f"going over to ZBL{self.charges} from {self.blend[1]:.4g} to {self.blend[0]:.4g} A")
        return f"{' '.join(parts)} eV"


@dataclass(frozen=True)
class Deviation:
    """A law that an end may follow instead of the one in use.

    Parameters
    ----------
    factor : float
        Root of its weight.
    law : Continuation
        The energy by this law; with `added` what it adds to the energy.
    added : bool
    """

    factor: float
    law: Continuation
    added: bool

    @classmethod
    def restore(cls, header: Mapping[str, Any]) -> Deviation:
        """From the JSON of `dataclasses.asdict`."""
        law = Continuation.restore(header["law"])
        assert law is not None
        return cls(float(header["factor"]), law, bool(header["added"]))


def zbl(r: Tensor, z1: int, z2: int) -> Tensor:
    """The universal screened nuclear repulsion, eV, r in Angstrom.

    J. F. Ziegler, J. P. Biersack, U. Littmark, "The Stopping and Range of Ions in Matter", 1985.
    """
    x = r * ((z1**0.23 + z2**0.23) / 0.46850)
    terms = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
    screening = torch.stack([c * torch.exp(-d * x) for c, d in terms]).sum(0)
    return Hartree * Bohr * z1 * z2 / r * screening


def match_core(
    kind: str, bare: Callable[[Tensor], Tensor], domain: tuple[float, float], elements: tuple[str, str] | None
) -> Continuation:
    """The core below ``domain[0]`` of a bare pair energy.

    Parameters
    ----------
    kind : str
        ``"power"``, or ``"zbl"``: E = T + (ZBL - T_ZBL), with T and T_ZBL the tangents at the joint of the energy
        and of the ZBL repulsion.
    bare : callable
        Energy (eV) of a tensor of distances (Angstrom).
    domain : (float, float)
        The range of the data.
    elements : (str, str) or None

    Warns
    -----
    UserWarning
        If the energy is not repulsive at the joint, so that no repulsive power law joins it. Then the potential
        follows the tangent plus a wall: ZBL for real elements, else (r0/r)^12 times the largest energy in the data,
        again above its own tangent. It is convex, and attractive until the wall is felt.
    """
    charges = charges_of(elements)
    if kind == "zbl":
        if charges is None:
            raise ValueError("core='zbl' needs the two elements of the pair: give elements=, or use core='power'")
        return _tangent_and_zbl(bare, domain, charges)
    joint = domain[0]
    energy, slope, curvature, law = _at(bare, joint, min(joint * (1 + STRETCH), domain[1]))
    if slope >= 0:
        wall = "a ZBL wall" if charges else "a wall of r^-12"
        warn_user(
            f"the energy is not repulsive at the shortest distance of the data, {joint:g} A (slope {slope / joint:.3g} "
            f"eV/A): no power law joins it, and the potential goes on along its tangent plus {wall}",
        )
        if charges:
            return _tangent_and_zbl(bare, domain, charges)
        height = float(np.abs(value_and_slope(bare, np.linspace(*domain, 200))[0]).max()) or 1.0
        return Continuation(joint, ((height, 12.0),), energy - height, (slope + 12 * height) / joint)
    order = 2 if _agree(curvature, law) else 1
    curvature = curvature if order == 2 else law
    a = (curvature + 7 * slope) / 72
    b = (-slope - 12 * a) / 6
    exponent = -curvature / slope - 1
    if a > 0:
        terms: tuple[tuple[float, float], ...] = ((a, 12.0), (b, 6.0))
    elif exponent >= 1:  # softer than r^-6: one term with the exponent that the curvature asks for
        terms = ((-slope / exponent, exponent),)
    else:
        order, terms = 1, ((-slope / 12, 12.0),)
    return Continuation(joint, terms, energy - sum(c for c, _ in terms), order=order)


def match_tail(bare: Callable[[Tensor], Tensor], domain: tuple[float, float], slowest: float = SLOWEST) -> Continuation:
    """The tail beyond ``domain[1]`` of a bare pair energy, with exponents from `slowest` on.

    Where the energy does not head for zero there (the data end on the way down, or in noise) or would only reach it by
    a power beyond 30, no single power law joins it: the two terms s^6 and s^12 that match value and slope do. Data that
    are flat there go to zero with whatever power that takes.
    """
    joint = domain[1]
    energy, slope, curvature, law = _at(bare, joint, max(joint * (1 - STRETCH), domain[0]))
    if energy * slope < 0:
        root = 9 * slope**2 - 8 * energy * (slope + curvature)
        if _agree(curvature, law) and root >= 0:
            m = max((-3 * slope + sign * math.sqrt(root)) / (4 * energy) for sign in (1, -1))
            d = -slope / m - energy if m > 0 else 0.0
            if slowest <= m <= FASTEST and (energy - d) * energy > 0:
                return Continuation(joint, ((energy - d, m), (d, 2 * m)), order=2)
        m = -slope / energy
        if slowest <= m <= FASTEST or (
            m > FASTEST
            and _flat(slope, value_and_slope(bare, np.linspace(max(joint * (1 - STRETCH), domain[0]), joint))[0])
        ):
            return Continuation(joint, ((energy, m),))
    d = -(slope + 6 * energy) / 6
    return Continuation(joint, ((energy - d, 6.0), (d, 12.0)))


def ends_at_zero(r: Array, energy: Array, last_slope: float, error: float) -> bool:
    """Whether data have gone to zero where they end, so that nothing is left for a tail.

    Parameters
    ----------
    r, energy : ndarray, shape (n,)
        The data, in order (Angstrom, eV).
    last_slope : float
        dE/dr of the fit at the last of them, eV/Angstrom.
    error : float
        RMSE of the fit, eV.

    Returns
    -------
    bool
        The data are zero within the error over their last stretch; or their last energy is, reached flat (as WCA does)
        or from below (as energies that are shifted to zero at a cutoff do). A steep way down to zero is none of these:
        it is the wall of a well that the data do not show.
    """
    last = energy[r >= r[-1] * (1 - STRETCH)]
    within = 2 * error
    if np.sqrt(np.mean(last**2)) <= within:
        return True
    flat = abs(last_slope) * STRETCH * float(r[-1]) <= error or _flat(last_slope * float(r[-1]), last)
    return abs(float(last[-1])) <= within and (flat or bool(last.max() <= within))


def fading_tail(bare: Callable[[Tensor], Tensor], domain: tuple[float, float]) -> Continuation:
    """The tail of data that end at zero: it takes value and slope, mere errors of the fit, away at once."""
    energy, slope, _, _ = _at(bare, domain[1], max(domain[1] * (1 - STRETCH), domain[0]))
    d = -slope / FASTEST - energy
    return Continuation(domain[1], ((energy - d, FASTEST), (d, 2 * FASTEST)))


def charges_of(elements: tuple[str, str] | None) -> tuple[int, int] | None:
    """Atomic numbers of two elements, or None if they are unknown."""
    if elements is None:
        return None
    first, second = (atomic_numbers[symbol] for symbol in elements)
    return (first, second) if first and second else None  # ASE's dummy element X has no charge


def _tangent_and_zbl(
    bare: Callable[[Tensor], Tensor], domain: tuple[float, float], charges: tuple[int, int]
) -> Continuation:
    joint = np.array([domain[0]])
    energy, slope = (float(v[0]) for v in value_and_slope(bare, joint))
    wall, wall_slope = (float(v[0]) for v in value_and_slope(lambda r: zbl(r, *charges), joint))
    return Continuation(domain[0], (), energy - wall, slope - wall_slope, charges)


def _at(bare: Callable[[Tensor], Tensor], joint: float, end: float) -> tuple[float, float, float, float]:
    """E, r E', r^2 E'' at the joint, and r^2 E'' there of D + A s^12 + B s^6 fitted between joint and end."""
    with torch.enable_grad():
        r = torch.tensor(joint, dtype=torch.float64, requires_grad=True)
        energy = bare(r.reshape(1))[0]
        (slope,) = torch.autograd.grad(energy, r, create_graph=True)
        # A function with straight pieces (k = 1) has no graph left: its curvature is zero.
        curvature = torch.autograd.grad(slope, r)[0] if slope.requires_grad else torch.zeros(())
    distances: Array = np.linspace(joint, end, 100)
    energies, slopes = value_and_slope(bare, distances)
    s = joint / distances
    rows = np.concatenate(
        [
            np.stack([s**12, s**6, np.ones_like(s)], axis=1),
            np.stack([-12 * s**13, -6 * s**7, np.zeros_like(s)], axis=1) * STRETCH,
        ]
    )
    targets = np.concatenate([energies, slopes * joint * STRETCH])
    a, b, _ = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return energy.item(), slope.item() * joint, curvature.item() * joint**2, float(156 * a + 42 * b)


def _flat(slope: float, stretch: Array) -> bool:
    """Whether r E' at the end of data is small beside their energies over the last stretch."""
    return abs(slope) * STRETCH <= FLAT * float(np.abs(stretch).max())


def _agree(curvature: float, law: float) -> bool:
    return abs(curvature - law) <= AGREEMENT * abs(law)
