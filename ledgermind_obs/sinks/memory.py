"""What was last delivered, remembered on this machine, for each destination and group.

The memory is a help and no authority: damaged or foreign it is ignored with a line, and what cannot
be written is reported. It is a private file per destination, in the project's private directory.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.metrics import METRICS, STATUS, Series, other_states
from ledgermind_obs.sinks.files import read_file, write_atomically
from ledgermind_obs.sinks.known import OF_LAST_REPORT, Destination, Known, known_of
from ledgermind_obs.sinks.proof import check_series

SCHEMA = 1
MAX_BYTES = 64 * 2**20
MAX_DESTINATIONS = 16
FOLDER = "delivered"

_KEPT = {
    metric.name: metric for metric in METRICS if metric.is_of_sources or metric in OF_LAST_REPORT
}


class _Content(msgspec.Struct, frozen=True):
    """What is in the file: by metric, the labels' values and the number of each series.

    Of a source's states only the one that it is in: the others are 0.
    """

    schema: int
    destination: Destination
    series: dict[str, list[tuple[tuple[str, ...], float]]]


class FileMemory:
    """The memory of one destination; ``tell`` gets a line where it cannot be used."""

    def __init__(
        self, directory: Path, destination: Destination, tell: Callable[[str], None]
    ) -> None:
        """Take the project's private directory; nothing is read or written yet."""
        self._destination = Destination(destination.place, dict(sorted(destination.labels.items())))
        self._tell = tell
        digest = hashlib.sha256(msgspec.json.encode(self._destination)).hexdigest()
        self.path = directory / FOLDER / f"{digest[:16]}.json"

    def recall(self) -> Known | None:
        """Return what was last delivered, or None where that is not known for certain."""
        try:
            series = self._read(read_file(self.path, MAX_BYTES))
            check_series(series, datetime.now(UTC))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._tell(f"ignoring the memory {self.path}: {error.strerror}")
            return None
        except (ValueError, msgspec.DecodeError) as error:
            self._tell(f"ignoring the memory {self.path}, which is damaged: {error}")
            return None
        return known_of(series)

    def remember(self, series: Sequence[Series]) -> None:
        """Keep what was delivered, instead of what was delivered before."""
        content = msgspec.json.encode(_Content(SCHEMA, self._destination, _rows(series)))
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if len(content) > MAX_BYTES:
                self.path.unlink(missing_ok=True)
                return
            checked = b"%08x\n" % zlib.crc32(content) + content
            write_atomically(self.path, checked, 0o600, synced=False)
            self._forget_the_oldest()
        except OSError as error:
            self._tell(
                f"delivered, but it cannot be remembered in {self.path.parent}: {error.strerror}"
            )

    def forget(self) -> None:
        """Remove what is remembered of the destination; what cannot be removed is reported."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            self._tell(f"cannot remove {self.path}: {error.strerror}")

    def _read(self, content: bytes) -> list[Series]:
        """Return the series in a file; raises ValueError or msgspec.DecodeError."""
        checksum, _, body = content.partition(b"\n")
        if checksum != b"%08x" % zlib.crc32(body):
            raise ValueError("its checksum does not match")
        found = decode(body, _Content)
        if found.schema != SCHEMA:
            raise ValueError(f"it is of version {found.schema}, not {SCHEMA}")
        if found.destination != self._destination:
            raise ValueError("it is of another destination")
        return [
            series
            for name, rows in found.series.items()
            if name in _KEPT
            for row in rows
            for series in _series(name, *row)
        ]

    def _forget_the_oldest(self) -> None:
        found = list(self.path.parent.glob("*.json"))
        if len(found) <= MAX_DESTINATIONS:
            return
        with suppress(FileNotFoundError):
            by_age = sorted(found, key=lambda path: path.stat().st_mtime_ns)
            for path in by_age[:-MAX_DESTINATIONS]:
                path.unlink()


def _rows(series: Iterable[Series]) -> dict[str, list[tuple[tuple[str, ...], float]]]:
    rows: dict[str, list[tuple[tuple[str, ...], float]]] = {name: [] for name in _KEPT}
    for metric, labels, value in series:
        if metric.name in rows and (value or metric is not STATUS):
            rows[metric.name].append((labels, value))
    return rows


def _series(name: str, labels: tuple[str, ...], value: float) -> Iterator[Series]:
    """Yield the series of a row; raises ValueError for a row of something else."""
    metric = _KEPT[name]
    if len(labels) != len(metric.labels):
        raise ValueError(f"{name} has other labels")
    series = Series(metric, labels, value)
    yield series
    if metric is STATUS:
        yield from other_states(series)
