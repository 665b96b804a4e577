"""One run at a time on a directory: two dbt processes must not share a target directory.

The lock is the file ``obs.lock``, which people can see and which containers share with a volume.
On Linux it is a name of the kernel's too, since whoever clears the directory during a run, as
``dbt clean`` does, takes the file away. The kernel frees both when the process ends, however.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
import time
from binascii import crc32
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ledgermind_obs.dbt.regular_file import kind_of, read_regular
from ledgermind_obs.errors import ArtifactError, ConfigurationError, LockedError

POLL_SECONDS = 0.1

_MOST_DIGITS = 20
_MOST_OF_PATH = 80
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PEER = struct.Struct("3i")  # process, user, group


@contextmanager
def locked(directory: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the directory's lock; nothing that this process starts holds it too.

    Raises LockedError if another run still holds it after ``wait_seconds``, ConfigurationError if
    the directory or the lock in it cannot be used.
    """
    deadline = time.monotonic() + wait_seconds
    path = directory / "obs.lock"
    _make(directory)
    with _name_held(directory, path, deadline), _file_held(path, deadline):
        yield


def holder(directory: Path) -> str | None:
    """Return the number of the process that holds the directory's lock, None if none does.

    The number is empty if it is not known. The lock is only looked at: nobody has to wait for that.
    Without Linux' names nothing is seen, and None is returned.
    """
    named = b""
    with suppress(OSError):
        named = Path("/proc/net/unix").read_bytes()
    if b"@" + _name(directory)[1:] + b"\n" not in named:
        return None
    with suppress(OSError, ArtifactError):
        noted = read_regular(directory / "obs.lock", _MOST_DIGITS).strip()
        return noted.decode() if noted.isdigit() else ""
    return ""


def _make(directory: Path) -> None:
    """Make the directory, for its owner alone: dbt's log may hold what is secret."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid == os.geteuid():  # it may be of an earlier version
            directory.chmod(0o700)
    except OSError as error:
        raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> ConfigurationError:
    full = error.errno in _FULL
    return ConfigurationError(
        f"cannot write below {directory}: {error.strerror}",
        "free some space" if full else "choose a directory for dbt's files with --target-path",
    )


@contextmanager
def _file_held(path: Path, deadline: float) -> Iterator[None]:
    descriptor = _open(path)
    try:
        while not _lock(descriptor, path):
            if time.monotonic() >= deadline:
                raise _held(path, _noted_holder(descriptor))
            time.sleep(POLL_SECONDS)
            _renew(path, descriptor)
        _note_holder(descriptor)
        yield
    finally:
        os.close(descriptor)


def _renew(path: Path, descriptor: int) -> None:
    """Let the descriptor be of the file that is there now: the directory may have been cleared."""
    if not _names(path, descriptor):
        newer = _open(path)
        os.dup2(newer, descriptor, inheritable=False)
        os.close(newer)


def _open(path: Path) -> int:
    """Return a descriptor of the lock file; a child does not get it.

    Raises ConfigurationError if the file cannot be made, or is something else than a file: opening
    it could wait for ever, or write elsewhere.
    """
    with suppress(FileNotFoundError):
        _check_kind(path, os.lstat(path).st_mode)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise _unusable(path.parent, error) from error
    try:
        _check_kind(path, os.fstat(descriptor).st_mode)
    except ConfigurationError:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(path: Path, mode: int) -> None:
    if kind := kind_of(mode):
        raise ConfigurationError(f"{path} is {kind}, not a file", "remove it, then run obs again")


def _lock(descriptor: int, path: Path) -> bool:
    """Return whether the lock is ours, on the file that is there; raises ConfigurationError."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise ConfigurationError(
                f"cannot lock {path}: {error.strerror}",
                "choose a directory for dbt's files with --target-path",
            ) from error
        if _names(path, descriptor):
            return True
        _renew(path, descriptor)


def _names(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _note_holder(descriptor: int) -> None:
    """Write this process's number into the file: a courtesy, which a full disk may refuse."""
    with suppress(OSError):
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _noted_holder(descriptor: int) -> str:
    noted = b""
    with suppress(OSError):
        noted = os.pread(descriptor, _MOST_DIGITS, 0).strip()
    return noted.decode() if noted.isdigit() else ""


def _held(path: Path, holder: str) -> LockedError:
    see = f"see what it does: ps -fp {holder}; " if holder else ""
    return LockedError(
        f"another obs run (process {holder or 'unknown'}) holds {path}",
        f"{see}wait for it, or give --lock-timeout",
    )


@contextmanager
def _name_held(directory: Path, path: Path, deadline: float) -> Iterator[None]:
    """Hold a name of the kernel's for the directory; without such names this holds nothing."""
    if sys.platform != "linux":
        yield
        return
    name = _name(directory)
    with socket.socket(socket.AF_UNIX) as named:
        while not _bind(named, name):
            if time.monotonic() >= deadline:
                raise _held(path, _named_holder(name))
            time.sleep(POLL_SECONDS)
        yield


def _name(directory: Path) -> bytes:
    """Return the abstract socket's name for the directory as this mount namespace knows it.

    Containers may share the network, and with it the names, while a path means something else in
    each of them. A name has 108 bytes: of a long path it has the end, and a checksum of all.
    """
    mounts = b""
    with suppress(OSError):
        mounts = os.readlink(b"/proc/self/ns/mnt")
    place = mounts + os.fsencode(directory.resolve())
    return b"\0obs.lock.%08x.%s" % (crc32(place), place[-_MOST_OF_PATH:])


def _bind(named: socket.socket, name: bytes) -> bool:
    """Return whether the name is ours; one that cannot be had at all is done without."""
    try:
        named.bind(name)
        named.listen(1)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _named_holder(name: bytes) -> str:
    """Return the number of the process that holds the name, empty if that is not known."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        asking.connect(name)
        peer = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        process, *_ = _PEER.unpack(peer)
        return str(process) if process > 0 else ""
    return ""
