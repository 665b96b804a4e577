"""Reports made by hand, for what needs no dbt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ledgermind_obs.freshness import FreshnessReport, SourceFreshness, SourceKey, State
from ledgermind_obs.gate.evidence import Evidence, Kind
from ledgermind_obs.metrics import Metric, Series

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
HOUR = 3600.0
DAY = 86400.0


def source(
    table: str, state: State = State.PASS, age: float | None = HOUR, **fields: Any
) -> SourceFreshness:
    return SourceFreshness(
        **{
            "package": "ledgermind",
            "source": "app",
            "table": table,
            "unique_id": f"source.ledgermind.app.{table}",
            "database": "finance",
            "schema": "public",
            "identifier": table,
            "state": state,
            "loaded_at": None if age is None else NOW - timedelta(seconds=age),
            "checked_at": NOW if age is not None or state is State.EMPTY else None,
            "warn_after_seconds": 2 * DAY,
            "error_after_seconds": 5 * DAY,
            **fields,
        }
    )


def of_source(
    metric: Metric, value: float, package: str = "p", source: str = "s", table: str = "t"
) -> Series:
    """Return a series of a source; its labels beyond these are empty."""
    return Series(metric, metric.values(SourceKey(package, source, table)._asdict()), value)


def unmeasured(table: str, state: State = State.QUERY_ERROR) -> SourceFreshness:
    return source(table, state, None, message="relation does not exist")


def report(
    *sources: SourceFreshness, whole: bool = True, started_at: datetime = NOW
) -> FreshnessReport:
    return FreshnessReport(
        started_at=started_at,
        duration_seconds=4.0,
        engine="dbt",
        engine_version="1.11.16",
        project="ledgermind",
        target="prod",
        whole=whole,
        sources=sources,
    )


def evidence(report: FreshnessReport, kind: Kind = Kind.MEASURED, **fields: Any) -> Evidence:
    """Return the report as evidence in which every source of it is expected."""
    expected = frozenset(source.unique_id for source in report.sources)
    known = {"kind": kind, "report": report, "expected": expected, "gathered_at": NOW}
    return Evidence(**{**known, **fields})


def seen(report: FreshnessReport, ago: float) -> FreshnessReport:
    """Return the report as it was made so many seconds earlier; all of its times are earlier."""
    shift = timedelta(seconds=ago)

    def earlier(moment: datetime | None) -> datetime | None:
        return moment - shift if moment else None

    sources = tuple(
        msgspec.structs.replace(
            each, loaded_at=earlier(each.loaded_at), checked_at=earlier(each.checked_at)
        )
        for each in report.sources
    )
    return msgspec.structs.replace(report, started_at=report.started_at - shift, sources=sources)
