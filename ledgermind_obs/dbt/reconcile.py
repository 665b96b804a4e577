"""Artifact, manifest and log become one report.

dbt leaves a source out of ``sources.json`` when its query fails, and nothing in the file says so
(``FreshnessExecutionResultArtifact.from_result`` in dbt-core keeps successful results only). The
manifest of the same run says which sources there should be, the log says why one is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from ledgermind_obs.dbt.artifacts import Artifact, Result, check_written, moment
from ledgermind_obs.dbt.entries import (
    Run,
    Span,
    empty,
    entry_for,
    failed,
    missing,
    one_of_each,
    report_of,
    timed,
)
from ledgermind_obs.dbt.log import RunLog, database_message
from ledgermind_obs.dbt.manifest import Freshness, Manifest, Source
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import FreshnessReport, SourceFreshness, State

# How long a run may have taken that does not say so: dbt v2 writes 0.
UNKNOWN_ELAPSED = timedelta(hours=1)


_VERDICTS = {str(state): state for state in (State.PASS, State.WARN, State.ERROR)}
# Times may be written with less precision than dbt compared them with.
_ROUNDING_SECONDS = 1.0
_WARN_RAISED = (
    "dbt calls it warn, but wrote no time: its flags warn_error and"
    " require_all_warnings_handled_by_warn_error made an error of it;"
    " add LogFreshnessResult to warn in warn_error_options"
)


def check_same_run(artifact: Artifact, manifest: Manifest, log: RunLog) -> None:
    """Raise ArtifactError unless artifact, manifest and log are of one dbt invocation."""
    runs = {
        "sources.json": artifact.metadata.invocation_id,
        "manifest.json": manifest.metadata.invocation_id,
        "the log": log.invocation_id,
        "the log, further on": log.other_invocation_id,
    }
    if len({run for run in runs.values() if run}) > 1:
        told = ", ".join(f"{name} {run}" for name, run in runs.items() if run)
        raise ArtifactError(
            f"dbt's files come from different runs: {told}",
            "see what else writes to the directory, and whether --dbt starts dbt more than once",
        )


def check_as_asked(
    manifest: Manifest, log: RunLog, project: str, target: str, *, whole: bool
) -> None:
    """Raise ArtifactError unless dbt worked on this project and target, and said on what.

    A selection is known from dbt's log alone; without it, a source that failed would not be missed.
    """
    step = "see what --dbt starts: obs needs dbt's own output and options"
    measured = manifest.metadata.project_name
    if measured and measured != project:
        raise ArtifactError(f"dbt worked on project {measured}, not on {project}", step)
    if log.target and log.target != target:
        raise ArtifactError(f"dbt worked on target {log.target}, not on {target}", step)
    if not whole and not log.invocation_id:
        raise ArtifactError("dbt's log does not say which sources it selected", step)


def build_report(
    artifact: Artifact,
    manifest: Manifest,
    log: RunLog,
    *,
    whole: bool,
    target: str,
    started_at: datetime,
    duration_seconds: float,
) -> FreshnessReport:
    """Return the report of a run: every source that should have been measured, each in a state.

    Raises ArtifactError where the three do not fit together, NothingSelectedError where there was
    nothing to measure.
    """
    check_same_run(artifact, manifest, log)
    results = {result.unique_id: result for result in artifact.results}
    expected = _expected(results, manifest, log, whole=whole)
    version = artifact.metadata.dbt_version or log.dbt_version
    run = Run(log.target or target, whole, "dbt", version, started_at, duration_seconds)
    entries = (_entry(manifest.sources[uid], results.get(uid), log, run.span) for uid in expected)
    return report_of(run, manifest, entries, log.unmatched)


def report_of_artifact(
    artifact: Artifact,
    manifest: Manifest,
    wanted: Iterable[str],
    *,
    target: str,
    name: str = "sources.json",
    now: datetime | None = None,
) -> FreshnessReport:
    """Return what an earlier run of dbt says of the ``wanted`` sources; ``now`` is the present.

    Raises ArtifactError if the artifact does not say when it was written, or says that it will be,
    or if it holds no source of the manifest's project.
    """
    written_at = check_written(artifact, name, now or datetime.now(UTC))
    results = {result.unique_id: result for result in artifact.results}
    if not results.keys() & manifest.sources.keys():
        raise ArtifactError(
            f"{name} has not one source of project {manifest.metadata.project_name}",
            "it is of another project, or of a run over nothing: run dbt source freshness",
        )
    span = Span(written_at - (artifact.elapsed or UNKNOWN_ELAPSED), written_at)
    absent = f"it is not in {name}"
    return FreshnessReport(
        started_at=written_at - artifact.elapsed,
        duration_seconds=artifact.elapsed.total_seconds(),
        engine="dbt",
        engine_version=artifact.metadata.dbt_version,
        project=manifest.metadata.project_name or "",
        target=target,
        whole=False,
        sources=one_of_each(
            _reported(manifest.sources[uid], results.get(uid), span, absent)
            for uid in sorted(wanted)
        ),
    )


def report_of_file(
    artifact: Artifact, manifest: Manifest, *, target: str, name: str, now: datetime | None = None
) -> FreshnessReport:
    """Return the report of a run that somebody else started: of the sources that its file holds.

    dbt leaves out a source whose query failed, and one that was not selected: which of both, the
    file does not say. So a file without each source that has freshness is that of a selection.
    Raises ArtifactError if it is of another project, NothingSelectedError if it is empty.
    """
    written_at = check_written(artifact, name, now or datetime.now(UTC))
    results = {result.unique_id: result for result in artifact.results}
    if unknown := results.keys() - manifest.sources.keys():
        raise ArtifactError(
            f"{name} has {min(unknown)}, which manifest.json does not have",
            "give the manifest.json of the same run with --manifest",
        )
    absent = set(manifest.with_freshness()) - results.keys()
    span = Span(written_at - (artifact.elapsed or UNKNOWN_ELAPSED), written_at)
    run = Run(
        target=target,
        whole=not absent,
        engine="dbt",
        engine_version=artifact.metadata.dbt_version,
        started_at=written_at - artifact.elapsed,
        duration_seconds=artifact.elapsed.total_seconds(),
    )
    entries = (_entry(manifest.sources[uid], results[uid], RunLog(), span) for uid in results)
    report = report_of(run, manifest, entries, ())
    notes = (_partial(name, sorted(manifest.sources[uid].label for uid in absent)),)
    return msgspec.structs.replace(report, notes=notes if absent else ())


def _partial(name: str, absent: Sequence[str]) -> str:
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""  # noqa: PLR2004
    return f"{name} leaves out {', '.join(absent[:3])}{more}; what was pushed of them stays"


def _reported(source: Source, result: Result | None, span: Span, absent: str) -> SourceFreshness:
    """Return what an earlier run says of a source, with the limits that the source has today."""
    if result is None:
        return missing(source, absent)
    limits = source.freshness or Freshness()
    return msgspec.structs.replace(
        _entry(source, result, RunLog(), span),
        warn_after_seconds=limits.warn_after_seconds,
        error_after_seconds=limits.error_after_seconds,
    )


def narrowed(report: FreshnessReport, manifest: Manifest, wanted: Iterable[str]) -> FreshnessReport:
    """Return the report of exactly the ``wanted`` sources; what it does not hold is missing.

    It is of the whole project no more if it held any other.
    """
    measured = {source.unique_id: source for source in report.sources}
    absent = "it was not measured in this run"
    names = sorted(wanted)
    sources = tuple(measured.get(uid) or missing(manifest.sources[uid], absent) for uid in names)
    whole = report.whole and measured.keys() <= set(names)
    return msgspec.structs.replace(report, sources=sources, whole=whole)


def _expected(
    results: dict[str, Result], manifest: Manifest, log: RunLog, *, whole: bool
) -> set[str]:
    """Return the sources that should be in the report.

    dbt alone knows what a selection means: there it is what dbt says it started.
    """
    expected = set(results) | log.started
    if unknown := expected - manifest.sources.keys():
        place = "sources.json" if min(unknown) in results else "dbt's log"
        raise ArtifactError(
            f"{place} has {min(unknown)}, which manifest.json does not have",
            "see whether --dbt starts another dbt than the one that wrote manifest.json",
        )
    if log.total > len(expected):
        raise ArtifactError(
            f"dbt selected {log.total} sources and accounts for {len(expected)} of them",
            "see whether something between obs and dbt (--dbt) changes dbt's output",
        )
    return expected | set(manifest.with_freshness()) if whole else expected


def _entry(source: Source, result: Result | None, log: RunLog, span: Span) -> SourceFreshness:
    if result is None:
        return _unmeasured(source, log)
    if result.status.lower() == "runtime error":
        return failed(source, _failure(result, source.unique_id, log))
    return _measured(source, result, span)


def _unmeasured(source: Source, log: RunLog) -> SourceFreshness:
    if source.unique_id in log.warned:
        return entry_for(source, State.WARN, message=_WARN_RAISED)
    if message := log.errors.get(source.unique_id):
        return failed(source, message)
    if source.unique_id in log.started:
        return missing(source, "dbt started on it and gave no result")
    return missing(source, "dbt did not look at it (a default selector leaves it out?)")


def _failure(result: Result, uid: str, log: RunLog) -> str:
    return log.errors.get(uid) or database_message(result.error or "dbt gave no reason")


def _measured(source: Source, result: Result, span: Span) -> SourceFreshness:
    """Return what the entry says, or why it cannot be believed: that costs this source only."""
    try:
        checked_at = moment(result.snapshotted_at)
    except ValueError as error:
        return failed(source, f"dbt does not say when it looked: it wrote {error}")
    if objection := span.objection(checked_at):
        return failed(source, objection)
    if _has_no_row(result):
        return empty(source, checked_at, result.criteria)
    try:
        loaded_at = moment(result.max_loaded_at)
    except ValueError as error:
        return failed(source, f"the newest row's time cannot be read: dbt wrote {error}")
    return _aged(source, result, loaded_at, checked_at)


def _has_no_row(result: Result) -> bool:
    """Return whether dbt says so, by a time of its own or by none and the verdict to match.

    dbt's word for it is the first of January of the year 1; in some zones that is before all time.
    """
    value = result.max_loaded_at
    if value is None:
        return result.status.lower() == "error"
    return str(value).startswith("0001-01-01")


def _aged(
    source: Source, result: Result, loaded_at: datetime, checked_at: datetime
) -> SourceFreshness:
    verdict = _VERDICTS.get(result.status.lower())
    if verdict is None:
        return failed(source, f"dbt gave it a status that is not known here: {result.status!r}")
    age = checked_at - loaded_at
    if worse := _worse(verdict, result.criteria or Freshness(), age):
        return failed(source, f"dbt calls it {verdict}; by its own times and limits it is {worse}")
    return timed(source, verdict, loaded_at, checked_at, result.criteria)


def _worse(state: State, limits: Freshness, age: timedelta) -> State | None:
    """Return the verdict that the entry's own times and limits ask for, if dbt's is better."""
    seconds = age.total_seconds() - _ROUNDING_SECONDS
    if limits.error_after_seconds is not None and seconds > limits.error_after_seconds:
        return None if state is State.ERROR else State.ERROR
    if limits.warn_after_seconds is not None and seconds > limits.warn_after_seconds:
        return State.WARN if state is State.PASS else None
    return None
