"""Warnings that point at the line of the user that led to them."""

from __future__ import annotations

import sys
import warnings

#: Packages whose lines a warning does not point at.
NOT_THE_USERS = ("ase_kan", "ase")


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside this package and ASE."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in NOT_THE_USERS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
