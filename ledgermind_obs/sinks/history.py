"""What is on record of the past: what was seen of the sources, and what was built of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from ledgermind_obs.freshness import STATES, FreshnessReport, State

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
    """How the last build of a node ended: ``success``, ``error``, ``skipped`` or ``partial``."""

    status: str
    at: float


class Record(msgspec.Struct, frozen=True):
    """What is remembered of one project and target; ``last`` has each node's last build."""

    project: str
    target: str
    observations: dict[str, list[Observation]] = {}
    builds: dict[str, list[Build]] = {}
    last: dict[str, LastRun] = {}

    @property
    def history(self) -> History:
        """What says how old the data is."""
        return History(self.observations, self.builds)


def looks_of(report: FreshnessReport, since: float, until: float) -> dict[str, Observation]:
    """Return what a measurement between two Unix times saw of each source.

    A newest row from the future is no more believed than none.
    """
    return {
        source.unique_id: Observation(
            since,
            until,
            source.loaded_at.timestamp()
            if source.loaded_at and source.state is not State.FUTURE
            else None,
        )
        for source in report.sources
        if STATES[source.state].measured
    }


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
    newest = {
        uid: run
        for uid, run in last.items()
        if uid not in record.last or record.last[uid].at <= run.at
    }
    return msgspec.structs.replace(record, builds=known, last={**record.last, **newest})
