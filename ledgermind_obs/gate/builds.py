"""From what dbt says of its runs to what is on record, and from that to series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ledgermind_obs import metrics
from ledgermind_obs.dbt.manifest import Node
from ledgermind_obs.dbt.run_results import (
    NodeBuild,
    RunResults,
    Status,
    results_of_tests,
    written_at,
)
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.gate.as_of import AsOf
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.metrics import Series
from ledgermind_obs.sinks.history import (
    Build,
    LastRun,
    Outcome,
    Record,
    with_builds,
    with_tests,
)

_GREEN = frozenset({"pass", "warn", "success"})
_OUTCOMES = {
    Status.SUCCESS: Outcome.WRITTEN,
    Status.PARTIAL: Outcome.SPOILT,
    Status.ERROR: Outcome.FAILED,
}


def check_of_project(found: RunResults, lineage: Lineage, target: str, name: str) -> None:
    """Raise ArtifactError unless a run was of this project and target, as far as it tells."""
    builds = found.builds
    known = [build for build in builds if build.unique_id in lineage.nodes]
    if builds and not known:
        raise ArtifactError(
            f"{name} has no model of project {lineage.manifest.metadata.project_name}",
            "name the run_results.json of this project with --run-results",
        )
    if found.args.target and found.args.target != target:
        raise ArtifactError(
            f"{name} is of target {found.args.target}, not of {target}",
            "give the same --target to dbt and to obs",
        )
    for build in known:
        node = lineage.nodes[build.unique_id]
        expected = node.relation_name if isinstance(node, Node) else None
        if expected and build.relation and expected != build.relation:
            raise ArtifactError(
                f"{name} was built elsewhere: it has {build.relation}, "
                f"where target {target} has {expected}",
                "give the same --target to dbt and to obs, or run dbt parse",
            )


def recorded(record: Record, found: RunResults, skew: float) -> Record:
    """Return the record with what a run built and tested.

    ``skew`` is how many seconds its clock may be off. A run of dbt compile or the like changes
    nothing.
    """
    at = written_at(found).timestamp()
    run = found.metadata.invocation_id or found.metadata.generated_at
    builds, last = dict[str, Build](), dict[str, LastRun]()
    for node in found.builds:
        last[node.unique_id] = LastRun(node.status.value, at)
        build = _build(node, run, skew)
        if build:
            builds[node.unique_id] = build
    tests = {uid: LastRun(status, at) for uid, status in results_of_tests(found).items()}
    return with_tests(with_builds(record, builds, last), tests)


def _build(node: NodeBuild, run: str, skew: float) -> Build | None:
    """Return what says how old the data is; of a build without a beginning only that it spoilt."""
    outcome = _OUTCOMES.get(node.status)
    started_at = node.completed_at if node.status is Status.PARTIAL else None
    started_at = node.started_at or started_at
    if outcome is None or started_at is None:
        return None
    return Build(
        started_at=started_at.timestamp(),
        completed_at=node.completed_at.timestamp(),
        outcome=outcome,
        run=run,
        skew=skew,
    )


def reported_nodes(lineage: Lineage) -> list[str]:
    """Return the models and snapshots upstream of any exposure."""
    upstream = lineage.ancestors(lineage.exposures)
    return [uid for uid in upstream if uid.split(".", 1)[0] in {"model", "snapshot"}]


def built_at(record: Record, uid: str) -> float | None:
    """Return when the last build that wrote a node whole began, in Unix seconds."""
    written = [b for b in record.builds.get(uid, []) if b.outcome is Outcome.WRITTEN]
    return max((build.started_at for build in written), default=None)


def failed_tests(lineage: Lineage, record: Record) -> dict[str, list[str]]:
    """Return, of each node that was tested, the ids of the tests that failed when they last ran.

    A test that is no longer in the project says nothing.
    """
    found: dict[str, list[str]] = {}
    for uid, run in record.tests.items():
        for node in _tested_by(lineage, uid):
            failing = found.setdefault(node, [])
            if run.status not in _GREEN:
                failing.append(uid)
    return found


def _tested_by(lineage: Lineage, uid: str) -> list[str]:
    test = lineage.nodes.get(uid)
    if not isinstance(test, Node):
        return []
    return [test.attached_node] if test.attached_node else lineage.parents(uid)


ExposuresAsOf = Mapping[str, Mapping[str, float | None]]


def exposures_as_of(lineage: Lineage, record: Record) -> ExposuresAsOf:
    """Return, of each exposure, the newest moment of each source that it can read."""
    as_of = AsOf(lineage, record.history)
    return {uid: as_of.of(uid) for uid in lineage.exposures}


def build_series(lineage: Lineage, record: Record, as_of: ExposuresAsOf) -> Iterator[Series]:
    """Yield what is on record of the nodes upstream of an exposure, and each exposure's as of."""
    tests = failed_tests(lineage, record)
    for uid in reported_nodes(lineage):
        if uid in record.last:
            labels = node_labels(lineage, uid)
            began = built_at(record, uid)
            if began is not None:
                yield Series(metrics.BUILT_AT, labels, began)
            for status in Status:
                value = float(status.value == record.last[uid].status)
                yield Series(metrics.BUILD_STATUS, (*labels, status.value), value)
            if uid in tests:
                yield Series(metrics.FAILED_TESTS, labels, float(len(tests[uid])))
    yield from as_of_series(lineage, as_of)


def as_of_series(lineage: Lineage, as_of: ExposuresAsOf) -> Iterator[Series]:
    """Yield the newest moment of each source that each exposure can read, where it is known."""
    for uid, moments in as_of.items():
        for name, moment in moments.items():
            source = lineage.manifest.sources[name]
            if moment is not None:
                labels = (lineage.exposures[uid].name, *source.key)
                yield Series(metrics.EXPOSURE_AS_OF, labels, moment)


def node_labels(lineage: Lineage, uid: str) -> tuple[str, str]:
    """Return the labels ``package`` and ``model`` of a node."""
    node = lineage.nodes[uid]
    return node.package_name or uid.split(".")[1], node.label


def kept_series(lineage: Lineage, record: Record, known: Iterable[Series]) -> Iterator[Series]:
    """Yield what a sink knows of nodes that are upstream of an exposure and not on record here."""
    unknown = {node_labels(lineage, u) for u in reported_nodes(lineage) if u not in record.last}
    for series in known:
        of_a_node = series.metric.labels[:2] == metrics.BUILT_AT.labels
        if of_a_node and series.label_values[:2] in unknown:
            yield series
