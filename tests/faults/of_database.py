"""Faults of PostgreSQL under the engine that asks it directly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.faults.scene import Scene
from tests.faults.trial import (
    DIRECT_FRESH,
    DIRECT_PARTIAL_PUSH,
    DIRECT_PUSH,
    DIRECT_STALE,
    DONE,
    NO_RESULT,
    REFUSED,
    UNUSABLE,
    USAGE,
    Arrange,
    Command,
    Kind,
    Trial,
    codes,
)

ROOM = "database"
_COMMANDS = (DIRECT_PUSH, DIRECT_PARTIAL_PUSH, DIRECT_FRESH, DIRECT_STALE)
A_QUERY_WAITS = "a query waits"
_CUTS = (1, 9, 40, 200, 400, 500, 600, 900)
_PATIENCE_SECONDS = 60.0
_OF_WAITING = " from pg_stat_activity where wait_event_type = 'Lock'"

Statement = str


def trials() -> Iterator[Trial]:
    """Yield every fault of the line, of the server and of a table."""
    for command in _COMMANDS:
        yield from _of_the_line(command)
        yield from _of_the_server(command)
        yield from _of_a_table(command)
        yield Trial(ROOM, "no fault", command.name, command, codes(command.code))


def _of_the_line(command: Command) -> Iterator[Trial]:
    for spoil in ("refuse", "garbage", "silence"):
        yield _trial(f"the line: {spoil}", command.name, command, _lost(command), _spoilt(spoil, 0))
    for spoil in ("cut", "stall"):
        for after in _CUTS:
            moment = f"after {after} bytes of {command.name}"
            ends = _lost(command) | codes(command.code)
            yield _trial(f"the line: {spoil}", moment, command, ends, _spoilt(spoil, after))


def _spoilt(spoil: str, after: int) -> Arrange:
    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        wire = scene.stage.wire
        wire.spoil, wire.after = spoil, after
        yield
        wire.spoil = ""

    return arrange


def _of_the_server(command: Command) -> Iterator[Trial]:
    ends = _lost(command)
    yield _trial("the server is down", command.name, command, ends, _down)
    faults: dict[str, Callable[[Scene], None]] = {
        "the server is stopped": _stop,
        "the session is ended": _terminate,
        "the query is cancelled": _cancel,
    }
    for fault, deed in faults.items():
        for table in ("orders", "payments"):
            moment = f"{table} waits, {command.name}"
            may = ends | codes(command.code, DONE if command.kind is Kind.PUSH else REFUSED)
            yield _waiting(fault, moment, command, may, while_waiting(table, deed))
    for table in ("orders", "payments"):
        may = ends | codes(command.code, DONE if command.kind is Kind.PUSH else REFUSED)
        fault, moment = "a table is locked", f"{table}, {command.name}"
        yield _waiting(fault, moment, command, may, while_waiting(table, lambda _: None))
    limited = _altered("alter role {} connection limit 0", "alter role {} connection limit -1")
    yield _trial("no connection is left", command.name, command, ends, limited)
    no_login = _altered("alter role {} nologin", "alter role {} login")
    yield _trial("the role may not log in", command.name, command, ends, no_login)


@contextmanager
def _down(scene: Scene) -> Iterator[None]:
    scene.stage.database.stop()
    try:
        yield
    finally:
        scene.stage.database.start()


def while_waiting(table: str, deed: Callable[[Scene], None]) -> Arrange:
    """Return the arrangement that locks a table, and does something once a query waits for it."""

    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        begun = threading.Event()
        holder = threading.Thread(target=_hold, args=(scene, table, deed, begun))
        holder.start()
        begun.wait(_PATIENCE_SECONDS)
        yield
        scene.released.set()
        holder.join()
        scene.stage.database.start()

    return arrange


def _hold(scene: Scene, table: str, deed: Callable[[Scene], None], begun: threading.Event) -> None:
    with scene.locked_table(table):
        begun.set()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not scene.released.is_set() and time.monotonic() < deadline:
            if scene.waiting_queries():
                scene.note(A_QUERY_WAITS)
                deed(scene)
                break
            time.sleep(0.01)
        scene.released.wait(_PATIENCE_SECONDS)


def _stop(scene: Scene) -> None:
    scene.stage.database.stop()


def _terminate(scene: Scene) -> None:
    with scene.sql() as run:
        run("select pg_terminate_backend(pid)" + _OF_WAITING)


def _cancel(scene: Scene) -> None:
    with scene.sql() as run:
        run("select pg_cancel_backend(pid)" + _OF_WAITING)


def _altered(before: Statement, after: Statement) -> Arrange:
    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        with scene.sql() as run:
            run(before, scene.stage.database.user)
        try:
            yield
        finally:
            with scene.sql() as run:
                run(after, scene.stage.database.user)

    return arrange


_TABLE_FAULTS: dict[str, tuple[Statement, Statement]] = {
    "a table is gone": ("alter table {0} rename to away", "alter table away rename to {0}"),
    "a column is gone": (
        "alter table {0} rename loaded_at to away",
        "alter table {0} rename away to loaded_at",
    ),
    "a column is a date": (
        "alter table {0} alter loaded_at type date",
        "alter table {0} alter loaded_at type timestamptz",
    ),
    "a column is text": (
        "alter table {0} alter loaded_at type text",
        "alter table {0} alter loaded_at type timestamptz using loaded_at::timestamptz",
    ),
    "a table is empty": ("delete from {0}", "delete from {0}"),
    "a row is infinite": (
        "update {0} set loaded_at = 'infinity'",
        "delete from {0}",
    ),
    "a row is of the year 10000": (
        "update {0} set loaded_at = '10000-01-01'",
        "delete from {0}",
    ),
    "a row is before Christ": (
        "update {0} set loaded_at = '4000-01-01 BC'",
        "delete from {0}",
    ),
    "a row is of tomorrow": (
        "update {0} set loaded_at = now() + interval '1 day'",
        "delete from {0}",
    ),
}


def _of_a_table(command: Command) -> Iterator[Trial]:
    """Yield what costs one source its answer: a push goes on, a gate above it is shut."""
    gate = command.kind is Kind.GATE
    for fault, statements in _TABLE_FAULTS.items():
        for table in ("payments", "events") if not gate else ("payments",):
            ends = codes(REFUSED) if gate else codes(DONE)
            arrange = _table(table, *statements)
            moment = f"{table}, {command.name}"
            found = _trial(fault, moment, command, ends, arrange)
            yield replace(found, measured_otherwise=(table,))


def _table(table: str, before: Statement, after: Statement) -> Arrange:
    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        with scene.sql() as run:
            run(before, table)
        yield
        with scene.sql() as run:
            run(after, table)

    return arrange


def _trial(
    fault: str, moment: str, command: Command, ends: frozenset[int], arrange: Arrange
) -> Trial:
    return Trial(
        *(ROOM, fault, moment, command, ends),
        arrange=arrange,
        env={"OBS_TIMEOUT": "3s", "OBS_QUERY_TIMEOUT": "1s"},
        seconds=12.0,
        may_lack=True,
    )


def _waiting(
    fault: str, moment: str, command: Command, ends: frozenset[int], arrange: Arrange
) -> Trial:
    return replace(_trial(fault, moment, command, ends, arrange), noted=(A_QUERY_WAITS,))


def _lost(command: Command) -> frozenset[int]:
    gate = [REFUSED] if command.kind is Kind.GATE else []
    return codes(USAGE, NO_RESULT, UNUSABLE, *gate)
