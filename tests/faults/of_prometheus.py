"""Faults of the Prometheus that a gate asks for what was last pushed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.faults import answers
from tests.faults.front import Action, Exchange, Reply
from tests.faults.trial import (
    DONE,
    EXPOSURE,
    REFUSED,
    UNDELIVERED,
    UNUSABLE,
    Command,
    Kind,
    Trial,
    codes,
)
from tests.faults.world import FRESH, STALE, UPSTREAM

ROOM = "Prometheus"
HOUR_SECONDS = 3600.0
_STATES = ("pass", "warn", "error", "empty", "future", "query_error", "missing")

Sample = dict[str, Any]
Document = dict[str, Any]

_FRESH = Command("the gate, fresh", EXPOSURE, FRESH, kind=Kind.GATE)
_STALE = Command("the gate, stale", EXPOSURE, STALE, REFUSED, kind=Kind.GATE)


def trials() -> Iterator[Trial]:
    """Yield every wrong answer, over data that are fresh and over data that are not."""
    for fault, change in {**_OF_DOCUMENT, **_OF_SAMPLES}.items():
        yield from _both(fault, answered(change))
    for fault, action in {**_OF_ANSWER, **_OF_TRANSPORT}.items():
        yield from _both(fault, action)
    for fault, action in _WITHOUT_END.items():
        ends = codes(REFUSED, UNUSABLE, UNDELIVERED)
        yield replace(_trial(fault, _STALE, action, ends), seconds=_PATIENCE_SECONDS)
    for fault, cut in _CUTS.items():
        yield from _both(fault, cut)
    yield _trial("no fault", _FRESH, answered(lambda document: document), codes(DONE))
    truth = answered(lambda document: document, lie=False)
    yield _trial("no fault", _STALE, truth, codes(REFUSED))


def _both(fault: str, action: Action) -> Iterator[Trial]:
    for command in (_FRESH, _STALE):
        yield _trial(fault, command, action, codes(REFUSED, UNUSABLE, UNDELIVERED))


def _trial(fault: str, command: Command, action: Action, ends: frozenset[int]) -> Trial:
    return Trial(
        *(ROOM, fault, command.name, command, ends),
        met=("GET", action, 1_000_000),
        argv=("--prometheus", "{front}"),
        seconds=12.0,
    )


def answered(change: Callable[[Document], Document], *, lie: bool = True) -> Action:
    """Return the action of a Prometheus whose answer is changed so."""
    return lambda exchange: exchange.send(bytes(_reply(change(_document(_samples(lie=lie))))))


def _reply(document: Document) -> Reply:
    return Reply(json.dumps(document).encode(), "200 OK", answers.JSON)


def _document(samples: list[Sample]) -> Document:
    return {"status": "success", "data": {"resultType": "vector", "result": samples}}


def _samples(*, lie: bool) -> list[Sample]:
    """Return the series of a push a minute ago, in which everything is fresh, or is not."""
    now = time.time()
    age = HOUR_SECONDS if lie else 720 * HOUR_SECONDS
    found = [
        _sample("dbt_freshness_last_success_timestamp_seconds", now - 60.0),
        _sample("dbt_freshness_run_timestamp_seconds", now - 60.0),
        _sample("dbt_freshness_run_duration_seconds", 1.0),
        _sample("dbt_freshness_run_success", 1.0),
    ]
    for table in UPSTREAM:
        labels = {"package": "shop", "source": "app", "table": table}
        found.append(_sample("dbt_source_loaded_at_seconds", now - age, **labels))
        found.append(_sample("dbt_source_checked_at_seconds", now - 60.0, **labels))
        held = "pass" if lie else "error"
        for state in _STATES:
            number = float(state == held)
            found.append(_sample("dbt_source_freshness_status", number, **labels, status=state))
    return found


def _sample(name: str, number: float, **labels: str) -> Sample:
    group = {"job": "dbt-freshness", "project": "shop", "target": "prod"}
    return {"metric": {"__name__": name, **group, **labels}, "value": [time.time(), repr(number)]}


# Changes of the whole document.


def _with(**others: Any) -> Callable[[Document], Document]:
    return lambda document: {**document, **others}


def _data(**others: Any) -> Callable[[Document], Document]:
    return lambda document: {**document, "data": {**document["data"], **others}}


def _without_status(document: Document) -> Document:
    return {"data": document["data"]}


_OF_DOCUMENT: dict[str, Callable[[Document], Document]] = {
    "an error with data": _with(status="error", errorType="execution", error="timed out"),
    "a warning": _with(warnings=["PromQL: a store could not be reached"]),
    "a partial answer": _with(isPartial=True),
    "no status": _without_status,
    "another status": _with(status="ok"),
    "no data": _with(data=None),
    "a matrix": _data(resultType="matrix"),
    "no type": _data(resultType=None),
    "nothing found": _data(result=[]),
    "null": _data(result=None),
}


# Changes of the samples.


def _each(name: str, change: Callable[[Sample], Sample | None]) -> Callable[[Document], Document]:
    """Return the change of each sample of the metrics whose names end so."""

    def edit(document: Document) -> Document:
        found: list[Sample] = document["data"]["result"]
        told = [change(s) if s["metric"]["__name__"].endswith(name) else s for s in found]
        return _data(result=[sample for sample in told if sample])(document)

    return edit


def _number(name: str, text: str) -> Callable[[Document], Document]:
    return _each(name, lambda sample: {**sample, "value": [sample["value"][0], text]})


def _shifted(name: str, seconds: float) -> Callable[[Document], Document]:
    def shift(sample: Sample) -> Sample:
        moment, number = sample["value"]
        return {**sample, "value": [moment, repr(float(number) + seconds)]}

    return _each(name, shift)


def _evaluated(seconds: float) -> Callable[[Document], Document]:
    """Return the change of the moment at which Prometheus says it looked."""
    return _each("", lambda s: {**s, "value": [s["value"][0] + seconds, s["value"][1]]})


def _labelled(**labels: str) -> Callable[[Document], Document]:
    return _each("", lambda sample: {**sample, "metric": {**sample["metric"], **labels}})


def _unlabelled(name: str) -> Callable[[Document], Document]:
    return _each(
        "",
        lambda sample: {
            **sample,
            "metric": {key: text for key, text in sample["metric"].items() if key != name},
        },
    )


def _dropped(table: str, name: str = "") -> Callable[[Document], Document]:
    return _each(name, lambda s: None if s["metric"].get("table", "") == table else s)


def _doubled(document: Document) -> Document:
    """Return each series also from another instance, where all is as it was a month ago."""
    found: list[Sample] = document["data"]["result"]
    others = [{**s, "metric": {**s["metric"], "instance": "b"}} for s in found]
    return _data(result=[*found, *others])(document)


def _repeated(document: Document) -> Document:
    return _data(result=[*document["data"]["result"] * 2])(document)


def _in_state(state: str, number: str) -> Callable[[Document], Document]:
    def edit(sample: Sample) -> Sample:
        is_it = sample["metric"]["status"] == state
        return {**sample, "value": [sample["value"][0], number]} if is_it else sample

    return _each("_status", edit)


_OF_SAMPLES: dict[str, Callable[[Document], Document]] = {
    **{
        f"newest row {text}": _number("loaded_at_seconds", text) for text in ("NaN", "+Inf", "-Inf")
    },
    **{f"look {text}": _number("checked_at_seconds", text) for text in ("NaN", "+Inf", "-Inf")},
    **{f"push {text}": _number("timestamp_seconds", text) for text in ("NaN", "+Inf", "-Inf")},
    **{f"state {text}": _in_state("pass", text) for text in ("NaN", "+Inf", "0", "2", "yes")},
    "newest row 1e300": _number("loaded_at_seconds", "1e300"),
    "newest row is no number": _number("loaded_at_seconds", "fresh"),
    "look 1e300": _number("checked_at_seconds", "1e300"),
    "newest row ahead": _shifted("loaded_at_seconds", 5 * HOUR_SECONDS),
    "look ahead": _shifted("checked_at_seconds", HOUR_SECONDS),
    "push ahead": _shifted("timestamp_seconds", HOUR_SECONDS),
    "look an hour ago": _shifted("checked_at_seconds", -HOUR_SECONDS),
    "push an hour ago": _shifted("timestamp_seconds", -HOUR_SECONDS),
    "all an hour ahead": _shifted("_seconds", HOUR_SECONDS),
    "answer of yesterday": _evaluated(-24 * HOUR_SECONDS),
    "answer of tomorrow": _evaluated(24 * HOUR_SECONDS),
    "another project": _labelled(project="shed"),
    "another target": _labelled(target="dev"),
    "no project": _unlabelled("project"),
    "no target": _unlabelled("target"),
    "no table": _unlabelled("table"),
    "no package": _unlabelled("package"),
    "no name": _unlabelled("__name__"),
    "one source is absent": _dropped("payments"),
    "one newest row is absent": _dropped("payments", "loaded_at_seconds"),
    "one look is absent": _dropped("payments", "checked_at_seconds"),
    "one state is absent": _dropped("payments", "_status"),
    "two states": _in_state("error", "1"),
    "no push": _dropped("", "last_success_timestamp_seconds"),
    "each series twice": _doubled,
    "each line twice": _repeated,
}

# Changes of the answer.


def _bytes(change: Callable[[bytes], bytes], **headers: str) -> Action:
    pairs = tuple((name.replace("_", "-"), text) for name, text in headers.items())

    def action(exchange: Exchange) -> None:
        body = json.dumps(_document(_samples(lie=True))).encode()
        exchange.send(bytes(Reply(change(body), "200 OK", pairs or answers.JSON)))

    return action


def _under(status: str) -> Action:
    def action(exchange: Exchange) -> None:
        body = json.dumps(_document(_samples(lie=True))).encode()
        exchange.send(bytes(Reply(body, status, answers.JSON)))

    return action


_OF_ANSWER: Mapping[str, Action] = {
    "as HTML": _bytes(lambda body: body, Content_Type="text/html"),
    "as text": _bytes(lambda body: body, Content_Type="text/plain"),
    "without a type": _bytes(lambda body: body, X_Type="none"),
    "encoded as nothing": _bytes(
        lambda body: body, Content_Type="application/json", Content_Encoding="gzip"
    ),
    "cut by half, as if whole": _bytes(lambda body: body[: len(body) // 2]),
    "garbage behind": _bytes(lambda body: body + b"}"),
    "twice over": _bytes(lambda body: body * 2),
    "deep": _bytes(lambda _: b"[" * 200_000),
    "empty body": _bytes(lambda _: b""),
    **{
        f"data under {status[:3]}": _under(status)
        for status in (
            *("201 Created", "202 Accepted", "203 Non-Authoritative Information"),
            *("206 Partial Content", "302 Found", "400 Bad Request", "422 Unprocessable Entity"),
            *("500 Internal Server Error", "503 Service Unavailable"),
        )
    },
}


_RETRIED = ("408", "429", "500", "502", "503", "504")
_OF_TRANSPORT: Mapping[str, Action] = {
    **{
        fault: action
        for fault, action in answers.STATUSES.items()
        if not fault.startswith(_RETRIED)
    },
    **{
        fault: answers.TRANSPORT[fault]
        for fault in ("reset", "cut in the headers", "no HTTP", "two lengths", "status 999")
    },
}
# They last as long as the gate waits for Prometheus, which is half a minute.
_WITHOUT_END: Mapping[str, Action] = {
    fault: answers.TRANSPORT[fault]
    for fault in ("silence", "dripping headers", "endless body", "100 Continue for ever")
}
_PATIENCE_SECONDS = 35.0


def _sized(difference: int) -> Action:
    def action(exchange: Exchange) -> None:
        reply = _reply(_document(_samples(lie=True)))
        length = len(reply.body) + difference
        exchange.send(reply.head(f"Content-Length: {length}") + reply.body)

    return action


def _unsized(exchange: Exchange) -> None:
    reply = _reply(_document(_samples(lie=True)))
    exchange.send(reply.head("Connection: close") + reply.body[:-40])


_CUTS: Mapping[str, Action] = {
    "cut before the last byte": _sized(+1),
    "no length, cut": _unsized,
}
