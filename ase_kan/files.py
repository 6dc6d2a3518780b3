"""Files that are never half written: write to a temporary name, then rename."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Age at which a temporary file of another machine counts as left behind, s.
OLD = 86400.0


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the same folder; rename it to `path` on success, remove it on failure.

    The suffix is kept, since writers such as matplotlib choose the format by it. Temporary files of `path` that
    killed processes left behind are removed.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: there is no folder {target.parent}")
    start, end = f".{target.stem}.{platform.node()}.", f".tmp{target.suffix}"
    _clean(target, start, end)
    temporary = target.with_name(f"{start}{os.getpid()}.{threading.get_ident()}{end}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _clean(target: Path, start: str, end: str) -> None:
    """Remove the temporary files of dead processes of this machine, and old ones of others."""
    for name in os.listdir(target.parent):
        if not (name.startswith(f".{target.stem}.") and name.endswith(end)):
            continue
        left = target.with_name(name)
        process = name.removeprefix(start).partition(".")[0]
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours
            if (name.startswith(start) and process.isdigit() and not _alive(int(process))) or (
                time.time() - left.stat().st_mtime > OLD
            ):
                left.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
