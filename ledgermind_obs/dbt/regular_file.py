"""How a file of dbt's is read: a regular one, whole, of bounded size, and never by waiting."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ledgermind_obs.errors import ArtifactError

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}


def kind_of(mode: int) -> str:
    """Return what a mode is of if it is no regular file, else an empty string."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return the content of the regular file at ``path``; links are followed.

    Raises OSError if it cannot be read, ArtifactError if it is not a regular file, is larger than
    ``most_bytes``, or changes while it is read.
    """
    _check_kind(path, os.stat(path))  # some devices act when they are opened
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        _check_kind(path, before)
        content = file.read(min(before.st_size, most_bytes) + 1)  # a larger buffer costs time
        after = os.fstat(descriptor)
    if len(content) > most_bytes:
        raise ArtifactError(
            f"{path} is larger than {most_bytes >> 20} MiB", "see what wrote it, and run dbt again"
        )
    if len(content) != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise ArtifactError(f"{path} changed while it was read", "run it again")
    return content


def _check_kind(path: Path, found: os.stat_result) -> None:
    if kind := kind_of(found.st_mode):
        raise ArtifactError(f"{path} is {kind}, not a file", "remove it, and run dbt again")
