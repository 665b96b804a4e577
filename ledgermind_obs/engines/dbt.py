"""The engine that runs dbt."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from ledgermind_obs.dbt.artifacts import check_of_run, read_artifact
from ledgermind_obs.dbt.log import Event
from ledgermind_obs.dbt.manifest import read_manifest
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.dbt.reconcile import build_report, check_as_asked
from ledgermind_obs.engines.progress import OnProgress, Progress
from ledgermind_obs.freshness import FreshnessReport


def measure_by_dbt(
    dbt: Dbt,
    select: Sequence[str],
    exclude: Sequence[str],
    on_progress: OnProgress,
    meanwhile: Callable[[], None],
) -> FreshnessReport:
    """Return the freshness of the project's sources by running ``dbt source freshness``.

    Raises DbtError, ArtifactError or NothingSelectedError where there is no report.
    """
    from ledgermind_obs.dbt.process import source_freshness

    started_at, clock = datetime.now(UTC), time.monotonic()
    run = source_freshness(dbt, select, exclude, _told_to(on_progress), meanwhile)
    duration, whole = time.monotonic() - clock, not (select or exclude)
    artifact, manifest = read_artifact(run.sources), read_manifest(run.manifest)
    check_of_run(artifact, started_at, started_at + timedelta(seconds=duration))
    check_as_asked(manifest, run.log, dbt.project.name, dbt.project.target, whole=whole)
    return build_report(
        artifact,
        manifest,
        run.log,
        whole=whole,
        target=dbt.project.target,
        started_at=started_at,
        duration_seconds=duration,
    )


def _told_to(on_progress: OnProgress) -> Callable[[Event], None]:
    """Return what makes progress of dbt's events."""

    def on_event(event: Event) -> None:
        if event.info.name in {"LogStartLine", "LogFreshnessResult"}:
            finished = event.info.name == "LogFreshnessResult"
            on_progress(Progress(event.unique_id, event.data.total, finished))

    return on_event
