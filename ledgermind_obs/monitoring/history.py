"""Asks a Prometheus how well the sources kept to their limits."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.freshness import SourceKey
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.http.prometheus import SEE_SERVER, matrix
from ledgermind_obs.monitoring.timeliness import (
    DAY_SECONDS,
    DAYS,
    STEP_SECONDS,
    History,
    Samples,
    Timeliness,
    counted,
    days_of,
    misses_of,
    sample_step,
    within_error_limit,
    within_limit,
)


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    values: list[tuple[float, str]]


def read_history(
    endpoint: Endpoint, labels: Mapping[str, str], now: float, since_seconds: float
) -> History:
    """Return what Prometheus knows of the sources under these labels, until ``now`` (Unix seconds).

    Raises DestinationError unless it answers whole.
    """
    end = int(now)
    end -= end % STEP_SECONDS == 0  # at a step, two days would share a sample
    ends = [float(end - DAY_SECONDS * back) for back in reversed(range(DAYS))]
    within, tolerable = within_limit(labels), within_error_limit(labels)

    def daily(query: str) -> Samples:
        return _query_range(endpoint, query, ends[0], end, DAY_SECONDS)

    days = days_of(
        ends,
        daily(counted("count_over_time", within)),
        daily(counted("sum_over_time", within)),
        daily(counted("sum_over_time", tolerable)),
    )
    recent = _query_range(endpoint, within, end - since_seconds, end, sample_step(since_seconds))
    return History(
        endpoint.url,
        float(end),
        since_seconds,
        {key: Timeliness(found, misses_of(recent.get(key, ()))) for key, found in days.items()},
    )


def _query_range(endpoint: Endpoint, query: str, start: float, end: float, step: int) -> Samples:
    parameters = {"query": query, "start": f"{start:.0f}", "end": f"{end:.0f}", "step": str(step)}
    found = matrix(endpoint, parameters, _Series)
    try:
        return {
            SourceKey(*(series.metric.get(label, "") for label in metrics.SOURCE_LABELS)): [
                (at, float(value)) for at, value in series.values
            ]
            for series in found
        }
    except ValueError:
        raise DestinationError(
            f"{endpoint.url} does not answer as Prometheus does: a value is no number", SEE_SERVER
        ) from None
