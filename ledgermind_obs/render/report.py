"""A freshness report in words: what every form of it has in common."""

from __future__ import annotations

from collections import Counter

from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import STATES, FreshnessReport, SourceFreshness

UNKNOWN_AGE = "–"


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
    """Return an age for people, also one that is not known, and ``9 h ahead`` for one below 0."""
    if age_seconds is None:
        return UNKNOWN_AGE
    return f"{format_age(-age_seconds)} ahead" if age_seconds < 0 else format_age(age_seconds)


def explanation(source: SourceFreshness) -> str:
    """Return what went wrong, or the limits that the source is held to."""
    if source.message:
        return source.message
    limits = (("warn", source.warn_after_seconds), ("error", source.error_after_seconds))
    return "  ".join(f"{name} {format_age(limit)}" for name, limit in limits if limit is not None)
