"""Files of potentials, whatever they hold."""

from __future__ import annotations

import os

from ase_kan.potentials.potential import KANPotential
from ase_kan.potentials.protocol import Potential
from ase_kan.potentials.setfl import from_setfl, is_setfl


def load_potential(path: str | os.PathLike[str]) -> Potential:
    """A saved potential, or a published one if the file is called ``.eam.alloy``, ``.eam.fs`` or ``.setfl``."""
    return from_setfl(path) if is_setfl(path) else KANPotential.load(path)
