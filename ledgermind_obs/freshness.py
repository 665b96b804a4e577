"""What dbt measured, and what it should have measured: one report of both.

dbt leaves a source out of ``sources.json`` when its query fails, and nothing in the file says so
(``FreshnessExecutionResultArtifact.from_result`` in dbt-core keeps successful results only). The
manifest of the same run says which sources there should be, the log says why one is not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

from ledgermind_obs.dbt.log import RunLog, database_message
from ledgermind_obs.dbt.manifest import Freshness, Manifest, Metadata, Source
from ledgermind_obs.errors import ArtifactError, NothingSelectedError

FUTURE_TOLERANCE = timedelta(minutes=5)

# sources.json, and the freshness.json of dbt v2's own ``dbt freshness``.
_SCHEMAS = ("/dbt/sources/", "/dbt/freshness/")


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


class Result(msgspec.Struct, frozen=True):
    """One entry of ``sources.json``."""

    unique_id: str
    status: str
    max_loaded_at: datetime | None = None
    snapshotted_at: datetime | None = None
    criteria: Freshness | None = None
    error: str | None = None


class Artifact(msgspec.Struct, frozen=True):
    """``sources.json`` (schema v1 to v3), or dbt v2's ``freshness.json``, as dbt writes it."""

    metadata: Metadata
    results: list[Result]
    elapsed_time: float | None = None


def read_artifact(content: bytes, name: str = "sources.json") -> Artifact:
    """Return the freshness artifact in ``content``; ``name`` is what errors call it.

    Raises ArtifactError where it is cut short, not JSON, of another shape or of another schema.
    """
    try:
        artifact = msgspec.json.decode(content, type=Artifact)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{name} cannot be read: {error}") from error
    if not any(schema in artifact.metadata.dbt_schema_version for schema in _SCHEMAS):
        schema = artifact.metadata.dbt_schema_version or "no schema at all"
        raise ArtifactError(f"{name} is not a freshness result of dbt: it names {schema}")
    return artifact


def check_same_run(artifact: Artifact, manifest: Manifest, log: RunLog) -> None:
    """Raise ArtifactError unless artifact, manifest and log are of one dbt invocation."""
    runs = {
        "sources.json": artifact.metadata.invocation_id,
        "manifest.json": manifest.metadata.invocation_id,
        "the log": log.invocation_id,
    }
    if len({run for run in runs.values() if run}) > 1:
        told = ", ".join(f"{name} {run}" for name, run in runs.items() if run)
        raise ArtifactError(f"dbt's files are not of one run: {told}")


def build_report(
    artifact: Artifact,
    manifest: Manifest,
    log: RunLog,
    *,
    whole: bool,
    target: str,
    started_at: datetime,
    duration_seconds: float,
    engine: str = "dbt",
) -> FreshnessReport:
    """Return the report of a run: every source that should have been measured, each in a state.

    Raises ArtifactError where the three do not fit together, NothingSelectedError where there was
    nothing to measure.
    """
    check_same_run(artifact, manifest, log)
    results = {result.unique_id: result for result in artifact.results}
    expected = _expected(results, manifest, log, whole=whole)
    if not expected:
        raise _nothing_to_measure(manifest, log)
    return FreshnessReport(
        started_at=started_at,
        duration_seconds=duration_seconds,
        engine=engine,
        engine_version=artifact.metadata.dbt_version or log.dbt_version,
        project=manifest.metadata.project_name or "",
        target=log.target or target,
        whole=whole,
        sources=tuple(_entry(uid, results.get(uid), manifest, log) for uid in sorted(expected)),
        unmatched=tuple(log.unmatched),
    )


def report_of_artifact(
    artifact: Artifact,
    manifest: Manifest,
    wanted: Iterable[str],
    *,
    target: str,
    name: str = "sources.json",
) -> FreshnessReport:
    """Return what an earlier run of dbt says of the ``wanted`` sources.

    Raises ArtifactError where the artifact does not say when it was written, or holds no source of
    the manifest's project.
    """
    results = {result.unique_id: result for result in artifact.results}
    if not results.keys() & manifest.sources.keys():
        raise ArtifactError(
            f"{name} has not one source of project {manifest.metadata.project_name}",
            "it is of another project, or of a run over nothing: run dbt source freshness",
        )
    elapsed = timedelta(seconds=artifact.elapsed_time or 0.0)
    absent = f"it is not in {name}"
    return FreshnessReport(
        started_at=generated_at(artifact.metadata, name) - elapsed,
        duration_seconds=elapsed.total_seconds(),
        engine="dbt",
        engine_version=artifact.metadata.dbt_version,
        project=manifest.metadata.project_name or "",
        target=target,
        whole=False,
        sources=tuple(_reported(uid, results.get(uid), manifest, absent) for uid in sorted(wanted)),
    )


def _reported(uid: str, result: Result | None, manifest: Manifest, absent: str) -> SourceFreshness:
    if result is None:
        return described(manifest.sources[uid], State.MISSING, message=absent)
    by_todays_limits = msgspec.structs.replace(result, criteria=None)
    return _entry(uid, by_todays_limits, manifest, RunLog())


