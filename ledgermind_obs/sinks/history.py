"""What is on record of the past: what was seen of the sources, and what was built of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from ledgermind_obs.freshness import (
    FUTURE_TOLERANCE,
    STATES,
    FreshnessReport,
    SourceFreshness,
    State,
)

# A source that is loaded each hour has as many changes in four days.
MOST_LOOKS = 100


class Observation(msgspec.Struct, frozen=True, array_like=True):
    """One look at a source, taken between two moments; ``newest`` is None if it had no row.

    All three are Unix seconds. The moments are by the clock that the builds are told by; of a look
    by another clock they are as far apart as the clocks may be.
    """

    since: float
    until: float
    newest: float | None


class Outcome(StrEnum):
    """What a build did to its table or view: wrote it whole, in part or empty, or failed."""

    WRITTEN = "written"
    SPOILT = "spoilt"
    FAILED = "failed"


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One build of a table; times are Unix seconds.

    ``run`` names the invocation, in which all times are by one clock; ``skew`` is how many seconds
    that clock may be off. ``certain`` holds what was once found of the sources in this build, by
    their ids, None if nothing is certain: it counts where what it was found by is forgotten.
    """

    started_at: float
    completed_at: float
    outcome: Outcome
    run: str = ""
    skew: float = 0.0
    certain: Mapping[str, float | None] = {}

    @property
    def begin(self) -> float:
        """The earliest moment at which it may have begun."""
        return self.started_at - self.skew

    def before(self, other: Build) -> bool:
        """Whether it was certainly complete when another began."""
        gap = 0.0 if self.run == other.run else self.skew + other.skew
        return self.completed_at + gap <= other.started_at


class History(msgspec.Struct, frozen=True):
    """What is on record: each source's observations and each table's builds, by their ids."""

    observations: Mapping[str, Sequence[Observation]]
    builds: Mapping[str, Sequence[Build]]


class LastRun(msgspec.Struct, frozen=True):
    """How something last ended, and when dbt wrote that down, in Unix seconds.

    Of a build ``success``, ``error``, ``skipped`` or ``partial``; of a test dbt's word.
    """

    status: str
    at: float


class Record(msgspec.Struct, frozen=True):
    """What is remembered of one project and target.

    ``last`` has each node's last build, ``tests`` each test's last run.
    """

    project: str
    target: str
    observations: dict[str, list[Observation]] = {}
    builds: dict[str, list[Build]] = {}
    last: dict[str, LastRun] = {}
    tests: dict[str, LastRun] = {}

    @property
    def history(self) -> History:
        """What says how old the data is."""
        return History(self.observations, self.builds)


def looks_of(report: FreshnessReport, since: float, until: float) -> dict[str, Observation]:
    """Return what a measurement between two Unix times saw of each source.

    A newest row from the future is no more believed than none.
    """
    return {
        source.unique_id: Observation(since, until, _newest(source))
        for source in report.sources
        if STATES[source.state].measured
    }


def looks_by_check(report: FreshnessReport) -> dict[str, Observation]:
    """Return what was seen of each source when it was checked, by a clock that may be off."""
    gap = FUTURE_TOLERANCE.total_seconds()
    return {
        source.unique_id: Observation(
            source.checked_at.timestamp() - gap,
            source.checked_at.timestamp() + gap,
            _newest(source),
        )
        for source in report.sources
        if STATES[source.state].measured and source.checked_at
    }


def _newest(source: SourceFreshness) -> float | None:
    if source.loaded_at is None or source.state is State.FUTURE:
        return None
    return source.loaded_at.timestamp()


def with_looks(record: Record, looks: Mapping[str, Observation]) -> Record:
    """Return the record with another look at some sources.

    A look that found what the one before found tells nothing new. Of each source the last
    ``MOST_LOOKS`` changes stay.
    """
    observations = dict(record.observations)
    for uid, look in looks.items():
        seen = observations.get(uid, [])
        if not seen or seen[-1].newest != look.newest:
            observations[uid] = [*seen, look][-MOST_LOOKS:]
    return msgspec.structs.replace(record, observations=observations)


def with_builds(record: Record, builds: Mapping[str, Build], last: Mapping[str, LastRun]) -> Record:
    """Return the record with the builds of another run; a run that is known is known once."""
    known = dict(record.builds)
    for uid, build in builds.items():
        others = [other for other in known.get(uid, []) if other.run != build.run]
        known[uid] = [*others, build]
    return msgspec.structs.replace(record, builds=known, last=_later(record.last, last))


def with_tests(record: Record, tests: Mapping[str, LastRun]) -> Record:
    """Return the record with the tests of another run."""
    return msgspec.structs.replace(record, tests=_later(record.tests, tests))


def _later(known: Mapping[str, LastRun], found: Mapping[str, LastRun]) -> dict[str, LastRun]:
    """Return of each node the later of two runs."""
    newer = {uid: run for uid, run in found.items() if uid not in known or known[uid].at <= run.at}
    return {**known, **newer}
