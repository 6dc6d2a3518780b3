"""Packages that only some users need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def optional(module: str, extra: str) -> Any:
    """Import a module of an optional dependency; the `ImportError` names the extra that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module} cannot be imported ({error}): install it with  pip install 'ase-kan[{extra}]'"
        ) from error
