"""The exposures of a report, each with a drawing of what is upstream of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

import msgspec

from ledgermind_obs.freshness import State
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.subgraph import UNKNOWN, Graph, graph_of
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.render.digest import Digest
from ledgermind_obs.render.report_lineage import drawn
from ledgermind_obs.render.report_style import tone_of

MOST_FIGURES = 8


def figures(digest: Digest) -> Iterator[str]:
    """Yield the section of the exposures, those with a stale path first."""
    lineage = digest.lineage
    if lineage is None or not lineage.exposures:
        return
    ages = {e.source.unique_id: (str(e.state), e.age_seconds) for e in digest.entries}
    graphs = {
        uid: _stale_first(graph_of(Upstream(lineage, uid), freshness=ages))
        for uid in lineage.exposures
    }
    concerned = {uid: graph for uid, graph in graphs.items() if _measured(graph, ages)}
    order = sorted(
        concerned, key=lambda uid: (-_rank(graphs[uid].nodes[uid].state), lineage.label(uid))
    )
    if not order:
        return
    drawings = [_figure(digest, lineage, graphs[uid], uid) for uid in order[:MOST_FIGURES]]
    parts = [f'<div class="grid">{"".join(drawings)}</div>']
    if others := order[MOST_FIGURES:]:
        names = ", ".join(escape(lineage.label(uid)) for uid in others)
        parts.append(f'<p class="soft">Not drawn: {names}.</p>')
    yield "<section>\n<h2>What it feeds</h2>\n" + "\n".join(parts) + "\n</section>"


def _measured(graph: Graph, ages: Mapping[str, object]) -> bool:
    return any(uid in ages for uid in graph.nodes)


def _rank(state: str) -> float:
    """Return how bad a state is; one that is unknown is news only if nothing else is."""
    if state in {"", UNKNOWN} or state not in set(State):
        return 0.5
    return State(state).rank


def _stale_first(graph: Graph) -> Graph:
    """Return the graph with the worst known state at or above each node.

    A source that nobody measures hides no stale path: for a gate it is worse than a warning, for a
    drawing it is not.
    """
    below: dict[str, list[str]] = {}
    for parent, child in graph.edges():
        below.setdefault(parent, []).append(child)
    starts = [uid for uid in graph.nodes if not graph.parents.get(uid)]
    found: dict[str, str] = {}
    for start in sorted(starts, key=lambda uid: -_rank(graph.nodes[uid].state)):
        pending = [start]
        while pending:
            uid = pending.pop()
            if uid not in found:
                found[uid] = graph.nodes[start].state
                pending.extend(below.get(uid, ()))
    nodes = {
        uid: msgspec.structs.replace(node, state=found.get(uid, node.state))
        for uid, node in graph.nodes.items()
    }
    return Graph(nodes, graph.parents)


def _figure(digest: Digest, lineage: Lineage, graph: Graph, uid: str) -> str:
    exposure = lineage.exposures[uid]
    facts = filter(None, (exposure.type, str(exposure.owner or "")))
    told = escape(" · ".join(facts))
    drawing = drawn(graph, uid, digest.nodes)
    if not drawing:
        command = f"obs lineage graph {exposure.name} --freshness"
        drawing = f'<p class="soft">Too large to draw here: <code>{escape(command)}</code></p>'
    tone, name = tone_of(graph.nodes[uid].state), escape(exposure.name)
    return f"""<figure class="card edge-{tone}"><figcaption><h3>{name}</h3>
<p class="soft">{told}</p></figcaption>
{drawing}</figure>"""
