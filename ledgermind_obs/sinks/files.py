"""Files that a sink reads and writes: regular ones, whole, and never by waiting."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from ledgermind_obs.dbt.regular_file import kind_of


class NotAFileError(OSError):
    """What is there is no regular file; ``strerror`` says what it is."""

    def __init__(self, kind: str) -> None:
        """Take what it is instead, with its article."""
        super().__init__(0, f"it is {kind}")


def check_file(path: Path) -> None:
    """Raise NotAFileError where there is something else than a regular file; nothing is opened."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    _check(found)


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file, which is no link.

    Raises OSError where it cannot be read or changes meanwhile, NotAFileError where it is something
    else, and ValueError where it is larger than ``most_bytes``.
    """
    check_file(path)  # some devices act when they are opened
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        _check(found)
        content = file.read(min(found.st_size, most_bytes) + 1)  # a larger buffer costs time
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes >> 20} MiB")
    if len(content) != found.st_size:
        raise OSError(errno.EBUSY, "it changed while it was read")
    return content


def write_atomically(path: Path, content: bytes, mode: int, *, synced: bool = True) -> None:
    """Write a file that readers see whole: the old content or the new; raises OSError.

    ``synced`` says whether it must outlive a power cut. The temporary name does not end in
    ``.prom``, so that node_exporter never reads it.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            if synced:
                os.fsync(handle)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a regular file that is there, or does not exist yet; links are followed to their end.

    Raises OSError where it cannot be written, NotAFileError where there is something else.
    """
    end = Path(os.path.realpath(path))
    check_file(end)
    write_atomically(end, content, mode)


def _check(found: os.stat_result) -> None:
    if kind := kind_of(found.st_mode):
        raise NotAFileError(kind)
