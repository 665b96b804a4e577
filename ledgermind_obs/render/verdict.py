"""The gate's verdict, as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import Scan
from ledgermind_obs.gate.as_of import keeps_content
from ledgermind_obs.gate.evidence import Evidence
from ledgermind_obs.gate.judge import TOLERATED_BY, Judgement, Verdict
from ledgermind_obs.gate.policy import Permission
from ledgermind_obs.lineage.blind_spots import Blindness, BlindSpot, advice
from ledgermind_obs.lineage.owners import named_owner
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.render import tables
from ledgermind_obs.render.columns import aligned
from ledgermind_obs.render.counts import counted
from ledgermind_obs.render.documents import report_document, source_document
from ledgermind_obs.render.report import age_of, explanation, of_project
from ledgermind_obs.render.subject import Subject, subject_of


def sentence(evidence: Evidence, verdict: Verdict) -> str:
    """Return the one sentence that decides."""
    subject = _subject(evidence)
    if verdict.lets_through:
        return f"{subject.permission}: {_permission(evidence, verdict)}"
    return f"{subject.refusal}: {' and '.join(_reasons(evidence, verdict))}"


def body(evidence: Evidence, verdict: Verdict) -> list[str]:
    """Return the lines below the sentence: what blocks, what only warns, who let what through."""
    upstream = evidence.upstream is not None
    lines = _judged_blocks(evidence, verdict.blockers) if upstream else _rows(verdict)
    for uid in verdict.absent:
        lines += ["", f"{uid}  is not in the evidence", "  next: measure again"]
    for spot in verdict.blind:
        lines += _block(evidence, spot.node, [spot.reason], _mending(evidence, spot))
    for criterion in verdict.unmatched:
        lines += ["", f"{criterion!r} in the selection selects no source", f"  next: {_CORRECT}"]
    lines += tables.blocks(evidence, verdict)
    lines += _judged_blocks(evidence, verdict.warnings) if upstream else []
    lines += _let_through(evidence, verdict)
    lines += _footing(evidence, verdict)
    return lines


def scans(found: Sequence[Scan]) -> list[str]:
    """Return the look-ups that read whole tables, and what would spare them that."""
    if not found:
        return ["no look-up scans a whole table"]
    counts = [_count(scan) for scan in found]
    width = max(map(len, counts))
    rows = [
        (scan.name, count.rjust(width), f"{scan.seconds:.3f} s", scan.advice)
        for scan, count in zip(found, counts, strict=True)
    ]
    return ["look-ups that scan a whole table because an index is missing:", *aligned(rows)]


def _count(scan: Scan) -> str:
    """Return how many rows there are, as statistics have it, else how large they are."""
    if scan.rows is not None:
        return f"about {scan.rows:,} row{'' if scan.rows == 1 else 's'}"
    return "never analyzed" if scan.bytes is None else f"{scan.bytes / 1e6:,.1f} MB, never analyzed"


def document(evidence: Evidence, verdict: Verdict, now: datetime) -> dict[str, Any]:
    """Return the verdict for programs, every source's judgement beside what was measured."""
    found = {
        **report_document(evidence.report),
        "verdict": "pass" if verdict.lets_through else "block",
        "sentence": sentence(evidence, verdict),
        "decided_at": now,
        "evidence": _evidence(evidence),
        "sources": [_judged(evidence, judgement) for judgement in verdict.judgements],
        "blind_spots": [_spot(evidence, spot) for spot in verdict.blind],
        "let_through": [
            {**_spot(evidence, spot), "by": given.by, "pattern": given.pattern}
            for spot, given in verdict.tolerated.items()
        ],
        "unmatched": verdict.unmatched,
        "absent": verdict.absent,
    }
    if evidence.upstream is None:
        return found
    judged = None if evidence.builds is None else tables.document(evidence, verdict)
    return {**found, "tables": judged, "exposure": _exposure(evidence)}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    builds = evidence.builds
    return {
        "kind": evidence.kind,
        "origin": evidence.origin,
        "builds": builds.origin if builds else None,
        "notes": (*evidence.notes, *(builds.notes if builds else ())),
    }


