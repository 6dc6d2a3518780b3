"""Compiled potentials in files, read so that calculators run from their tables alone (module `filed`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ase_kan.potentials import storage
from ase_kan.potentials.compiled import EmbeddedTables, EmbeddingTable, Spline, SplinePotential
from ase_kan.potentials.eam_schema import EMBEDDED, KIND
from ase_kan.potentials.filed import FiledPotential, pair_of
from ase_kan.potentials.files import check_of, is_setfl
from ase_kan.potentials.quintics import Table
from ase_kan.potentials.scale import Scale
from ase_kan.potentials.table_schema import PREFIX, TABLES
from ase_kan.types import Array, sorted_pair


def load_compiled(path: str | os.PathLike[str]) -> SplinePotential | EmbeddedTables | None:
    """The compiled potential of a file, checked as by `KANPotential.load`; None if it has no tables or is published."""
    if is_setfl(path):
        return None
    header, arrays = storage.read(path)
    if header.get(TABLES) is None:
        return None
    storage.must_be(path, header, arrays, check_of(header))
    original, tables = FiledPotential(header, arrays), header[TABLES]
    if header.get(KIND) != EMBEDDED:
        splines = {
            pair_of(entry): _spline(entry, arrays[f"{PREFIX}distances.{n}"])
            for n, entry in enumerate(tables["distances"])
        }
        return SplinePotential(original, tables["tolerance"], splines)
    pair_tables = {
        sorted_pair(entry["elements"]): _table(entry, arrays[f"{PREFIX}distances.{n}"])
        for n, entry in enumerate(tables["distances"])
    }
    embeddings = {}
    for n, entry in enumerate(tables["densities"]):
        least, most = entry["limits"]
        limits = -np.inf if least is None else least, np.inf if most is None else most
        table = _table(entry, arrays[f"{PREFIX}densities.{n}"])
        embeddings[entry["element"], entry["channel"]] = EmbeddingTable(table, limits)
    return EmbeddedTables(original, tables["tolerance"], pair_tables, embeddings)


def _spline(entry: Mapping[str, Any], rows: Array) -> Spline:
    ((energy, force),), (scale,) = entry["errors"], entry["scales"]
    low, high = entry["domain"]
    shape = entry["start"], entry["slope"], tuple(entry["at"]), tuple(entry["change"]), rows
    return Spline(entry["end"], (low, high), *shape, energy, force, Scale(*scale))


def _table(entry: Mapping[str, Any], rows: Array) -> Table:
    shape = entry["start"], entry["end"], entry["slope"], tuple(entry["at"]), tuple(entry["change"]), rows
    return Table(*shape, np.array(entry["errors"]), tuple(Scale(*scale) for scale in entry["scales"]))
