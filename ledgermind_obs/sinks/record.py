"""The record on disk: a private file beside the lock, written whole or not at all.

It is a help and no authority: one that is damaged, or of another project or target, is not used,
and then nothing is claimed that it would have proven.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from ledgermind_obs.sinks.files import read_file, write_atomically
from ledgermind_obs.sinks.history import Record

MOST_BYTES = 64 << 20
NAME = "history.json"


def read_record(directory: Path, project: str, target: str, tell: Callable[[str], None]) -> Record:
    """Return what is remembered in a project's private directory, an empty record if nothing is.

    ``tell`` gets a line if what is there cannot be used.
    """
    path, empty = directory / NAME, Record(project, target)
    try:
        checksum, _, body = read_file(path, MOST_BYTES).partition(b"\n")
        found = msgspec.json.decode(body, type=Record)
    except FileNotFoundError:
        return empty
    except OSError as error:
        tell(f"ignoring what was remembered in {path}: {error.strerror}")
        return empty
    except ValueError as error:
        tell(f"ignoring what was remembered in {path}: {error}")
        return empty
    if checksum != _checksum(body) or (found.project, found.target) != (project, target):
        tell(f"ignoring what was remembered in {path}: it is damaged, or of another target")
        return empty
    return found


def write_record(directory: Path, record: Record, tell: Callable[[str], None]) -> None:
    """Remember the record; ``tell`` gets a line if it cannot be written."""
    body = msgspec.json.encode(record)
    if len(body) > MOST_BYTES - 100:
        tell(f"what was seen is too much to remember: {len(body) >> 20} MiB")
        return
    try:
        write_atomically(directory / NAME, _checksum(body) + b"\n" + body, 0o600)
    except OSError as error:
        tell(f"cannot remember what was seen in {directory / NAME}: {error.strerror}")


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)
