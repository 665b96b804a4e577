"""The gate in front of an exposure: what is above it, how fresh that is, may training run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.gate_options import Above, Gate
from ledgermind_obs.dbt.artifacts import Artifact, generated_at, open_artifact
from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import check_project, manifest_of, written_manifest
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.dbt.reconcile import narrowed, report_of_artifact
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import FreshnessReport
from ledgermind_obs.gate.judge import Policy, Verdict, judge, judge_upstream
from ledgermind_obs.gate.prometheus import query_pushed, report_of_pushed
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream, upstream_of

# Measures the sources that these selectors mean.
Measure = Callable[[tuple[str, ...]], FreshnessReport]

_CLOCK_TOLERANCE_SECONDS = 300.0


def upstream_now(dbt: Dbt, gate: Above) -> Upstream:
    """Return what is above the exposure, by a manifest that is as new as the project.

    The caller holds the project's lock, because dbt may have to parse. Raises ConfigurationError.
    """
    opened = manifest_of(dbt, gate.manifest, read_lineage_manifest)
    check_project(opened.manifest.metadata, dbt)
    for note in opened.notes:
        warn(note)
    return upstream_of(Lineage(opened.manifest), gate.exposure)


def decide(
    dbt: Dbt, gate: Gate, policy: Policy, measure: Measure, lock_timeout: float
) -> tuple[Upstream, FreshnessReport, Verdict]:
    """Return what is above the exposure, its freshness by the gate's evidence, and the verdict.

    Raises an ObsError where the evidence cannot be had or cannot be used; that blocks as well.
    """
    if gate.artifact or gate.prometheus:
        upstream = _upstream_beside_others(dbt, gate, lock_timeout)
        report = _known(dbt, gate, upstream)
    else:
        with locked(dbt.project.private_target_path, lock_timeout):
            upstream, report = _measured(dbt, gate, measure)
    names = {spot.node: upstream.lineage.label(spot.node) for spot in upstream.blind_spots}
    verdict = judge(report, policy, datetime.now(UTC))
    return upstream, report, judge_upstream(verdict, upstream.blind_spots, names, gate.tolerated)


def _upstream_beside_others(dbt: Dbt, gate: Gate, lock_timeout: float) -> Upstream:
    """Return what is above the exposure; the lock is taken only where dbt may have to parse."""
    if gate.manifest.path or gate.manifest.no_parse:
        return upstream_now(dbt, gate)
    with locked(dbt.project.private_target_path, lock_timeout):
        return upstream_now(dbt, gate)


def _measured(dbt: Dbt, gate: Gate, measure: Measure) -> tuple[Upstream, FreshnessReport]:
    """Measure, then look at the graph again: the run may have written a manifest of its own."""
    upstream = upstream_now(dbt, gate)
    if not upstream.measured:
        return upstream, _nothing_measured(dbt)
    report = measure(tuple(upstream.selectors))
    if gate.manifest.path is None:
        written = written_manifest(dbt, read_lineage_manifest)
        upstream = upstream_of(Lineage(written.manifest), gate.exposure)
    return upstream, narrowed(report, upstream.lineage.manifest, upstream.measured)


def _nothing_measured(dbt: Dbt) -> FreshnessReport:
    return FreshnessReport(
        started_at=datetime.now(UTC),
        duration_seconds=0.0,
        engine="none",
        engine_version="",
        project=dbt.project.name,
        target=dbt.project.target,
        whole=False,
        sources=(),
    )


def _known(dbt: Dbt, gate: Gate, upstream: Upstream) -> FreshnessReport:
    """Return what an artifact, or Prometheus, knows of the sources above the exposure."""
    target, now = dbt.project.target, datetime.now(UTC)
    manifest, wanted = upstream.lineage.manifest, upstream.measured
    if gate.prometheus:
        labels = {"project": dbt.project.name, "target": target, **gate.prometheus_labels}
        samples = query_pushed(gate.prometheus, labels)
        return report_of_pushed(
            samples, manifest, wanted, target=target, now=now, max_age_seconds=gate.push_max_age
        )
    assert gate.artifact is not None  # noqa: S101 - one of the two was given
    artifact = open_artifact(gate.artifact)
    _check_age(artifact, gate, now)
    return report_of_artifact(artifact, manifest, wanted, target=target, name=str(gate.artifact))


def _check_age(artifact: Artifact, gate: Gate, now: datetime) -> None:
    name = str(gate.artifact)
    age = (now - generated_at(artifact.metadata, name)).total_seconds()
    if age < -_CLOCK_TOLERANCE_SECONDS:
        raise ArtifactError(f"{name} was written {format_age(-age)} from now: a clock is wrong")
    if age > gate.artifact_max_age:
        raise ArtifactError(
            f"{name} is {format_age(age)} old, limit {format_age(gate.artifact_max_age)}",
            "measure again, or say with --artifact-max-age how old it may be",
        )