def generated_at(metadata: Metadata, name: str) -> datetime:
    """Return when dbt wrote an artifact; raises ArtifactError where it does not say."""
    try:
        moment = datetime.fromisoformat(metadata.generated_at)
    except ValueError as error:
        raise ArtifactError(f"{name} does not say when it was written") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def narrowed(report: FreshnessReport, manifest: Manifest, wanted: Iterable[str]) -> FreshnessReport:
    """Return the report of exactly the ``wanted`` sources; what it does not hold is missing."""
    measured = {source.unique_id: source for source in report.sources}
    absent = "it was not measured in this run"
    sources = tuple(
        measured.get(uid) or described(manifest.sources[uid], State.MISSING, message=absent)
        for uid in sorted(wanted)
    )
    return msgspec.structs.replace(report, sources=sources)


def _expected(
    results: dict[str, Result], manifest: Manifest, log: RunLog, *, whole: bool
) -> set[str]:
    """Return the sources that should be in the report.

    dbt alone knows what a selection means: there it is what dbt says it started.
    """
    expected = set(results) | log.started
    if unknown := expected - manifest.sources.keys():
        raise ArtifactError(f"sources.json has {min(unknown)}, which manifest.json does not know")
    if log.total > len(expected):
        raise ArtifactError(
            f"dbt selected {log.total} sources and accounts for {len(expected)} of them"
        )
    return expected | set(manifest.with_freshness()) if whole else expected


def _nothing_to_measure(manifest: Manifest, log: RunLog) -> NothingSelectedError:
    if log.unmatched:
        return NothingSelectedError(
            f"nothing to measure: no source matches {', '.join(log.unmatched)}",
            "see what there is: dbt ls --resource-type source",
        )
    if manifest.with_freshness():
        return NothingSelectedError(
            "nothing to measure: the selection holds no source with freshness",
            "see what has it: dbt ls --resource-type source --output json",
        )
    return NothingSelectedError(
        "nothing to measure: no source of this project has freshness",
        "give the sources warn_after or error_after and a loaded_at_field",
    )


def _entry(uid: str, result: Result | None, manifest: Manifest, log: RunLog) -> SourceFreshness:
    source = manifest.sources[uid]
    if result is None:
        return _unmeasured(source, log)
    if result.status.lower() == "runtime error":
        return described(source, State.QUERY_ERROR, message=_failure(result, uid, log))
    return _measured(source, result)


def _unmeasured(source: Source, log: RunLog) -> SourceFreshness:
    if message := log.errors.get(source.unique_id):
        return described(source, State.QUERY_ERROR, message=message)
    if source.unique_id in log.started:
        return described(source, State.MISSING, message="dbt started on it and gave no result")
    return described(
        source, State.MISSING, message="dbt did not look at it (a default selector leaves it out?)"
    )


def _failure(result: Result, uid: str, log: RunLog) -> str:
    return log.errors.get(uid) or database_message(result.error or "dbt gave no reason")


def _measured(source: Source, result: Result) -> SourceFreshness:
    loaded_at, checked_at = _aware(result.max_loaded_at), _aware(result.snapshotted_at)
    if checked_at is None:
        return described(source, State.QUERY_ERROR, message="dbt does not say when it looked")
    state = _state(result.status, loaded_at, checked_at)
    if state is State.QUERY_ERROR:
        message = f"dbt gave it a status that is not known here: {result.status!r}"
        return described(source, state, message=message)
    return described(
        source,
        state,
        criteria=result.criteria,
        loaded_at=None if state is State.EMPTY else loaded_at,
        checked_at=checked_at,
    )


def _state(status: str, loaded_at: datetime | None, checked_at: datetime) -> State:
    if loaded_at is None or loaded_at.year == 1:
        return State.EMPTY
    if loaded_at - checked_at > FUTURE_TOLERANCE:
        return State.FUTURE
    verdicts = {str(state): state for state in (State.PASS, State.WARN, State.ERROR)}
    return verdicts.get(status.lower(), State.QUERY_ERROR)


def described(
    source: Source,
    state: State,
    *,
    criteria: Freshness | None = None,
    loaded_at: datetime | None = None,
    checked_at: datetime | None = None,
    message: str = "",
) -> SourceFreshness:
    """Return a source's entry; its limits are the manifest's unless ``criteria`` has others."""
    limits = criteria or source.freshness or Freshness()
    return SourceFreshness(
        package=source.package_name,
        source=source.source_name,
        table=source.name,
        unique_id=source.unique_id,
        database=source.database or "",
        schema=source.schema or "",
        identifier=source.identifier or source.name,
        state=state,
        loaded_at=loaded_at,
        checked_at=checked_at,
        warn_after_seconds=limits.warn_after_seconds,
        error_after_seconds=limits.error_after_seconds,
        message=message,
    )


def _aware(moment: datetime | None) -> datetime | None:
    """Return the moment with a zone: dbt takes a time without one as UTC."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
