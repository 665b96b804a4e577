"""The runs of dbt that are known here: what they wrote, and what is on record of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ledgermind_obs.dbt.project import Project
from ledgermind_obs.dbt.regular_file import read_regular
from ledgermind_obs.dbt.run_results import RunResults, read_run_results, written_at
from ledgermind_obs.errors import ConfigurationError, ObsError
from ledgermind_obs.freshness import FUTURE_TOLERANCE
from ledgermind_obs.gate.builds import check_of_project, recorded
from ledgermind_obs.gate.built import Builds, of_record
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.sinks.history import Observation, Record, with_looks
from ledgermind_obs.sinks.record import read_record

RUN_RESULTS = "run_results.json"
MOST_BYTES = 256 << 20
# dbt writes the file as it makes its date; one that was copied here has a later time of change.
_AS_WRITTEN_SECONDS = 2.0


class DbtRun(msgspec.Struct, frozen=True):
    """A run of dbt by the file it wrote; ``skew`` is how many seconds its clock may be off."""

    path: Path
    results: RunResults
    skew: float


def open_run(path: Path, lineage: Lineage, target: str) -> DbtRun:
    """Return the run that wrote ``path``.

    Raises ConfigurationError if it cannot be read, ArtifactError unless it is whole, of this
    project and target, and of the past.
    """
    try:
        content = read_regular(path, MOST_BYTES)
        changed_at = path.stat().st_ctime
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}",
            "run dbt build first, or name its run_results.json with --run-results",
        ) from error
    found = read_run_results(content, datetime.now(UTC), str(path))
    check_of_project(found, lineage, target, str(path))
    late = changed_at - written_at(found).timestamp()
    is_as_written = abs(late) <= _AS_WRITTEN_SECONDS
    return DbtRun(path, found, 0.0 if is_as_written else FUTURE_TOLERANCE.total_seconds())


def with_runs(record: Record, runs: Iterable[DbtRun]) -> Record:
    """Return the record with more runs, the earliest first."""
    for run in sorted(runs, key=lambda run: written_at(run.results)):
        record = recorded(record, run.results, run.skew)
    return record


def built_nothing(run: DbtRun) -> str:
    """Return what to tell of a run that built nothing; an empty text if it built something."""
    if run.results.builds:
        return ""
    command = run.results.args.which or "another command"
    return f"{run.path} is of dbt {command}, which built nothing"


def builds_here(
    project: Project,
    named: Iterable[Path],
    looks: Mapping[str, Observation],
    upstream: Upstream,
) -> Builds:
    """Return what is known here of the nodes upstream of an exposure.

    By the record, by the runs that were named or, if none was, by the project's own last run, and
    by ``looks`` at the sources. Raises ObsError if a run that was named cannot be used; the
    project's own is left out then, with a note.
    """
    notes, paths = list[str](), tuple(named)
    record = read_record(project.private_target_path, project.name, project.target, notes.append)
    runs = [open_run(path, upstream.lineage, project.target) for path in paths]
    own = project.target_path / RUN_RESULTS
    if not paths and own.is_file():
        try:
            runs = [open_run(own, upstream.lineage, project.target)]
        except ObsError as error:
            notes.append(f"the project's own last run is not used: {error}")
    notes += filter(None, (built_nothing(run) for run in runs if paths))
    record = with_looks(with_runs(record, runs), looks)
    builds = of_record(upstream, record, ", ".join(str(run.path) for run in runs))
    return msgspec.structs.replace(builds, notes=tuple(notes))
