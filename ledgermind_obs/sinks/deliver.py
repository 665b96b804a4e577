"""From a report to a sink, without losing what the sink already knew."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.freshness import FreshnessReport, SourceKey
from ledgermind_obs.metrics import Metric, Series


class Sink(Protocol):
    """Where series go: a Pushgateway's group, a textfile."""

    def prepare(self) -> None:
        """Get ready for the others; called while the engine works and this process waits."""

    def known(self, wanted: Iterable[Metric]) -> list[Series]:
        """Return the series of the ``wanted`` metrics that are there now."""

    def put(self, series: Iterable[Series]) -> None:
        """Replace everything by ``series``."""

    def post(self, series: Iterable[Series]) -> None:
        """Replace only the metrics that ``series`` names."""


class Delivery(msgspec.Struct, frozen=True):
    """What was sent: how many series, and the Unix times kept of sources not measured."""

    series: int
    kept: dict[SourceKey, float]


def deliver(report: FreshnessReport, sink: Sink) -> Delivery:
    """Send the report and keep what was known of everything it could not measure.

    Raises DestinationError; then the sink holds what it held before.
    """
    kept = list(metrics.kept_series(report, sink.known(_needed(report))))
    series = [*metrics.report_series(report), *kept]
    sink.put(series)
    return Delivery(len(series), _kept_times(report, kept))


def deliver_failure(sink: Sink, started_at: datetime, duration_seconds: float) -> None:
    """Send word that a run gave no report, and leave everything else as it is.

    Raises DestinationError.
    """
    sink.post(metrics.failed_run_series(started_at, duration_seconds))


def _needed(report: FreshnessReport) -> Iterable[Metric]:
    """Return what must be read back: nothing where the report is whole and complete."""
    if not report.whole:
        return metrics.METRICS
    return metrics.LAST_KNOWN if report.unmeasured else ()


def _kept_times(report: FreshnessReport, kept: Iterable[Series]) -> dict[SourceKey, float]:
    unmeasured = {source.key for source in report.unmeasured}
    return {
        item.source: item.value
        for item in kept
        if item.metric is metrics.LOADED_AT and item.source in unmeasured
    }
