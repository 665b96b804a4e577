"""Standard streams that are closed, full, or that nobody reads any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.faults.trial import (
    DIRECT_PUSH,
    DOCUMENTED,
    DONE,
    FAILED_PUSH,
    FRESH_CHECK,
    FRESH_EXPOSURE,
    INTERNAL,
    PARTIAL_PUSH,
    PUSH,
    READER_LEFT,
    REFUSED,
    REPORT,
    STALE_CHECK,
    STALE_EXPOSURE,
    UNDELIVERED,
    WHOLE_PUSH,
    Command,
    Kind,
    Streams,
    Trial,
    codes,
)
from tests.faults.world import FRESH, STALE, WHOLE

ROOM = "streams"
_STREAMS = {
    "stdin is closed": Streams(stdin="closed"),
    "stdout is closed": Streams(stdout="closed"),
    "stderr is closed": Streams(stderr="closed"),
    "stdin and stdout are closed": Streams(stdin="closed", stdout="closed"),
    "all are closed": Streams("closed", "closed", "closed"),
    "stdout is full": Streams(stdout="full"),
    "stderr is full": Streams(stderr="full"),
    "both are full": Streams(stdout="full", stderr="full"),
    "nobody reads stdout": Streams(stdout="gone"),
    "nobody reads stderr": Streams(stderr="gone"),
    "nobody reads either": Streams(stdout="gone", stderr="gone"),
    "the reader leaves after a byte": Streams(stdout="leaves"),
}
_TABLE_PUSH = Command("push --format table", (*PUSH, "--format", "table"), WHOLE)
_JSON_PUSH = Command("push --format json", (*PUSH, "--format", "json"), WHOLE)
_STRICT_PUSH = Command("push --fail-on error", (*PUSH, "--fail-on", "error"), WHOLE, REFUSED)
_WORDS = ("freshness", "check")
_FRESH_WORDS = Command("check in words, fresh", _WORDS, FRESH, kind=Kind.GATE)
_STALE_WORDS = Command("check in words, stale", _WORDS, STALE, REFUSED, kind=Kind.GATE)
_STALE_EXPLAINED = Command(
    *("check --exposure in words, stale", (*_WORDS, "--exposure", "training"), STALE, REFUSED),
    kind=Kind.GATE,
)
_COMMANDS = (
    *(WHOLE_PUSH, PARTIAL_PUSH, FAILED_PUSH, _TABLE_PUSH, _JSON_PUSH, _STRICT_PUSH, DIRECT_PUSH),
    *(FRESH_CHECK, STALE_CHECK, FRESH_EXPOSURE, STALE_EXPOSURE),
    *(_FRESH_WORDS, _STALE_WORDS, _STALE_EXPLAINED, REPORT),
)


def trials() -> Iterator[Trial]:
    """Yield every stream's fault under every command; a long report is left in its middle."""
    for fault, streams in _STREAMS.items():
        for command in _COMMANDS:
            if fault.startswith("the reader") and not _prints(command):
                continue
            found = Trial(ROOM, fault, command.name, command, _codes(command, streams))
            lost = command.code == DONE and not _readable(streams.stdout)
            yield replace(found, streams=streams, told=not lost)


def _prints(command: Command) -> bool:
    return command.kind is not Kind.PUSH or "--format" in command.argv


def _codes(command: Command, streams: Streams) -> frozenset[int]:
    """Return how it may end: as it would, or as one whose reader left; never open by that."""
    if command.kind is Kind.GATE and command.code == DONE and not _readable(streams.stdout):
        return DOCUMENTED - {INTERNAL}
    spoilt = not (_readable(streams.stdout) and _readable(streams.stderr))
    return codes(command.code, *([READER_LEFT, UNDELIVERED] if spoilt else []))


def _readable(kind: str) -> bool:
    return kind == "pipe"
