"""A report as one HTML page that needs nothing else: no script, no request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape

from ledgermind_obs.freshness import State
from ledgermind_obs.monitoring.timeliness import STRIP_DAYS, WINDOWS, History, Timeliness
from ledgermind_obs.render.digest import (
    Digest,
    Entry,
    last_row_in_words,
    moment_in_words,
    share_in_words,
)
from ledgermind_obs.render.report import age_of
from ledgermind_obs.render.report_bar import bar
from ledgermind_obs.render.report_exposures import figures
from ledgermind_obs.render.report_history import (
    coverage,
    missed_in_words,
    recovered,
    since_in_words,
    strip_days,
    verdict_on,
)
from ledgermind_obs.render.report_style import glyph_of, stylesheet, tone_of

# A longer table is folded; a mail names no more sources than that.
MOST_ROWS = 60
# On paper.
MOST_IN_ONE_COLUMN = 12
_VERDICTS = {
    "within": "within its limit",
    "late": "past its first limit",
    "past": "past error_after",
    "none": "not known",
}


def as_html(digest: Digest) -> str:
    """Return the whole page."""
    return _page(digest, [*_parts(digest, None), *figures(digest)])


def as_mail_html(digest: Digest) -> str:
    """Return the page for mail programs: without drawings, which they drop, and not too long."""
    return _page(digest, _parts(digest, MOST_ROWS))


def in_ascii(page: str) -> str:
    """Return a page that reads the same in whatever encoding it is written or mailed.

    Character references are not known inside a style sheet, which has to be ASCII as it is.
    """
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _page(digest: Digest, parts: Iterable[str]) -> str:
    title = escape(f"{digest.sentence} – {digest.subject}")
    body = "\n".join(parts)
    return in_ascii(f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{stylesheet()}
</style>
</head>
<body>
<main>
{body}
<footer>Limits are dbt's warn_after and error_after. Times are UTC.</footer>
</main>
</body>
</html>""")


def _parts(digest: Digest, most: int | None) -> Iterator[str]:
    yield _head(digest)
    if digest.urgent:
        yield _section(
            "Needs somebody", _grid(_card(entry, digest) for entry in digest.urgent[:most])
        )
        yield _left_out(digest.urgent, most)
    if digest.fine:
        yield _section("Fresh", _fine(digest.fine[:most], digest), _left_out(digest.fine, most))
    if digest.history:
        yield _section("Within the limit", *_history(digest, digest.history, most))
    if digest.faulty:
        yield _section(
            "Failed models", f'<div class="card edge-bad">{_listed(digest.faulty)}</div>'
        )
    if digest.unmeasured:
        facts = [(each.name, each.reason) for each in digest.unmeasured]
        yield _section("Not measured", f'<div class="sheet">{_listed(facts)}</div>')


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{chr(10).join(filter(None, parts))}\n</section>"


def _grid(cards: Iterable[str]) -> str:
    return f'<div class="grid">\n{chr(10).join(cards)}\n</div>'


def _left_out(entries: list[Entry], most: int | None) -> str:
    more = len(entries) - len(entries[:most])
    return f'<p class="soft">and {more:,} more</p>' if more else ""


def _head(digest: Digest) -> str:
    chips = "".join(
        f'<span class="{tone_of(state)}">{glyph_of(state)} {count:,} {state.label}</span>'
        for state, count in _counts(digest)
    )
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in digest.notes)
    made_at = digest.made_at
    return f"""<header>
<p class="soft">dbt source freshness · {escape(digest.subject)}</p>
<h1>{escape(digest.sentence)}</h1>
<p class="soft"><time datetime="{made_at.isoformat()}">{moment_in_words(made_at)}</time>
 · {escape(digest.method)}</p>
<p class="chips">{chips}</p>
{notes}</header>"""


def _counts(digest: Digest) -> Iterator[tuple[State, int]]:
    for state in reversed(State):
        count = sum(entry.state is state for entry in digest.entries)
        if count:
            yield state, count


def _card(entry: Entry, digest: Digest) -> str:
    tone = tone_of(entry.state)
    age = f" · {age_of(entry.age_seconds)}" if entry.age_seconds is not None else ""
    message = f'<p class="message">{escape(entry.source.message)}</p>'
    facts = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in _facts(entry, digest))
    return f"""<article class="card edge-{tone}">
<h3>{breakable(entry.name)}</h3>
<p class="state {tone}">{glyph_of(entry.state)} {entry.state.label}{age}</p>
{bar(entry, digest)}{message if entry.source.message else ""}
<dl>{facts}</dl>
</article>"""


