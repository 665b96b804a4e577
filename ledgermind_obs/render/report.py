"""A freshness report as text to send: Markdown for a chat or a pull request, HTML for a mail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape

from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import STATES, FreshnessReport, SourceFreshness, State
from ledgermind_obs.render.palette import PALETTE

UNKNOWN_AGE = "–"

_HEADINGS = ("source", "state", "age", "limits, or what went wrong")


def by_severity(report: FreshnessReport) -> list[SourceFreshness]:
    """Return the report's sources, the worst last, and by name within a state."""
    return sorted(report.sources, key=lambda s: (s.state.rank, s.name))


def summary(report: FreshnessReport) -> str:
    """Return one sentence: how many sources, of what, how long it took, how many in each state."""
    counts = Counter(source.state for source in report.sources)
    states = ", ".join(f"{counts[state]} {state.label}" for state in STATES if counts[state])
    return f"{of_project(report)} in {report.duration_seconds:.1f} s: {states}"


def of_project(report: FreshnessReport) -> str:
    """Return ``3 sources of ledgermind (target prod)``."""
    count = len(report.sources)
    noun = "source" if count == 1 else "sources"
    place = f" (target {report.target})" if report.target else ""  # an artifact may not say it
    return f"{count} {noun} of {report.project}{place}"


def age_of(age_seconds: float | None) -> str:
    """Return an age for people, also one that is not known."""
    return UNKNOWN_AGE if age_seconds is None else format_age(age_seconds)


def explanation(source: SourceFreshness) -> str:
    """Return what went wrong, or the limits that the source is held to."""
    if source.message:
        return source.message
    limits = (("warn", source.warn_after_seconds), ("error", source.error_after_seconds))
    return "  ".join(f"{name} {format_age(limit)}" for name, limit in limits if limit is not None)


def as_markdown(report: FreshnessReport) -> str:
    """Return the report as a Markdown table under its summary, the worst source first."""
    head = [f"**{_markdown(summary(report))}**", "", _line(_HEADINGS), _line(["---"] * 4)]
    rows = [
        _line([f"`{source.name}`", f"{_sign(source.state)} {source.state.label}", *_rest(source)])
        for source in reversed(by_severity(report))
    ]
    return "\n".join([*head, *rows])


def as_html(report: FreshnessReport) -> str:
    """Return the report as an HTML document that mail programs show, the worst source first."""
    headings = "".join(f"<th align='left'>{heading}</th>" for heading in _HEADINGS)
    rows = "\n".join(_html_row(source) for source in reversed(by_severity(report)))
    return (
        "<!DOCTYPE html>\n<html><head><meta charset='utf-8'>"
        f"<title>Freshness of {escape(report.project)}</title></head>\n"
        "<body style='font-family: sans-serif'>\n"
        f"<p><strong>{escape(summary(report))}</strong></p>\n"
        f"<table cellpadding='6'>\n<tr>{headings}</tr>\n{rows}\n</table>\n</body></html>"
    )


def _rest(source: SourceFreshness) -> list[str]:
    return [age_of(source.age_seconds), _markdown(explanation(source))]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*").replace("<", "&lt;")


def _sign(state: State) -> str:
    return PALETTE[STATES[state].colour].sign


def _html_row(source: SourceFreshness) -> str:
    colour = PALETTE[STATES[source.state].colour].hex
    cells = [
        escape(source.name),
        f"<span style='color: {colour}'>●</span> {source.state.label}",
        age_of(source.age_seconds),
        escape(explanation(source)),
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
