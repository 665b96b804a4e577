"""A report as Markdown, for a pull request or a chat."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ledgermind_obs.freshness import STATES
from ledgermind_obs.monitoring.timeliness import WINDOWS, History, Timeliness
from ledgermind_obs.render.digest import (
    Digest,
    Entry,
    last_row_in_words,
    moment_in_words,
    share_in_words,
)
from ledgermind_obs.render.palette import PALETTE
from ledgermind_obs.render.report import age_of
from ledgermind_obs.render.report_history import (
    coverage,
    missed_in_words,
    recovered,
    since_in_words,
    strip_days,
    verdict_on,
)

_STRIP = {"none": "⬜", "within": "🟩", "late": "🟨", "past": "🟥"}


def as_markdown(digest: Digest) -> str:
    """Return the report, what needs somebody first."""
    lines = [f"**{_plain(digest.sentence)}**", ""]
    when = f"{_plain(digest.subject)}, {moment_in_words(digest.made_at)}"
    lines += [f"{when}; {_plain(digest.method)}: {digest.counts}"]
    for entry in digest.urgent:
        lines += ["", *_urgent(entry, digest)]
    lines += _fine(digest)
    lines += _listed("Failed models", digest.faulty)
    lines += _listed("Not measured", [(each.name, each.reason) for each in digest.unmeasured])
    lines += _history(digest, digest.history) if digest.history else []
    lines += [line for note in digest.notes for line in ("", f"_{_plain(note)}_")]
    return "\n".join(lines)


def _urgent(entry: Entry, digest: Digest) -> Iterator[str]:
    age = f", {age_of(entry.age_seconds)}" if entry.age_seconds is not None else ""
    sign = PALETTE[STATES[entry.state].colour].sign
    yield f"{sign} **{_plain(entry.name)}** {entry.state.label}{age}"
    yield ""
    if entry.source.message:
        yield f"- {_plain(entry.source.message)}"
    yield f"- last row: {last_row_in_words(entry, digest.made_at)}"
    if entry.limits:
        yield f"- limit: {entry.limits}"
    if digest.lineage is not None:
        yield f"- owner: {_plain(entry.owner or 'nobody')}"
    for feed in entry.feeds:
        yield f"- feeds: {_plain(' → '.join(feed.path))}"
    if entry.timeliness and entry.timeliness.misses:
        yield f"- missed: {missed_in_words(entry.timeliness)}"
    link = f" ([runbook]({entry.runbook_url}))" if entry.runbook_url else ""
    yield f"- next: {_plain(entry.next_step)}{link}"


def _fine(digest: Digest) -> list[str]:
    if not digest.fine:
        return []
    rows = [
        [_plain(entry.name), f"{PALETTE['green'].sign} {age_of(entry.age_seconds)}", entry.limits]
        for entry in digest.fine
    ]
    return ["", *_table(["fresh", "age", "limits"], rows)]


def _listed(head: str, facts: Iterable[tuple[str, str]]) -> list[str]:
    told = [f"- {_plain(name)}: {_plain(what)}" for name, what in facts]
    return ["", f"{head}:", "", *told] if told else []


def _history(digest: Digest, history: History) -> list[str]:
    head = ["within the limit", "14 days", *(f"{days} d" for days in WINDOWS)]
    rows = [
        [
            _plain(entry.name),
            _strip(entry.timeliness),
            *(share_in_words(entry.timeliness.share(days)) for days in WINDOWS),
        ]
        for entry in digest.entries
        if entry.timeliness
    ]
    if not rows:
        return ["", f"{_plain(history.place)} knows none of these sources"]
    lines = ["", *_table(head, rows)]
    lines += ["", _plain(coverage(history))] if coverage(history) else []
    return [*lines, *_listed(f"Missed and recovered {since_in_words(history)}", recovered(digest))]


def _strip(timeliness: Timeliness) -> str:
    return "".join(_STRIP[verdict_on(day)] for day in strip_days(timeliness))


def _table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _plain(text: str) -> str:
    """Return a text in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]|~#<>])", r"\\\1", text).replace("\n", " ")