def _facts(entry: Entry, digest: Digest) -> Iterator[tuple[str, str]]:
    yield "Last row", escape(last_row_in_words(entry, digest.made_at))
    if entry.limits:
        yield "Limit", escape(entry.limits)
    if digest.lineage is not None:
        yield "Owner", escape(entry.owner or "nobody")
    if entry.feeds:
        ways = (f"<li>{escape(' → '.join(feed.path))}</li>" for feed in entry.feeds)
        yield "Feeds", f"<ul>{''.join(ways)}</ul>"
    if entry.timeliness and entry.timeliness.misses:
        yield "Missed", escape(missed_in_words(entry.timeliness))
    link = ""
    if entry.runbook_url:
        name = escape(f"Runbook for {entry.name}")
        link = f' · <a href="{escape(entry.runbook_url)}" aria-label="{name}">runbook</a>'
    yield "Next", f"{escape(entry.next_step)}{link}"


def _fine(entries: list[Entry], digest: Digest) -> str:
    rows = "".join(_fine_row(entry, digest) for entry in entries)
    table = f"""<table>
<caption>Sources that need nobody, with their age against both limits</caption>
<thead><tr><th scope="col">Source</th><th scope="col" class="age">Age</th>
<th scope="col">Limits</th></tr></thead>
<tbody>{rows}</tbody></table>"""
    return _sheet(table, len(entries))


def _fine_row(entry: Entry, digest: Digest) -> str:
    told = f"{glyph_of(entry.state)} {age_of(entry.age_seconds)}"
    age = f'<span class="state {tone_of(entry.state)}">{told}</span>{bar(entry, digest)}'
    return (
        f'<tr><th scope="row" class="name">{breakable(entry.name)}</th>'
        f'<td class="age"><span class="gauge">{age}</span></td>'
        f'<td class="soft">{escape(entry.limits)}</td></tr>'
    )


def _sheet(table: str, rows: int) -> str:
    """Return a table on a sheet; a long one is folded."""
    if rows <= MOST_ROWS:
        long = " long" if rows > MOST_IN_ONE_COLUMN else ""
        return f'<div class="sheet{long}">{table}</div>'
    return f'<details class="sheet"><summary>{rows:,} sources</summary>{table}</details>'


def _history(digest: Digest, history: History, most: int | None) -> Iterator[str]:
    known = [entry for entry in digest.entries if entry.timeliness][:most]
    if not known:
        yield f'<p class="soft">{escape(history.place)} knows none of these sources.</p>'
        return
    heads = "".join(f'<th scope="col" class="n">{days} days</th>' for days in WINDOWS)
    rows = "".join(_history_row(entry.name, entry.timeliness) for entry in known)
    table = f"""<table>
<caption>Each of the last {STRIP_DAYS} days, the newest on the right, and the part of the known time
within the first limit</caption>
<thead><tr><th scope="col">Source</th><th scope="col">{STRIP_DAYS} days</th>{heads}</tr></thead>
<tbody>{rows}</tbody></table>"""
    yield _sheet(table, len(known))
    signs = " ".join(
        f'<span><span class="d {name}"></span>{text}</span>' for name, text in _VERDICTS.items()
    )
    yield f'<p class="soft key" aria-hidden="true">{signs}</p>'
    if told := coverage(history):
        yield f'<p class="soft key">{escape(told)}.</p>'
    yield _recovered(digest, history)


def _history_row(name: str, found: Timeliness | None) -> str:
    if found is None:
        return ""
    verdicts = [verdict_on(day) for day in strip_days(found)]
    counts = ", ".join(
        f"{verdicts.count(verdict)} {text}"
        for verdict, text in _VERDICTS.items()
        if verdict in verdicts
    )
    signs = "".join(f'<span class="d {verdict}"></span>' for verdict in verdicts)
    shares = "".join(f'<td class="n">{share_in_words(found.share(days))}</td>' for days in WINDOWS)
    strip = f'<span class="strip" role="img" aria-label="Days: {counts}">{signs}</span>'
    return f'<tr><th scope="row" class="name">{breakable(name)}</th><td>{strip}</td>{shares}</tr>'


def _listed(facts: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<p><span class="name">{breakable(name)}</span> {escape(what)}</p>' for name, what in facts
    )


def breakable(name: str) -> str:
    """Return a name that may be broken where people would break it."""
    return re.sub(r"([._])", r"\1<wbr>", escape(name))


def _recovered(digest: Digest, history: History) -> str:
    told = _listed(recovered(digest))
    if not told:
        return ""
    head = f"<h3>Missed and recovered {since_in_words(history)}</h3>"
    return f'<div class="card edge-fair">{head}{told}</div>'
