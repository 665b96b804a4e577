"""What is known of the tables between the sources and an exposure, and by what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.dbt.run_results import Status
from ledgermind_obs.gate.as_of import AsOf, keeps_content
from ledgermind_obs.gate.builds import built_at, failed_tests, node_labels
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.metrics import Metric, Series
from ledgermind_obs.sinks.history import History, Observation, Record

_BUILT = frozenset({"model", "snapshot"})
_STATUSES = tuple(status.value for status in Status)
AsOfSources = Mapping[str, float | None]
Values = Mapping[tuple[Metric, tuple[str, ...]], float]


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one node; times are Unix seconds.

    ``keeps_content`` says whether it holds rows of its own, as tables do and views do not.
    ``status`` is dbt's word for its last build, empty if none is known, and ``told_at`` when dbt
    wrote that down. ``as_of`` has the newest moment of each source that it can hold, None if that
    is unknown.
    """

    keeps_content: bool
    status: str = ""
    told_at: float | None = None
    built_at: float | None = None
    failed_tests: tuple[str, ...] = ()
    as_of: AsOfSources = {}


class Builds(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the nodes upstream of an exposure, by their ids, and of what it reads.

    ``nodes`` holds every table, and each other node of which something is known. ``as_of`` has the
    newest moment of each source that the exposure can read. ``origin`` says by what, ``notes`` what
    to tell of it.
    """

    nodes: Mapping[str, Built]
    as_of: AsOfSources
    origin: str = ""
    notes: tuple[str, ...] = ()


def of_record(upstream: Upstream, record: Record, origin: str = "") -> Builds:
    """Return what is on record; raises ArtifactError if the lineage has a cycle."""
    as_of = AsOf(upstream.lineage, record.history)
    tests = failed_tests(upstream.lineage, record)
    nodes = {}
    for uid in _nodes(upstream):
        keeps = keeps_content(upstream.lineage, uid)
        last = record.last.get(uid)
        if keeps or last or tests.get(uid):
            nodes[uid] = Built(
                keeps_content=keeps,
                status=last.status if last else "",
                told_at=last.at if last else None,
                built_at=built_at(record, uid),
                failed_tests=tuple(upstream.lineage.label(test) for test in tests.get(uid, ())),
                as_of=as_of.of(uid) if keeps else {},
            )
    return Builds(nodes=nodes, as_of=as_of.of(upstream.uid), origin=origin)


def of_series(
    upstream: Upstream,
    series: Iterable[Series],
    looks: Mapping[str, Observation],
    origin: str,
) -> Builds:
    """Return what was pushed: of each table how it was built, of the exposure what it reads.

    What the exposure reads without a table between is seen by ``looks`` at the sources.
    """
    values = {(one.metric, one.label_values): one.value for one in series}
    as_of = AsOf(upstream.lineage, History({uid: [look] for uid, look in looks.items()}, {}))
    nodes = {}
    for uid in _nodes(upstream):
        keeps = keeps_content(upstream.lineage, uid)
        status = _status(values, upstream, uid)
        if keeps or status:
            nodes[uid] = _pushed(values, node_labels(upstream.lineage, uid), status, keeps=keeps)
    read = {**as_of.of(upstream.uid), **_pushed_as_of(upstream, values)}
    return Builds(nodes=nodes, as_of=read, origin=origin)


def merged(first: Builds, second: Builds) -> Builds:
    """Return what either knows; of a node, or a source, of which both know something the first."""
    nodes = {
        uid: first.nodes[uid] if uid in first.nodes and first.nodes[uid].status else known
        for uid, known in {**first.nodes, **second.nodes}.items()
    }
    as_of = {**second.as_of, **{s: at for s, at in first.as_of.items() if at is not None}}
    return Builds(
        nodes=nodes,
        as_of={source: as_of.get(source) for source in {**first.as_of, **second.as_of}},
        origin=", ".join(filter(None, (first.origin, second.origin))),
        notes=(*first.notes, *second.notes),
    )


def _nodes(upstream: Upstream) -> Iterator[str]:
    return (uid for uid in upstream.walk if uid.split(".", 1)[0] in {*_BUILT, "source"})


def _status(values: Values, upstream: Upstream, uid: str) -> str:
    """Return the one status whose series is 1, else an empty text."""
    if uid.split(".", 1)[0] not in _BUILT:
        return ""
    labels = node_labels(upstream.lineage, uid)
    found = [s for s in _STATUSES if values.get((metrics.BUILD_STATUS, (*labels, s))) == 1.0]
    return found[0] if len(found) == 1 else ""


def _pushed(values: Values, labels: tuple[str, ...], status: str, *, keeps: bool) -> Built:
    failed = int(values.get((metrics.FAILED_TESTS, labels), 0))
    return Built(
        keeps_content=keeps,
        status=status,
        built_at=values.get((metrics.BUILT_AT, labels)),
        failed_tests=(f"{failed} of its tests",) if failed else (),
    )


def _pushed_as_of(upstream: Upstream, values: Values) -> dict[str, float]:
    """Return what was pushed of the data that the exposure reads."""
    name, sources = upstream.exposure.name, upstream.lineage.manifest.sources
    wanted = {uid: (metrics.EXPOSURE_AS_OF, (name, *sources[uid].key)) for uid in upstream.measured}
    return {uid: values[key] for uid, key in wanted.items() if key in values}
