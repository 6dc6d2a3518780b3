"""What stands in the file of an embedded-atom potential, and the way back; module `eam_schema` checks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_kan.potentials.checks import EMBEDDED, KIND
from ase_kan.potentials.coverage import Coverage
from ase_kan.potentials.eam_posterior import EAMPosterior
from ase_kan.potentials.eam_schema import ARRAYS
from ase_kan.potentials.schema import FACTOR
from ase_kan.types import sorted_pair
from ase_kan.version import __version__

SCALARS = ("densities", "start", "cutoff", "grid", "embedding_grid", "k")


def header(potential: Any) -> dict[str, Any]:
    """All of a `KANEAM` that is not an array, ready for JSON."""
    found = {
        "ase_kan": __version__,
        KIND: EMBEDDED,
        "elements": list(potential.elements),
        **{name: getattr(potential, name) for name in SCALARS},
        "pairs": [
            {"elements": list(pair), "domain": list(ends), "coverage": _histogram(potential.coverage.get(pair))}
            for pair, ends in potential.domains.items()
        ],
        "density_coverage": [list(map(_histogram, potential.density_coverage.get(e, ()))) for e in potential.elements],
        "reference_energies": dict(potential.reference_energies),
        "info": potential.info,
    }
    if potential.posterior is not None:
        found["posterior"] = {"residual": dict(potential.posterior.residual)}
    return found


def arrays(potential: Any) -> dict[str, NDArray[Any]]:
    """Arrays by name."""
    found: dict[str, NDArray[Any]] = {name: np.array(getattr(potential, name), float) for name in ARRAYS}
    if potential.posterior is not None:
        found[FACTOR] = potential.posterior.factor.astype(np.float32)
    return found


def arguments(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Those of `KANEAM`, from the content of a file that has been checked."""
    pairs = {sorted_pair(entry["elements"]): entry for entry in header["pairs"]}
    coverage = {pair: Coverage.restore(entry["coverage"]) for pair, entry in pairs.items()}
    density_coverage = {}
    for element, entry in zip(header["elements"], header["density_coverage"], strict=True):
        # One histogram, that of the first channel, in files of earlier versions.
        of_channels = [Coverage.restore(e) for e in (entry if isinstance(entry, list) else [entry])]
        density_coverage[element] = tuple(histogram for histogram in of_channels if histogram)
    posterior = header.get("posterior")
    return {
        **{name: header[name] for name in SCALARS},
        **{name: arrays[name] for name in ARRAYS},
        "elements": tuple(header["elements"]),
        "domains": {pair: (entry["domain"][0], entry["domain"][1]) for pair, entry in pairs.items()},
        "reference_energies": header["reference_energies"],
        "coverage": {pair: known for pair, known in coverage.items() if known},
        "density_coverage": {element: known for element, known in density_coverage.items() if known},
        "info": header["info"],
        "posterior": None if posterior is None else EAMPosterior.restore(posterior, arrays[FACTOR]),
    }


def _histogram(known: Coverage | None) -> dict[str, Any] | None:
    return None if known is None else {name: list(values) for name, values in asdict(known).items()}
