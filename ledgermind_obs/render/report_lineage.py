"""The lineage of an exposure as an SVG: one row per node, lines beside the names.

A name is as readable on a phone as on paper, however deep the graph is: only the lines on the left
grow with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import msgspec

from ledgermind_obs.freshness import State
from ledgermind_obs.lineage.subgraph import Graph, GraphNode
from ledgermind_obs.render.digest import NodeFacts
from ledgermind_obs.render.report_label import Label, label_of
from ledgermind_obs.render.report_style import tone_of

MOST_NODES = 40
_LANE, _ROW, _LINE, _MARGIN = 16, 26, 15, 10


class _Place(msgspec.Struct, frozen=True):
    """Where a node is: its row, the lane of its dot, and its height in pixels."""

    row: int
    lane: int
    y: int


def drawn(graph: Graph, start: str, facts: Mapping[str, NodeFacts]) -> str:
    """Return the SVG of the graph upstream of ``start``, an empty text if it is too large.

    A large graph is drawn without the nodes that are fresh.
    """
    graph = graph if len(graph.nodes) <= MOST_NODES else _without_fresh(graph, start, facts)
    if not 1 < len(graph.nodes) <= MOST_NODES:
        return ""
    order = _rows(graph, start)
    labels = {uid: label_of(graph.nodes[uid], facts.get(uid, NodeFacts())) for uid in order}
    places = _places(graph, order, labels)
    gutter = _MARGIN + (max(place.lane for place in places.values()) + 1) * _LANE
    width = gutter + max(label.width for label in labels.values()) + _MARGIN
    height = places[start].y + labels[start].lines * _LINE
    lines = "".join(_lines(graph, places, facts))
    dots = "".join(_dot(graph.nodes[uid], places[uid], uid == start) for uid in order)
    texts = "".join(labels[uid].drawn(gutter, places[uid].y + 4, _LINE) for uid in order)
    return (
        f'<svg role="img" aria-label="{escape(_told(graph, start))}" width="{width:.0f}" '
        f'height="{height}" viewBox="0 0 {width:.0f} {height}">{lines}{dots}{texts}</svg>'
    )


def _without_fresh(graph: Graph, start: str, facts: Mapping[str, NodeFacts]) -> Graph:
    failed = {uid for uid, known in facts.items() if known.fault}
    kept = {
        uid: node
        for uid, node in graph.nodes.items()
        if uid == start or uid in failed or node.state not in {"", State.PASS}
    }
    parents = {uid: [p for p in graph.parents.get(uid, ()) if p in kept] for uid in kept}
    return Graph(kept, parents)


def _rows(graph: Graph, start: str) -> list[str]:
    """Return the nodes so that each comes after its parents, and soon after them."""
    order: dict[str, None] = {}
    entered: set[str] = set()
    stack = [start]
    while stack:
        uid = stack[-1]
        waiting = [] if uid in entered else list(graph.parents.get(uid, ()))
        entered.add(uid)
        # What was entered and is not done is below this node: a cycle of a broken manifest.
        pending = [parent for parent in reversed(waiting) if parent not in entered]
        if pending:
            stack += pending
        else:
            order.setdefault(stack.pop())
    return list(order)


def _places(graph: Graph, order: Sequence[str], labels: Mapping[str, Label]) -> dict[str, _Place]:
    """Give each node a lane in which its line meets no other node and no other line."""
    places: dict[str, _Place] = {}
    taken: dict[int, list[tuple[int, int]]] = {}
    y = _ROW // 2 + 2
    for row, uid in enumerate(order):
        parents = [places[parent] for parent in graph.parents.get(uid, ()) if parent in places]
        first = min((parent.row for parent in parents), default=row)
        lane = max((parent.lane + 1 for parent in parents), default=0)
        while any(begin <= row and first <= end for begin, end in taken.get(lane, ())):
            lane += 1
        taken.setdefault(lane, []).append((first, row))
        places[uid] = _Place(row, lane, y)
        y += _ROW + (labels[uid].lines - 1) * _LINE
    return places


def _lines(
    graph: Graph, places: Mapping[str, _Place], facts: Mapping[str, NodeFacts]
) -> Iterator[str]:
    """Yield the lines, the stale ones last so that they are on top."""
    edges = [(p, c) for p, c in graph.edges() if p in places and c in places]
    tones = ["good", "dim", "fair", "bad"]
    edges.sort(key=lambda edge: tones.index(tone_of(graph.nodes[edge[0]].state)))
    for parent, child in edges:
        begin, end = places[parent], places[child]
        if begin.row >= end.row:  # part of a cycle
            continue
        x, to, corner = _x(begin), _x(end), min(8, end.y - begin.y)
        way = f"M{x} {begin.y}H{to - 8}Q{to} {begin.y} {to} {begin.y + corner}V{end.y}"
        known = facts.get(child)
        dashed = " dashed" if known and known.fault else ""
        yield f'<path class="line {tone_of(graph.nodes[parent].state)}{dashed}" d="{way}"/>'


def _dot(node: GraphNode, place: _Place, last: bool) -> str:
    x, y, tone = _x(place), place.y, tone_of(node.state)
    if last:
        return f'<rect class="dot {tone}" x="{x - 6}" y="{y - 6}" width="12" height="12"/>'
    radius = 6 if node.kind == "source" else 5
    return f'<circle class="dot {tone}" cx="{x}" cy="{y}" r="{radius}"/>'


def _x(place: _Place) -> int:
    return _MARGIN + place.lane * _LANE


def _told(graph: Graph, start: str) -> str:
    """Return what the drawing says, for those who do not see it."""
    sources = [node for node in graph.nodes.values() if node.kind == "source"]
    states = ", ".join(
        f"{node.name} {node.state.replace('_', ' ') or 'not measured'}" for node in sources
    )
    return f"Lineage of {graph.nodes[start].name}. Sources: {states or 'none'}."
