"""Files that are never half written (write to a temporary name, then rename), and never somebody else's."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Age at which a temporary file of another machine counts as left behind, s.
OLD = 86400.0
#: How the files that commands write begin.
_BEGINNINGS = {
    "potential": rb'.{8}\{"__metadata__":\{"ase_kan"',
    "figure": rb"\x89PNG|%PDF|%!PS|<\?xml|\xff\xd8|II\*|MM\0\*|RIFF|\x1f\x8b|GIF8|%%|\\def",
    "LAMMPS table": rb"# DATE: .*ase_kan",
    "LAMMPS script": rb".{0,500}written by ase_kan",
    "file of structures": rb"- of Ulm|\s*\d+\s*\n",
    "LAMMPS data": rb".{0,200}ASE",
    "page": rb"<!doctype html>",
    "benchmark": rb'\{\s*"version"',
}


def check_output(path: str | os.PathLike[str], kind: str, *inputs: str | os.PathLike[str]) -> None:
    """Refuse to write where something would be lost, before any work is done.

    Parameters
    ----------
    path : path
        What is to be written.
    kind : str
        What it will hold: "potential", "figure", "LAMMPS table", "LAMMPS script", "file of structures" or
        "benchmark".
    *inputs : path
        Files that are read for it.

    Raises
    ------
    ValueError
        If `path` is one of the inputs, or an existing file of another kind (an empty one is overwritten).
    OSError
        If it is a folder, or in a folder that does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    if not path.exists():
        return
    for source in map(Path, inputs):
        if source.exists() and path.samefile(source):
            raise ValueError(f"{path} is read and would be overwritten: choose another output")
    if not path.is_file():
        return  # /dev/null and the like
    with open(path, "rb") as file:
        start = file.read(1024)
    if start and not re.match(_BEGINNINGS[kind], start, re.DOTALL):
        raise ValueError(f"{path} exists and is not a {kind}: remove it, or choose another output")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the same folder; rename it to `path` on success, remove it on failure.

    The suffix is kept, since writers such as matplotlib choose the format by it. Temporary files of `path` that
    killed processes left behind are removed.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: there is no folder {target.parent}")
    _clean(target)
    unique = f"{platform.node()}.{os.getpid()}.{threading.get_ident()}"
    temporary = target.with_name(f".{target.stem}.{unique}.tmp{target.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary), temporary):
            error.filename = str(target)  # the name that the user knows; a full disk tells none
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _clean(target: Path) -> None:
    """Remove the temporary files of `target` whose process on this machine has ended, and old ones of others."""
    ours = re.compile(rf"\.{re.escape(target.stem)}\.(.+)\.(\d+)\.\d+\.tmp{re.escape(target.suffix)}")
    for name in os.listdir(target.parent):
        if (match := ours.fullmatch(name)) is None:
            continue
        left, (node, process) = target.with_name(name), match.groups()
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to remove
            ended = node == platform.node() and not _alive(int(process))
            if ended or time.time() - left.stat().st_mtime > OLD:
                left.unlink()


def _alive(process: int) -> bool:
    if os.name != "posix":  # signal 0 asks only there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True
