"""What is known of a group: by the destination that holds it, and by the memory of its last push.

A source's last known time never goes back because of what was read: of two, the later look counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from enum import StrEnum
from itertools import chain

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.freshness import FreshnessReport, SourceKey
from ledgermind_obs.metrics import Metric, Series

_NEVER = float("-inf")
# What a failed run leaves as it was, beside the series of the sources.
OF_LAST_REPORT = (metrics.LAST_SUCCESS, metrics.BUILD_INFO)


class Destination(msgspec.Struct, frozen=True):
    """Where series go: a URL without credentials, or a path, and the labels of the group."""

    place: str
    labels: Mapping[str, str]


class Known(msgspec.Struct, frozen=True):
    """The series of each source, and those that say when and by what they were reported."""

    sources: Mapping[SourceKey, tuple[Series, ...]]
    of_report: tuple[Series, ...] = ()

    @property
    def reported_at(self) -> float | None:
        """When the last run that gave a report started, as Unix time; None where none is known."""
        return next((s.value for s in self.of_report if s.metric is metrics.LAST_SUCCESS), None)

    def looked_at(self, key: SourceKey) -> float:
        """Return when the source was last looked at with success; minus infinity for never."""
        times = (s.value for s in self.sources.get(key, ()) if s.metric is metrics.CHECKED_AT)
        return next(times, _NEVER)


NOTHING = Known({})


class Standing(StrEnum):
    """How what a destination holds stands to what was last delivered there."""

    SAME = "same"
    LOST = "lost"
    OLDER = "older"
    NEWER = "newer"


def known_of(series: Iterable[Series]) -> Known:
    """Return series by their source."""
    sources: dict[SourceKey, list[Series]] = {}
    of_report = []
    for item in series:
        if key := item.source:
            sources.setdefault(key, []).append(item)
        elif item.metric in OF_LAST_REPORT:
            of_report.append(item)
    return Known({key: tuple(found) for key, found in sources.items()}, tuple(of_report))


def standing(delivered: Known | None, held: Known) -> Standing:
    """Return how what is held stands to what was last delivered, so far as that is remembered."""
    if delivered is None or delivered.reported_at is None:
        return Standing.SAME
    if held.reported_at is None:
        return Standing.LOST
    if held.reported_at > delivered.reported_at:
        return Standing.NEWER
    older = held.reported_at < delivered.reported_at or _looks_older(held, delivered)
    return Standing.OLDER if older else Standing.SAME


def _looks_older(held: Known, delivered: Known) -> bool:
    """Return whether a look is gone or went back, if the sources were read at all."""
    return bool(held.sources) and any(
        held.looked_at(key) < delivered.looked_at(key) for key in delivered.sources
    )


def later(delivered: Known, held: Known, key: SourceKey) -> tuple[Series, ...]:
    """Return the series of a source from its later look; of one look, from the later report."""
    first, second = _rank(held, key), _rank(delivered, key)
    return held.sources.get(key, ()) if first > second else delivered.sources.get(key, ())


def _rank(known: Known, key: SourceKey) -> tuple[bool, float, float]:
    reported_at = known.reported_at
    return (
        key in known.sources,
        known.looked_at(key),
        _NEVER if reported_at is None else reported_at,
    )


def existing(delivered: Known, held: Known) -> Set[SourceKey]:
    """Return the sources that the group has by the later report: a removed one stays removed."""
    ours, theirs = delivered.reported_at, held.reported_at
    if ours is None or theirs is None or ours == theirs:
        return delivered.sources.keys() | held.sources.keys()
    return (held if theirs > ours else delivered).sources.keys()


def kept_series(report: FreshnessReport, delivered: Known, held: Known) -> Iterator[Series]:
    """Yield what stays true after the report.

    A source that was not measured keeps its last known time. A run over a selection leaves the
    sources beside it as they were; a whole run lets those go that are no longer in the project.
    """
    for source in report.unmeasured:
        series = later(delivered, held, source.key)
        last = (item for item in series if item.metric in metrics.LAST_KNOWN)
        yield from (metrics.last_known_series(source, item) for item in last)
    if report.whole:
        return
    beside = existing(delivered, held) - {source.key for source in report.sources}
    for key in sorted(beside):
        yield from later(delivered, held, key)


def restored_series(delivered: Known, held: Known) -> list[Series]:
    """Return the whole of a group as it was last known, for a destination that has lost it."""
    keys = sorted(existing(delivered, held))
    sources = chain.from_iterable(later(delivered, held, key) for key in keys)
    return [*sources, *delivered.of_report]


def needed(report: FreshnessReport) -> tuple[Metric, ...]:
    """Return what must be read back: nothing where the report is whole and complete."""
    if not report.whole:
        return metrics.METRICS
    if not report.unmeasured:
        return ()
    return (*metrics.LAST_KNOWN, metrics.STATUS, metrics.LAST_SUCCESS)
