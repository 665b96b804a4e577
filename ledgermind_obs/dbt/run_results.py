"""dbt's ``run_results.json``: what a run built, and how its tests went.

Every run overwrites it, and it holds only the nodes of that run. ``dbt compile``, ``dbt show`` and
``dbt docs generate`` write it too, and call each model a success without building it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgspec

from ledgermind_obs.dbt.artifacts import generated_at
from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.dbt.manifest import Metadata
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import FUTURE_TOLERANCE

_SCHEMA = "/dbt/run-results/v6.json"  # dbt 1.8 to 2.0
_BUILDING = frozenset({"build", "run", "seed", "snapshot", "retry"})
_BUILT = frozenset({"model", "snapshot"})
_TESTS = frozenset({"test", "unit_test"})


class Status(StrEnum):
    """How a build ended; dbt's word for it, except that ``partial`` is more than one of them.

    A build is ``partial`` if what it wrote is not all that the model stands for: with ``--empty``,
    ``--sample`` or ``--defer``, over given batches, or with batches that failed.
    """

    SUCCESS = "success"
    ERROR = "error"
    SKIPPED = "skipped"
    PARTIAL = "partial"


class Timing(msgspec.Struct, frozen=True):
    """One phase of a node's run."""

    name: str = ""
    started_at: datetime | None = None
    completed_at: datetime | None = None


class Result(msgspec.Struct, frozen=True):
    """One entry of ``run_results.json``."""

    unique_id: str
    status: str
    timing: list[Timing] | None = None
    message: str | None = None
    relation_name: str | None = None
    batch_results: Any = None


class Args(msgspec.Struct, frozen=True):
    """The options of the run that tell what it did."""

    which: str | None = None
    target: str | None = None
    empty: bool | None = None
    sample: Any = None
    defer: bool | None = None
    event_time_start: Any = None
    event_time_end: Any = None


class RunMetadata(Metadata, frozen=True):
    """Which run of which dbt wrote the results, and when that run began, from dbt 1.10 on."""

    invocation_started_at: datetime | None = None


class RunResults(msgspec.Struct, frozen=True, dict=True):
    """``run_results.json`` as dbt writes it."""

    metadata: RunMetadata
    results: list[Result]
    args: Args

    @cached_property
    def builds(self) -> tuple[NodeBuild, ...]:
        """What the run built, and what it should have built and did not; nothing if none did."""
        command = self.args.which or ""
        if command not in _BUILDING and command != "clone":
            return ()
        built = (result for result in self.results if _kind(result.unique_id) in _BUILT)
        return tuple(_build(result, self) for result in built)


class NodeBuild(msgspec.Struct, frozen=True, kw_only=True):
    """One build of a model or snapshot; ``started_at`` is None if nobody says when it began.

    The times are aware. ``relation`` is where dbt wrote it, as the database quotes it.
    """

    unique_id: str
    status: Status
    started_at: datetime | None
    completed_at: datetime
    relation: str
    message: str


def read_run_results(content: bytes, now: datetime, name: str = "run_results.json") -> RunResults:
    """Return the run results in ``content``; ``name`` is what errors call them.

    Raises ArtifactError if they are cut short, not JSON, of another shape or schema, dated in the
    future, or hold a node twice.
    """
    try:
        found = decode(content, RunResults)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(
            f"{name} cannot be read: {error}", "run dbt build again, to its end"
        ) from error
    if not found.metadata.dbt_schema_version.endswith(_SCHEMA):
        schema = found.metadata.dbt_schema_version or "no schema version"
        raise ArtifactError(
            f"{name} is not a run_results.json that is understood: it has {schema}",
            "write it with dbt 1.8 or newer: dbt build",
        )
    _check_moments(found, now, name)
    _check_duplicates(found, name)
    return found


def results_of_tests(found: RunResults) -> dict[str, str]:
    """Return the status of each test that was run: ``pass``, ``warn``, ``fail`` or ``error``.

    A test that was skipped was not run, and says nothing.
    """
    if (found.args.which or "") not in _BUILDING | {"test"}:
        return {}
    told = {
        result.unique_id: _told(result.status)
        for result in found.results
        if _kind(result.unique_id) in _TESTS
    }
    return {uid: status for uid, status in told.items() if status != "skipped"}


def written_at(found: RunResults, name: str = "run_results.json") -> datetime:
    """Return when dbt wrote the run results; raises ArtifactError if they do not say."""
    return generated_at(found.metadata, name)


def _build(result: Result, found: RunResults) -> NodeBuild:
    phases = [phase for phase in result.timing or [] if phase.started_at and phase.completed_at]
    starts = [_aware(phase.started_at) for phase in phases if phase.started_at]
    ends = [_aware(phase.completed_at) for phase in phases if phase.completed_at]
    run_began = found.metadata.invocation_started_at
    status = _status(result, found.args)
    if not starts and run_began and status in {Status.SUCCESS, Status.PARTIAL}:
        starts = [_aware(run_began)]
    return NodeBuild(
        unique_id=result.unique_id,
        status=status,
        started_at=min(starts, default=None),
        completed_at=max(ends) if ends else generated_at(found.metadata, "run_results.json"),
        relation=result.relation_name or "",
        message=result.message or "",
    )


def _status(result: Result, args: Args) -> Status:
    told = _told(result.status)
    if told == "skipped":
        return Status.SKIPPED
    if told == "partial success" or _writes_in_part(result, args):
        return Status.PARTIAL
    return Status.SUCCESS if told == "success" else Status.ERROR


def _writes_in_part(result: Result, args: Args) -> bool:
    """Whether a build writes less than the model stands for, or reads what is elsewhere."""
    given_batches = result.batch_results and (args.event_time_start or args.event_time_end)
    return bool(args.empty or args.sample or args.defer or given_batches or args.which == "clone")


def _kind(uid: str) -> str:
    return uid.split(".", 1)[0]


def _told(status: str) -> str:
    """Return a status in lower case and words, as dbt 1 writes it."""
    return status.lower().replace("_", " ")


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_moments(found: RunResults, now: datetime, name: str) -> None:
    latest = generated_at(found.metadata, name)
    for build in found.builds:
        latest = max(latest, build.completed_at)
        if build.started_at and build.started_at > build.completed_at:
            raise ArtifactError(f"{name}: {build.unique_id} ended before it began")
    if latest - now > FUTURE_TOLERANCE:
        raise ArtifactError(
            f"{name} is dated {latest:%Y-%m-%d %H:%M:%S} UTC, which is in the future",
            "check the clocks of the host that ran dbt and of this one",
        )


def _check_duplicates(found: RunResults, name: str) -> None:
    seen: set[str] = set()
    for result in found.results:
        if result.unique_id in seen:
            raise ArtifactError(f"{name} holds {result.unique_id} twice", "run dbt build again")
        seen.add(result.unique_id)
