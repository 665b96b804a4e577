"""The nouns of the harness: a command, a fault, its moment, and what must follow."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tests.faults.front import Action, Plan
from tests.faults.scene import Scene
from tests.faults.world import FATAL, FRESH, PARTIAL, STALE, WHOLE, World

# What the exit codes mean: README and docs/commands.md.
DONE, REFUSED, USAGE, NO_RESULT, UNUSABLE, UNDELIVERED, LOCKED = range(7)
INTERNAL, READER_LEFT = 70, 141
SIGNALS = {
    "INT": signal.SIGINT,
    "TERM": signal.SIGTERM,
    "HUP": signal.SIGHUP,
    "KILL": signal.SIGKILL,
}
DOCUMENTED = frozenset({*range(7), INTERNAL, READER_LEFT, *(128 + n for n in SIGNALS.values())})

PUSH_SECONDS = 1.5

Arrange = Callable[[Scene], AbstractContextManager[None]]


class Kind(StrEnum):
    """What a command is for, which says what must hold after it."""

    PUSH = "push"
    GATE = "gate"
    REPORT = "report"


@dataclass(frozen=True)
class Command:
    """A command line of ``obs``, the world it is run in, and how it ends if nothing goes wrong."""

    name: str
    argv: tuple[str, ...]
    world: World
    code: int = DONE
    kind: Kind = Kind.PUSH
    engine: str = "dbt"
    textfile: bool = False

    @property
    def is_json(self) -> bool:
        """Whether its answer is one JSON document on stdout."""
        return "json" in self.argv


PUSH = ("freshness", "push")
CHECK = ("freshness", "check", "--format", "json")
EXPOSURE = (*CHECK, "--exposure", "training")
POSTGRES = ("--engine", "postgres")

WHOLE_PUSH = Command("push", PUSH, WHOLE)
PARTIAL_PUSH = Command("push, one source fails", PUSH, PARTIAL)
SELECTED_PUSH = Command("push --select", (*PUSH, "--select", "source:app.orders"), WHOLE)
FAILED_PUSH = Command("push, dbt fails", PUSH, FATAL, NO_RESULT)
TEXTFILE_PUSH = Command("push --textfile", PUSH, PARTIAL, textfile=True)
DIRECT_PUSH = Command("push --engine postgres", (*PUSH, *POSTGRES), WHOLE, engine="postgres")
DIRECT_PARTIAL_PUSH = replace(DIRECT_PUSH, name="push --engine postgres, one fails", world=PARTIAL)
FRESH_CHECK = Command("check, fresh", CHECK, FRESH, kind=Kind.GATE)
STALE_CHECK = Command("check, stale", CHECK, STALE, REFUSED, kind=Kind.GATE)
FRESH_EXPOSURE = Command("check --exposure, fresh", EXPOSURE, FRESH, kind=Kind.GATE)
STALE_EXPOSURE = Command("check --exposure, stale", EXPOSURE, STALE, REFUSED, kind=Kind.GATE)
DIRECT_FRESH = Command(
    *("check --engine postgres, fresh", (*EXPOSURE, *POSTGRES), FRESH),
    kind=Kind.GATE,
    engine="postgres",
)
DIRECT_STALE = Command(
    *("check --engine postgres, stale", (*EXPOSURE, *POSTGRES), STALE, REFUSED),
    kind=Kind.GATE,
    engine="postgres",
)
REPORT = Command("report", ("freshness", "report", "--format", "json"), WHOLE, kind=Kind.REPORT)


@dataclass(frozen=True)
class Hook:
    """Goes wrong inside obs at the ``nth`` audit event whose arguments match ``pattern``."""

    event: str
    pattern: str
    do: str
    how: Any = None
    nth: int = 1
    every: bool = False


@dataclass(frozen=True)
class Streams:
    """What the standard streams are: ``pipe``, ``closed``, ``full``, ``gone``, or ``leaves``."""

    stdin: str = "pipe"
    stdout: str = "pipe"
    stderr: str = "pipe"


@dataclass(frozen=True)
class Trial:
    """One run: a fault, the moment at which it comes, and what may follow."""

    room: str
    fault: str
    moment: str
    command: Command
    codes: frozenset[int]
    misdeed: Mapping[str, Any] = field(default_factory=dict)
    met: tuple[str, Action, int] | None = None  # a request's method, what it meets, how often
    hook: Hook | None = None
    arrange: Arrange = lambda _: nullcontext()
    streams: Streams = Streams()
    argv: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    cleaned: bool = False  # what obs remembers is removed beforehand
    told: bool = True  # a run that fails must be told to the gateway, if that can be reached
    noted: tuple[str, ...] = ()  # what dbt must have noted beside
    deaf: bool = False  # obs is started with SIGINT ignored
    leaves: bool = False  # dbt leaves a process behind that is out of obs' reach
    seconds: float = 8.0
    must_happen: bool = True  # else it proves something only if it takes place
    may_lack: bool = False  # the fault may cost sources their answer; the run is then still done
    elsewhere: bool = False  # it delivers to another group than the one that is watched
    measured_otherwise: tuple[str, ...] = ()  # tables of which the fault makes another truth

    @property
    def name(self) -> str:
        """The name by which the run can be repeated."""
        return f"{self.room}/{self.fault}@{self.moment}"

    def plan(self) -> Plan | None:
        """Return what the front is to do."""
        return Plan(*self.met) if self.met else None


def codes(*numbers: int) -> frozenset[int]:
    """Return exit codes, for brevity."""
    return frozenset(numbers)
