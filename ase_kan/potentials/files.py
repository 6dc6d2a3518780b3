"""Files of potentials, whatever they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ase_kan.potentials import eam_schema, law_schema, schema, storage
from ase_kan.potentials.eam_schema import EMBEDDED, KIND
from ase_kan.potentials.law_schema import LAW

if TYPE_CHECKING:
    from ase_kan.potentials.eam import KANEAM
    from ase_kan.potentials.law import LawPotential
    from ase_kan.potentials.potential import KANPotential
    from ase_kan.potentials.setfl import TabulatedEAM

#: How the names of published files of embedded-atom potentials end.
PUBLISHED = (".eam.alloy", ".eam.fs", ".setfl")


def load_potential(path: str | os.PathLike[str]) -> KANPotential | LawPotential | KANEAM | TabulatedEAM:
    """A saved potential, or a published one if the file is called ``.eam.alloy``, ``.eam.fs`` or ``.setfl``."""
    if is_setfl(path):
        from ase_kan.potentials.setfl import from_setfl

        return from_setfl(path)
    header, _ = storage.read(path)
    if (kind := header.get(KIND)) == EMBEDDED:
        from ase_kan.potentials.eam import KANEAM

        return KANEAM.load(path)
    if kind == LAW:
        from ase_kan.potentials.law import LawPotential

        return LawPotential.load(path)
    from ase_kan.potentials.potential import KANPotential

    return KANPotential.load(path)


def is_setfl(path: str | os.PathLike[str]) -> bool:
    """Whether a file is called as published ones are."""
    return os.fspath(path).endswith(PUBLISHED)


def check_of(header: Mapping[str, Any]) -> storage.Check:
    """What checks the content of a file with this header."""
    return {EMBEDDED: eam_schema.check, LAW: law_schema.check}.get(header.get(KIND, ""), schema.check)
