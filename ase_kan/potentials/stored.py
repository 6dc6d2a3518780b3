"""Compiled potentials in files, read so that calculators run from their tables alone (module `filed`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ase_kan.potentials import storage
from ase_kan.potentials.checks import EMBEDDED, KIND
from ase_kan.potentials.compiled import EmbeddedTables, EmbeddingTable, Spline, SplinePotential
from ase_kan.potentials.filed import FiledPotential, pair_of
from ase_kan.potentials.files import is_setfl, load_potential, read, restore
from ase_kan.potentials.protocol import Potential
from ase_kan.potentials.quintics import Table
from ase_kan.potentials.scale import Scale
from ase_kan.potentials.table_schema import PREFIX, TABLES
from ase_kan.types import Array, sorted_pair


def load_running(path: str | os.PathLike[str]) -> Potential:
    """What a calculator runs of a file: its tables if it has some, else the potential (see `load_potential`)."""
    if is_setfl(path):
        return load_potential(path)
    header, arrays = read(path)
    return restore(path, header, arrays) if header.get(TABLES) is None else _compiled(path, header, arrays)


def _compiled(
    path: str | os.PathLike[str], header: Mapping[str, Any], arrays: storage.Arrays
) -> SplinePotential | EmbeddedTables:
    original, tables = FiledPotential(path, header, arrays), header[TABLES]
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
