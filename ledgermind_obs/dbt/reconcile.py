"""Artifact, manifest and log become one report.

dbt leaves a source out of ``sources.json`` when its query fails, and nothing in the file says so
(``FreshnessExecutionResultArtifact.from_result`` in dbt-core keeps successful results only). The
manifest of the same run says which sources there should be, the log says why one is not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from ledgermind_obs.dbt.artifacts import Artifact, Result, _aware, generated_at
from ledgermind_obs.dbt.log import RunLog, database_message
from ledgermind_obs.dbt.manifest import Freshness, Manifest, Source
from ledgermind_obs.errors import ArtifactError, NothingSelectedError
from ledgermind_obs.freshness import FUTURE_TOLERANCE, FreshnessReport, SourceFreshness, State


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
        unwatched=manifest.unwatched(),
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
        return entry_for(manifest.sources[uid], State.MISSING, message=absent)
    by_todays_limits = msgspec.structs.replace(result, criteria=None)
    return _entry(uid, by_todays_limits, manifest, RunLog())


def narrowed(report: FreshnessReport, manifest: Manifest, wanted: Iterable[str]) -> FreshnessReport:
    """Return the report of exactly the ``wanted`` sources; what it does not hold is missing."""
    measured = {source.unique_id: source for source in report.sources}
    absent = "it was not measured in this run"
    sources = tuple(
        measured.get(uid) or entry_for(manifest.sources[uid], State.MISSING, message=absent)
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
        return entry_for(source, State.QUERY_ERROR, message=_failure(result, uid, log))
    return _measured(source, result)


def _unmeasured(source: Source, log: RunLog) -> SourceFreshness:
    if message := log.errors.get(source.unique_id):
        return entry_for(source, State.QUERY_ERROR, message=message)
    if source.unique_id in log.started:
        return entry_for(source, State.MISSING, message="dbt started on it and gave no result")
    return entry_for(
        source, State.MISSING, message="dbt did not look at it (a default selector leaves it out?)"
    )


def _failure(result: Result, uid: str, log: RunLog) -> str:
    return log.errors.get(uid) or database_message(result.error or "dbt gave no reason")


def _measured(source: Source, result: Result) -> SourceFreshness:
    loaded_at, checked_at = _aware(result.max_loaded_at), _aware(result.snapshotted_at)
    if checked_at is None:
        return entry_for(source, State.QUERY_ERROR, message="dbt does not say when it looked")
    state = _state(result.status, loaded_at, checked_at)
    if state is State.QUERY_ERROR:
        message = f"dbt gave it a status that is not known here: {result.status!r}"
        return entry_for(source, state, message=message)
    return entry_for(
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


def entry_for(
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
