"""The nouns: the state a source is in, a source's freshness, and the report of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

FUTURE_TOLERANCE = timedelta(minutes=5)


def is_ahead(loaded_at: datetime, seen_at: datetime) -> bool:
    """Return whether a row is of the future of the moment at which it was seen."""
    return loaded_at - seen_at > FUTURE_TOLERANCE


class State(StrEnum):
    """What is known of a source; ``STATES`` says what each means, the best comes first."""

    PASS = "pass"  # noqa: S105 - dbt's word for a fresh source
    WARN = "warn"
    FUTURE = "future"
    ERROR = "error"
    EMPTY = "empty"
    MISSING = "missing"
    QUERY_ERROR = "query_error"

    @property
    def label(self) -> str:
        """The state as people read it: ``query error``."""
        return self.value.replace("_", " ")

    @property
    def rank(self) -> int:
        """Its place from what needs no attention, 0, to what needs it most."""
        return _RANKS[self]


class Meaning(NamedTuple):
    """What follows from a state.

    ``colour`` is a terminal's name for it; ``measured`` says whether the run learnt the newest
    row's time, or that there is none; ``ages`` whether it gets worse as time passes. ``sources``
    are those that the gate's ``--allow-STATE`` lets through; without it there is no such option.
    """

    colour: str
    measured: bool
    ages: bool
    text: str
    next_step: str
    sources: str = ""


STATES: Mapping[State, Meaning] = {
    State.PASS: Meaning(
        colour="green",
        measured=True,
        ages=True,
        text="dbt calls it fresh",
        next_step="nothing",
    ),
    State.WARN: Meaning(
        colour="yellow",
        measured=True,
        ages=True,
        text="older than its warn_after",
        next_step="see whether the job that loads it still runs",
    ),
    State.FUTURE: Meaning(
        colour="magenta",
        measured=True,
        ages=False,
        text="the newest row is more than five minutes ahead of the database's clock; "
        "dbt calls it fresh",
        next_step="see which writer's clock, or time zone, is ahead of the database's",
        sources="sources whose newest row is ahead",
    ),
    State.ERROR: Meaning(
        colour="red",
        measured=True,
        ages=True,
        text="older than its error_after",
        next_step="see whether the job that loads it ran, and what it logged",
        sources="sources past error_after",
    ),
    State.EMPTY: Meaning(
        colour="red",
        measured=True,
        ages=False,
        text="the table has no row; dbt calls it 2,000 years old",
        next_step="see who truncated the table, or whether its filter leaves any row",
        sources="sources without a row",
    ),
    State.MISSING: Meaning(
        colour="red",
        measured=False,
        ages=False,
        text="it should have been measured, was not, and nothing says why",
        next_step="run dbt source freshness by hand and read its log",
        sources="sources that dbt did not look at",
    ),
    State.QUERY_ERROR: Meaning(
        colour="red",
        measured=False,
        ages=False,
        text="the query failed, with the database's message; dbt leaves it out",
        next_step="see whether the table, its column and the permission are still there",
        sources="sources whose query failed",
    ),
}

_RANKS = {state: rank for rank, state in enumerate(STATES)}
UNMEASURED = frozenset(state for state, meaning in STATES.items() if not meaning.measured)


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
    def is_timed(self) -> bool:
        """Whether the run learnt the newest row's time, or that there is no row.

        A verdict can come without a time: dbt may have said ``warn`` and then failed over it.
        """
        return STATES[self.state].measured and self.checked_at is not None

    @property
    def age_seconds(self) -> float | None:
        """Age in seconds when it was looked at; negative in the future; None where unknown."""
        if self.loaded_at is None or self.checked_at is None:
            return None
        return (self.checked_at - self.loaded_at).total_seconds()


class Unwatched(msgspec.Struct, frozen=True, kw_only=True):
    """A source that is declared and that no run can measure.

    It has no freshness or, if ``has_freshness``, nothing that tells when it was loaded.
    """

    package: str
    source: str
    table: str
    unique_id: str
    has_freshness: bool = False

    @property
    def key(self) -> SourceKey:
        """Package, source and table, as a selection names them."""
        return SourceKey(self.package, self.source, self.table)

    @property
    def name(self) -> str:
        """``source.table``, as people and dbt's selectors write it."""
        return f"{self.source}.{self.table}"


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """A look-up that reads whole tables: how large they are, and what would spare it that.

    ``rows`` is PostgreSQL's estimate, or None if it has none but a guess; ``bytes`` is counted.
    """

    name: str
    relations: tuple[str, ...]
    rows: int | None
    bytes: int | None = None
    seconds: float
    advice: str


class FreshnessReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run: when, by what, of which project, and every source that should be in it.

    ``unmatched`` is what of the selection matches nothing, ``unwatched`` every source of the
    project, selected or not, that no run can measure.
    ``declared_at`` is when dbt wrote the manifest, if that was an earlier run, and ``notes`` what
    should be told of it; ``scans`` is None if nobody asked how the look-ups are made.
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
    unwatched: tuple[Unwatched, ...] = ()
    declared_at: datetime | None = None
    notes: tuple[str, ...] = ()
    scans: tuple[Scan, ...] | None = None

    def in_state(self, states: Iterable[State]) -> list[SourceFreshness]:
        """Return the sources in one of ``states``, in the report's order."""
        wanted = frozenset(states)
        return [source for source in self.sources if source.state in wanted]

    @property
    def unmeasured(self) -> list[SourceFreshness]:
        """The sources of which this run learnt no time: what was known of them is kept."""
        return [source for source in self.sources if not source.is_timed]
