"""The nouns: the state a source is in, a source's freshness, and the report of a run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

FUTURE_TOLERANCE = timedelta(minutes=5)


class State(StrEnum):
    """What is known of a source; the first three are dbt's own verdicts."""

    PASS = "pass"  # noqa: S105 - dbt's word for a fresh source
    WARN = "warn"
    ERROR = "error"
    EMPTY = "empty"
    FUTURE = "future"
    QUERY_ERROR = "query_error"
    MISSING = "missing"

    @property
    def label(self) -> str:
        """The state as people read it: ``query error``."""
        return self.value.replace("_", " ")


UNMEASURED = frozenset({State.QUERY_ERROR, State.MISSING})


class SourceKey(NamedTuple):
    """A source's identity in the metrics: two sources may have one table name."""

    package: str
    source: str
    table: str


class SourceFreshness(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a report; times are aware datetimes, limits are seconds."""

    package: str
    source: str
    table: str
    unique_id: str
    database: str
    schema: str
    identifier: str
    state: State
    loaded_at: datetime | None = None
    checked_at: datetime | None = None
    warn_after_seconds: float | None = None
    error_after_seconds: float | None = None
    message: str = ""

    @property
    def key(self) -> SourceKey:
        """The identity that the metrics' labels carry."""
        return SourceKey(self.package, self.source, self.table)

    @property
    def name(self) -> str:
        """``source.table``, as people and dbt's selectors write it."""
        return f"{self.source}.{self.table}"

    @property
    def age_seconds(self) -> float | None:
        """Age in seconds when it was looked at; negative in the future; None where unknown."""
        if self.loaded_at is None or self.checked_at is None:
            return None
        return (self.checked_at - self.loaded_at).total_seconds()


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """A look-up that reads whole tables; ``rows`` is PostgreSQL's estimate."""

    name: str
    relations: tuple[str, ...]
    rows: int
    seconds: float
    advice: str


class FreshnessReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run: when, by what, of which project, and every source that should be in it.

    ``declared_at`` is when dbt wrote the manifest, where that was an earlier run; ``scans`` is None
    where nobody asked how the look-ups are made.
    """

    started_at: datetime
    duration_seconds: float
    engine: str
    engine_version: str
    project: str
    target: str
    whole: bool
    sources: tuple[SourceFreshness, ...]
    unmatched: tuple[str, ...] = ()
    declared_at: datetime | None = None
    scans: tuple[Scan, ...] | None = None

    def in_state(self, states: Iterable[State]) -> list[SourceFreshness]:
        """Return the sources in one of ``states``, in the report's order."""
        wanted = frozenset(states)
        return [source for source in self.sources if source.state in wanted]

    @property
    def unmeasured(self) -> list[SourceFreshness]:
        """The sources of which this run learnt nothing."""
        return self.in_state(UNMEASURED)
