"""What the gate decides by: measured now, an artifact, or what was pushed, each proven or refused.

One way for all of them, with or without an exposure: which sources there should be, what is known
of each, and where nothing can be known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ledgermind_obs.dbt.artifacts import check_age, generated_at, last_artifact, open_artifact
from ledgermind_obs.dbt.manifest import Exposure, LineageManifest, Manifest
from ledgermind_obs.dbt.meta_obs import Settings
from ledgermind_obs.dbt.project import Project
from ledgermind_obs.dbt.reconcile import narrowed, report_of_artifact
from ledgermind_obs.dbt.selectors import holds, is_name, select, split
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError, ConfigurationError
from ledgermind_obs.freshness import (
    UNMEASURED,
    FreshnessReport,
    SourceFreshness,
    Unwatched,
)
from ledgermind_obs.gate.built import Builds, merged, of_series
from ledgermind_obs.gate.runs import builds_here
from ledgermind_obs.lineage.blind_spots import BlindSpot, unwatched_spot
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream, upstream_of
from ledgermind_obs.metrics import BUILD_METRICS, Series
from ledgermind_obs.sinks.history import Observation, looks_by_check, looks_of

if TYPE_CHECKING:  # what is measured now needs no HTTP
    from ledgermind_obs.http.endpoint import Endpoint
    from ledgermind_obs.sinks.pushgateway import Pushgateway

Lock = Callable[[], AbstractContextManager[None]]


class Kind(StrEnum):
    """Where the evidence comes from."""

    MEASURED = "measured"
    ARTIFACT = "artifact"
    PUSHED = "pushed"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, of which project, and by which evidence; ages are in seconds.

    Without ``artifact`` and ``prometheus`` the sources are measured. With ``tables`` what is
    between them and the exposure counts too: by ``run_results`` or the project's own last run and
    its record, or by what was pushed to Prometheus or a ``pushgateway``.
    """

    project: Project
    exposure: str | None = None
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    artifact: Path | None = None
    artifact_max_age: float = 3600.0
    prometheus: Endpoint | None = None
    prometheus_labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    push_max_age: float = 2700.0
    tables: bool = True
    run_results: tuple[Path, ...] = ()
    pushgateway: Pushgateway | None = None


class Instruments(msgspec.Struct, frozen=True, kw_only=True):
    """How a request gets what it needs.

    ``measure`` takes what to select and to exclude. ``declared`` returns the manifest of the
    project as it is now, and takes the lock around dbt; ``written`` the one that a run has left, or
    None if that is the same. ``settings`` returns what a manifest says in ``meta.obs``.
    ``on_exposure`` is called as soon as it is known what the exposure is.
    """

    measure: Callable[[Sequence[str], Sequence[str]], FreshnessReport]
    declared: Callable[[Lock], LineageManifest]
    written: Callable[[], LineageManifest | None]
    settings: Callable[[LineageManifest], Settings] = lambda _: Settings()
    lock: Lock = nullcontext
    on_exposure: Callable[[Exposure], None] = lambda _: None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known: a report, the ids that must be in it, and where nothing can be known.

    ``blind`` has each blind spot's name, ``unmatched`` the parts of the selection that select
    nothing; ``builds`` is None if nobody asked about tables; ``settings`` are the project's own.
    ``origin`` says in words where the report comes from, ``notes`` what to tell of it.
    """

    kind: Kind
    report: FreshnessReport
    expected: frozenset[str]
    gathered_at: datetime
    blind: Mapping[BlindSpot, str] = msgspec.field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    upstream: Upstream | None = None
    builds: Builds | None = None
    settings: Settings = Settings()
    origin: str = ""
    notes: tuple[str, ...] = ()

    def seen_at(self, source: SourceFreshness) -> datetime:
        """Return the moment since which a source's age has grown, at the latest that of its check.

        A run of now is dated by the clock of this machine, so that the gap between two clocks adds
        nothing. What was pushed was checked at different moments, each source at its own.
        """
        started_at, checked_at = self.report.started_at, source.checked_at or self.gathered_at
        if self.kind is Kind.MEASURED:
            return started_at
        return checked_at if self.kind is Kind.PUSHED else min(started_at, checked_at)


class Stopwatch:
    """The present, by the clock of the start, whatever is done to that clock later."""

    def __init__(self) -> None:
        """Start now."""
        self._started_at = datetime.now(UTC)
        self._clock = time.monotonic()

    def now(self) -> datetime:
        """Return the time; of two clocks that disagree, the one by which more has passed."""
        passed = timedelta(seconds=time.monotonic() - self._clock)
        return max(self._started_at + passed, datetime.now(UTC))


def gather(request: Request, instruments: Instruments) -> Evidence:
    """Return the evidence that was asked for.

    Raises an ObsError if it cannot be had or is not proven: nothing opens by it then.
    """
    if request.artifact:
        return _recorded(request, instruments, request.artifact)
    if request.prometheus:
        return _pushed(request, instruments, request.prometheus)
    with instruments.lock():
        return measured_now(request, instruments)


def measured_now(request: Request, instruments: Instruments) -> Evidence:
    """Return what a run finds; the caller holds the project's lock. Raises an ObsError."""
    if request.exposure is None:
        return _whole(request, instruments)
    watch = Stopwatch()
    upstream = _upstream(instruments.declared(nullcontext), request.exposure, instruments)
    began = watch.now()
    if not upstream.measured:
        report = _nothing_measured(request.project, began)
    else:
        report = instruments.measure(upstream.selectors, ())
        upstream = _as_written(upstream, report, request.exposure, instruments)
    looks = looks_of(report, began.timestamp(), watch.now().timestamp())
    return Evidence(
        kind=Kind.MEASURED,
        report=narrowed(report, upstream.lineage.manifest, upstream.measured),
        expected=frozenset(upstream.measured),
        gathered_at=watch.now(),
        unmatched=report.unmatched,
        upstream=upstream,
        builds=_builds(request, upstream, looks),
        settings=instruments.settings(upstream.lineage.manifest),
        blind=_blind_upstream(upstream),
    )