_CORRECT = "correct it, or leave it out; see what there is: dbt ls --resource-type source"


def _subject(evidence: Evidence) -> Subject:
    return subject_of(evidence.upstream.exposure if evidence.upstream else None)


def _permission(evidence: Evidence, verdict: Verdict) -> str:
    warned = f", {len(verdict.warnings)} with a warning" if verdict.warnings else ""
    if evidence.upstream is None:
        return f"{of_project(evidence.report)}{warned}"
    not_judged = "; tables were not judged (--sources-only)" if _leaves_out_tables(evidence) else ""
    return (
        f"{_upstream(evidence, verdict)} measured{warned}{tables.permission(verdict)}{not_judged}"
    )


def _leaves_out_tables(evidence: Evidence) -> bool:
    """Whether there are tables upstream of the exposure, and nobody asked about them."""
    if evidence.upstream is None or evidence.builds is not None:
        return False
    lineage = evidence.upstream.lineage
    return any(keeps_content(lineage, uid) for uid in evidence.upstream.walk)


def _reasons(evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    blockers = len(verdict.blockers)
    if blockers:
        of_them = _upstream(evidence, verdict) if evidence.upstream else of_project(evidence.report)
        yield f"{blockers} of {of_them} {'is' if blockers == 1 else 'are'} too old or unknown"
    if verdict.blind:
        where = f" upstream of {evidence.upstream.exposure.name}" if evidence.upstream else ""
        yield f"{_blind(verdict)}{where}"
    if evidence.upstream:
        yield from tables.reasons(verdict, evidence.upstream)
    if verdict.absent:
        yield f"{counted(len(verdict.absent), 'source')} not in the evidence"
    if verdict.unmatched:
        yield f"nothing is selected by {' or '.join(map(repr, verdict.unmatched))}"
    if not (verdict.judgements or verdict.blind or verdict.absent or verdict.unmatched):
        yield "there is no source to measure"


def _blind(verdict: Verdict) -> str:
    """Return how many blind spots block, and of what kind: in most projects all are of one."""
    kinds, number = {spot.kind for spot in verdict.blind}, len(verdict.blind)
    if kinds == {Blindness.NO_FRESHNESS}:
        return f"{counted(number, 'source')} without freshness"
    if kinds <= {Blindness.NO_FRESHNESS, Blindness.UNMEASURABLE}:
        return f"{counted(number, 'source')} that cannot be measured"
    return counted(number, "blind spot")


def _upstream(evidence: Evidence, verdict: Verdict) -> str:
    name = evidence.upstream.exposure.name if evidence.upstream else ""
    return f"{counted(len(verdict.judgements), 'source')} upstream of {name}"


def _rows(verdict: Verdict) -> list[str]:
    told = [*verdict.warnings, *verdict.blockers]
    if not told:
        return []
    rows = [
        (
            "blocks" if judgement.blocks else "passes",
            judgement.source.name,
            judgement.state.label,
            age_of(judgement.age_seconds),
            _limit(judgement) or judgement.source.message or explanation(judgement.source),
        )
        for judgement in told
    ]
    steps: dict[str, list[str]] = {}
    for judgement in told:
        steps.setdefault(judgement.next_step, []).append(judgement.source.name)
    return ["", *aligned(rows), "", *(f"next, {', '.join(n)}: {s}" for s, n in steps.items())]


def _judged_blocks(evidence: Evidence, judgements: Iterable[Judgement]) -> list[str]:
    lines: list[str] = []
    for judgement in judgements:
        passing = [] if judgement.blocks else ["passes"]
        facts = [*_facts(judgement), *passing]
        lines += _block(evidence, judgement.source.unique_id, facts, judgement.next_step)
    return lines


def _block(evidence: Evidence, uid: str, facts: Iterable[str], next_step: str) -> list[str]:
    upstream = evidence.upstream
    name = upstream.lineage.label(uid) if upstream else _name(evidence, uid)
    path = [f"  {' → '.join(upstream.path(uid))}"] if upstream else []
    named = named_owner(upstream.lineage, evidence.settings, uid) if upstream else ""
    owner = [f"  owner: {named}"] if named else []
    return ["", "  ".join([name, *facts]), *path, *owner, f"  next: {next_step}"]


def _facts(judgement: Judgement) -> list[str]:
    facts = [judgement.state.label]
    facts += [format_age(judgement.age_seconds)] if judgement.age_seconds is not None else []
    facts += [limit] if (limit := _limit(judgement)) else []
    return [*facts, judgement.source.message] if judgement.source.message else facts


def _limit(judgement: Judgement) -> str:
    if judgement.limit_seconds is None:
        return ""
    return f"limit {format_age(judgement.limit_seconds)} ({judgement.limit})"


def _let_through(evidence: Evidence, verdict: Verdict) -> list[str]:
    lines = [
        f"let through by {_given(given)}: {_name(evidence, spot.node)} {spot.reason}"
        for spot, given in verdict.tolerated.items()
    ]
    lines += tables.let_through(evidence, verdict)
    return ["", *lines] if lines else []


def _given(given: Permission) -> str:
    """Return an option with its pattern; what the project says itself is a reason."""
    is_option = given.by.startswith("--")
    return f"{given.by} {given.pattern}" if is_option else f"{given.by}, {given.pattern!r}"


def _footing(evidence: Evidence, verdict: Verdict) -> list[str]:
    builds = evidence.builds
    lines = [f"note: {note}" for note in (*evidence.notes, *(builds.notes if builds else ()))]
    lines += [f"evidence: {evidence.origin}"] if evidence.origin else []
    lines += [f"builds: {builds.origin}"] if builds and builds.nodes and builds.origin else []
    if evidence.upstream and not verdict.lets_through:
        exposure = evidence.upstream.exposure
        owner = str(exposure.owner or "") or "nobody"
        url = f"  {exposure.url}" if exposure.url else ""
        lines.append(f"{exposure.name} is owned by {owner}{url}")
    return ["", *lines] if lines else []


def _judged(evidence: Evidence, judgement: Judgement) -> dict[str, Any]:
    upstream, source = evidence.upstream, judgement.source
    path = {"path": upstream.path(source.unique_id)} if upstream else {}
    owner = {"owner": _owner(evidence, upstream, source.unique_id)} if upstream else {}
    return {
        **source_document(source),
        "state": judgement.state,
        "age_seconds": judgement.age_seconds,
        "blocks": judgement.blocks,
        "limit": judgement.limit,
        "limit_seconds": judgement.limit_seconds,
        "next_step": judgement.next_step,
        **path,
        **owner,
    }


def _owner(evidence: Evidence, upstream: Upstream, uid: str) -> str:
    """Return who answers for a source: the one it names, else the exposure's owner."""
    named = named_owner(upstream.lineage, evidence.settings, uid)
    return named or str(upstream.exposure.owner or "")


def _spot(evidence: Evidence, spot: BlindSpot) -> dict[str, Any]:
    upstream = evidence.upstream
    path = {"path": upstream.path(spot.node)} if upstream else {}
    return {
        "unique_id": spot.node,
        "kind": spot.kind,
        "reason": spot.reason,
        "next_step": _mending(evidence, spot),
        **path,
    }


def _exposure(evidence: Evidence) -> dict[str, Any]:
    assert evidence.upstream is not None  # noqa: S101 - the caller looked
    exposure = evidence.upstream.exposure
    return {
        "unique_id": evidence.upstream.uid,
        "name": exposure.name,
        "owner": str(exposure.owner or ""),
        "url": exposure.url or "",
    }


def _mending(evidence: Evidence, spot: BlindSpot) -> str:
    flag = TOLERATED_BY.get(spot.kind)
    name = _name(evidence, spot.node)
    return advice(spot.kind) + (f", or let it through: {flag} {name}" if flag else "")


def _name(evidence: Evidence, uid: str) -> str:
    return next((name for spot, name in evidence.blind.items() if spot.node == uid), uid)
