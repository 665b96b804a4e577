"""The warehouse, if it is PostgreSQL: asked directly, read-only."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ledgermind_obs.dbt.profiles import ADAPTER, adapter_of
from ledgermind_obs.doctor.check import Area, Check, Seen, SkippedError, failed, warning
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import FUTURE_TOLERANCE

if TYPE_CHECKING:
    from ledgermind_obs.engines.postgres.workers import Explained

# A table of fewer rows is read in a moment, with or without an index.
MANY_ROWS = 100_000
SECONDS = 7.0


def _connects(patient: Patient) -> Seen:
    kind = adapter_of(patient.dbt().project)
    if kind != ADAPTER:
        raise SkippedError(f"the profile is of {kind}; only PostgreSQL is asked directly")
    if find_spec("psycopg2") is None:
        raise SkippedError("psycopg2 is not installed, so PostgreSQL cannot be asked directly")
    from ledgermind_obs.engines.postgres.workers import clock

    profile = patient.profile
    clock(profile, time.monotonic() + SECONDS)
    where = profile.parameters
    return Seen(f"{where['user']} at {where['host']}:{where['port']}, database {where['dbname']}")


def _readable(patient: Patient) -> Seen:
    answers = _explained(patient)
    if not answers:
        raise SkippedError("no source can be asked for directly")
    refused = {name: found.error for name, found in answers.items() if found.error}
    if not refused:
        return Seen(f"{len(answers)} of {len(answers)} sources")
    name, words = next(iter(refused.items()))
    others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return failed(f"{name}: {words}{others}", "see whether table, column and permission are there")


def _explained(patient: Patient) -> dict[str, Explained]:
    """Return PostgreSQL's plan for each source that can be asked for directly, or its refusal."""
    from ledgermind_obs.engines.postgres import lookups, refusals
    from ledgermind_obs.engines.postgres.workers import explained

    asked = [source for source in patient.sources if not refusals.obstacle(source)]
    found = explained(
        patient.profile,
        [lookups.lookup(source) for source in asked],
        time.monotonic() + SECONDS,
    )
    return {source.label: found[source.unique_id] for source in asked if source.unique_id in found}


def _indexes(patient: Patient) -> Seen:
    from ledgermind_obs.engines.postgres.plans import scan

    plans, slow = _explained(patient), []
    for source in patient.sources:
        found = plans.get(source.label)
        scanned = scan(source, found.plan, 0.0) if found and found.plan else None
        if scanned and (scanned.rows or 0) >= MANY_ROWS:
            slow.append(scanned)
    if slow:
        worst = max(slow, key=lambda scanned: scanned.rows or 0)
        words = f"{worst.name} has about {worst.rows:,} rows and no index for max()"
        return warning(words, worst.advice)
    return Seen(f"no look-up has to read {MANY_ROWS:,} rows or more")


def _clock(patient: Patient) -> Seen:
    from ledgermind_obs.engines.postgres.workers import clock

    before = time.time()
    database = clock(patient.profile, time.monotonic() + SECONDS).timestamp()
    return clock_seen("the database", database - (before + time.time()) / 2)


def clock_seen(whose: str, ahead: float) -> Seen:
    """Return what a clock is worth that is so many seconds ahead of this host's."""
    gap = f"{format_age(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this host's clock"
    if abs(ahead) > FUTURE_TOLERANCE.total_seconds():
        return failed(f"{whose} is {gap}", "let both hosts take their time from NTP")
    return Seen(f"{whose} is {gap}" if abs(ahead) >= 1 else "less than 1 s apart")


CHECKS = (
    Check(
        name="warehouse-connects",
        area=Area.WAREHOUSE,
        sentence="the database takes a connection",
        look=_connects,
        needs=("dbt-project",),
        hint="see profiles.yml, and whether the server runs: dbt debug",
    ),
    Check(
        name="warehouse-readable",
        area=Area.WAREHOUSE,
        sentence="each source may be read",
        look=_readable,
        needs=("warehouse-connects", "dbt-parses"),
        hint="see whether table, column and permission are there",
    ),
    Check(
        name="warehouse-indexes",
        area=Area.WAREHOUSE,
        sentence="no look-up has to read a large table",
        look=_indexes,
        needs=("warehouse-readable",),
        hint="make an index on the column in loaded_at_field",
    ),
    Check(
        name="warehouse-clock",
        area=Area.WAREHOUSE,
        sentence="the database's clock agrees with this host's within five minutes",
        look=_clock,
        needs=("warehouse-connects",),
        hint="let both hosts take their time from NTP",
    ),
)
