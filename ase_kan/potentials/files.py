"""Files of potentials, whatever they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ase_kan.potentials import eam_schema, law_schema, schema, storage
from ase_kan.potentials.checks import EMBEDDED, KIND, LAW

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
    return restore(path, *read(path))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], storage.Arrays]:
    """The content of a file, checked as what it says it is. Errors as of `KANPotential.load`."""
    header, arrays = storage.read(path)
    storage.must_be(path, header, arrays, check_of(header))
    return header, arrays


def restore(
    path: str | os.PathLike[str], header: Mapping[str, Any], arrays: storage.Arrays
) -> KANPotential | LawPotential | KANEAM:
    """The potential of a file whose content has been checked; the path is for messages."""
    kind: type[KANPotential | LawPotential | KANEAM]
    if header.get(KIND) == EMBEDDED:
        from ase_kan.potentials.eam import KANEAM as kind
    elif header.get(KIND) == LAW:
        from ase_kan.potentials.law import LawPotential as kind
    else:
        from ase_kan.potentials.potential import KANPotential as kind
    try:
        return kind.restore(dict(header), arrays)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid potential: {error}") from None


def is_setfl(path: str | os.PathLike[str]) -> bool:
    """Whether a file is called as published ones are."""
    return os.fspath(path).endswith(PUBLISHED)


def check_of(header: Mapping[str, Any]) -> storage.Check:
    """What checks the content of a file with this header."""
    return {EMBEDDED: eam_schema.check, LAW: law_schema.check}.get(header.get(KIND, ""), schema.check)
