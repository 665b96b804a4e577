"""Faults of the Pushgateway, or of what answers in its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from tests.faults import answers
from tests.faults.front import Action
from tests.faults.scene import Scene
from tests.faults.trial import (
    DONE,
    FAILED_PUSH,
    NO_RESULT,
    PARTIAL_PUSH,
    SELECTED_PUSH,
    UNDELIVERED,
    WHOLE_PUSH,
    Command,
    Trial,
    codes,
)

ROOM = "gateway"
ALWAYS, ONCE = 1_000_000, 1

_CONTENTS = {**answers.CUT_BODY, **answers.UNPROVEN}
_GET = {**answers.TRANSPORT, **answers.STATUSES, **_CONTENTS}
_PUT = {**answers.TRANSPORT, **answers.STATUSES, **answers.APPLIED}


def trials() -> Iterator[Trial]:
    """Yield each wrong answer to each kind of request, once and without end."""
    for cleaned in (False, True):
        yield from _each(_GET, "GET", PARTIAL_PUSH, cleaned=cleaned)
    yield from _each(_CONTENTS, "GET", SELECTED_PUSH, cleaned=True)
    yield from _each(_PUT, "PUT", WHOLE_PUSH)
    yield from _each(answers.APPLIED, "PUT", PARTIAL_PUSH)
    yield from _each(_PUT, "POST", FAILED_PUSH)
    yield from _each(answers.FOREIGN, "GET", PARTIAL_PUSH)
    yield from _each(answers.FOREIGN, "GET", SELECTED_PUSH)
    yield from _each({**answers.TRANSPORT, **answers.STATUSES}, "PUT", WHOLE_PUSH, times=ONCE)
    yield from _each(answers.CUT_BODY, "GET", PARTIAL_PUSH, times=ONCE, cleaned=True)
    yield from _harmless()
    yield from _unreachable()
    yield from _wiped()


def _each(
    met: Mapping[str, Action],
    method: str,
    command: Command,
    *,
    times: int = ALWAYS,
    cleaned: bool = False,
) -> Iterator[Trial]:
    for name, action in met.items():
        yield Trial(
            ROOM,
            name,
            _moment(method, command, times, cleaned=cleaned),
            command,
            _codes(method, times, cleaned=cleaned),
            met=(method, action, times),
            cleaned=cleaned,
            told=False,
        )


def _moment(method: str, command: Command, times: int, *, cleaned: bool) -> str:
    words = [method, "of", command.name]
    words += [", nothing remembered"] if cleaned else []
    words += [", once"] if times == ONCE else []
    return " ".join(words).replace(" ,", ",")


def _codes(method: str, times: int, *, cleaned: bool) -> frozenset[int]:
    if method == "POST":
        return codes(NO_RESULT)
    if times == ONCE or (method == "GET" and not cleaned):
        return codes(DONE, UNDELIVERED)  # tried again, or known without the gateway
    return codes(UNDELIVERED)


def _harmless() -> Iterator[Trial]:
    for name, action in answers.HARMLESS.items():
        for command, method in ((WHOLE_PUSH, "PUT"), (PARTIAL_PUSH, "PUT"), (FAILED_PUSH, "POST")):
            yield replace(
                Trial(ROOM, name, f"{method} of {command.name}", command, codes(command.code)),
                met=(method, action, ALWAYS),
            )


@contextmanager
def _down(scene: Scene) -> Iterator[None]:
    scene.stage.front.down()
    yield


@contextmanager
def _wipe(scene: Scene) -> Iterator[None]:
    """Let the gateway lose everything it knew of our group."""
    scene.stage.gateway.request("/metrics/job/dbt-freshness/project/shop/target/prod", "DELETE")
    scene.await_no_group()
    yield


def _unreachable() -> Iterator[Trial]:
    for command in (WHOLE_PUSH, PARTIAL_PUSH, SELECTED_PUSH, FAILED_PUSH):
        code = command.code or UNDELIVERED
        yield Trial(
            *(ROOM, "nobody listens", command.name, command, codes(code)), arrange=_down, told=False
        )


def _wiped() -> Iterator[Trial]:
    """Yield the runs after the gateway has lost its memory; obs has its own."""
    for command in (WHOLE_PUSH, PARTIAL_PUSH, SELECTED_PUSH, FAILED_PUSH):
        yield Trial(
            *(ROOM, "the gateway forgot", command.name, command, codes(command.code)), arrange=_wipe
        )
