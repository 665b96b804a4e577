"""Manifests that real dbt versions wrote of a project with every kind of node."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.lineage.blind_spots import Blindness, blind_spots
from ledgermind_obs.lineage.graph import Lineage, search
from ledgermind_obs.lineage.upstream import upstream_of

DATA = Path(__file__).parents[1] / "data"
ABOVE_ML = {
    "exposure.kinds.ml",
    "model.kinds.training",
    "model.kinds.fct.v2",
    "seed.kinds.codes",
    "model.kinds.cleaned",
    "snapshot.kinds.history",
    "source.kinds.app.orders",
    "model.vendor.vendor_rates",
    "source.vendor.vendor.rates",
}
KINDS = {
    "model.kinds.cleaned": "ephemeral",
    "model.kinds.fct.v1": "view",
    "model.kinds.off": "disabled",
    "snapshot.kinds.history": "snapshot",
    "seed.kinds.codes": "seed",
    "metric.kinds.total": "metric",
    "semantic_model.kinds.orders": "semantic_model",
    "saved_query.kinds.by_day": "saved_query",
    "unit_test.kinds.training.training_joins": "unit_test",
    "source.kinds.app.orders": "source",
    "model.kinds.elsewhere": "missing",
}


def _content(version: str) -> bytes:
    if version != "v20":
        return (DATA / f"dbt-{version}/kinds/manifest.json").read_bytes()
    document = msgspec.json.decode(_content("1.11"))
    document["metadata"]["dbt_schema_version"] = "https://schemas.getdbt.com/dbt/manifest/v20.json"
    for part in ("parent_map", "child_map", "selectors", "functions"):
        document[part] = None
    for node in document["nodes"].values():
        node |= {"meta": None, "tags": None, "new_in_v20": {"a": 1}}
    return msgspec.json.encode(document)


@pytest.fixture(params=["1.8", "1.9", "1.10", "1.11", "v20"])
def graph(request: pytest.FixtureRequest) -> Lineage:
    return Lineage(read_lineage_manifest(_content(request.param)))


def test_what_is_above_an_exposure_goes_through_every_kind_of_node(graph: Lineage) -> None:
    upstream = upstream_of(graph, "ml")

    assert set(upstream.walk) == ABOVE_ML
    assert set(upstream.selectors) == {"source:kinds.app.orders", "source:vendor.vendor.rates"}


def test_every_kind_of_node_is_named_as_what_it_is(graph: Lineage) -> None:
    assert {uid: graph.kind(uid) for uid in KINDS} == KINDS


def test_a_seed_a_metric_and_a_bare_name_are_where_dbt_cannot_see(graph: Lineage) -> None:
    found = {
        name: {(spot.node, spot.kind) for spot in blind_spots(graph, graph.ancestors([uid]))}
        for uid, name in ((uid, node.name) for uid, node in graph.exposures.items())
    }

    assert found["ml"] == {("seed.kinds.codes", Blindness.SEED)}
    assert found["bare"] == {("exposure.kinds.bare", Blindness.NO_PARENTS)}
    assert ("metric.kinds.total", Blindness.UNSEEN) in found["board"]


def test_a_tag_is_found_wherever_dbt_writes_it(graph: Lineage) -> None:
    assert "exposure.kinds.ml" in search(graph, ["ml"])


def test_freshness_that_is_null_is_none(graph: Lineage) -> None:
    assert not graph.manifest.sources["source.kinds.app.untimed"].freshness


def test_the_function_of_dbt_1_11_is_in_the_graph() -> None:
    graph = Lineage(read_lineage_manifest(_content("1.11")))

    assert graph.kind("function.kinds.doubled") == "function"
