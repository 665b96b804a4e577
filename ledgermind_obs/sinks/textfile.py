"""A file for node_exporter's textfile collector, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.metrics import Metric, Series
from ledgermind_obs.sinks.exposition import exposition, parse_exposition


class Textfile(msgspec.Struct, frozen=True):
    """One file of one project and target; the sink of ``obs freshness push --textfile``.

    There is no grouping key in a file, so ``labels`` are written on every series.
    """

    path: Path
    labels: Mapping[str, str]

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    def prepare(self) -> None:
        """Do nothing: a file is written with what is loaded anyway."""

    def known(self, wanted: Iterable[Metric]) -> list[Series]:
        """Return the series of the ``wanted`` metrics in the file, none where there is no file.

        Raises DestinationError where it cannot be read, or is another project's or target's.
        """
        content = self._content()
        try:
            ours = parse_exposition(content, self.labels, [metrics.RUN_SUCCESS])
            series = parse_exposition(content, self.labels, wanted)
        except ValueError as error:
            raise DestinationError(
                f"{self.path} is not in Prometheus' format: {error}", "move it away"
            ) from error
        if content and not ours:
            raise DestinationError(
                f"{self.path} holds other series than those of {self._group()}",
                "give each project and target a file of its own",
            )
        return series

    def put(self, series: Iterable[Series]) -> None:
        """Replace the file; raises DestinationError."""
        self._write(exposition(series, self.labels))

    def post(self, series: Iterable[Series]) -> None:
        """Replace only the metrics that ``series`` names; raises DestinationError."""
        new = list(series)
        named = {item.metric for item in new}
        kept = self.known([metric for metric in metrics.METRICS if metric not in named])
        self._write(exposition([*kept, *new], self.labels))

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise DestinationError(f"cannot read {self.path}: {error.strerror}") from error

    def _group(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.labels.items())

    def _write(self, content: bytes) -> None:
        try:
            write_atomically(self.path, content)
        except OSError as error:
            raise DestinationError(f"cannot write {self.path}: {error.strerror}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that readers see whole: the old content or the new; raises OSError.

    The temporary name does not end in ``.prom``, so that node_exporter never reads it.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
