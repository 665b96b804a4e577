"""Whether the gate opens in a random history, and whether it may."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple

from ledgermind_obs.freshness import SourceFreshness, State
from ledgermind_obs.gate.built import of_record
from ledgermind_obs.gate.policy import Policy
from ledgermind_obs.gate.tables import judge_tables
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.sinks.history import LastRun, Outcome, Record
from tests.truth.histories import EXPOSURE, World

_STATUSES = {Outcome.WRITTEN: "success", Outcome.SPOILT: "partial", Outcome.FAILED: "error"}


class Decision(NamedTuple):
    """Whether the tables let an exposure through, and the age of the oldest data that it reads."""

    opens: bool
    age: float
    limit: float

    @property
    def is_wrong(self) -> bool:
        """Whether it opened over data that is older than the limit."""
        return self.opens and self.age > self.limit


def decisions(world: World, limit: float) -> Iterator[Decision]:
    """Live through a history, and yield what the gate says each time somebody asks."""
    found: list[Decision] = []
    world.on_ask = lambda: found.append(_decision(world, limit))
    for _ in world.claims():
        pass
    yield from found


def _decision(world: World, limit: float) -> Decision:
    upstream = Upstream(world.lineage, EXPOSURE)
    sources = {uid: _source(world, uid, limit) for uid in upstream.measured}
    now = datetime.fromtimestamp(world.now, UTC)
    judged = judge_tables(of_record(upstream, _record(world)), upstream, sources, Policy(), now)
    truth = world.holds(EXPOSURE)
    oldest = min((truth.get(uid, -inf) for uid in sources), default=inf)
    return Decision(not any(table.blocks for table in judged), world.now - oldest, limit)


def _record(world: World) -> Record:
    history = world.record()
    last = {
        uid: LastRun(_STATUSES[max(builds, key=lambda b: b.completed_at).outcome], world.now)
        for uid, builds in history.builds.items()
    }
    seen = {uid: list(looks) for uid, looks in history.observations.items()}
    built = {uid: list(builds) for uid, builds in history.builds.items()}
    return Record("shop", "prod", seen, built, last)


def _source(world: World, uid: str, limit: float) -> SourceFreshness:
    source = world.lineage.manifest.sources[uid]
    newest = max(world.rows[uid], default=None)
    return SourceFreshness(
        package=source.package_name,
        source=source.source_name,
        table=source.name,
        unique_id=uid,
        database="",
        schema="",
        identifier="",
        state=State.PASS,
        loaded_at=None if newest is None else datetime.fromtimestamp(newest, UTC),
        error_after_seconds=limit,
    )
