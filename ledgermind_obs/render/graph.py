"""A lineage graph as Mermaid, DOT and JSON."""

from __future__ import annotations

import time

import msgspec

from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import STATES
from ledgermind_obs.lineage.subgraph import BUILT, UNKNOWN, Graph, GraphNode
from ledgermind_obs.render.palette import PALETTE

_COLOURS = {state.value: PALETTE[meaning.colour].hex for state, meaning in STATES.items()}
_COLOURS[UNKNOWN] = PALETTE["grey"].hex


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
    return _COLOURS.get(state, PALETTE["red"].hex)


def contents_of(node: GraphNode, now: float) -> list[str]:
    """Return what is known of a table: how its build failed, when it was built, its data's age."""
    found = node.contents
    if found is None:
        return []
    words = [] if found.build in {BUILT, node.state} else [found.build]
    if found.built_at is not None:
        words.append(f"built {format_age(max(0.0, now - found.built_at))} ago")
    if found.as_of is None:
        return [*words, "as of unknown"]
    return [*words, f"as of {format_age(max(0.0, now - found.as_of))} ago"]


def _told(node: GraphNode) -> str:
    state = [node.state.replace("_", " ")] if node.state else []
    return f"{node.name} ({' · '.join([node.kind, *state, *contents_of(node, time.time())])})"


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
