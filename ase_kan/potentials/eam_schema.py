"""What the file of an embedded-atom potential must contain: checked as those of pair potentials (module `schema`)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_kan.potentials import table_schema
from ase_kan.potentials.checks import (
    DISTANCE,
    EMBEDDED,
    ENERGY,
    KIND,
    LARGEST,
    finite,
    lone_atoms,
    number,
    one_of,
    one_of_range,
    or_none,
    record,
    remembered,
    sequence,
    symbol,
    text,
)
from ase_kan.potentials.schema import FACTOR, MOST_COUNTS, coverage, residuals

#: What a density may depend on: the element of the neighbor alone, or those of both atoms.
DENSITIES = ("alloy", "finnis-sinclair")
MOST_CHANNELS, MOST_CELLS, HIGHEST_DEGREE, MOST_ELEMENTS = 20, 1000, 9, 118
#: Arrays of the file and their numbers of dimensions.
ARRAYS = {
    "pair_coefficients": 2,
    "density_coefficients": 3,
    "embedding_coefficients": 3,
    "embedding_ends": 3,
    "density_domains": 3,
}


def density_coverage(value: Any, where: str) -> None:
    """A histogram of densities, which may have either sign."""
    DENSITY_HISTOGRAM(value, where)
    edges, counts = value["edges"], value["counts"]
    if len(edges) != len(counts) + 1 or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(f"{where}.edges must ascend and be one more than there are counts")


def density_coverages(value: Any, where: str) -> None:
    """Those of an element: one of each channel; files of earlier versions have one histogram, or None."""
    if isinstance(value, list):
        sequence(density_coverage, 0, MOST_CHANNELS)(value, where)
    else:
        or_none(density_coverage)(value, where)


def check(header: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check the header and the arrays of a file.

    Raises
    ------
    ValueError
        In one line, with the place in the header or the name of the array.
    """
    if not isinstance(header, dict) or header.get(KIND) != EMBEDDED:
        raise ValueError("it holds a pair potential, not an embedded-atom potential: use KANPotential.load")
    HEADER(header, "header")
    elements = header["elements"]
    if elements != sorted(set(elements)):
        raise ValueError("header.elements must be in alphabetical order, each once")
    if not header["start"] < header["cutoff"]:
        raise ValueError("header.start must be below header.cutoff")
    _check_pairs(header)
    if len(header["density_coverage"]) != len(elements):
        raise ValueError("header.density_coverage must have an entry for each element")
    _check_arrays(header, arrays)


def _check_pairs(header: Mapping[str, Any]) -> None:
    seen = set()
    for place, entry in enumerate(header["pairs"]):
        where, pair = f"header.pairs[{place}]", tuple(entry["elements"])
        if pair in seen or list(pair) != sorted(pair) or not set(pair) <= set(header["elements"]):
            raise ValueError(f"{where}.elements must be a pair of the elements, in alphabetical order, once")
        seen.add(pair)
        low, high = entry["domain"]
        if not header["start"] <= low < high or high != header["cutoff"]:
            raise ValueError(f"{where}.domain must lie within the grid and end at the cutoff")
    if missing := set(header["elements"]) - {element for pair in seen for element in pair}:
        raise ValueError(f"header.pairs has no pair with {min(missing)}")


def _check_arrays(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    n, grid = len(header["elements"]), header["grid"]
    kinds = n if header["densities"] == DENSITIES[0] else n * n
    arrays = table_schema.checked(header, arrays, n * (n + 1) // 2, 3)
    expected = ARRAYS.keys() | ({FACTOR} if header.get("posterior") is not None else set())
    for name in sorted(expected ^ arrays.keys()):
        raise ValueError(f"the array {name} is {'missing' if name in expected else 'unknown'}")
    densities = arrays["density_coefficients"]
    channels = densities.shape[0] if densities.ndim == ARRAYS["density_coefficients"] else 0
    if not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"the array density_coefficients must have 1 to {MOST_CHANNELS} channels, got {channels}")
    shapes = {
        "pair_coefficients": (n * (n + 1) // 2, grid),
        "density_coefficients": (channels, kinds, grid),
        "embedding_coefficients": (channels, n, header["embedding_grid"] + header["k"]),
        "embedding_ends": (channels, n, 2),
        "density_domains": (channels, n, 2),
    }
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float64 or array.shape != shape:
            found = f"{array.dtype} of shape {array.shape}"
            raise ValueError(f"the array {name} must be float64 of shape {shape}, got {found}")
        finite(name, array)
    for place, entry in enumerate(header["density_coverage"]):
        if isinstance(entry, list) and len(entry) not in (0, channels):
            raise ValueError(f"header.density_coverage[{place}] must have {channels} histograms, got {len(entry)}")
    if FACTOR in expected:
        rows = n + shapes["pair_coefficients"][0] * grid
        rows += channels * n * (header["embedding_grid"] + header["k"])
        factor = arrays[FACTOR]
        known = factor.dtype == np.float32 and factor.ndim == 2 and 0 < factor.shape[1] <= MOST_COUNTS
        if not known or len(factor) != rows:
            raise ValueError(f"the array {FACTOR} must be float32 with {rows} rows, got shape {factor.shape}")
        finite(FACTOR, factor)
    if not (np.diff(arrays["embedding_ends"]) > 1 / LARGEST).all():  # a narrower grid has no curvature
        raise ValueError(f"the array embedding_ends must ascend, by more than {1 / LARGEST:g}")
    if not (np.diff(arrays["density_domains"]) >= 0).all():
        raise ValueError("the array density_domains must ascend")


DENSITY_HISTOGRAM = record(
    edges=sequence(ENERGY, 2, MOST_COUNTS + 1), counts=sequence(number(0, LARGEST), 1, MOST_COUNTS)
)
PAIR = record(elements=sequence(symbol, 2, 2), domain=sequence(DISTANCE, 2, 2), coverage=or_none(coverage))
HEADER = record(
    ("posterior", table_schema.TABLES),  # not from fits of earlier versions, and of potentials that are no fits
    ase_kan=text,
    kind=one_of(EMBEDDED),
    elements=sequence(symbol, 1, MOST_ELEMENTS),
    densities=one_of(*DENSITIES),
    start=DISTANCE,
    cutoff=DISTANCE,
    grid=one_of_range(1, MOST_CELLS),
    embedding_grid=one_of_range(1, MOST_CELLS),
    k=one_of_range(2, HIGHEST_DEGREE),
    pairs=sequence(PAIR, 1, MOST_ELEMENTS * (MOST_ELEMENTS + 1) // 2),
    density_coverage=sequence(density_coverages, 1, MOST_ELEMENTS),
    reference_energies=lone_atoms,
    info=remembered,
    posterior=or_none(record(residual=residuals)),
    tables=table_schema.HEADER,
)
