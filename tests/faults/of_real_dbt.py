"""A small share of runs with a real dbt, to see that the fake one is not kinder than it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.faults.of_database import A_QUERY_WAITS, while_waiting
from tests.faults.scene import Scene
from tests.faults.trial import (
    FRESH_CHECK,
    NO_RESULT,
    PARTIAL_PUSH,
    REFUSED,
    SIGNALS,
    STALE_EXPOSURE,
    UNUSABLE,
    USAGE,
    WHOLE_PUSH,
    Command,
    Kind,
    Trial,
    codes,
)

ROOM = "real dbt"
_SECONDS = 100.0


def trials() -> Iterator[Trial]:
    """Yield runs of a real dbt: undisturbed, and disturbed while it waits for a table."""
    for command in (WHOLE_PUSH, PARTIAL_PUSH, STALE_EXPOSURE):
        yield _trial("no fault", command.name, command, codes(command.code))
    for name, number in SIGNALS.items():
        moment = f"a query waits, {WHOLE_PUSH.name}"
        ends = codes(128 + number)
        found = _trial(name, moment, WHOLE_PUSH, ends)
        yield replace(found, arrange=while_waiting("orders", _signal_obs(number)), told=False)
    for fault, number in (("dbt is killed", signal.SIGKILL), ("dbt is terminated", signal.SIGTERM)):
        for command in (WHOLE_PUSH, FRESH_CHECK):
            moment = f"a query waits, {command.name}"
            found = _trial(fault, moment, command, _lost(command))
            yield replace(found, arrange=while_waiting("orders", _signal_dbt(number)))
    yield replace(
        _trial(
            *("the server is stopped", "a query waits, push", WHOLE_PUSH),
            _lost(WHOLE_PUSH) | codes(WHOLE_PUSH.code),
        ),
        may_lack=True,
        arrange=while_waiting("orders", lambda scene: scene.stage.database.stop()),
    )
    yield replace(
        _trial("the deadline comes", "a query waits, push", WHOLE_PUSH, codes(NO_RESULT)),
        arrange=while_waiting("orders", lambda _: None),
        env={"OBS_TIMEOUT": "30s"},
    )


def _trial(fault: str, moment: str, command: Command, ends: frozenset[int]) -> Trial:
    found = Trial(ROOM, fault, moment, replace(command, engine="real"), ends)
    noted = (A_QUERY_WAITS,) if moment.startswith(A_QUERY_WAITS) else ()
    return replace(found, noted=noted, seconds=_SECONDS, env={"OBS_TIMEOUT": "1m"})


def _signal_obs(number: int) -> Callable[[Scene], None]:
    return lambda scene: os.kill(scene.stage.front.client, number)


def _signal_dbt(number: int) -> Callable[[Scene], None]:
    def deed(scene: Scene) -> None:
        for process in scene.processes():
            if process != scene.stage.front.client and scene.is_dbt(process):
                os.kill(process, number)

    return deed


def _lost(command: Command) -> frozenset[int]:
    gate = [REFUSED, USAGE] if command.kind is Kind.GATE else []
    return codes(NO_RESULT, UNUSABLE, *gate)
