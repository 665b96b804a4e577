"""A report as plain text: it fits 80 columns, a terminal and a mail."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ledgermind_obs.monitoring.timeliness import WINDOWS, History, Timeliness
from ledgermind_obs.render.columns import aligned
from ledgermind_obs.render.digest import (
    Digest,
    Entry,
    last_row_in_words,
    moment_in_words,
    share_in_words,
)
from ledgermind_obs.render.report import age_of
from ledgermind_obs.render.report_history import (
    coverage,
    missed_in_words,
    recovered,
    since_in_words,
    strip_days,
    verdict_on,
)

WIDTH = 80
_LABEL = 10
_STRIP = {"none": "·", "within": "▁", "late": "▄", "past": "█"}


def as_text(digest: Digest, most_fine: int | None = None) -> str:
    """Return the report; of the sources that need nobody at most ``most_fine`` are named."""
    lines = _wrapped(digest.sentence)
    lines += ["", *_wrapped(f"{digest.subject}, {moment_in_words(digest.made_at)}")]
    lines += _wrapped(f"{digest.method}: {digest.counts}")
    for entry in digest.urgent:
        lines += ["", *_urgent(entry, digest)]
    lines += _fine(digest, most_fine)
    lines += _listed("Failed models", digest.faulty)
    lines += _listed("Not measured", [(each.name, each.reason) for each in digest.unmeasured])
    lines += _history(digest, digest.history) if digest.history else []
    for note in digest.notes:
        lines += ["", *_wrapped(f"note: {note}")]
    return "\n".join(lines)


def _urgent(entry: Entry, digest: Digest) -> Iterator[str]:
    age = f"  {age_of(entry.age_seconds)}" if entry.age_seconds is not None else ""
    yield from _wrapped(f"{entry.name}  {entry.state.label.upper()}{age}")
    if entry.source.message:
        yield from _wrapped(entry.source.message, "  ")
    yield from _field("last row", last_row_in_words(entry, digest.made_at))
    yield from _field("limit", entry.limits)
    if digest.lineage is not None:
        yield from _field("owner", entry.owner or "nobody")
    for feed in entry.feeds:
        yield from _field("feeds", " → ".join(feed.path))
    if entry.timeliness:
        yield from _field("missed", missed_in_words(entry.timeliness))
    yield from _field("next", entry.next_step)
    if entry.runbook_url:  # a link that is broken in two leads nowhere
        yield f"  {'runbook':{_LABEL}}{entry.runbook_url}"


def _field(name: str, text: str) -> list[str]:
    return _wrapped(text, f"  {name:{_LABEL}}", " " * (_LABEL + 2))


def _wrapped(text: str, first: str = "", then: str | None = None) -> list[str]:
    """Return the lines of a text, none for an empty one; only a word can be too long for one."""
    following = first if then is None else then
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_on_hyphens=False,
    )


def _fine(digest: Digest, most: int | None) -> list[str]:
    entries = digest.fine[:most]
    if not entries:
        return []
    rows = [(entry.name, age_of(entry.age_seconds), entry.limits) for entry in entries]
    more = len(digest.fine) - len(entries)
    lines = ["", *(["Fresh"] if digest.urgent else []), *_fitting(rows)]
    return [*lines, f"and {more} more"] if more else lines


def _fitting(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows in columns; if a name leaves no room, what follows it is on its own line."""
    lines = aligned(rows)
    if max(map(len, lines)) <= WIDTH:
        return lines
    rest = aligned([row[1:] for row in rows])
    return [
        line
        for row, facts in zip(rows, rest, strict=True)
        for line in (*_wrapped(row[0]), f"    {facts}")
    ]


def _listed(head: str, facts: Sequence[tuple[str, str]]) -> list[str]:
    if not facts:
        return []
    told = [_wrapped(f"{name}: {what}", "", "  ") for name, what in facts]
    return ["", head, *(line for lines in told for line in lines)]


def _history(digest: Digest, history: History) -> list[str]:
    known = [(e.name, e.timeliness) for e in digest.entries if e.timeliness]
    lines = ["", "Within the limit: each of the last 14 days, 7 days, 30 days"]
    if not known:
        return [*lines, *_wrapped(f"{history.place} knows none of these sources")]
    rows = [
        (name, _strip(found), *(share_in_words(found.share(days)).rjust(7) for days in WINDOWS))
        for name, found in known
    ]
    lines += _fitting(rows)
    lines += ["▁ within  ▄ past the first limit  █ past error_after  · not known"]
    lines += _wrapped(coverage(history))
    return [*lines, *_recovered(digest, history)]


def _strip(timeliness: Timeliness) -> str:
    return "".join(_STRIP[verdict_on(day)] for day in strip_days(timeliness))


def _recovered(digest: Digest, history: History) -> list[str]:
    return _listed(f"Missed and recovered {since_in_words(history)}", list(recovered(digest)))
