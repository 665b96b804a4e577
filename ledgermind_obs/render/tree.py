"""A graph as a tree on the terminal, each shared node's own parents once."""

from __future__ import annotations

import time

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from ledgermind_obs.dbt.manifest import Exposure
from ledgermind_obs.durations import format_age
from ledgermind_obs.lineage.subgraph import BUILT, Graph, GraphNode
from ledgermind_obs.render.graph import colour_of, contents_of
from ledgermind_obs.render.terminal import drawn


def tree_text(graph: Graph, exposure: Exposure, console: Console) -> str:
    """Return the graph from its exposure upwards."""
    return drawn(_tree(graph, exposure), console)


def _tree(graph: Graph, exposure: Exposure) -> Tree:
    root = next(iter(graph.nodes))
    tree = Tree(_line(graph.nodes[root], exposure.type, exposure.maturity))
    shown, pending = {root}, _parents(graph, root, tree)
    while pending:
        uid, branch = pending.pop()
        line = _line(graph.nodes[uid])
        if uid in shown and graph.parents.get(uid):
            branch.add(line.append("  (above)", style="dim"))
            continue
        shown.add(uid)
        pending += _parents(graph, uid, branch.add(line))
    return tree


def _parents(graph: Graph, uid: str, branch: Tree) -> list[tuple[str, Tree]]:
    """Return the node's parents with the branch they belong to, the first one last."""
    return [(parent, branch) for parent in reversed(graph.parents.get(uid, ()))]


def _line(node: GraphNode, *more: str | None) -> Text:
    kind = " · ".join([node.kind, *filter(None, more)])
    text = Text()
    if node.state:
        text.append("● ", style=colour_of(node.state))
    text.append(node.name, style="bold").append(f"  {kind}", style="dim")
    if node.state:
        text.append(f"  {node.state.replace('_', ' ')}", style=colour_of(node.state))
    if node.age_seconds is not None:
        text.append(f" {format_age(node.age_seconds)}")
    for words in contents_of(node, time.time()):
        text.append(f"  {words}", style="dim" if words.startswith((BUILT, "as of")) else "red")
    return text
