"""One run at a time on a project: two dbt processes must not share a target directory."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledgermind_obs.errors import ConfigurationError, LockedError

POLL_SECONDS = 0.1


@contextmanager
def locked(directory: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the directory's lock; the kernel lets it go when this process ends, however it ends.

    Raises LockedError where another run still holds it after ``wait_seconds``.
    """
    path = directory / "obs.lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write below {directory}: {error.strerror}",
            "choose a directory for dbt's files with --target-path",
        ) from error
    try:
        _acquire(descriptor, path, wait_seconds)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _try(descriptor):
        if time.monotonic() >= deadline:
            holder = path.read_text().strip() or "unknown"
            raise LockedError(
                f"another obs run (process {holder}) holds {path}",
                "wait for it, or give --lock-timeout",
            )
        time.sleep(POLL_SECONDS)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
