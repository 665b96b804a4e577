"""The nouns: a check, what was seen, and a check's result."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from ledgermind_obs.errors import DOCS

if TYPE_CHECKING:
    from ledgermind_obs.doctor.patient import Patient

PAGE = f"{DOCS}/doctor.md"


class State(StrEnum):
    """How a check ended; only ``failed`` lets the command fail."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Area(StrEnum):
    """Which part of the chain a check looks at, in the order of the chain."""

    DBT = "dbt"
    WAREHOUSE = "warehouse"
    GATEWAY = "gateway"
    PROMETHEUS = "Prometheus"
    ALERTMANAGER = "Alertmanager"
    GRAFANA = "Grafana"
    SCHEDULE = "schedule"
    EXPOSURE = "exposure"
    END_TO_END = "end to end"


class Seen(msgspec.Struct, frozen=True):
    """What a check saw; ``next_step`` is empty if there is nothing to do."""

    observed: str
    state: State = State.OK
    next_step: str = ""


def warning(observed: str, next_step: str) -> Seen:
    """Return what is no fault yet, and what to do about it."""
    return Seen(observed, State.WARNING, next_step)


def failed(observed: str, next_step: str) -> Seen:
    """Return a fault, and what to do about it."""
    return Seen(observed, State.FAILED, next_step)


def skipped(reason: str) -> Seen:
    """Return why there was nothing to look at."""
    return Seen(reason, State.SKIPPED)


class SkippedError(Exception):
    """There is nothing to look at; ``str()`` says why."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence that is true or not; ``hint`` is the next step if a fault names none itself."""

    name: str
    area: Area
    sentence: str
    hint: str

    @property
    def help(self) -> str:
        """The section that explains it, as page and anchor."""
        return f"{PAGE}#{self.name}"


class Check(Claim, frozen=True, kw_only=True):
    """A claim, and how to find out.

    ``look`` returns what was seen; an ObsError that it raises is a fault, told in its words.
    Without what it ``needs`` there is nothing to look at, whether that failed or was skipped. It
    comes ``after`` others, and is skipped only if one of them failed, or was skipped because of a
    failure. ``seconds`` is the time limit, None for all the time there is.
    """

    look: Callable[[Patient], Seen]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    seconds: float | None = 8.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a check ended, and how many seconds it took."""

    name: str
    area: Area
    sentence: str
    state: State
    observed: str
    next_step: str
    help: str
    seconds: float = 0.0
