"""What a report for people says, before it has a form: each source, its people, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import STATES, FreshnessReport, SourceFreshness, State
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.monitoring.timeliness import History, Timeliness


class NodeFacts(msgspec.Struct, frozen=True):
    """What is known of a node between the sources and an exposure.

    ``fault`` says what is wrong with its last build or its tests, empty if nothing is known to be;
    ``as_of`` is the newest moment of data that it can hold, None if that is not known.
    """

    fault: str = ""
    as_of: datetime | None = None


class Feed(msgspec.Struct, frozen=True):
    """An exposure downstream of a source, and the names on the shortest way to it."""

    exposure: str
    path: tuple[str, ...]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One source: its state and age (seconds) now, its last known row, who it concerns.

    ``name`` tells it from every other one of the report.
    """

    name: str
    source: SourceFreshness
    state: State
    age_seconds: float | None
    last_row: datetime | None
    owner: str = ""
    feeds: tuple[Feed, ...] = ()
    runbook_url: str = ""
    timeliness: Timeliness | None = None

    @property
    def needs_somebody(self) -> bool:
        """Whether a person has something to do."""
        return self.state is not State.PASS

    @property
    def next_step(self) -> str:
        """What to do."""
        return STATES[self.state].next_step

    @property
    def limits(self) -> str:
        """The limits in words: ``warn 2 d, error 5 d``; empty without one."""
        both = (
            ("warn", self.source.warn_after_seconds),
            ("error", self.source.error_after_seconds),
        )
        return ", ".join(f"{name} {format_age(limit)}" for name, limit in both if limit is not None)


class Unmeasured(msgspec.Struct, frozen=True):
    """A source, or another place in the lineage, that no run can measure."""

    name: str
    reason: str
    next_step: str


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole report; ``entries`` has the worst source first, ``unmeasured`` those without one.

    ``made_at`` is the moment of which the ages are, ``notes`` what a reader must know besides.
    """

    report: FreshnessReport
    made_at: datetime
    entries: tuple[Entry, ...]
    unmeasured: tuple[Unmeasured, ...] = ()
    lineage: Lineage | None = None
    nodes: Mapping[str, NodeFacts] = {}
    history: History | None = None
    origin: str = ""
    notes: tuple[str, ...] = ()

    @property
    def urgent(self) -> list[Entry]:
        """The sources that need somebody, the worst first."""
        return [entry for entry in self.entries if entry.needs_somebody]

    @property
    def fine(self) -> list[Entry]:
        """The sources that need nobody, by name."""
        return [entry for entry in self.entries if not entry.needs_somebody]

    @property
    def faulty(self) -> list[tuple[str, str]]:
        """The tables and views whose last build or test failed, by name, and what failed."""
        label = self.lineage.label if self.lineage else str
        return sorted((label(uid), facts.fault) for uid, facts in self.nodes.items() if facts.fault)

    @property
    def sentence(self) -> str:
        """The one sentence that says how it is."""
        total, urgent, faulty = len(self.entries), len(self.urgent), len(self.faulty)
        if urgent:
            verb = "needs" if urgent == 1 else "need"
            sources = f"{urgent:,} of {_counted(total, 'source')} {verb} somebody"
        else:
            sources = (
                "The one source is fresh" if total == 1 else f"All {total:,} sources are fresh"
            )
        failed = f", and {_counted(faulty, 'model')} failed" if faulty else ""
        return f"{sources}{failed}"

    @property
    def counts(self) -> str:
        """How many sources are in each state, the worst first."""
        counted = Counter(entry.state for entry in self.entries)
        states = (state for state in reversed(State) if counted[state])
        return ", ".join(f"{counted[state]} {state.label}" for state in states)

    @property
    def subject(self) -> str:
        """The project and target in words."""
        return f"{self.report.project}, target {self.report.target}"

    @property
    def method(self) -> str:
        """By what it was measured, and how long that took."""
        report = self.report
        if self.origin:
            return f"from {self.origin}"
        by = " ".join(filter(None, ("dbt", report.engine_version)))
        if report.engine != "dbt":  # what it has a version of is the dbt that wrote the manifest
            by = f"the engine {report.engine} ({by})"
        return f"measured by {by} in {report.duration_seconds:.1f} s"


def _counted(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def moment_in_words(moment: datetime, *, year: bool = True) -> str:
    """Return a moment for people, in UTC: ``Wed 25 Nov 2026, 09:14 UTC``."""
    there = moment.astimezone(UTC)
    day = f"{there:%a} {there.day} {there:%b}"
    return f"{day}{f' {there.year}' if year else ''}, {there:%H:%M} UTC"


def last_row_in_words(entry: Entry, moment: datetime) -> str:
    """Return when the last known row is of, and how long ago that is."""
    if entry.last_row is None:
        return "none: the table is empty" if entry.state is State.EMPTY else "not known"
    age = (moment - entry.last_row).total_seconds()
    ago = f"{format_age(age)} ago" if age >= 0 else f"{format_age(-age)} ahead"
    return f"{moment_in_words(entry.last_row)}, {ago}"


def share_in_words(share: float | None) -> str:
    """Return a share as a percentage that never rounds a miss away."""
    if share is None:
        return "–"
    if share == 1:
        return "100 %"
    return f"{min(share * 100, 99.9):.1f} %"
