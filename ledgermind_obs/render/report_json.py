"""A report for programs: stable names, times in ISO 8601, durations in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ledgermind_obs.monitoring.timeliness import WINDOWS, Day, History, Miss, Timeliness
from ledgermind_obs.render.digest import Digest, Entry
from ledgermind_obs.render.documents import report_document, source_document
from ledgermind_obs.render.report_history import strip_days, verdict_on

SCHEMA = 1


def digest_document(digest: Digest) -> dict[str, Any]:
    """Return the report; docs/report.schema.json describes it."""
    return {
        "schema": SCHEMA,
        "sentence": digest.sentence,
        **report_document(digest.report),
        "made_at": digest.made_at,
        "origin": digest.origin,
        "notes": digest.notes,
        "needs_somebody": len(digest.urgent),
        "sources": [_entry(entry) for entry in digest.entries],
        "unmeasured": digest.unmeasured,
        "faulty": [{"name": name, "fault": fault} for name, fault in digest.faulty],
        "history": _history(digest.history) if digest.history else None,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        **source_document(entry.source),
        "state": entry.state,
        "age_seconds": entry.age_seconds,
        "needs_somebody": entry.needs_somebody,
        "last_row_at": entry.last_row,
        "owner": entry.owner,
        "feeds": entry.feeds,
        "next_step": entry.next_step,
        "runbook_url": entry.runbook_url,
        "timeliness": _timeliness(entry.timeliness) if entry.timeliness else None,
    }


def _history(history: History) -> Mapping[str, Any]:
    return {
        "prometheus": history.place,
        "ends_at": _time(history.ends_at),
        "since_seconds": history.since_seconds,
        "known_days": round(history.known_days(), 2),
    }


def _timeliness(found: Timeliness) -> Mapping[str, Any]:
    within = {f"within_{days}_days": found.share(days) for days in WINDOWS}
    return {
        **within,
        "days": [_day(day) for day in strip_days(found)],
        "misses": [_miss(miss) for miss in found.misses],
    }


def _day(day: Day) -> Mapping[str, Any]:
    share = day.within / day.known if day.known else None
    return {"ends_at": _time(day.ends_at), "verdict": verdict_on(day), "within": share}


def _miss(miss: Miss) -> Mapping[str, Any]:
    return {"began_at": _time(miss.began_at), "ended_at": _time(miss.ended_at)}


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
