"""From an engine to a report; an engine's code is loaded when it is the one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledgermind_obs.engines.progress import OnProgress, ignore
from ledgermind_obs.engines.settings import Engine, Postgres, Recorded
from ledgermind_obs.freshness import FreshnessReport


def measure(
    engine: Engine,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_progress: OnProgress = ignore,
    meanwhile: Callable[[], None] = lambda: None,
) -> FreshnessReport:
    """Return the freshness of the project's sources, or of the selected ones, as dbt sees it.

    ``on_progress`` is called as sources are begun and finished, from whatever thread, ``meanwhile``
    once while the engine works.
    Raises DbtError, ArtifactError or ConfigurationError where there is no report.
    """
    if isinstance(engine, Postgres):
        from ledgermind_obs.engines.postgres.engine import measure_directly

        return measure_directly(engine, select, exclude, on_progress, meanwhile)
    if isinstance(engine, Recorded):
        from ledgermind_obs.engines.recorded import read_recorded

        return read_recorded(engine, select, exclude, meanwhile)
    from ledgermind_obs.engines.dbt import measure_by_dbt

    return measure_by_dbt(engine, select, exclude, on_progress, meanwhile)
