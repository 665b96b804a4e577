"""From an engine to a report; an engine's code is loaded when it is the one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ledgermind_obs.dbt.log import Event
from ledgermind_obs.dbt.manifest import read_manifest
from ledgermind_obs.engines.settings import Dbt, Engine, Postgres
from ledgermind_obs.freshness import FreshnessReport, build_report, read_artifact


def measure(
    engine: Engine,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda _: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> FreshnessReport:
    """Return the freshness of the project's sources, or of the selected ones, as dbt sees it.

    ``on_event`` is called with dbt's events as they come, from whatever thread, ``meanwhile`` once
    while the engine works.
    Raises DbtError, ArtifactError or ConfigurationError where there is no report.
    """
    if isinstance(engine, Postgres):
        from ledgermind_obs.engines.postgres.engine import measure_directly

        return measure_directly(engine, select, exclude, on_event, meanwhile)
    return _measure_by_dbt(engine, select, exclude, on_event, meanwhile)


def _measure_by_dbt(
    dbt: Dbt,
    select: Sequence[str],
    exclude: Sequence[str],
    on_event: Callable[[Event], None],
    meanwhile: Callable[[], None],
) -> FreshnessReport:
    from ledgermind_obs.dbt.process import source_freshness

    started_at, clock = datetime.now(UTC), time.monotonic()
    run = source_freshness(dbt, select, exclude, on_event, meanwhile)
    return build_report(
        read_artifact(run.sources),
        read_manifest(run.manifest),
        run.log,
        whole=not (select or exclude),
        target=dbt.project.target,
        started_at=started_at,
        duration_seconds=time.monotonic() - clock,
    )
