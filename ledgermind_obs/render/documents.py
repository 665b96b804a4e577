"""What ``--format json`` prints: stable names, times in ISO 8601, durations in seconds."""

from __future__ import annotations

from typing import Any

import msgspec

from ledgermind_obs.freshness import FreshnessReport, SourceFreshness
from ledgermind_obs.sinks.deliver import Delivery


def report_document(report: FreshnessReport) -> dict[str, Any]:
    """Return the report, every source with its name and its age."""
    fields = {name: getattr(report, name) for name in report.__struct_fields__}
    return {**fields, "sources": [source_document(source) for source in report.sources]}


def pushed_document(
    report: FreshnessReport, delivery: Delivery, destination: str
) -> dict[str, Any]:
    """Return the report and what was delivered of it."""
    kept = [
        {"package": key.package, "source": key.source, "table": key.table, "loaded_at_seconds": at}
        for key, at in delivery.kept.items()
    ]
    delivered = {"destination": destination, "series": delivery.series, "kept": kept}
    return {**report_document(report), "delivery": delivered}


def to_json(document: dict[str, Any]) -> str:
    """Return the document as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def source_document(source: SourceFreshness) -> dict[str, Any]:
    """Return a source with its name and its age."""
    fields = {name: getattr(source, name) for name in source.__struct_fields__}
    return {"name": source.name, **fields, "age_seconds": source.age_seconds}