def _whole(request: Request, instruments: Instruments) -> Evidence:
    """Return what a run finds of the project, or of a selection."""
    watch = Stopwatch()
    report = instruments.measure(request.select, request.exclude)
    blind = _blind(_hidden(report), request)
    settings = Settings()
    if blind:  # only they need to know what the project says of itself
        settings = instruments.settings(instruments.written() or instruments.declared(nullcontext))
    return Evidence(
        kind=Kind.MEASURED,
        report=report,
        expected=frozenset(source.unique_id for source in report.sources),
        gathered_at=watch.now(),
        unmatched=tuple(_unmatched(report, request)),
        settings=settings,
        blind=blind,
    )


def _builds(
    request: Request,
    upstream: Upstream,
    looks: Mapping[str, Observation],
    pushed: Builds | None = None,
) -> Builds | None:
    """Return what is known of the tables: here, or as it was pushed; None if nobody asked."""
    if not request.tables:
        return None
    if request.pushgateway:
        series = request.pushgateway.known(BUILD_METRICS)
        pushed = of_series(upstream, series, looks, str(request.pushgateway))
    if pushed and not request.run_results:
        return pushed
    here = builds_here(request.project, request.run_results, looks, upstream)
    return merged(here, pushed) if pushed else here


def last_known(given: Path | None, directories: Iterable[Path], upstream: Upstream) -> Evidence:
    """Return what the last freshness run says of the sources upstream of an exposure.

    Raises ConfigurationError if there was no run, ArtifactError if it cannot be used.
    """
    found = last_artifact(given, directories)
    if found is None:
        raise ConfigurationError(
            "there is no sources.json of this project",
            "measure first: obs freshness check, or name one with --artifact",
        )
    path, artifact = found
    manifest, wanted = upstream.lineage.manifest, upstream.measured
    return Evidence(
        kind=Kind.ARTIFACT,
        report=report_of_artifact(artifact, manifest, wanted, target="", name=str(path)),
        expected=frozenset(wanted),
        gathered_at=datetime.now(UTC),
        upstream=upstream,
        origin=str(path),
    )


def _as_written(
    upstream: Upstream, report: FreshnessReport, exposure: str, instruments: Instruments
) -> Upstream:
    """Return the graph as the run left it: dbt may have seen the project change meanwhile."""
    written = instruments.written()
    if written is None:
        return upstream
    _check_agreement(report, written)
    return _upstream(written, exposure, instruments)


def _check_agreement(report: FreshnessReport, manifest: Manifest) -> None:
    """Raise ArtifactError if a source was measured otherwise than it is declared."""
    for measured in report.sources:
        source = manifest.sources.get(measured.unique_id)
        if source is None:
            continue
        limits = source.freshness
        declared = (
            *(source.database or "", source.schema or "", source.identifier or source.name),
            *(limits.warn_after_seconds if limits else None,),
            *(limits.error_after_seconds if limits else None,),
        )
        found = (
            *(measured.database, measured.schema, measured.identifier),
            *(measured.warn_after_seconds, measured.error_after_seconds),
        )
        if declared != found:
            raise ArtifactError(
                f"{measured.name} was measured by a table or by limits that it does not have now: "
                "the project changed during the run",
                "run it again",
            )


def _upstream(manifest: LineageManifest, exposure: str, instruments: Instruments) -> Upstream:
    upstream = upstream_of(Lineage(manifest), exposure)
    instruments.on_exposure(upstream.exposure)
    return upstream


def _nothing_measured(project: Project, now: datetime) -> FreshnessReport:
    return FreshnessReport(
        started_at=now,
        duration_seconds=0.0,
        engine="none",
        engine_version="",
        project=project.name,
        target=project.target,
        whole=False,
        sources=(),
    )


