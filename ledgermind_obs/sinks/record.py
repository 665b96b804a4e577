"""The record on disk: a private file beside the lock, written whole or not at all.

It is a help and no authority: one that is damaged, or of another project or target, is not used,
and then nothing is claimed that it would have proven.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.sinks.files import read_file, write_atomically
from ledgermind_obs.sinks.history import Record

MOST_BYTES = 64 << 20


def record_path(directory: Path, project: str) -> Path:
    """Return where a project's record is: projects may share dbt's target directory."""
    name = re.sub(r"\W", "_", project)
    return directory / f"history.{name}.json"


def read_record(directory: Path, project: str, target: str, tell: Callable[[str], None]) -> Record:
    """Return what is remembered in a project's private directory, an empty record if nothing is.

    ``tell`` gets a line if what is there cannot be used.
    """
    path, empty = record_path(directory, project), Record(project, target)
    try:
        checksum, _, body = read_file(path, MOST_BYTES).partition(b"\n")
        found = decode(body, Record)
    except FileNotFoundError:
        return empty
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        tell(f"ignoring what was remembered in {path}: {reason}")
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
    path = record_path(directory, record.project)
    try:
        write_atomically(path, _checksum(body) + b"\n" + body, 0o600)
    except OSError as error:
        tell(f"cannot remember what was seen in {path}: {error.strerror}")


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)
