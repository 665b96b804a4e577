"""The table of a run of the harness: faults by moments, runs and violations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.faults.catalogue import rooms
from tests.faults.play import Result
from tests.faults.trial import Trial


def as_markdown(trials: Sequence[Trial], results: Sequence[Result]) -> str:
    """Return a table per room: a line per fault, its moments, how many runs and violations."""
    ended = {result.name: result for result in results}
    played = [trial for trial in trials if trial.name in ended]
    lines: list[str] = []
    for name, own in rooms(played):
        lines += ["", f"### {name}", "", "| fault | moments | runs | violations |"]
        lines += ["|---|---|---|---|", *_of_room(own, ended)]
    return "\n".join(lines) + "\n"


def _of_room(trials: Sequence[Trial], ended: dict[str, Result]) -> Iterator[str]:
    for fault in dict.fromkeys(trial.fault for trial in trials):
        own = [trial for trial in trials if trial.fault == fault]
        bad = sum(bool(ended[trial.name].violations) for trial in own)
        moments = "; ".join(trial.moment for trial in own)
        yield f"| {fault} | {moments} | {len(own)} | {bad} |"
