"""The drawing of a lineage: every node once, and no line through a node that it does not join."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

import pytest

from ledgermind_obs.lineage.subgraph import Graph, GraphNode
from ledgermind_obs.render.digest import NodeFacts
from ledgermind_obs.render.report_lineage import drawn
from tests.unit.reports import NOW

Point = tuple[int, int]


def graph_of(parents: Mapping[str, list[str]]) -> Graph:
    nodes = {uid: GraphNode(uid, uid, "view" if of else "source") for uid, of in parents.items()}
    return Graph(nodes, parents)


def chance_graph(seed: int) -> dict[str, list[str]]:
    """Return the parents of each node of a graph in which all nodes are upstream of the last."""
    chance = random.Random(seed)  # noqa: S311 - any will do
    number = chance.randint(2, 38)
    parents: dict[str, list[str]] = {}
    for n in range(number):
        before = list(parents)
        chosen = chance.sample(before, min(len(before), chance.choice([0, 1, 1, 2, 3])))
        parents[f"n{n}"] = sorted(chosen)
    used = {parent for of in parents.values() for parent in of}
    parents["end"] = [uid for uid in parents if uid not in used]
    return parents


def dots(svg: str) -> list[Point]:
    circles = re.findall(r'<circle class="dot \w+" cx="(\d+)" cy="(\d+)"', svg)
    squares = re.findall(r'<rect class="dot \w+" x="(\d+)" y="(\d+)"', svg)
    found = [(int(x), int(y)) for x, y in circles]
    return [*found, *((int(x) + 6, int(y) + 6) for x, y in squares)]


def lines(svg: str) -> list[tuple[Point, Point]]:
    found = re.findall(r'd="M(\d+) (\d+)H\d+Q(\d+) \d+ \d+ \d+V(\d+)"', svg)
    return [((int(x), int(y)), (int(to), int(end))) for x, y, to, end in found]


@pytest.mark.parametrize("seed", range(60))
def test_no_line_goes_through_a_node_that_it_does_not_concern(seed: int) -> None:
    parents = chance_graph(seed)
    facts = {"n1": NodeFacts("", NOW)}
    svg = drawn(graph_of(parents), "end", facts)
    points, ways = dots(svg), lines(svg)

    assert len(set(points)) == len(parents)
    assert len(ways) == sum(map(len, parents.values()))
    for (x, y), (to, end) in ways:
        assert (x, y) in points
        assert (to, end) in points
        assert x < to
        assert y < end
        inside = [(a, b) for a, b in points if a == to and y <= b < end]
        inside += [(a, b) for a, b in points if b == y and x < a <= to]
        assert inside == []


@pytest.mark.parametrize("seed", range(10))
def test_a_line_joins_only_the_lines_of_its_own_child(seed: int) -> None:
    svg = drawn(graph_of(chance_graph(seed)), "end", {})
    for _, (lane, end) in lines(svg):
        for (_, y), (other, other_end) in lines(svg):
            apart = lane != other or end == other_end
            assert apart or not (y < end < other_end)


def test_a_cycle_of_a_broken_manifest_is_drawn_without_end_or_error() -> None:
    svg = drawn(graph_of({"a": ["b"], "b": ["a"], "end": ["a"]}), "end", {})

    assert len(dots(svg)) == 3


def test_a_name_is_text_and_a_long_one_is_whole_in_its_title() -> None:
    name = "<script>{x}" + "y" * 60
    nodes = {"a": GraphNode("a", name, "source", "pass", 3600.0), "end": GraphNode("end", "e", "x")}
    svg = drawn(Graph(nodes, {"a": [], "end": ["a"]}), "end", {})

    assert "<script>" not in svg
    assert f"&lt;script&gt;{{x}}{'y' * 60}</title>" in svg
    assert f"&lt;script&gt;{{x}}{'y' * 22}…" in svg
