"""A report in a file, which readers see whole: the old one or the new."""

from __future__ import annotations

import os
from pathlib import Path

from ledgermind_obs.errors import DestinationError
from ledgermind_obs.secrets import redact
from ledgermind_obs.sinks.files import check_file, write_atomically


def write_report(path: Path, text: str) -> None:
    """Write a report, without a secret in it; a link is followed to its end, and stays.

    Raises DestinationError if there is no regular file, and none can be made.
    """
    end = Path(os.path.realpath(path))
    try:
        check_file(end)
        write_atomically(end, f"{redact(text)}\n".encode(), 0o644)
    except OSError as error:
        raise DestinationError(
            f"cannot write {path}: {error.strerror}", "name a regular file with --output"
        ) from error
