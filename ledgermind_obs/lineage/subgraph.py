"""The graph above an exposure as data, and as Mermaid, DOT and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from ledgermind_obs.freshness import FreshnessReport, State
from ledgermind_obs.gate.judge import Policy, judge
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream

UNKNOWN = "unknown"
WORST_FIRST = (
    *(State.QUERY_ERROR, State.MISSING, State.EMPTY, State.ERROR, State.FUTURE),
    *(UNKNOWN, State.WARN, State.PASS),
)
_COLOURS = {State.PASS: "#2e7d32", State.WARN: "#f9a825", UNKNOWN: "#757575"}
_BAD = "#c62828"


class GraphNode(msgspec.Struct, frozen=True):
    """One node: ``kind`` is its materialization or type; ``state`` the worst at or above it."""

    unique_id: str
    name: str
    kind: str
    state: str = ""
    age_seconds: float | None = None


class Graph(msgspec.Struct, frozen=True):
    """The nodes, the exposure first, and the parents of each."""

    nodes: Mapping[str, GraphNode]
    parents: Mapping[str, Sequence[str]]

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield every edge, from a parent to what is built from it."""
        return ((parent, uid) for uid, parents in self.parents.items() for parent in parents)


def graph_of(
    upstream: Upstream,
    *,
    depth: int | None = None,
    only_sources: bool = False,
    freshness: Mapping[str, tuple[str, float | None]] | None = None,
) -> Graph:
    """Return the graph above an exposure, to so many steps from it.

    With ``only_sources`` every source hangs at the exposure itself; ``freshness`` gives each
    source's state and age in seconds.
    """
    lineage = upstream.lineage
    kept = _kept(upstream, depth, only_sources=only_sources)
    states = _states(upstream, freshness) if freshness is not None else {}
    ages = {uid: age for uid, (_, age) in (freshness or {}).items()}
    nodes = {
        uid: GraphNode(
            uid, lineage.label(uid), lineage.kind(uid), states.get(uid, ""), ages.get(uid)
        )
        for uid in kept
    }
    if only_sources:
        return Graph(nodes, {upstream.uid: [uid for uid in kept if uid != upstream.uid]})
    inside = {uid: [p for p in lineage.parents(uid) if p in nodes] for uid in nodes}
    return Graph(nodes, inside)


def freshness_at(report: FreshnessReport, now: datetime) -> dict[str, tuple[str, float | None]]:
    """Return each source's state, and its age in seconds, at ``now``."""
    verdict = judge(report, Policy(), now)
    return {j.source.unique_id: (j.state.value, j.age_seconds) for j in verdict.judgements}


def _kept(upstream: Upstream, depth: int | None, *, only_sources: bool) -> list[str]:
    if only_sources:
        sources = upstream.lineage.manifest.sources
        return [uid for uid in upstream.walk if uid == upstream.uid or uid in sources]
    if depth is None:
        return list(upstream.walk)
    distances = {upstream.uid: 0}
    for uid, below in upstream.walk.items():
        if below is not None:
            distances[uid] = distances[below] + 1
    return [uid for uid, distance in distances.items() if distance <= depth]


def _states(
    upstream: Upstream, freshness: Mapping[str, tuple[str, float | None]]
) -> dict[str, str]:
    """Return the worst state at or above each node; what cannot be seen counts as unknown."""
    lineage = upstream.lineage
    starts = {spot.node: UNKNOWN for spot in upstream.blind_spots if spot.node != upstream.uid}
    starts |= {uid: freshness.get(uid, (UNKNOWN, None))[0] for uid in upstream.measured}
    below = _below(lineage, upstream.walk)
    found: dict[str, str] = {}
    for state in WORST_FIRST:
        pending = [uid for uid, own in starts.items() if own == state]
        while pending:
            uid = pending.pop()
            if uid not in found:
                found[uid] = str(state)
                pending.extend(below.get(uid, ()))
    return found


def _below(lineage: Lineage, walk: Iterable[str]) -> dict[str, list[str]]:
    below: dict[str, list[str]] = {}
    for uid in walk:
        for parent in lineage.parents(uid):
            below.setdefault(parent, []).append(uid)
    return below


def as_mermaid(graph: Graph) -> str:
    """Return the graph as Mermaid draws it, sources on the left."""
    ids = {uid: f"n{number}" for number, uid in enumerate(graph.nodes)}
    lines = ["graph LR"]
    for uid, node in graph.nodes.items():
        label = _told(node).replace('"', "#quot;")
        lines.append(f'    {ids[uid]}["{label}"]')
    lines += [f"    {ids[parent]} --> {ids[child]}" for parent, child in graph.edges()]
    lines += [
        f"    style {ids[uid]} stroke:{colour_of(node.state)},stroke-width:3px"
        for uid, node in graph.nodes.items()
        if node.state
    ]
    return "\n".join(lines)


def as_dot(graph: Graph) -> str:
    """Return the graph in Graphviz' language, sources on the left."""
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box];"]
    for uid, node in graph.nodes.items():
        colour = f", color={_dot(colour_of(node.state))}" if node.state else ""
        lines.append(f"  {_dot(uid)} [label={_dot(_told(node))}{colour}];")
    lines += [f"  {_dot(parent)} -> {_dot(child)};" for parent, child in graph.edges()]
    return "\n".join([*lines, "}"])


def as_json(graph: Graph) -> str:
    """Return nodes and edges as JSON; the names are stable."""
    document = {
        "nodes": list(graph.nodes.values()),
        "edges": [{"parent": parent, "child": child} for parent, child in graph.edges()],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def colour_of(state: str) -> str:
    """Return the colour of a state, as ``#rrggbb``."""
    return _COLOURS.get(state, _BAD)


def _told(node: GraphNode) -> str:
    state = f" · {node.state.replace('_', ' ')}" if node.state else ""
    return f"{node.name} ({node.kind}{state})"


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
