"""From the evidence to what a report says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from ledgermind_obs.dbt.meta_obs import Settings
from ledgermind_obs.freshness import State
from ledgermind_obs.gate.built import Builds, Built
from ledgermind_obs.gate.evidence import Evidence
from ledgermind_obs.gate.judge import Judgement, judge
from ledgermind_obs.gate.policy import Policy
from ledgermind_obs.lineage.blind_spots import advice
from ledgermind_obs.lineage.graph import Lineage, path
from ledgermind_obs.lineage.owners import owner_of
from ledgermind_obs.monitoring.timeliness import History
from ledgermind_obs.render.digest import Digest, Entry, Feed, NodeFacts, Unmeasured

RUNBOOK = "https://github.com/leok974/ai-finance-agent-oss/blob/main/docs/DATA_QUALITY_COMPLETE.md"

# The section of the runbook for each state that needs somebody.
SECTIONS = {
    State.WARN: "freshness-check-fails",
    State.ERROR: "freshness-check-fails",
    State.FUTURE: "source-is-in-the-future",
    State.EMPTY: "source-is-empty",
    State.MISSING: "source-cannot-be-measured",
    State.QUERY_ERROR: "source-cannot-be-measured",
}


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a report can be given beyond the evidence.

    ``known_rows`` has the newest row that an earlier run saw of a source, by its unique id.
    """

    lineage: Lineage | None = None
    settings: Settings = Settings()
    known_rows: Mapping[str, datetime] = {}
    nodes: Mapping[str, NodeFacts] = {}
    history: History | None = None
    runbook: str = RUNBOOK
    notes: tuple[str, ...] = ()


def digest_of(evidence: Evidence, moment: datetime, around: Surroundings) -> Digest:
    """Return what a report says of the evidence at a moment."""
    verdict = judge(evidence, Policy(), moment)
    names = Counter(source.name for source in evidence.report.sources)
    feeds = _feeds(around.lineage) if around.lineage else {}
    entries = [
        _entry(judgement, names, around, feeds.get(judgement.source.unique_id, ()))
        for judgement in verdict.judgements
    ]
    entries.sort(key=lambda entry: (-entry.state.rank, entry.name))
    return Digest(
        report=evidence.report,
        made_at=moment,
        entries=tuple(entries),
        unmeasured=tuple(_unmeasured(evidence, around.settings, moment)),
        lineage=around.lineage,
        nodes=around.nodes,
        history=around.history,
        origin=evidence.origin,
        notes=around.notes,
    )


def _entry(
    judgement: Judgement,
    names: Mapping[str, int],
    around: Surroundings,
    feeds: tuple[Feed, ...],
) -> Entry:
    source, state = judgement.source, judgement.state
    section = SECTIONS.get(state, "")
    lineage, history = around.lineage, around.history
    return Entry(
        name=source.name if names[source.name] == 1 else f"{source.package}.{source.name}",
        source=source,
        state=state,
        age_seconds=judgement.age_seconds,
        last_row=source.loaded_at or _known_row(judgement, around),
        owner=owner_of(lineage, around.settings, source.unique_id) if lineage else "",
        feeds=feeds,
        runbook_url=f"{around.runbook}#{section}" if section and around.runbook else "",
        timeliness=history.sources.get(source.key) if history else None,
    )


def _known_row(judgement: Judgement, around: Surroundings) -> datetime | None:
    """Return the newest row that was seen before; an empty table has none."""
    if judgement.state is State.EMPTY:
        return None
    return around.known_rows.get(judgement.source.unique_id)


def _feeds(lineage: Lineage) -> dict[str, tuple[Feed, ...]]:
    """Return the exposures that each source reaches, by the exposures' names."""
    found: dict[str, tuple[Feed, ...]] = {}
    for uid, exposure in sorted(lineage.exposures.items(), key=lambda each: each[1].name):
        walk = lineage.ancestors([uid])
        for source in lineage.manifest.sources.keys() & walk.keys():
            way = tuple(lineage.label(step) for step in path(walk, source))
            found[source] = (*found.get(source, ()), Feed(exposure.name, way))
    return found


def _unmeasured(evidence: Evidence, settings: Settings, moment: datetime) -> list[Unmeasured]:
    found = []
    for spot, name in evidence.blind.items():
        said = settings.sources.get(spot.node)
        known = said.no_freshness if said else None
        if known and known.holds(moment):
            found.append(Unmeasured(name, f"{spot.reason}: {known.told}", ""))
        else:
            found.append(Unmeasured(name, spot.reason, advice(spot.kind)))
    return sorted(found, key=lambda each: each.name)


_FAULTS = {
    "error": "build failed",
    "skipped": "build skipped",
    "partial": "built in part",
}


def node_facts(known: Builds, exposure: str) -> dict[str, NodeFacts]:
    """Return what is known of the nodes upstream of an exposure, and of itself, by their ids."""
    facts = {uid: _facts(built) for uid, built in known.nodes.items()}
    return {**facts, exposure: NodeFacts("", _oldest(known.as_of))}


def _facts(built: Built) -> NodeFacts:
    faults = [_FAULTS[built.status]] if built.status in _FAULTS else []
    faults += [f"test {test} failed" for test in built.failed_tests]
    return NodeFacts(", ".join(faults), _oldest(built.as_of))


def _oldest(as_of: Mapping[str, float | None]) -> datetime | None:
    """Return the moment of the oldest source's data; None unless that of each is known."""
    moments = [moment for moment in as_of.values() if moment is not None]
    if not moments or len(moments) < len(as_of):
        return None
    return datetime.fromtimestamp(min(moments), UTC)
