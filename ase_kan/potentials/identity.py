"""Which potential it was: a name and a fingerprint for databases and logs."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ase_kan.potentials.compiled import EmbeddedTables, SplinePotential
from ase_kan.potentials.protocol import EmbeddedAtomPotential

#: Digits of a fingerprint.
LENGTH = 16


def fingerprint(potential: Any) -> str:
    """The same for the same functions, whether compiled, saved or in memory.

    Of fitted potentials it is that of their numbers, of others that of samples of their functions. What a fit reported
    does not count.
    """
    # That of a file knows its content without being made.
    original: Any = potential.original if isinstance(potential, SplinePotential | EmbeddedTables) else potential
    if hasattr(original, "content"):
        header, arrays = original.content()
        told = {key: value for key, value in header.items() if key not in ("ase_kan", "info", "posterior")}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(name.encode() + arrays[name].tobytes())
    else:
        from ase_kan.potentials import embedded_tables, tables

        embedded = isinstance(original, EmbeddedAtomPotential)
        samples = embedded_tables.fingerprint(original) if embedded else tables.fingerprint(original)
        digest = hashlib.sha256(samples)
    return digest.hexdigest()[:LENGTH]
