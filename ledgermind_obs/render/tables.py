"""The tables of a verdict as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import SourceFreshness
from ledgermind_obs.gate.evidence import Evidence
from ledgermind_obs.gate.judge import Verdict
from ledgermind_obs.gate.tables import (
    FAILED_TEST,
    NEXT_STEPS,
    TOO_OLD,
    UNKNOWN_AGE,
    Age,
    Build,
    TableJudgement,
)
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.render.counts import counted

_REASONS = {
    Build.FAILED: ("failed to build", "failed to build"),
    Build.PARTIAL: ("was built in part", "were built in part"),
    Build.UNKNOWN: ("has no build on record", "have no build on record"),
    Build.SKIPPED: ("was skipped", "were skipped"),
}


def reasons(verdict: Verdict, upstream: Upstream) -> Iterator[str]:
    """Yield why the tables block, one clause per kind of reason."""
    blocking = [table for table in verdict.tables if table.told]
    for build, (one, many) in _REASONS.items():
        names = [t.uid for t in blocking if t.blocks_by_build and t.build is build]
        if names and not (build is Build.SKIPPED and _of(blocking, Build.FAILED)):
            yield _clause(upstream.lineage, names, one, many)
    failed = sum(len(table.built.failed_tests) for table in blocking if table.blocks_by_tests)
    if failed:
        yield counted(failed, "test failed", "tests failed")
    for is_known, what in ((True, "data that is too old"), (False, "data of unknown age")):
        names = [t.uid for t in blocking if _holds(t, is_known=is_known)]
        if names:
            yield _clause(upstream.lineage, names, f"holds {what}", f"hold {what}")


def permission(verdict: Verdict) -> str:
    """Return what is known of the tables of an open gate: how many, and the oldest data."""
    tables = [t for t in verdict.tables if t.built.keeps_content and t.build is Build.DONE]
    if not tables:
        return ""
    read = [age for table in verdict.tables for age in table.ages if age.age_seconds is not None]
    oldest = max(read, key=lambda age: age.age_seconds or 0.0, default=None)
    told = ""
    if oldest is not None and oldest.age_seconds is not None:
        source = ".".join(oldest.source.split(".")[2:])
        told = f", the oldest data {format_age(oldest.age_seconds)} old ({source})"
    return f", {counted(len(tables), 'table')} built{told}"


def blocks(evidence: Evidence, verdict: Verdict) -> list[str]:
    """Return the lines of each table that blocks for a reason of its own."""
    if evidence.upstream is None:
        return []
    lines: list[str] = []
    for table in (table for table in verdict.tables if table.told):
        lines += _block(evidence, evidence.upstream, table)
    return lines


def let_through(evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    """Yield what was let through by name."""
    upstream = evidence.upstream
    for table in verdict.tables if upstream else ():
        name = upstream.lineage.label(table.uid) if upstream else ""
        for given in table.permissions:
            told = ", ".join(_facts_of_build(table))
            yield f"let through by {given.by} {given.pattern}: {name} {told}"
        for age in table.ages:
            if age.permission:
                source = ".".join(age.source.split(".")[2:])
                yield (
                    f"let through by {age.permission.by} {age.permission.pattern}: "
                    f"{name} holds data of unknown age ({source})"
                )


def document(evidence: Evidence, verdict: Verdict) -> list[dict[str, Any]]:
    """Return what is known of each table, and last of what the exposure reads, for programs."""
    upstream = evidence.upstream
    return [_document(upstream, table) for table in verdict.tables if upstream]


def _document(upstream: Upstream, table: TableJudgement) -> dict[str, Any]:
    built = table.built
    return {
        "unique_id": table.uid,
        "name": upstream.lineage.label(table.uid),
        "kind": upstream.lineage.kind(table.uid),
        "build": table.build if built.keeps_content or built.status else None,
        "status": built.status or None,
        "built_at": _moment(built.built_at),
        "failed_tests": built.failed_tests,
        "blocks": table.blocks,
        "data": [_age_document(age) for age in table.ages],
        "let_through": [{"by": each.by, "pattern": each.pattern} for each in table.permissions],
        "path": upstream.path(table.uid),
        "owner": str(upstream.exposure.owner or ""),
        "next_step": next_step(table, upstream.lineage) if table.blocks else "nothing",
    }


def _age_document(age: Age) -> dict[str, Any]:
    return {
        "source": age.source,
        "as_of": _moment(age.as_of),
        "age_seconds": age.age_seconds,
        "state": age.state or "unknown",
        "limit": age.limit,
        "limit_seconds": age.limit_seconds,
        "blocks": age.blocks,
        "let_through": (
            {"by": age.permission.by, "pattern": age.permission.pattern} if age.permission else None
        ),
    }


def next_step(table: TableJudgement, lineage: Lineage) -> str:
    """Return what to do about a table that blocks."""
    name = lineage.label(table.uid)
    if table.blocks_by_build:
        return NEXT_STEPS[table.build].format(name=name)
    if table.blocks_by_tests:
        return FAILED_TEST.format(name=name)
    is_old = table.worst is not None and table.worst.state is not None
    return TOO_OLD.format(name=name) if is_old else UNKNOWN_AGE


def _block(evidence: Evidence, upstream: Upstream, table: TableJudgement) -> list[str]:
    now = evidence.gathered_at.timestamp()
    facts = [*_facts_of_build(table), *_built_ago(table, now)]
    lines = ["", "  ".join([upstream.lineage.label(table.uid), *facts])]
    lines += [f"  {_told(age, evidence.report.sources)}" for age in table.ages if _is_news(age)]
    lines.append(f"  {' → '.join(upstream.path(table.uid))}")
    return [*lines, f"  next: {next_step(table, upstream.lineage)}"]


def _facts_of_build(table: TableJudgement) -> list[str]:
    facts = [table.build.value] if table.build is not Build.DONE else []
    return [*facts, *(f"failed: {test}" for test in table.built.failed_tests)]


def _built_ago(table: TableJudgement, now: float) -> list[str]:
    """Return when the table was last written whole; an exposure never is."""
    if table.built.built_at is not None:
        return [f"built {format_age(max(0.0, now - table.built.built_at))} ago"]
    return ["never built on record"] if table.build is Build.FAILED else []


def _told(age: Age, sources: Iterable[SourceFreshness]) -> str:
    source = next((s.name for s in sources if s.unique_id == age.source), age.source)
    if age.age_seconds is None:
        return f"holds {source} of unknown age"
    limit = f", limit {format_age(age.limit_seconds)} ({age.limit})" if age.limit_seconds else ""
    return f"holds {source} as of {format_age(age.age_seconds)} ago{limit}"


def _is_news(age: Age) -> bool:
    return age.blocks and age.told


def _holds(table: TableJudgement, *, is_known: bool) -> bool:
    return any(_is_news(age) and (age.state is not None) == is_known for age in table.ages)


def _of(tables: Iterable[TableJudgement], build: Build) -> bool:
    return any(table.blocks_by_build and table.build is build for table in tables)


def _clause(lineage: Lineage, uids: list[str], one: str, many: str) -> str:
    if len(uids) == 1:
        return f"{lineage.label(uids[0])} {one}"
    return f"{len(uids)} tables {many}"


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
