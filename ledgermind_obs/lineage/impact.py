"""What a node or a change reaches: the nodes downstream of it, and the exposures among them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from ledgermind_obs.lineage.changes import Change, Effect
from ledgermind_obs.lineage.graph import Lineage, Walk, path


class Severity(StrEnum):
    """How far a change reaches; an exposure makes it critical. The worst comes first."""

    CRITICAL = "critical"
    UNKNOWN = "unknown"
    HIGH = "high"
    LOW = "low"
    SAFE = "safe"


class Reach(msgspec.Struct, frozen=True):
    """What depends on a node, each with the names on the way to it, the node's own first."""

    exposures: dict[str, tuple[str, ...]]
    models: dict[str, tuple[str, ...]]


class Impact(msgspec.Struct, frozen=True):
    """A change, or a node as it is, with what it reaches."""

    node: str
    name: str
    severity: Severity
    reach: Reach
    change: Change | None = None


def impact_of(lineage: Lineage, uid: str) -> Impact:
    """Return what a fault in a node would reach."""
    reach = _reach(lineage, uid)
    severity = _severity(Effect.BREAKING, reach)
    return Impact(uid, lineage.label(uid), severity, reach)


def impacts_of(before: Lineage, after: Lineage, changes: Iterable[Change]) -> list[Impact]:
    """Return each change with what it reaches in either of the two graphs, the worst first."""
    found = [_impact(before, after, change) for change in changes]
    order = list(Severity)
    return sorted(found, key=lambda i: (order.index(i.severity), i.name, _kind(i)))


def _kind(impact: Impact) -> str:
    return impact.change.kind if impact.change else ""


def _impact(before: Lineage, after: Lineage, change: Change) -> Impact:
    known = after if change.node in after.nodes else before
    now, then = _reach(after, change.node), _reach(before, change.node)
    reach = Reach({**then.exposures, **now.exposures}, {**then.models, **now.models})
    severity = _severity(change.effect, reach)
    return Impact(change.node, known.label(change.node), severity, reach, change)


def _severity(effect: Effect, reach: Reach) -> Severity:
    if effect is Effect.SAFE:
        return Severity.SAFE
    if reach.exposures:
        return Severity.CRITICAL
    if effect is Effect.UNKNOWN:
        return Severity.UNKNOWN
    return Severity.HIGH if reach.models else Severity.LOW


def _reach(lineage: Lineage, uid: str) -> Reach:
    walk = lineage.descendants([uid])
    exposures = {found: _way(lineage, walk, found) for found in walk if found in lineage.exposures}
    models = {found: _way(lineage, walk, found) for found in walk if _is_built(lineage, found, uid)}
    return Reach(exposures, models)


def _is_built(lineage: Lineage, uid: str, start: str) -> bool:
    node = lineage.nodes.get(uid)
    return uid != start and node is not None and node.resource_type in {"model", "snapshot"}


def _way(lineage: Lineage, walk: Walk, uid: str) -> tuple[str, ...]:
    return tuple(lineage.label(step) for step in reversed(path(walk, uid)))
