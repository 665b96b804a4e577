"""The second engine: the manifest says what to ask, PostgreSQL answers, dbt is not run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import msgspec

from ledgermind_obs.dbt.entries import Run, report_of
from ledgermind_obs.dbt.manifest import LookupManifest, Source, read_lookup_manifest
from ledgermind_obs.dbt.manifest_file import ManifestFile, check_project, manifest_of
from ledgermind_obs.dbt.profiles import Profile, check_target, read_profile
from ledgermind_obs.dbt.project import Project, load_yaml
from ledgermind_obs.dbt.selectors import select as selected_sources
from ledgermind_obs.engines.postgres import lookups, refusals
from ledgermind_obs.engines.postgres.lookups import Answer
from ledgermind_obs.engines.postgres.plans import scan, sized
from ledgermind_obs.engines.progress import OnProgress, Progress, ignore
from ledgermind_obs.engines.settings import Postgres
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.freshness import FreshnessReport, Scan


def measure_directly(
    engine: Postgres,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_progress: OnProgress = ignore,
    meanwhile: Callable[[], None] = lambda: None,
) -> FreshnessReport:
    """Return the freshness of the project's sources, or of the selected ones, as dbt would.

    ``on_progress`` is called when a source has been measured, from another thread; ``meanwhile``
    once, while the database works.
    Raises ConfigurationError for what only dbt can measure, DbtError without a database.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    declared = _declared(engine)
    manifest = declared.manifest
    chosen, unmatched = selected_sources(manifest, select, exclude)
    sources = [manifest.sources[unique_id] for unique_id in chosen]
    profile = checked_profile(engine.project, manifest, sources, selected=bool(select))
    deadline = clock + engine.dbt.timeout
    answers = _ask(engine, profile, sources, deadline, on_progress, meanwhile)
    run = Run(
        target=engine.project.target,
        whole=not (select or exclude),
        engine="postgres",
        engine_version=manifest.metadata.dbt_version,
        started_at=started_at,
        duration_seconds=time.monotonic() - clock,
    )
    entries = [lookups.entry(source, answers[source.unique_id], run.span) for source in sources]
    report = report_of(run, manifest, entries, unmatched)
    scans = _scans(profile, sources, answers, deadline) if engine.explain else None
    return msgspec.structs.replace(
        report, declared_at=declared.written_at, scans=scans, notes=declared.notes
    )


def _declared(engine: Postgres) -> ManifestFile[LookupManifest]:
    """Return the manifest that was named, or the one that is proven to be the project's."""
    declared = manifest_of(engine.dbt, engine.manifest, read_lookup_manifest)
    check_project(declared.manifest.metadata, engine.dbt)
    refusals.check_clock(declared.clock)
    return declared


def checked_profile(
    project: Project, manifest: LookupManifest, sources: Sequence[Source], *, selected: bool
) -> Profile:
    """Return the database to ask; raises ConfigurationError for what only dbt measures as it does.

    What was ``selected`` by hand is not narrowed by a default selector.
    """
    refusals.check_manifest(manifest, selected=selected)
    _check_selectors(project.directory, selected=selected)
    refusals.check_hooks(manifest, project.runs_hooks)
    refusals.check_sources(sources)
    profile = read_profile(project)
    check_target(profile, sources)
    return profile


def _check_selectors(directory: Path, *, selected: bool) -> None:
    """Raise ConfigurationError for a default selector.

    dbt keeps an old one in its manifest as long as no other file of the project changes.
    """
    path = directory / "selectors.yml"
    if not selected and path.is_file():
        refusals.check_selectors(load_yaml(path))


def _ask(
    engine: Postgres,
    profile: Profile,
    sources: Sequence[Source],
    deadline: float,
    on_progress: OnProgress,
    meanwhile: Callable[[], None],
) -> Mapping[str, Answer]:
    if not sources:
        return {}
    answers: Mapping[str, Answer] = _workers().ask(
        profile,
        [lookups.lookup(source) for source in sources],
        threads=engine.dbt.threads or profile.threads,
        query_seconds=engine.query_timeout,
        deadline=deadline,
        batch_size=1 if engine.explain else lookups.BATCH_SIZE,
        on_answer=lambda unique_id: on_progress(Progress(unique_id, len(sources), finished=True)),
        meanwhile=meanwhile,
    )
    return answers


def _workers() -> ModuleType:
    """Return the module that talks to PostgreSQL; raises ConfigurationError without psycopg2."""
    try:
        from ledgermind_obs.engines.postgres import workers
    except ImportError as error:
        if not str(error.name).startswith("psycopg2"):
            raise
        raise ConfigurationError(
            "--engine postgres needs psycopg2, which is not installed beside obs",
            "pip install 'ledgermind-obs[postgres]', or use --engine dbt",
        ) from error
    return workers


def _scans(
    profile: Profile, sources: Sequence[Source], answers: Mapping[str, Answer], deadline: float
) -> tuple[Scan, ...]:
    """Return the look-ups that scan whole tables, the slowest first."""
    answered = [source for source in sources if not answers[source.unique_id].error]
    found = _workers().plans(profile, [lookups.lookup(source) for source in answered], deadline)
    scans = [
        scan(source, found[source.unique_id], answers[source.unique_id].seconds)
        for source in answered
        if source.unique_id in found
    ]
    slow = sorted(filter(None, scans), key=lambda found: -found.seconds)
    names = {name for found in slow for name in found.relations}
    sizes = _workers().sizes(profile, names, deadline) if names else {}
    return tuple(sized(found, sizes) for found in slow)
