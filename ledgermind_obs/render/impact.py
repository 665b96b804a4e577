"""What a change reaches, as people, programs and pull requests read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from ledgermind_obs.lineage.changes import Effect
from ledgermind_obs.lineage.impact import Impact, Severity
from ledgermind_obs.render.counts import counted

MANY = 10


def as_table(impacts: Sequence[Impact]) -> str:
    """Return one paragraph an impact, and a summary."""
    return "\n".join([*(_paragraph(impact) for impact in impacts), summary(impacts)])


def _paragraph(impact: Impact) -> str:
    lines = [f"{impact.severity}: {impact.name} {_what(impact)}"]
    lines += [f"  {' → '.join(way)}" for way in impact.reach.exposures.values()]
    return "\n".join([*lines, f"  reaches {_reached(impact)}", ""])


def summary(impacts: Sequence[Impact]) -> str:
    """Return one sentence: how many changes there are of each severity."""
    counts = Counter(impact.severity for impact in impacts)
    told = ", ".join(f"{counts[severity]} {severity}" for severity in Severity if counts[severity])
    return f"{counted(len(impacts), 'node or change', 'nodes or changes')}: {told or 'nothing'}"


def as_json(impacts: Sequence[Impact]) -> str:
    """Return every impact with the paths to what it reaches; the names are stable."""
    document = msgspec.json.encode({"impacts": list(impacts)})
    return msgspec.json.format(document, indent=2).decode()


def as_markdown(impacts: Sequence[Impact]) -> str:
    """Return a comment for a pull request: a table, and the paths to every exposure below it."""
    lines = [f"### Lineage impact: {summary(impacts)}", ""]
    if impacts:
        lines += ["| severity | node | change | reaches |", "|---|---|---|---|"]
        lines += [_row(impact) for impact in impacts]
    ways = {" → ".join(way): None for i in impacts for way in i.reach.exposures.values()}
    if ways:
        lines += ["", "<details><summary>Paths to exposures</summary>", ""]
        lines += [f"- {_cell(way)}" for way in ways]
        lines += ["", "</details>"]
    return "\n".join(lines)


def _row(impact: Impact) -> str:
    cells = (f"**{impact.severity}**", f"`{impact.name}`", _what(impact), _reached(impact))
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _what(impact: Impact) -> str:
    if impact.change is None:
        return "as it is"
    unsure = " (effect unknown)" if impact.change.effect is Effect.UNKNOWN else ""
    return f"{impact.change.kind}: {impact.change.detail}{unsure}"


def _reached(impact: Impact) -> str:
    names = [way[-1] for way in impact.reach.exposures.values()]
    shown = ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if names[MANY:] else "")
    exposures = counted(len(names), "exposure", "exposures") + (f" ({shown})" if names else "")
    return f"{counted(len(impact.reach.models), 'model', 'models')}, {exposures}"
