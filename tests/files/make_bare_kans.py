"""How the models of this folder were made: bare KANs trained by pykan, which gives others on another processor.

    python tests/files/make_bare_kans.py

Tests load these files, so that they do not depend on how a training happens to end.
"""

from pathlib import Path

from ase_kan import PairCurve, fit

HERE = Path(__file__).parent
BARE = {"width": (1, 2, 1), "k": 3, "feature": "r", "optimizer": "pykan", "core": None, "tail": None, "seed": 1}


def lennard_jones(r):
    """r^-12 - r^-6."""
    return r**-12.0 - r**-6.0


curve = PairCurve.from_function(lennard_jones, r_min=0.95, r_max=2.0, n=50, seed=0)
fit(curve, **BARE, grid=3).potential.save(HERE / "bare.kan")
curve = PairCurve.from_function(lennard_jones, r_min=0.9, r_max=2.6, n=80, seed=0)
fit(curve, **BARE, grid=5, cutoff=2.5, onset=2.0).potential.save(HERE / "bare_cutoff.kan")
