from __future__ import annotations

import json

from ledgermind_obs.lineage.subgraph import graph_of
from ledgermind_obs.lineage.upstream import Upstream, upstream_of
from ledgermind_obs.render.graph import as_dot, as_json, as_mermaid
from tests.unit.manifests import (
    FCT,
    RAW,
    STG,
    TRAINING,
    exposure,
    lineage,
    model,
    sound,
    source,
)

OTHER = "source.shop.app.other"


def _upstream() -> Upstream:
    return upstream_of(lineage(*sound()), "training")


def _two_branches() -> Upstream:
    nodes = [source("raw"), source("other"), model("stg", RAW), model("fct", STG, OTHER)]
    return upstream_of(lineage(*nodes, exposure("training", FCT)), "training")


def test_the_graph_has_every_edge_above_the_exposure() -> None:
    graph = graph_of(_upstream())

    assert list(graph.edges()) == [(FCT, TRAINING), (STG, FCT), (RAW, STG)]


def test_depth_counts_steps_from_the_exposure() -> None:
    assert list(graph_of(_upstream(), depth=1).nodes) == [TRAINING, FCT]
    assert list(graph_of(_upstream(), depth=2).nodes) == [TRAINING, FCT, STG]


def test_only_sources_hang_at_the_exposure_itself() -> None:
    graph = graph_of(_two_branches(), only_sources=True)

    assert sorted(graph.edges()) == [(OTHER, TRAINING), (RAW, TRAINING)]


def test_a_model_is_as_bad_as_the_worst_source_above_it() -> None:
    freshness = {RAW: ("pass", 1.0), OTHER: ("error", 9.0)}
    nodes = graph_of(_two_branches(), freshness=freshness).nodes

    states = {uid: node.state for uid, node in nodes.items()}
    assert states == {RAW: "pass", STG: "pass", OTHER: "error", FCT: "error", TRAINING: "error"}
    assert nodes[OTHER].age_seconds == 9.0


def test_a_state_that_is_in_no_table_is_shown_and_is_worse_than_pass() -> None:
    freshness = {RAW: ("thawed", 1.0), OTHER: ("pass", 1.0)}
    nodes = graph_of(_two_branches(), freshness=freshness).nodes
    assert (nodes[RAW].state, nodes[TRAINING].state) == ("thawed", "thawed")


def test_a_source_that_the_run_does_not_hold_is_not_painted_good() -> None:
    nodes = graph_of(_two_branches(), freshness={RAW: ("pass", 1.0)}).nodes

    assert (nodes[OTHER].state, nodes[FCT].state) == ("unknown", "unknown")


def test_a_source_without_freshness_is_not_painted_good() -> None:
    nodes = [source("raw"), source("other", freshness=None), exposure("training", RAW, OTHER)]
    upstream = upstream_of(lineage(*nodes), "training")
    graph = graph_of(upstream, freshness={RAW: ("pass", 1.0)})

    assert (graph.nodes[OTHER].state, graph.nodes[TRAINING].state) == ("unknown", "unknown")


def test_states_end_in_a_cycle_too() -> None:
    nodes = [source("raw"), model("a", "model.shop.b", RAW), model("b", "model.shop.a")]
    upstream = upstream_of(lineage(*nodes, exposure("training", "model.shop.b")), "training")

    assert graph_of(upstream, freshness={RAW: ("warn", 1.0)}).nodes[TRAINING].state == "warn"


def test_mermaid_names_every_node_and_draws_every_edge() -> None:
    drawn = as_mermaid(graph_of(_upstream())).splitlines()

    assert drawn[0] == "graph LR"
    assert '    n1["fct (view)"]' in drawn
    assert "    n1 --> n0" in drawn


def test_dot_and_mermaid_cannot_be_broken_out_of() -> None:
    nodes = [source('r"]\\'), exposure("training", 'source.shop.app.r"]\\')]
    graph = graph_of(upstream_of(lineage(*nodes), "training"))

    assert '"app.r#quot;]' in as_mermaid(graph)
    assert r"app.r\"]\\" in as_dot(graph)


def test_json_has_nodes_and_edges() -> None:
    document = json.loads(as_json(graph_of(_upstream())))

    assert document["edges"][0] == {"parent": FCT, "child": TRAINING}
    assert document["nodes"][0]["kind"] == "exposure"
