"""Files of potentials, whatever they hold."""

from __future__ import annotations

import os

from ase_kan.potentials import storage
from ase_kan.potentials.eam import KANEAM
from ase_kan.potentials.eam_schema import EMBEDDED, KIND
from ase_kan.potentials.law import LawPotential
from ase_kan.potentials.law_schema import LAW
from ase_kan.potentials.potential import KANPotential
from ase_kan.potentials.setfl import TabulatedEAM, from_setfl, is_setfl


def load_potential(path: str | os.PathLike[str]) -> KANPotential | LawPotential | KANEAM | TabulatedEAM:
    """A saved potential, or a published one if the file is called ``.eam.alloy``, ``.eam.fs`` or ``.setfl``."""
    if is_setfl(path):
        return from_setfl(path)
    header, _ = storage.read(path)
    if (kind := header.get(KIND)) == LAW:
        return LawPotential.load(path)
    return KANEAM.load(path) if kind == EMBEDDED else KANPotential.load(path)
