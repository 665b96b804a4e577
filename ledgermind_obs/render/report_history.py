"""What a report says of the past: the days of each source, and what it missed, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ledgermind_obs.durations import format_age
from ledgermind_obs.monitoring.timeliness import (
    DAY_SECONDS,
    DAYS,
    STRIP_DAYS,
    Day,
    History,
    Miss,
    Timeliness,
)
from ledgermind_obs.render.digest import Digest, moment_in_words

# What is known of a day less than this part of it is said to be incomplete.
_NEARLY_ALL = 0.97


def verdict_on(day: Day) -> str:
    """Return ``none`` (nothing known), ``within`` its limit, ``late``, or ``past`` error_after."""
    if not day.known:
        return "none"
    if day.within == day.known:
        return "within"
    return "late" if day.tolerable == day.known else "past"


def strip_days(timeliness: Timeliness) -> tuple[Day, ...]:
    """Return the days that a strip shows, the oldest first."""
    return timeliness.days[-STRIP_DAYS:]


def coverage(history: History) -> str:
    """Return a sentence if Prometheus knows less than the longest window, else an empty text."""
    known = history.known_days()
    if known >= DAYS * _NEARLY_ALL:
        return ""
    return (
        f"{history.place} knows {format_age(known * DAY_SECONDS)} of the last {DAYS} days: "
        "the figures are of that time"
    )


def missed_in_words(timeliness: Timeliness) -> str:
    """Return when a source was past its limit since the last report; empty if it never was."""
    return "; ".join(map(_miss_in_words, timeliness.misses))


def recovered(digest: Digest) -> Iterator[tuple[str, str]]:
    """Yield each source that needs nobody now and missed its limit since the last report."""
    for entry in digest.fine:
        if entry.timeliness and entry.timeliness.misses:
            yield entry.name, missed_in_words(entry.timeliness)


def since_in_words(history: History) -> str:
    """Return ``in the last 24 h``."""
    since = history.since_seconds
    return f"in the last {'24 h' if since == DAY_SECONDS else format_age(since)}"


def _miss_in_words(miss: Miss) -> str:
    began, ended = miss.began_at, miss.ended_at
    if began is None:
        return f"until {_clock(ended)}" if ended else "all the time"
    if ended is None:
        return f"since {_clock(began)}"
    return f"from {_clock(began)} to {_clock(ended)} ({format_age(ended - began)})"


def _clock(seconds: float) -> str:
    return moment_in_words(datetime.fromtimestamp(seconds, UTC), year=False)
