"""A file for node_exporter's textfile collector, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ledgermind_obs.errors import DestinationError
from ledgermind_obs.metrics import FRESHNESS_METRICS, Metric, Series
from ledgermind_obs.sinks.exposition import constant_labels, exposition, parse_exposition
from ledgermind_obs.sinks.files import NotAFileError, read_file, write_atomically
from ledgermind_obs.sinks.known import Destination
from ledgermind_obs.sinks.proof import check_series

MAX_BYTES = 256 * 2**20


class Textfile(msgspec.Struct, frozen=True):
    """One file of one project and target; the sink of a push with ``--textfile``.

    There is no grouping key in a file, so ``labels`` are written on every series. It holds
    series of the ``metrics`` and no others.
    """

    path: Path
    labels: Mapping[str, str]
    metrics: tuple[Metric, ...] = FRESHNESS_METRICS

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def destination(self) -> Destination:
        """Where this is, for the memory."""
        return Destination(str(self._end), self.labels)

    def within(self, seconds: float) -> Textfile:  # noqa: ARG002 - a file takes no time
        """Return the same file."""
        return self

    def prepare(self) -> None:
        """Do nothing: a file is written with what is loaded anyway."""

    def known(self, wanted: Iterable[Metric]) -> list[Series]:
        """Return the series of the ``wanted`` metrics in the file, none where there is no file.

        Raises DestinationError where it cannot be read, is another project's or target's, or holds
        what cannot be true.
        """
        content = self._content()
        try:
            series = parse_exposition(content, self.labels, wanted)
            check_series(series, datetime.now(UTC))
        except ValueError as error:
            raise DestinationError(
                f"{self.path} cannot be believed: {error}", "move it away"
            ) from error
        return series

    def put(self, series: Iterable[Series]) -> None:
        """Replace the file; raises DestinationError, also for a file that is not ours."""
        self._content()
        self._write(exposition(series, self.labels))

    def post(self, series: Iterable[Series]) -> None:
        """Replace only the metrics that ``series`` names; raises DestinationError."""
        new = list(series)
        named = {item.metric for item in new}
        kept = self.known([metric for metric in self.metrics if metric not in named])
        self._write(exposition([*kept, *new], self.labels))

    @property
    def _end(self) -> Path:
        """The file itself: links are followed to their end, and stay."""
        return Path(os.path.realpath(self.path))

    def _content(self) -> bytes:
        """Return what is in the file, nothing where there is none; raises DestinationError."""
        try:
            content = read_file(self._end, MAX_BYTES)
        except FileNotFoundError:
            return b""
        except OSError as error:
            step = "see who may read it, and what else writes it"
            if isinstance(error, NotAFileError):
                step = "name a regular file with --textfile"
            raise DestinationError(f"cannot read {self.path}: {error.strerror}", step) from error
        except ValueError as error:
            raise DestinationError(f"cannot read {self.path}: {error}", "move it away") from error
        if content and not content.endswith(b"\n"):
            raise DestinationError(
                f"{self.path} was cut short: its last line has no end", "move it away"
            )
        if not self._is_ours(content):
            raise DestinationError(
                f"{self.path} holds other series than those of {self._group()}",
                "give each project and target a file of its own, and its builds another",
            )
        return content

    def _is_ours(self, content: bytes) -> bool:
        """Return whether each series is of our metrics, and has our labels as we write them."""
        names = tuple(metric.name.encode() for metric in self.metrics)
        end = constant_labels(self.labels).encode() + b"} "
        lines = (line for line in content.split(b"\n")[:-1] if not line.startswith(b"#"))
        return all(line.startswith(names) and end in line for line in lines)

    def _group(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.labels.items())

    def _write(self, content: bytes) -> None:
        try:
            write_atomically(self._end, content, 0o644)
        except OSError as error:
            raise DestinationError(f"cannot write {self.path}: {error.strerror}") from error
