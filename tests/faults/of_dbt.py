"""Faults of dbt: it dies, hangs, talks without end, leaves somebody behind, or tells lies."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults.trial import (
    DONE,
    FAILED_PUSH,
    FRESH_CHECK,
    FRESH_EXPOSURE,
    NO_RESULT,
    PARTIAL_PUSH,
    REFUSED,
    SELECTED_PUSH,
    STALE_CHECK,
    STALE_EXPOSURE,
    TEXTFILE_PUSH,
    UNUSABLE,
    USAGE,
    WHOLE_PUSH,
    Command,
    Kind,
    Trial,
    codes,
)
from tests.faults.world import TABLES

ROOM = "dbt"
MOMENTS = (
    *("begin", "spoken", "manifest-half", "manifest", "one-source", "measured"),
    *("sources-half", "sources", "end"),
)
_WRITTEN = ("sources", "end")  # the result is whole by then
_REAL_TIME = int(signal.SIGRTMIN) + 1
_DEATHS: dict[str, tuple[str, int | None]] = {
    "dbt is killed": ("signal_self", signal.SIGKILL),
    "dbt crashes": ("signal_self", signal.SIGSEGV),
    "dbt is terminated": ("signal_self", signal.SIGTERM),
    "dbt is interrupted": ("signal_self", signal.SIGINT),
    "dbt gets a real-time signal": ("signal_self", _REAL_TIME),
    "dbt exits with 0": ("leave", 0),
    "dbt exits with 1": ("leave", 1),
    "dbt exits with 2": ("leave", 2),
    "dbt exits with 254": ("leave", 254),
    "dbt dies in plain text": ("die_in_plain_text", None),
}
_OTHER_DEATHS = tuple(fault for fault in _DEATHS if fault != "dbt is killed")
_SOME_MOMENTS = ("begin", "sources-half", "end")
_HANGS: dict[str, tuple[str, int | None]] = {
    "dbt hangs": ("hang", None),
    "dbt hangs and is deaf": ("hang_deaf", None),
    "dbt stops": ("signal_self", signal.SIGSTOP),
    "a line without end": ("endless_line", 300),
    "lines without end": ("endless_lines", 300),
}
_ODDITIES: dict[str, tuple[str, float | None]] = {
    "noise in the log": ("noise", None),
    "dbt closes its streams": ("close_stdout", None),
    "a straggler holds the pipe": ("leave_straggler", 60.0),
    "a child holds the pipe": ("leave_child", 60.0),
    "the private directory is removed": ("remove_private", None),
    "dbt clean": ("clean", None),
}
_REPLACED = ("become_directory", "become_fifo", "become_dangling", "vanish")
_COMMANDS = (WHOLE_PUSH, PARTIAL_PUSH, FRESH_CHECK, STALE_EXPOSURE)
_ARTIFACT_COMMANDS = (WHOLE_PUSH, SELECTED_PUSH, FRESH_EXPOSURE, STALE_CHECK)

# What one entry says costs that source its answer, and no other.
_OF_ONE_ENTRY = (
    *("time-is-a-date", "time-is-infinite", "time-has-a-leap-second", "time-is-a-number"),
    *("time-is-text", "time-is-null", "time-is-of-year-9999"),
)
# What dbt may mean so: the table is empty, or its newest row is ahead.
_TRUE_IF_ODD = ("time-is-null", "time-is-of-year-9999")
# What each entry says of itself: the sources are not measured, or all of it is refused.
_OF_ENTRIES = (
    *("looked-a-year-ago", "looked-yesterday", "looked-tomorrow", "looked-in-ten-minutes"),
    *("never-looked", "said-twice-otherwise", "said-otherwise-before", "unknown-status"),
    *("no-status", "runtime-error-with-a-time"),
)
_OF_ARTIFACT = (
    *("other-run", "schema-v99", "schema-of-manifest", "no-schema", "elapsed-negative"),
    *("elapsed-endless", "elapsed-text", "results-null", "results-object", "results-empty"),
    *("results-absent", "unknown-source", "last-absent"),
)
_LEFT_OUT = ("last-absent", "results-empty")
_OF_MANIFEST = (
    *("manifest-of-another-run", "manifest-of-another-project", "manifest-of-schema-v99"),
    "manifest-with-a-twin",
)
_OF_BYTES = (
    *("empty", "one-byte", "half", "all-but-one-byte", "twice-over", "garbage-behind", "zeros"),
    *("web-page", "null", "list", "utf-16", "deep"),
)


def trials() -> Iterator[Trial]:
    """Yield every misdeed of dbt at every moment at which it makes a difference."""
    for command in _COMMANDS:
        yield from _deaths(command, ("dbt is killed",), MOMENTS)
    for command in (WHOLE_PUSH, STALE_EXPOSURE):
        yield from _deaths(command, _OTHER_DEATHS, _SOME_MOMENTS)
    for command in (WHOLE_PUSH, FRESH_EXPOSURE):
        yield from _hangs(command)
        yield from _oddities(command)
        yield from _replaced(command)
        yield from _huge(command)
    for command in _ARTIFACT_COMMANDS:
        yield from _altered(command)
    for command in (WHOLE_PUSH, FRESH_EXPOSURE):
        yield from _spoilt(command)
    yield _alteration("manifest.json", "manifest-without-sources", WHOLE_PUSH, _failed(WHOLE_PUSH))
    yield from _brought_back()
    yield from _controls()


def _deaths(command: Command, faults: tuple[str, ...], moments: tuple[str, ...]) -> Iterator[Trial]:
    for fault in faults:
        deed, how = _DEATHS[fault]
        for moment in moments:
            wrong = {"at": moment, "do": deed, "how": how}
            ends = _after_result(command) if moment in _WRITTEN else _failed(command)
            yield _trial(fault, moment, command, ends, wrong)


def _hangs(command: Command) -> Iterator[Trial]:
    for fault, (deed, how) in _HANGS.items():
        for moment in ("spoken", "one-source", "sources"):
            wrong = {"at": moment, "do": deed, "how": how}
            ends = _failed(command)
            noted = ("interrupted",) if deed == "hang" else ()
            yield _trial(fault, moment, command, ends, wrong, seconds=14.0, noted=noted)


def _oddities(command: Command) -> Iterator[Trial]:
    for fault, (deed, how) in _ODDITIES.items():
        for moment in ("begin", "manifest", "end"):
            wrong = {"at": moment, "do": deed, "how": how}
            well = not fault.endswith(("removed", "clean")) or moment == "begin"
            ends = codes(command.code) if well else _after_result(command)
            if deed == "close_stdout" and moment == "begin":  # which sources, the log alone says
                ends |= codes(UNUSABLE)
            yield _trial(fault, moment, command, ends, wrong, seconds=14.0)


def _replaced(command: Command) -> Iterator[Trial]:
    for deed in _REPLACED:
        for name, moment in (("sources.json", "end"), ("manifest.json", "manifest")):
            wrong = {"at": moment, "do": deed, "how": name}
            fault = f"{name}: {deed.replace('_', ' ')}"
            yield _trial(fault, moment, command, _failed(command), wrong)


def _huge(command: Command) -> Iterator[Trial]:
    """Yield an artifact of 20 GB; of a manifest, which may be large, a gigabyte is read."""
    wrong = {"at": "end", "do": "become_huge", "how": "sources.json"}
    yield _trial("sources.json: become huge", "end", command, _failed(command), wrong)


def _altered(command: Command) -> Iterator[Trial]:
    for how in _OF_ONE_ENTRY:
        yield _alteration("sources.json", how, command, codes(_if_one_is_lost(command)))
    yield _alteration("sources.json", "said-twice", command, codes(DONE, *_failed(command)))
    for how in _OF_ENTRIES:
        ends = _failed(command) | codes(*([DONE] if command.kind is Kind.PUSH else []))
        yield _alteration("sources.json", how, command, ends)
    for how in _OF_ARTIFACT:
        if how not in _LEFT_OUT or command is not SELECTED_PUSH:
            yield _alteration("sources.json", how, command, _of_artifact(how, command))


def _spoilt(command: Command) -> Iterator[Trial]:
    for how in _OF_BYTES:
        yield _alteration("sources.json", how, command, _failed(command))
        yield _alteration("manifest.json", how, command, _failed(command))
    for how in _OF_MANIFEST:
        yield _alteration("manifest.json", how, command, _failed(command))
    nameless = "manifest-of-a-nameless-project"
    yield _alteration("manifest.json", nameless, command, _after_result(command))


def _if_one_is_lost(command: Command) -> int:
    """Return how a command ends if one source has no answer."""
    return REFUSED if command.kind is Kind.GATE else DONE


def _of_artifact(how: str, command: Command) -> frozenset[int]:
    """Return how it may end; a source that is left out is one that is missing."""
    left_out = how in _LEFT_OUT and command.kind is Kind.PUSH
    return _failed(command) | codes(*([DONE] if left_out else []))


def _brought_back() -> Iterator[Trial]:
    wrong = {"at": "end", "do": "bring_back"}
    for command in (*_ARTIFACT_COMMANDS, STALE_EXPOSURE, TEXTFILE_PUSH):
        yield _trial("the file of another run", "end", command, _failed(command), wrong)


def _controls() -> Iterator[Trial]:
    """Yield the runs in which nothing goes wrong, which must end as they should."""
    for command in (*_COMMANDS, *_ARTIFACT_COMMANDS[1:], FAILED_PUSH, TEXTFILE_PUSH):
        yield Trial(ROOM, "no fault", command.name, command, codes(command.code))


def _trial(
    fault: str,
    moment: str,
    command: Command,
    ends: frozenset[int],
    wrong: Mapping[str, Any],
    *,
    seconds: float = 10.0,
    noted: tuple[str, ...] = (),
) -> Trial:
    return Trial(
        *(ROOM, fault, f"{moment} of {command.name}", command, ends),
        misdeed=wrong,
        seconds=seconds,
        noted=noted,
        leaves=wrong["do"] == "leave_straggler",
        env={"OBS_TIMEOUT": "2s"} if wrong["do"] in _SLOW or fault == "dbt stops" else {},
    )


_SLOW = frozenset({deed for deed, _ in _HANGS.values()} - {"signal_self"}) | {
    *("leave_straggler", "leave_child", "become_fifo")
}


def _alteration(name: str, how: str, command: Command, ends: frozenset[int]) -> Trial:
    last = "orders" if command is SELECTED_PUSH else TABLES[-1]
    return Trial(
        *(ROOM, f"{name}: {how}", command.name, command, ends),
        misdeed={"alter": {name: how}},
        measured_otherwise=(last,) if how in _TRUE_IF_ODD else (),
    )


def _failed(command: Command) -> frozenset[int]:
    """Return how a command may end that got no result, or one that cannot be used."""
    gate = [REFUSED, USAGE] if command.kind is Kind.GATE else []
    return codes(NO_RESULT, UNUSABLE, *gate)


def _after_result(command: Command) -> frozenset[int]:
    """Return how a command may end if dbt came to grief after it had written the result."""
    return _failed(command) | codes(command.code)
