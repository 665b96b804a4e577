"""The terminal: what it is like, and how far a run has come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ledgermind_obs.engines.progress import OnProgress, Progress

UNBOUNDED_COLUMNS = 10_000


def screen() -> Console:
    """Return what stdout is like; without a terminal its lines are as long as they need."""
    width = None if sys.stdout.isatty() else UNBOUNDED_COLUMNS
    return Console(width=width, highlight=False, markup=False)


@contextmanager
def progress(total_hint: str) -> Iterator[OnProgress]:
    """Show on stderr how far a run has come; yield what takes in its progress."""
    columns = (TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(total_hint, total=None)
        yield lambda come: _advance(bar, task, come)


def _advance(bar: Bar, task: TaskID, come: Progress) -> None:
    finished = int(bar.tasks[task].completed) + come.finished
    description = f"{finished} of {come.total}  {come.name}"
    bar.update(task, total=come.total, completed=finished, description=description)
