"""The file of a potential: safetensors with a JSON header and a checksum over everything. No pickle.

A safetensors file is a table of named arrays and a dictionary of strings. The one string here, ``ase_kan``,
is JSON with ``version`` (of the format), ``header`` (the architecture and what the fit reported) and
``sha256`` of version and header and of every array with its name, type and shape.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_kan.data.files import replacing

#: Arrays of any type, by name.
Arrays = dict[str, NDArray[Any]]
#: Raises a `ValueError` about a header and arrays that are not what they should be.
Check = Callable[[dict[str, Any], Arrays], None]

#: 2: continuations outside the data. 3: exponentials in them, and histograms of the data. 4: baselines. 5: tables.
#: Older files are read.
FORMAT_VERSION = 5


def write(path: str | os.PathLike[str], header: dict[str, Any], arrays: Arrays, check: Check | None = None) -> None:
    """Write one file, atomically. The same content gives the same bytes. What `check` refuses is not written."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        text = json.dumps(header, sort_keys=True)
    except TypeError as error:
        raise ValueError(f"cannot write {path}: what the potential remembers must be JSON ({error})") from None
    if check is not None:
        try:
            check(json.loads(text), arrays)
        except ValueError as error:
            raise ValueError(f"cannot write {path}: {error}") from None
    content = {"version": FORMAT_VERSION, "header": text, "sha256": _digest(text, arrays, FORMAT_VERSION)}
    # One string only: safetensors writes several in random order, and the same content must give the same bytes.
    with replacing(path) as temporary:
        temporary.write_bytes(save(arrays, {"ase_kan": json.dumps(content)}))


def read(path: str | os.PathLike[str], check: Check | None = None) -> tuple[dict[str, Any], Arrays]:
    """Read what `write` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is foreign, damaged, or of a newer format, or `check` refuses its content; one line says which.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no potential file at {path}")
    try:
        # Not `safe_open`: it loses some memory with every array (safetensors 0.8). What `load` takes begins with the
        # length of its header, whose JSON has the metadata.
        data = path.read_bytes()
        arrays = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, UnicodeDecodeError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        if _is_text(path):
            raise ValueError(
                f"{path} is a text file, not an ase_kan potential: data go to 'ase-kan fit', and the names of "
                "published potentials end with .eam.alloy, .eam.fs or .setfl"
            ) from None
        raise ValueError(f"{path} is damaged or not an ase_kan potential: {str(error).splitlines()[0]}") from None
    if "ase_kan" not in metadata:
        raise ValueError(f"{path} is a safetensors file, but not an ase_kan potential")
    damaged = ValueError(f"{path} is damaged: its checksum does not match; copy it again or refit")
    try:
        content = json.loads(metadata["ase_kan"])
        version, text, digest = content["version"], content["header"], content["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged from None
    if not isinstance(version, int) or isinstance(version, bool) or not isinstance(text, str):
        raise damaged
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has file format {version}, this ase_kan reads up to {FORMAT_VERSION}: upgrade ase_kan"
        )
    if version < 1 or digest != _digest(text, arrays, version):
        raise damaged
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(header, dict):
        raise damaged
    if check is not None:
        must_be(path, header, arrays, check)
    return header, arrays


def must_be(path: str | os.PathLike[str], header: dict[str, Any], arrays: Arrays, check: Check) -> None:
    """Check what was read. `ValueError` in one line that names the file."""
    try:
        check(header, arrays)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid potential: {str(error).splitlines()[0]}") from None


def _is_text(path: Path) -> bool:
    """Whether a file begins as a text."""
    try:
        with path.open("rb") as file:
            start = file.read(400)
        return bool(start.decode("utf-8", errors="ignore").strip()) and min(start) >= 9  # no control characters
    except (OSError, UnicodeDecodeError):
        return False


def _digest(text: str, arrays: Arrays, version: int) -> str:
    digest = hashlib.sha256(text.encode())
    if version > 2:
        digest.update(f"\0{version}".encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\0{name} torch.{array.dtype} {array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
