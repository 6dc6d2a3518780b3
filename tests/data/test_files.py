"""A full disk and a folder that is read-only: the old file stays, nothing is left over, and the name is the user's."""

import resource
import signal

import pytest

from ase_kan.data.files import replacing


@pytest.fixture
def small_disk():
    """Files of more than 1000 bytes cannot be written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk(tmp_path, small_disk):
    path = tmp_path / "a.kan"
    path.write_text("old")
    with pytest.raises(OSError, match=r"a\.kan") as caught, replacing(path) as temporary:
        temporary.write_bytes(b"x" * 2000)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.kan"]


def test_name_in_errors(tmp_path):
    """Of the file that was asked for, not of the temporary one; errors about other files keep theirs."""
    path = tmp_path / "a.kan"
    with pytest.raises(OSError) as caught, replacing(path):
        pass  # nothing was written
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, replacing(path):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")
