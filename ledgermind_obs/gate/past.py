"""What was seen of the sources before a build, by who pushed it: for a host that did not look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from ledgermind_obs.freshness import FUTURE_TOLERANCE, SourceKey
from ledgermind_obs.gate.samples import check_samples, query_pushed
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.metrics import CHECKED_AT, LOADED_AT, Series
from ledgermind_obs.sinks.history import Observation, Record

LOOKS = (LOADED_AT, CHECKED_AT)
_GAP = FUTURE_TOLERANCE.total_seconds()


def unseen_sources(lineage: Lineage, record: Record) -> list[str]:
    """Return the measured sources upstream of any exposure that nobody here has ever looked at."""
    upstream = lineage.ancestors(lineage.exposures)
    return [
        uid
        for uid in lineage.manifest.sources
        if uid in upstream and uid not in record.observations and lineage.manifest.measurable(uid)
    ]


def earliest_build(record: Record, runs: Iterable[str]) -> float | None:
    """Return the earliest moment at which a build of these runs may have begun, in Unix seconds."""
    wanted = set(runs)
    begins = [
        build.begin for builds in record.builds.values() for build in builds if build.run in wanted
    ]
    return min(begins, default=None)


def looks_at(endpoint: Endpoint, labels: Mapping[str, str], moment: float) -> list[Series]:
    """Return what Prometheus had at a moment, in Unix seconds, of the looks at the sources.

    Raises DestinationError unless it answers whole, ArtifactError unless its answer is proven.
    """
    samples = query_pushed(endpoint, LOOKS, labels, moment)
    check_samples(samples, LOOKS, labels, datetime.fromtimestamp(moment, UTC))
    return [Series(sample.of, tuple(sample.source), sample.number) for sample in samples]


def before(build: float) -> float:
    """Return when to ask for looks that were certainly made before a build began."""
    return build - _GAP


def looks_of_series(
    lineage: Lineage, wanted: Iterable[str], series: Iterable[Series]
) -> dict[str, Observation]:
    """Return the look at each wanted source of which both times are known.

    Each was taken by another host's clock, which may be five minutes off.
    """
    times: dict[SourceKey, dict[str, float]] = {}
    for one in series:
        if one.source:
            times.setdefault(one.source, {})[one.metric.name] = one.value
    found = {}
    for uid in wanted:
        known = times.get(lineage.manifest.sources[uid].key, {})
        checked_at, loaded_at = known.get(CHECKED_AT.name), known.get(LOADED_AT.name)
        if checked_at is not None and loaded_at is not None:
            found[uid] = Observation(checked_at - _GAP, checked_at + _GAP, loaded_at)
    return found
