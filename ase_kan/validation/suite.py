"""All checks of several potentials, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ase_kan.analysis.law.find import discover
from ase_kan.data.curve import PairCurve
from ase_kan.fit import fit
from ase_kan.validation import clusters, crystal, lennard_jones, liquid, virial
from ase_kan.validation.lennard_jones import REACH, Shown

#: By name: what it should be, and what a potential gives.
CHECKS: dict[str, tuple[Callable[[], dict[str, float]], Callable[[Shown], dict[str, float]]]] = {
    "virial": (virial.reference, virial.check),
    "crystal": (crystal.reference, crystal.check),
    "clusters": (clusters.reference, clusters.check),
    "liquid": (liquid.reference, liquid.check),
}


class Row(NamedTuple):
    """One quantity: what it should be, and what each potential gives; nan where there is no such thing."""

    check: str
    quantity: str
    reference: float
    found: list[float]


def standard_potentials() -> dict[str, Shown]:
    """Lennard-Jones itself, and of 50 energies between 0.95 and 2 sigma the default fit, the law and a bare KAN.

    The bare one is that of 2024: [1, 2, 1] of r, trained by pykan, without core or tail (docs/extrapolation.md).
    """
    curve = PairCurve.from_function(lennard_jones.energy, r_min=0.95, r_max=2.0, n=50, seed=0)
    bare = fit(curve, width=(1, 2, 1), grid=3, k=3, feature="r", optimizer="pykan", core=None, tail=None, cutoff=REACH)
    return {
        "exact": lennard_jones.exact(),
        "default fit": lennard_jones.reduced(fit(curve, cutoff=REACH).potential),
        "law": lennard_jones.reduced(discover(curve, cutoff=REACH).potential),
        "bare KAN": lennard_jones.reduced(bare.potential),
    }


def validate(
    potentials: Mapping[str, Shown],
    checks: list[str] | None = None,
    tell: Callable[[str], object] | None = None,
) -> list[Row]:
    """Run checks on potentials.

    Parameters
    ----------
    potentials : mapping
        By name, in reduced units (`lennard_jones.reduced`).
    checks : list of str, optional
        Names of `CHECKS`; default all.
    tell : callable, optional
        Hears what begins.

    Returns
    -------
    list of Row
        A potential that cannot be run (atoms that fuse, say) has nan in all rows of that check.
    """
    rows = []
    for name in checks if checks is not None else CHECKS:
        expected, check = CHECKS[name]
        if tell:
            tell(f"{name}: reference")
        wanted = expected()
        columns: list[dict[str, float]] = []
        for label, potential in potentials.items():
            if tell:
                tell(f"{name}: {label}")
            try:
                columns.append(check(potential))
            except (ValueError, ArithmeticError):  # atoms that fuse, energies without bound, no crystal at rest
                columns.append({})
        rows += [Row(name, what, value, [c.get(what, math.nan) for c in columns]) for what, value in wanted.items()]
    return rows


def as_table(rows: list[Row], names: list[str]) -> str:
    """In Markdown: each potential with its error; standard errors of simulations in brackets."""
    heads = ["quantity", "reference", *(cell for name in names for cell in (name, "error"))]
    cells = [heads, ["---"] * len(heads)]
    for row in rows:
        found = [cell for value in row.found for cell in _shown(value, row.reference)]
        cells.append([row.quantity, f"{row.reference:.7g}", *found])
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    )


def _shown(value: float, reference: float) -> tuple[str, str]:
    if math.isnan(value):
        return "none", ""
    if isinstance(value, liquid.Sampled):
        return f"{value:.4f} ({value.error:.4f})", f"{value - reference:.4f}"
    return f"{value:.7g}", f"{value - reference:.1e}"
