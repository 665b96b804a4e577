"""Reports and rows as people see them on a terminal, as text.

The ``console`` knows how wide the terminal is and which colours it has; nothing is printed on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import STATES, FreshnessReport, State
from ledgermind_obs.render.report import age_of, by_severity, explanation, summary
from ledgermind_obs.secrets import redact


def report_text(report: FreshnessReport, console: Console) -> str:
    """Return one line a source, the worst last, and a summary."""
    rows = (
        (source.name, _coloured(source.state), age_of(source.age_seconds), explanation(source))
        for source in by_severity(report)
    )
    lines = [rows_text(rows, console), "", summary(report)]
    if report.declared_at:
        age = format_age((report.started_at - report.declared_at).total_seconds())
        lines.append(f"asked without dbt, by the manifest it wrote {age} ago")
    return "\n".join(lines)


def rows_text(rows: Iterable[Sequence[str | Text]], console: Console) -> str:
    """Return rows in columns; a cell that is too wide for the terminal is folded."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        # Before rich folds the cells: a secret in two lines is not found.
        table.add_row(*(_redacted(cell) for cell in row))
    for column in table.columns:
        column.overflow = "fold"
    return drawn(table, console)


def drawn(drawing: RenderableType, console: Console) -> str:
    """Return what the console would show of a table or a tree, without spaces at the lines' ends.

    So a line is whole and can be found by ``grep`` if the console is as wide as it needs.
    """
    with console.capture() as captured:
        console.print(drawing)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _redacted(cell: str | Text) -> str | Text:
    if isinstance(cell, str):
        return redact(cell)
    cell.plain = redact(cell.plain)
    return cell


def _coloured(state: State) -> Text:
    return Text(state.label, style=STATES[state].colour)
