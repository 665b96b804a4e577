"""A graph as a tree on the terminal, each shared node's own parents once."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from ledgermind_obs.ages import format_age
from ledgermind_obs.cli.show import UNBOUNDED_COLUMNS
from ledgermind_obs.graph import Graph, GraphNode, colour_of


def show_tree(graph: Graph) -> None:
    """Print the graph from its exposure upwards; without a terminal in lines of any length."""
    tree = _tree(graph)
    if sys.stdout.isatty():
        Console(highlight=False, markup=False).print(tree)
        return
    console = Console(width=UNBOUNDED_COLUMNS, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(tree)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _tree(graph: Graph) -> Tree:
    root = next(iter(graph.nodes))
    tree = Tree(_line(graph.nodes[root]))
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


def _line(node: GraphNode) -> Text:
    text = Text()
    if node.state:
        text.append("● ", style=colour_of(node.state))
    text.append(node.name, style="bold").append(f"  {node.kind}", style="dim")
    if node.state:
        text.append(f"  {node.state.replace('_', ' ')}", style=colour_of(node.state))
    if node.age_seconds is not None:
        text.append(f" {format_age(node.age_seconds)}")
    return text