class _Declared(msgspec.Struct, frozen=True):
    """What a manifest says that there should be, and where nothing can be known."""

    manifest: LineageManifest
    wanted: Sequence[str]
    unmatched: tuple[str, ...]
    upstream: Upstream | None
    blind: Mapping[BlindSpot, str]
    settings: Settings


def _declared(request: Request, instruments: Instruments) -> _Declared:
    """Return what should be known of what was asked for, without a run that says it."""
    manifest = instruments.declared(instruments.lock)
    settings = instruments.settings(manifest)
    if request.exposure is not None:
        upstream = _upstream(manifest, request.exposure, instruments)
        blind = _blind_upstream(upstream)
        return _Declared(manifest, upstream.measured, (), upstream, blind, settings)
    chosen, unmatched = select(manifest, request.select, request.exclude)
    unwatched = manifest.unwatched()
    wanted = [uid for uid in chosen if manifest.measurable(uid)]
    blind = _blind(unwatched, request)
    return _Declared(manifest, wanted, tuple(unmatched), None, blind, settings)


def _recorded(request: Request, instruments: Instruments, path: Path) -> Evidence:
    """Return what an artifact of an earlier run says."""
    declared, watch = _declared(request, instruments), Stopwatch()
    artifact = open_artifact(path)
    check_age(artifact, str(path), request.artifact_max_age, watch.now())
    target = request.project.target
    report = report_of_artifact(
        artifact, declared.manifest, declared.wanted, target=target, name=str(path)
    )
    written = watch.now() - generated_at(artifact.metadata, str(path))
    origin = f"{path}, written {format_age(max(0.0, written.total_seconds()))} ago"
    return _evidence(request, Kind.ARTIFACT, report, declared, watch, origin)


def _pushed(request: Request, instruments: Instruments, endpoint: Endpoint) -> Evidence:
    """Return what was last pushed, as Prometheus has it."""
    from ledgermind_obs.gate.prometheus import pushed

    declared, watch = _declared(request, instruments), Stopwatch()
    project = request.project
    labels = {"project": project.name, "target": project.target, **request.prometheus_labels}
    sources = [declared.manifest.sources[uid] for uid in sorted(declared.wanted)]
    found = pushed(endpoint, labels, sources, watch.now, request.push_max_age)
    evidence = _evidence(
        request, Kind.PUSHED, found.report, declared, watch, found.origin, found.builds
    )
    return msgspec.structs.replace(evidence, notes=found.notes)


def _evidence(
    request: Request,
    kind: Kind,
    report: FreshnessReport,
    declared: _Declared,
    watch: Stopwatch,
    origin: str,
    pushed: Sequence[Series] | None = None,
) -> Evidence:
    upstream, looks, builds = declared.upstream, looks_by_check(report), None
    if upstream:
        seen = of_series(upstream, pushed, looks, origin) if pushed is not None else None
        builds = _builds(request, upstream, looks, seen)
    return Evidence(
        kind=kind,
        report=report,
        expected=frozenset(declared.wanted),
        gathered_at=watch.now(),
        unmatched=declared.unmatched,
        upstream=upstream,
        builds=builds,
        settings=declared.settings,
        origin=origin,
        blind=declared.blind,
    )


def _blind_upstream(upstream: Upstream) -> dict[BlindSpot, str]:
    return {spot: upstream.lineage.label(spot.node) for spot in upstream.blind_spots}


def _blind(unwatched: Iterable[Unwatched], request: Request) -> dict[BlindSpot, str]:
    """Return the sources of the selection that no run can measure, as blind spots.

    What only dbt knows to be in the selection or not counts as being in it.
    """
    found: dict[BlindSpot, str] = {}
    for source in unwatched:
        held = holds(request.select, request.exclude, source.key)
        spot = unwatched_spot(source.unique_id, has_freshness=source.has_freshness)
        if held is None:
            reason = f"{spot.reason}, and only dbt knows whether the selection holds it"
            spot = msgspec.structs.replace(spot, reason=reason)
        if held is not False:
            found[spot] = source.name
    return found


def _hidden(report: FreshnessReport) -> list[Unwatched]:
    """Return the unwatched sources that the report does not itself call unmeasured."""
    told = {source.unique_id for source in report.in_state(UNMEASURED)}
    return [source for source in report.unwatched if source.unique_id not in told]


def _unmatched(report: FreshnessReport, request: Request) -> Iterable[str]:
    """Yield the parts of the selection that select nothing: what was named there is unknown.

    One that excludes nothing only leaves more to be measured. dbt keeps silent about a name that is
    a model's.
    """
    selected, excluded = set(split(request.select)), set(split(request.exclude))
    yield from (c for c in report.unmatched if c in selected or c not in excluded)
    names = {name for s in report.sources for name in (s.table, s.name, f"{s.package}.{s.name}")}
    for criterion in sorted(selected - set(report.unmatched)):
        if is_name(criterion) and criterion not in names:
            yield criterion
