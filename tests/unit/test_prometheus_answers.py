"""Whoever asks Prometheus, for now or for a range, believes a whole answer and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ledgermind_obs.doctor.answers import query
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.http.endpoint import Endpoint, Tls
from ledgermind_obs.monitoring.history import read_history
from tests.unit.servers import Answer, web

JSON = {"Content-Type": "application/json"}
NOW = 1_800_000_000.0

ASKERS: dict[str, tuple[str, Callable[[Endpoint], object]]] = {
    "doctor": ("vector", lambda endpoint: query(endpoint, "up")),
    "report": ("matrix", lambda endpoint: read_history(endpoint, {}, NOW, 86400.0)),
}


def body(kind: str, **changes: Any) -> bytes:
    whole = {"status": "success", "data": {"resultType": kind, "result": []}}
    return json.dumps({**whole, **changes}).encode()


FAULTS: dict[str, tuple[Callable[[str], Answer], str]] = {
    "a warning": (
        lambda kind: Answer(body=body(kind, warnings=["store-2 is down"]), headers=JSON),
        "in part only: store-2 is down",
    ),
    "a storage node that is down": (
        lambda kind: Answer(body=body(kind, isPartial=True), headers=JSON),
        "in part only",
    ),
    "another kind of data": (
        lambda kind: Answer(body=body("no " + kind), headers=JSON),
        "does not answer with a",
    ),
    "a web page": (
        lambda kind: Answer(body=body(kind), headers={"Content-Type": "text/html"}),
        "but with type text/html",
    ),
    "an encoding": (
        lambda kind: Answer(body=body(kind), headers={**JSON, "Content-Encoding": "gzip"}),
        "in an encoding that was not asked for",
    ),
    "cut short": (
        lambda kind: Answer(body=body(kind)[:-2], headers=JSON),
        "does not answer as Prometheus",
    ),
}


def ask(asker: str, answer: Answer) -> object:
    with web(answer) as server:
        return ASKERS[asker][1](Endpoint.parse(server.url, tls=Tls(), timeout=10.0))


@pytest.mark.parametrize("asker", ASKERS)
def test_a_whole_answer_is_believed(asker: str) -> None:
    kind, _ = ASKERS[asker]

    assert ask(asker, Answer(body=body(kind), headers=JSON)) is not None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("asker", ASKERS)
def test_an_answer_that_is_not_whole_is_refused(asker: str, fault: str) -> None:
    kind, _ = ASKERS[asker]
    answer, words = FAULTS[fault]

    with pytest.raises(DestinationError, match=words):
        ask(asker, answer(kind))
