"""Files that are never half written: write to a temporary name, then rename."""

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
