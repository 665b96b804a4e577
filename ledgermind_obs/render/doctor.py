"""What the doctor saw, as people and programs read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ledgermind_obs.doctor.check import Claim, Result, State
from ledgermind_obs.render.columns import aligned

COLOURS = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.FAILED: "red",
    State.SKIPPED: "bright_black",
}
_STATE_WIDTH = max(map(len, State))
_NAME_WIDTH = 22
_INDENT = " " * (_STATE_WIDTH + 4)


def first_line(result: Result) -> str:
    """Return a check's state, its name and what was seen."""
    seen = f"because {result.observed}" if result.state is State.SKIPPED else result.observed
    return f"  {result.state:<{_STATE_WIDTH}}  {result.name:<{_NAME_WIDTH}}  {seen}"


def further_lines(result: Result) -> Iterator[str]:
    """Yield what to do about it, if there is anything to do."""
    if result.state is State.FAILED:
        yield f"{_INDENT}expected: {result.sentence}"
    if result.next_step:
        yield f"{_INDENT}next: {result.next_step}"
        yield f"{_INDENT}more: {result.help}"


def hop(result: Result) -> str:
    """Return a result with how long it took, which is what a canary is for."""
    took = "" if result.state is State.SKIPPED else f" ({result.seconds:.1f} s)"
    return f"{first_line(result)}{took}"


def summary(results: Sequence[Result], seconds: float) -> str:
    """Return how many checks ended in which state, and how long all of them took."""
    counts = Counter(result.state for result in results)
    named = [f"{counts[state]} {state.value}" for state in State if counts[state]]
    return f"{', '.join(named)} ({seconds:.1f} s)"


def document(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """Return the results for a program; seconds are those of the clock."""
    counts = Counter(result.state for result in results)
    return {
        "failed": [result.name for result in results if result.state is State.FAILED],
        "counts": {state.value: counts[state] for state in State},
        "seconds": round(seconds, 3),
        "checks": list(results),
    }


def listed(claims: Iterable[Claim]) -> list[str]:
    """Return one line per check: its area, its name, its sentence."""
    return aligned([(claim.area.value, claim.name, claim.sentence) for claim in claims])


def catalogue(claims: Iterable[Claim]) -> list[dict[str, str]]:
    """Return the checks for a program."""
    return [
        {"name": c.name, "area": c.area.value, "sentence": c.sentence, "help": c.help}
        for c in claims
    ]
