"""From a report to a sink, without losing what the sink, or the memory, already knew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.errors import ArtifactError, DestinationError
from ledgermind_obs.freshness import FreshnessReport, SourceKey
from ledgermind_obs.metrics import Metric, Series
from ledgermind_obs.sinks.known import (
    NOTHING,
    Destination,
    Known,
    Standing,
    kept_series,
    known_of,
    needed,
    restored_series,
    standing,
)


class Sink(Protocol):
    """Where series go: a Pushgateway's group, a textfile."""

    @property
    def destination(self) -> Destination:
        """The place and the group, for the memory."""

    def prepare(self) -> None:
        """Get ready for the others; called while the engine works and this process waits."""

    def known(self, wanted: Iterable[Metric]) -> list[Series] | None:
        """Return the series of the ``wanted`` metrics that are there now, if that is proven.

        None is of a sink that cannot be read back: then the memory answers alone.
        """

    def put(self, series: Iterable[Series]) -> None:
        """Replace everything by ``series``; return only when that is confirmed."""

    def post(self, series: Iterable[Series]) -> None:
        """Replace only the metrics that ``series`` names; return only when that is confirmed."""

    def within(self, seconds: float, /) -> Sink:
        """Return the same sink, with so many seconds for each of these."""


class Memory(Protocol):
    """What was last delivered to one sink."""

    def recall(self) -> Known | None:
        """Return it, or None where nothing that can be trusted is remembered."""

    def remember(self, series: Sequence[Series]) -> None:
        """Keep what a sink has confirmed; a memory that cannot be written fails nothing."""


class Delivery(msgspec.Struct, frozen=True):
    """What was sent: how many series, and the Unix times kept of sources not measured.

    ``notice`` is what the user should know of what the sink held before; mostly nothing.
    """

    series: int
    kept: dict[SourceKey, float]
    notice: str = ""


def deliver(
    report: FreshnessReport, sink: Sink, memory: Memory, glanced: Known | None = None
) -> Delivery:
    """Send the report and keep what was known of everything it could not measure.

    ``glanced`` is what the sink held while the engine worked, if anybody looked. Raises
    DestinationError; then the sink holds what it held before, and nothing new is remembered.
    """
    wanted = needed(report)
    held = held_by(sink, wanted) if wanted else glanced
    delivered = memory.recall() if wanted or held is not None else None
    kept = list(kept_series(report, delivered or NOTHING, held or NOTHING)) if wanted else []
    series = [*metrics.report_series(report), *kept]
    sink.put(series)
    memory.remember(series)
    found = standing(delivered, held) if held is not None else Standing.SAME
    quiet = found is Standing.LOST and not kept
    return Delivery(len(series), _kept_times(report, kept), "" if quiet else _notice(found, held))


def check_not_older(report: FreshnessReport, sink: Sink) -> None:
    """Raise ArtifactError if the sink holds a run that began later: no time goes back."""
    (held, *_) = [
        *(item.value for item in sink.known([metrics.LAST_SUCCESS]) or ()),
        float("-inf"),
    ]
    if held > report.started_at.timestamp():
        raise ArtifactError(
            f"{sink.destination.place} holds a later run (of {_moment(held)}) than that of "
            f"{_moment(report.started_at.timestamp())}",
            "nothing was sent: publish each run when it has ended",
        )


def deliver_failure(
    sink: Sink, memory: Memory | None, started_at: datetime, duration_seconds: float
) -> str:
    """Send word that a run gave no report, and leave everything else as it is.

    A sink that has lost what was last delivered gets it again, if there is a ``memory`` of it.
    Returns what the user should know of that, mostly nothing. Raises DestinationError.
    """
    sink.post(metrics.failed_run_series(started_at, duration_seconds))
    delivered = memory.recall() if memory else None
    if delivered is None:
        return ""
    try:
        held = held_by(sink, metrics.METRICS)
        if held is None:
            return ""
        found = standing(delivered, held)
        if found in {Standing.LOST, Standing.OLDER}:
            sink.post(restored_series(delivered, held))
    except DestinationError:
        return ""  # it was told; what it lost comes back with a run that can be sure of it
    return _notice(found, held)


def held_by(sink: Sink, wanted: Iterable[Metric]) -> Known | None:
    """Return what a sink holds of some metrics, None if it cannot be read back."""
    series = sink.known(wanted)
    return None if series is None else known_of(series)


def _notice(found: Standing, held: Known | None) -> str:
    at = _moment(held.reported_at) if held and held.reported_at else ""
    return {
        Standing.SAME: "",
        Standing.LOST: "had lost what was last pushed; the last known times are sent again",
        Standing.OLDER: f"showed an older push (of {at}): an old copy, a cache or another replica; "
        "the times that were pushed since are kept",
        Standing.NEWER: f"holds a later push (of {at}) than the last one from here: "
        "does another host or directory push this group?",
    }[found]


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _kept_times(report: FreshnessReport, kept: Iterable[Series]) -> dict[SourceKey, float]:
    unmeasured = {source.key for source in report.unmeasured}
    return {
        item.source: item.value
        for item in kept
        if item.metric is metrics.LOADED_AT and item.source in unmeasured
    }
