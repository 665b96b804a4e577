"""Queries to a Prometheus, or to what speaks its API; only a whole answer counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.http.client import Response, request
from ledgermind_obs.http.endpoint import Endpoint

Series = TypeVar("Series")

SEE_SERVER = "is this the URL of a Prometheus server?"

_OK = 200


class _Data(msgspec.Struct, Generic[Series], frozen=True):
    resultType: str = ""  # noqa: N815 - Prometheus' own name
    result: list[Series] = msgspec.field(default_factory=list)


class _Answer(msgspec.Struct, Generic[Series], frozen=True):
    """What Prometheus answers; ``infos``, which it may add, say nothing against the data.

    ``isPartial`` is VictoriaMetrics' word: one of its storage nodes did not answer.
    """

    status: str = ""
    error: str = ""
    warnings: list[str] | None = None
    isPartial: bool = False  # noqa: N815 - VictoriaMetrics' own name
    data: _Data[Series] | None = None


def vector(endpoint: Endpoint, parameters: Mapping[str, str], series: type[Series]) -> list[Series]:
    """Return the series of an instant query; raises DestinationError unless the answer is whole."""
    return _result(endpoint, f"/api/v1/query?{urlencode(parameters)}", "vector", series)


def matrix(endpoint: Endpoint, parameters: Mapping[str, str], series: type[Series]) -> list[Series]:
    """Return the series of a range query; raises DestinationError unless the answer is whole."""
    return _result(endpoint, f"/api/v1/query_range?{urlencode(parameters)}", "matrix", series)


def _result(endpoint: Endpoint, path: str, kind: str, series: type[Series]) -> list[Series]:
    answer = _decoded(endpoint, request(endpoint, "GET", path), series)
    if answer.status != "success":
        words = " ".join(answer.error.split()) or "no reason"
        raise DestinationError(f"{endpoint.url} could not run the query: {words}")
    if answer.warnings or answer.isPartial:
        words = " ".join(answer.warnings[0].split()) if answer.warnings else "isPartial is true"
        raise DestinationError(
            f"{endpoint.url} answered in part only: {words}",
            "see its own sources: a remote store or a replica may be down",
        )
    if answer.data is None or answer.data.resultType != kind:
        raise DestinationError(f"{endpoint.url} does not answer with a {kind}", SEE_SERVER)
    return answer.data.result


def _decoded(endpoint: Endpoint, response: Response, series: type[Series]) -> _Answer[Series]:
    _check_form(endpoint, response)
    try:
        return decode(response.body, _Answer[series])  # type: ignore[valid-type]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DestinationError(
            f"{endpoint.url} does not answer as Prometheus does: {error}", SEE_SERVER
        ) from error


def _check_form(endpoint: Endpoint, response: Response) -> None:
    if response.status != _OK:
        raise DestinationError(
            f"{endpoint.url} refused the query with {response.status}: {response.words}"
        )
    if response.headers.get("Content-Encoding"):
        raise DestinationError(
            f"{endpoint.url} answers in an encoding that was not asked for",
            "see what a proxy in front of it changes",
        )
    content_type = str(response.headers.get("Content-Type") or "none")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise DestinationError(
            f"{endpoint.url} does not answer with JSON but with type {content_type}", SEE_SERVER
        )
