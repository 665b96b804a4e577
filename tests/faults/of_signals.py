"""Signals to obs itself, at moments of its own, of dbt's and of the gateway's."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace

from tests.faults.front import Action, Exchange
from tests.faults.trial import (
    DIRECT_FRESH,
    DIRECT_PUSH,
    DONE,
    FAILED_PUSH,
    FRESH_CHECK,
    FRESH_EXPOSURE,
    NO_RESULT,
    PARTIAL_PUSH,
    SIGNALS,
    STALE_EXPOSURE,
    TEXTFILE_PUSH,
    WHOLE_PUSH,
    Command,
    Hook,
    Kind,
    Trial,
    codes,
)

ROOM = "signals"
_DBT_MOMENTS = ("begin", "manifest-half", "one-source", "sources-half", "sources", "end")
# What obs does itself, as Python's audit events tell it: the event, and what its arguments match.
_OWN_MOMENTS = {
    "a module is loaded": ("open", r"cli/(__pycache__/)?freshness\."),
    "the lock is opened": ("open", r"obs\.lock"),
    "the lock is taken": ("fcntl.flock", ""),
    "dbt is started": ("subprocess.Popen", r"freshness"),
    "sources.json is read": ("open", r"sources\.json"),
    "manifest.json is read": ("open", r"manifest\.json"),
}
_WAY_OUT = {"the gateway is called": ("socket.connect", r"127\.0\.0\.1")}
_TEXTFILE_MOMENTS = {
    "a temporary file is opened": ("tempfile.mkstemp", r"shop\.prom"),
    "the file takes its place": ("os.rename", r"shop\.prom"),
}


def trials() -> Iterator[Trial]:
    """Yield every signal at every moment."""
    for name in SIGNALS:
        for command in (WHOLE_PUSH, FRESH_EXPOSURE, STALE_EXPOSURE):
            yield from _during_dbt(name, command)
        yield from _hooked(name, WHOLE_PUSH, {**_OWN_MOMENTS, **_WAY_OUT})
        yield from _hooked(name, FRESH_CHECK, _OWN_MOMENTS)
        yield from _hooked(name, TEXTFILE_PUSH, _TEXTFILE_MOMENTS)
        yield from _hooked(name, DIRECT_PUSH, _WAY_OUT)
        yield from _hooked(name, DIRECT_FRESH, {"a module is loaded": ("import", "psycopg2")})
        yield from _while_talking(name)
    yield from _deaf()


def _during_dbt(name: str, command: Command) -> Iterator[Trial]:
    for moment in _DBT_MOMENTS:
        for deed, waits in (("signal_obs_and_wait", "waits"), ("signal_obs", "goes on")):
            wrong = {"at": moment, "do": deed, "how": int(SIGNALS[name])}
            fault = f"{name}, dbt {waits}"
            yield replace(_trial(fault, moment, command, _codes(name, command)), misdeed=wrong)


def _hooked(name: str, command: Command, moments: dict[str, tuple[str, str]]) -> Iterator[Trial]:
    for moment, (event, pattern) in moments.items():
        hook = Hook(event, pattern, "signal", int(SIGNALS[name]))
        yield replace(_trial(name, moment, command, _codes(name, command)), hook=hook)


def _while_talking(name: str) -> Iterator[Trial]:
    number = SIGNALS[name]
    for command, method in ((WHOLE_PUSH, "PUT"), (PARTIAL_PUSH, "GET"), (FAILED_PUSH, "POST")):
        for moment, action in _talks(number).items():
            ends = _codes(name, command) | codes(NO_RESULT)
            place = f"{method} {moment}"
            found = _trial(name, place, command, ends if method == "POST" else ends - {NO_RESULT})
            yield replace(found, met=(method, action, 1))


def _talks(number: signal.Signals) -> dict[str, Action]:
    """Return the moments of an exchange, each with the action that sends the signal in it."""

    def seen(exchange: Exchange) -> None:
        exchange.signal(number)
        exchange.hold()

    def applied(exchange: Exchange) -> None:
        exchange.forward()
        exchange.signal(number)
        exchange.hold()

    def half_answered(exchange: Exchange) -> None:
        content = bytes(exchange.forward())
        exchange.send(content[: len(content) // 2])
        exchange.signal(number)
        exchange.hold()

    def answered(exchange: Exchange) -> None:
        content = bytes(exchange.forward())
        exchange.signal(number)
        exchange.send(content)

    return {"seen": seen, "done": applied, "half answered": half_answered, "answered": answered}


def _deaf() -> Iterator[Trial]:
    """Yield the runs of an obs that was started with SIGINT ignored, as nohup and some CI do."""
    hang = {"at": "one-source", "do": "hang"}
    for command in (WHOLE_PUSH, FRESH_EXPOSURE):
        yield replace(
            _trial("started deaf, dbt hangs", "one-source", command, codes(NO_RESULT)),
            misdeed=hang,
            deaf=True,
            env={"OBS_TIMEOUT": "2s"},
            noted=("interrupted",),
            seconds=12.0,
        )
        yield replace(_trial("started deaf", "no fault", command, codes(command.code)), deaf=True)
    for name in ("INT", "TERM"):
        wrong = {"at": "one-source", "do": "signal_obs", "how": int(SIGNALS[name])}
        ends = codes(DONE, 128 + SIGNALS[name])
        found = _trial(f"started deaf, {name}", "one-source", WHOLE_PUSH, ends)
        yield replace(found, misdeed=wrong, deaf=True)


def _trial(fault: str, moment: str, command: Command, ends: frozenset[int]) -> Trial:
    return Trial(ROOM, fault, f"{moment} of {command.name}", command, ends, told=False)


def _codes(name: str, command: Command) -> frozenset[int]:
    """Return how it may end; a push that had been delivered by then may say so."""
    finished = [command.code] if command.kind is Kind.PUSH else []
    return codes(128 + SIGNALS[name], *finished)
