"""Checks side by side: each begins as soon as what it needs has been seen, and all of them end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from ledgermind_obs.doctor.check import (
    Check,
    Claim,
    Result,
    Seen,
    SkippedError,
    State,
    failed,
    skipped,
)
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ObsError

_ROOT = Path(__file__).parents[1]


def examine(checks: Sequence[Check], patient: Patient, seconds: float) -> Iterator[Result]:
    """Yield the result of each check, in their order, each as soon as it is there.

    All of them have ended after so many ``seconds``: what has not is a failure that says so. What a
    check needs must be among the checks.
    """
    ends_at = time.monotonic() + seconds
    begun: dict[str, _Examination] = {}
    for check in checks:
        begun[check.name] = _Examination(check, patient, begun, ends_at)
    for examination in begun.values():
        threading.Thread(target=examination.run, daemon=True).start()
    for examination in begun.values():
        yield examination.result()


class _Examination:
    """One check at work; its thread outlives it if something in it never comes back."""

    def __init__(
        self, check: Check, patient: Patient, others: Mapping[str, _Examination], ends_at: float
    ) -> None:
        self._check, self._patient, self._ends_at = check, patient, ends_at
        self._others = others
        # A failure before it, not a thing that is not configured, is why it is skipped.
        self.is_pointless = False
        self._done = threading.Event()
        self._found: Result | None = None

    def result(self) -> Result:
        """Return how it ended, at the latest when the time of all is over."""
        self._done.wait(max(0.0, self._ends_at - time.monotonic()))
        return self._found or result_of(self._check, self._too_late(None), 0.0)

    def run(self) -> None:
        """Look, as soon as what it needs has ended and unless that came to nothing."""
        for name in (*self._check.needs, *self._check.after):
            earlier = self._others[name]
            found = earlier.result()
            self.is_pointless = earlier.is_pointless or found.state is State.FAILED
            is_missing = found.state is State.SKIPPED and name in self._check.needs
            if self.is_pointless or is_missing:
                self._end(skipped(_reason(found)), 0.0)
                return
        began = time.monotonic()
        seen = self._seen(self._seconds_left())
        self._end(seen, time.monotonic() - began)

    def _seconds_left(self) -> float:
        left = max(0.0, self._ends_at - time.monotonic())
        return left if self._check.seconds is None else min(left, self._check.seconds)

    def _seen(self, seconds: float) -> Seen:
        look = _Look(self._check, self._patient)
        thread = threading.Thread(target=look.run, daemon=True)
        thread.start()
        thread.join(seconds)
        return look.seen or self._too_late(seconds)

    def _too_late(self, seconds: float | None) -> Seen:
        within = "before the deadline" if seconds is None else f"within {format_age(seconds)}"
        return failed(f"no answer {within}", f"{self._check.hint}; or give a longer --deadline")

    def _end(self, seen: Seen, seconds: float) -> None:
        self._found = result_of(self._check, seen, seconds)
        self._done.set()


def result_of(claim: Claim, seen: Seen, seconds: float) -> Result:
    """Return the result of a claim by what was seen, in so many seconds."""
    needs_a_step = seen.state in {State.FAILED, State.WARNING}
    return Result(
        name=claim.name,
        area=claim.area,
        sentence=claim.sentence,
        state=seen.state,
        observed=seen.observed,
        next_step=seen.next_step or (claim.hint if needs_a_step else ""),
        help=claim.help,
        seconds=round(seconds, 3),
    )


class _Look(msgspec.Struct):
    """One look, which may never come back."""

    check: Check
    patient: Patient
    seen: Seen | None = None

    def run(self) -> None:
        """Keep what was seen, or what was raised in its place."""
        try:
            self.seen = self.check.look(self.patient)
        except SkippedError as reason:
            self.seen = skipped(str(reason))
        except ObsError as error:
            self.seen = failed(str(error), error.next_step)
        except Exception as error:
            words = f"internal error: {type(error).__name__} at {_place(error)}"
            self.seen = failed(words, "please report it")


def _reason(earlier: Result) -> str:
    """Return why what needs this is skipped: a reason is handed on, a fault is named."""
    return f"{earlier.name} failed" if earlier.state is State.FAILED else earlier.observed


def _place(error: Exception) -> str:
    """Return the file and line of ``obs`` at which an exception was raised, the innermost one."""
    place, trace = "an unknown place", error.__traceback__
    while trace:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(_ROOT):
            place = f"{path.relative_to(_ROOT.parent)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
