"""Asks a Prometheus how well the sources kept to their limits."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.freshness import SourceKey
from ledgermind_obs.http.client import Response, request
from ledgermind_obs.http.endpoint import Endpoint
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

_OK = 200
_SEE_SERVER = "is this the URL of a Prometheus server?"


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Matrix(msgspec.Struct, frozen=True):
    resultType: str = ""  # noqa: N815 - Prometheus' own name
    result: list[_Series] = msgspec.field(default_factory=list)


class _Answer(msgspec.Struct, frozen=True):
    status: str = ""
    error: str = ""
    warnings: list[str] | None = None
    isPartial: bool = False  # noqa: N815 - VictoriaMetrics' own name
    data: _Matrix | None = None


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
    response = request(endpoint, "GET", f"/api/v1/query_range?{urlencode(parameters)}")
    answer = _decoded(endpoint, response)
    if answer.status != "success":
        words = " ".join(answer.error.split()) or "no reason"
        raise DestinationError(f"{endpoint.url} could not run the query: {words}")
    if answer.warnings or answer.isPartial:
        words = " ".join(answer.warnings[0].split()) if answer.warnings else "isPartial is true"
        raise DestinationError(
            f"{endpoint.url} answered in part only: {words}",
            "see its own sources: a remote store or a replica may be down",
        )
    if answer.data is None or answer.data.resultType != "matrix":
        raise DestinationError(f"{endpoint.url} does not answer with a matrix", _SEE_SERVER)
    try:
        return {
            SourceKey(*(series.metric.get(label, "") for label in metrics.SOURCE_LABELS)): [
                (at, float(value)) for at, value in series.values
            ]
            for series in answer.data.result
        }
    except ValueError:
        raise DestinationError(
            f"{endpoint.url} does not answer as Prometheus does: a value is no number", _SEE_SERVER
        ) from None


def _decoded(endpoint: Endpoint, response: Response) -> _Answer:
    if response.status != _OK:
        raise DestinationError(
            f"{endpoint.url} refused the query with {response.status}: {response.words}"
        )
    try:
        return msgspec.json.decode(response.body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DestinationError(
            f"{endpoint.url} does not answer as Prometheus does: {error}", _SEE_SERVER
        ) from None
