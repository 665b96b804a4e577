"""From an engine to a report: dbt itself, or PostgreSQL asked what dbt would ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ledgermind_obs.dbt import Dbt, source_freshness
from ledgermind_obs.direct import Postgres, measure_directly
from ledgermind_obs.events import Event
from ledgermind_obs.freshness import FreshnessReport, build_report, read_artifact
from ledgermind_obs.manifest import read_manifest

Engine = Dbt | Postgres


def measure(
    engine: Engine,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda _: None,
) -> FreshnessReport:
    """Return the freshness of the project's sources, or of the selected ones, as dbt sees it.

    Raises DbtError, ArtifactError or ConfigurationError where there is no report.
    """
    if isinstance(engine, Postgres):
        return measure_directly(engine, select, exclude)
    started_at, clock = datetime.now(UTC), time.monotonic()
    run = source_freshness(engine, select, exclude, on_event)
    return build_report(
        read_artifact(run.sources),
        read_manifest(run.manifest),
        run.log,
        whole=not (select or exclude),
        target=engine.project.target,
        started_at=started_at,
        duration_seconds=time.monotonic() - clock,
    )
