"""Reports and progress as people see them on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from ledgermind_obs.durations import format_age
from ledgermind_obs.engines.progress import OnProgress, Progress
from ledgermind_obs.freshness import STATES, FreshnessReport, State
from ledgermind_obs.render.report import age_of, by_severity, explanation, summary
from ledgermind_obs.secrets import redact

UNBOUNDED_COLUMNS = 10_000


def show_report(report: FreshnessReport) -> None:
    """Print one line a source, the worst last, and a summary."""
    table = _grid()
    for source in by_severity(report):
        state = _state_and_age(source.state, source.age_seconds)
        table.add_row(source.name, *state, explanation(source))
    _print(table)
    click.echo(f"\n{summary(report)}")
    if report.declared_at:
        age = format_age((report.started_at - report.declared_at).total_seconds())
        click.echo(f"asked without dbt, by the manifest it wrote {age} ago")


def show_rows(rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns."""
    table = _grid()
    for row in rows:
        table.add_row(*row)
    _print(table)


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


class _Grid(Table):
    """A table that is redacted before rich folds its cells: a secret in two lines is not found."""

    def add_row(self, *cells: Any, **settings: Any) -> None:
        super().add_row(*(_redacted(cell) for cell in cells), **settings)


def _redacted(cell: str | Text) -> str | Text:
    if isinstance(cell, str):
        return redact(cell)
    cell.plain = redact(cell.plain)
    return cell


def _grid() -> Table:
    return _Grid.grid(padding=(0, 2, 0, 0))


def _print(table: Table) -> None:
    for column in table.columns:
        column.overflow = "fold"
    print_lines(table)


def print_lines(drawing: Table | Tree) -> None:
    """Print a table or a tree; without a terminal its lines are whole, so that ``grep`` works."""
    if sys.stdout.isatty():
        Console(highlight=False, markup=False).print(drawing)
        return
    console = Console(width=UNBOUNDED_COLUMNS, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(drawing)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _state_and_age(state: State, age: float | None) -> tuple[Text, str]:
    return Text(state.label, style=STATES[state].colour), age_of(age)
