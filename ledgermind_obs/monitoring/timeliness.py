"""How well each source kept to its limit: what Prometheus is asked, and what follows from it.

A source is within its limit while its newest row is no older than ``warn_after``, or than
``error_after`` if it has no ``warn_after``, as the limits were at that moment. An empty table and a
newest row of the future are not. A moment that nobody exported counts for neither side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.freshness import FUTURE_TOLERANCE, SourceKey, State
from ledgermind_obs.metrics import Metric

DAY_SECONDS = 86_400
STRIP_DAYS = 14
WINDOWS = (7, 30)
DAYS = max(WINDOWS)
# As often as a source is pushed: between two pushes nothing new is known.
STEP_SECONDS = 900
MOST_SAMPLES = 288

_BY = f"by ({', '.join(metrics.SOURCE_LABELS)})"


class Day(msgspec.Struct, frozen=True):
    """What was seen of a source in the 24 hours before ``ends_at`` (Unix seconds).

    Of ``known`` samples ``within`` were within its limit, and ``tolerable`` within its error limit.
    """

    ends_at: float
    known: int = 0
    within: int = 0
    tolerable: int = 0


class Miss(msgspec.Struct, frozen=True):
    """A time past the limit, from the first sample to the first one that is within it again.

    Both are Unix seconds. ``began_at`` is None if it had begun before the window, ``ended_at`` if
    it lasts.
    """

    began_at: float | None
    ended_at: float | None


class Timeliness(msgspec.Struct, frozen=True):
    """A source's days, the oldest first, and where it missed its limit since the last report."""

    days: tuple[Day, ...]
    misses: tuple[Miss, ...] = ()

    def share(self, days: int) -> float | None:
        """Return the share of known time within the limit, 0 to 1; None if nothing is known."""
        known = sum(day.known for day in self.days[-days:])
        return sum(day.within for day in self.days[-days:]) / known if known else None

    def known_seconds(self, days: int) -> float:
        """Return of how many seconds of the last days something is known."""
        return float(STEP_SECONDS * sum(day.known for day in self.days[-days:]))


class History(msgspec.Struct, frozen=True):
    """What a Prometheus knows: until when (Unix seconds), and how far back misses are told."""

    place: str
    ends_at: float
    since_seconds: float
    sources: Mapping[SourceKey, Timeliness]

    def known_days(self) -> float:
        """Return how many days of the longest window are known of the best known source."""
        longest = (t.known_seconds(DAYS) for t in self.sources.values())
        return max(longest, default=0.0) / DAY_SECONDS


def within_limit(labels: Mapping[str, str]) -> str:
    """Return the query that is 1 for a source within its limit, and 0 for one that is not."""
    warn, error = (_best("min", m, labels) for m in (metrics.WARN_AFTER, metrics.ERROR_AFTER))
    return _within(f"({warn} or {error})", labels)


def within_error_limit(labels: Mapping[str, str]) -> str:
    """Return the query that is 1 for a source within its ``error_after``, and 0 otherwise."""
    return _within(_best("min", metrics.ERROR_AFTER, labels), labels)


def counted(function: str, query: str) -> str:
    """Return what ``sum_over_time`` or ``count_over_time`` makes of a query's last 24 hours."""
    return f"{function}(({query})[1d:{STEP_SECONDS}s])"


def _within(limit: str, labels: Mapping[str, str]) -> str:
    loaded = _best("max", metrics.LOADED_AT, labels)
    empty = _best("max", metrics.STATUS, {**labels, "status": State.EMPTY.value})
    tolerance = FUTURE_TOLERANCE.total_seconds()
    in_time = f"(time() - {loaded} <= bool {limit})"
    no_future = f"({loaded} - time() <= bool {tolerance:.0f})"
    return f"({in_time} * {no_future}) or (({empty} == 1) * 0)"


def _best(aggregation: str, metric: Metric, labels: Mapping[str, str]) -> str:
    """Return one series per source, whichever replica or scrape it comes from."""
    matchers = ",".join(f"{name}={quoted(value)}" for name, value in labels.items())
    return f"{aggregation} {_BY} ({metric.name}{{{matchers}}})"


def quoted(text: str) -> str:
    """Return a text as PromQL writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


Samples = Mapping[SourceKey, Sequence[tuple[float, float]]]


def days_of(
    ends: Sequence[float], known: Samples, within: Samples, tolerable: Samples
) -> dict[SourceKey, tuple[Day, ...]]:
    """Return each source's days by the counts that were asked for at each day's end."""
    return {
        key: tuple(
            Day(end, *(int(values.get(end, 0)) for values in columns))
            for end in ends
            for columns in [[dict(part.get(key, ())) for part in (known, within, tolerable)]]
        )
        for key in known
    }


def misses_of(samples: Iterable[tuple[float, float]]) -> tuple[Miss, ...]:
    """Return the times in which samples, in their order, were 0."""
    found: list[Miss] = []
    began: float | None = None
    missing, seen = False, False
    for at, value in samples:
        late = value == 0
        if late and not missing:
            began, missing = (at if seen else None), True
        elif missing and not late:
            found.append(Miss(began, at))
            missing = False
        seen = True
    return (*found, Miss(began, None)) if missing else tuple(found)


def sample_step(since_seconds: float) -> int:
    """Return how many seconds apart the samples of a window are: whole minutes."""
    return max(60, -(-int(since_seconds) // (MOST_SAMPLES * 60)) * 60)
