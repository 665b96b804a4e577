"""From an engine to a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ledgermind_obs.dbt import Dbt, source_freshness
from ledgermind_obs.events import Event
from ledgermind_obs.freshness import FreshnessReport, build_report, read_artifact
from ledgermind_obs.manifest import read_manifest


def measure(
    dbt: Dbt,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda _: None,
) -> FreshnessReport:
    """Return the freshness of the project's sources, or of the selected ones, as dbt sees it.

    Raises DbtError, ArtifactError or NothingSelectedError where there is no report.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    run = source_freshness(dbt, select, exclude, on_event)
    return build_report(
        read_artifact(run.sources),
        read_manifest(run.manifest),
        run.log,
        whole=not (select or exclude),
        target=dbt.project.target,
        started_at=started_at,
        duration_seconds=time.monotonic() - clock,
    )
