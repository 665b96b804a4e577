from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.errors import ArtifactError, ConfigurationError
from ledgermind_obs.lineage.blind_spots import Blindness, blind_spots
from ledgermind_obs.lineage.graph import Lineage, find_exposure, find_node, path, search
from ledgermind_obs.lineage.upstream import upstream_of
from tests.unit.manifests import (
    FCT,
    RAW,
    STG,
    TRAINING,
    Named,
    content,
    document,
    exposure,
    lineage,
    model,
    sound,
    source,
)


def test_ancestors_are_everything_above_nearest_first() -> None:
    assert list(lineage(*sound()).ancestors([TRAINING])) == [TRAINING, FCT, STG, RAW]


def test_descendants_are_everything_below_with_the_tests() -> None:
    found = lineage(*sound()).descendants([STG])

    assert set(found) == {STG, FCT, TRAINING, "test.shop.test_stg", "test.shop.test_fct"}


def test_a_path_is_the_shortest_way_to_the_exposure() -> None:
    graph = lineage(source("raw"), model("stg", RAW), exposure("training", STG, RAW))

    assert path(graph.ancestors([TRAINING]), RAW) == [RAW, TRAINING]


def test_edges_come_from_the_parent_map_where_a_node_has_none() -> None:
    nodes = [source("raw"), model("stg", depends_on=None), exposure("training", STG)]
    graph = lineage(*nodes, parent_map={STG: [RAW], TRAINING: None})

    assert set(graph.ancestors([TRAINING])) == {TRAINING, STG, RAW}


def test_a_parent_that_only_one_of_the_two_places_names_counts() -> None:
    other = "source.shop.app.other"
    nodes = [source("raw"), source("other"), model("stg", RAW)]

    assert lineage(*nodes, parent_map={STG: [other]}).parents(STG) == [RAW, other]


@pytest.mark.parametrize("version", [9, 10, 11, 12, 20])
def test_schemas_from_dbt_1_5_on_are_read(version: int) -> None:
    manifest = document(*sound())
    manifest["metadata"]["dbt_schema_version"] = f"https://x/dbt/manifest/v{version}.json"

    assert read_lineage_manifest(msgspec.json.encode(manifest)).exposures


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("https://x/dbt/manifest/v7.json", "schema v7"),
        ("https://x/dbt/manifest/v13.json", "schema v13"),
        ("https://x/dbt/run-results/v6.json", "is not a manifest"),
        ("", "no schema at all"),
    ],
)
def test_any_other_schema_is_refused(schema: str, words: str) -> None:
    manifest = document(*sound())
    manifest["metadata"]["dbt_schema_version"] = schema

    with pytest.raises(ArtifactError, match=words):
        read_lineage_manifest(msgspec.json.encode(manifest))


def test_every_part_but_metadata_and_sources_may_be_null_or_absent() -> None:
    manifest = document(*sound())
    for part in manifest.keys() - {"metadata", "sources"}:
        for broken in ({**manifest, part: None}, {k: v for k, v in manifest.items() if k != part}):
            assert read_lineage_manifest(msgspec.json.encode(broken)).sources


def test_every_field_of_a_node_may_be_null() -> None:
    uid, fields = model("stg")
    kept = {"unique_id", "name", "resource_type"}
    graph = lineage((uid, {key: fields[key] if key in kept else None for key in fields}))

    assert graph.label(STG) == "stg"
    assert graph.parents(STG) == []


@given(st.binary(max_size=200))
def test_bytes_that_are_no_manifest_give_one_clear_error(noise: bytes) -> None:
    with pytest.raises(ArtifactError):
        read_lineage_manifest(noise)


@given(st.integers(min_value=0, max_value=len(content(*sound())) - 1))
def test_a_manifest_that_was_cut_short_gives_one_clear_error(length: int) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_lineage_manifest(content(*sound())[:length])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=10,
    )
)
def test_other_json_gives_one_clear_error(value: object) -> None:
    with pytest.raises(ArtifactError):
        read_lineage_manifest(msgspec.json.encode(value))


def test_deep_nesting_gives_one_clear_error() -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_lineage_manifest(b'{"metadata":' + b"[" * 100_000)


def _chain(length: int) -> list[Named]:
    links = [model("m0", RAW)]
    links += [model(f"m{n}", f"model.shop.m{n - 1}") for n in range(1, length)]
    return [source("raw"), *links, exposure("training", f"model.shop.m{length - 1}")]


def test_a_chain_of_100_000_models_is_walked_to_its_end() -> None:
    upstream = upstream_of(lineage(*_chain(100_000)), "training")

    assert upstream.measured == [RAW]
    assert len(upstream.path(RAW)) == 100_002
    assert upstream.blind_spots == []


def test_a_ladder_of_diamonds_is_walked_once_an_edge() -> None:
    rungs = [model("a0", RAW), model("b0", RAW)]
    for n in range(1, 20_000):
        above = (f"model.shop.a{n - 1}", f"model.shop.b{n - 1}")
        rungs += [model(f"a{n}", *above), model(f"b{n}", *above)]
    graph = lineage(source("raw"), *rungs, exposure("training", "model.shop.a19999"))
    began = time.perf_counter()

    assert len(graph.ancestors([TRAINING])) == 40_001
    assert len(graph.descendants([RAW])) == 40_002
    assert time.perf_counter() - began < 5


def test_a_cycle_in_a_broken_manifest_ends() -> None:
    graph = lineage(source("raw"), model("a", "model.shop.b"), model("b", "model.shop.a", RAW))

    assert set(graph.ancestors(["model.shop.a"])) == {"model.shop.a", "model.shop.b", RAW}
    assert "model.shop.a" in graph.descendants([RAW])


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=60))
def test_ancestors_and_descendants_are_each_others_mirror(edges: list[tuple[int, int]]) -> None:
    parents: dict[int, list[str]] = {number: [] for number in range(13)}
    for above, below in edges:
        parents[below].append(f"model.shop.m{above}")
    graph = lineage(*(model(f"m{number}", *above) for number, above in parents.items()))
    everything = [f"model.shop.m{number}" for number in parents]

    for one in everything:
        for other in everything:
            assert (other in graph.ancestors([one])) is (one in graph.descendants([other]))


def _kinds(graph: Lineage) -> dict[str, Blindness]:
    return {spot.node: spot.kind for spot in blind_spots(graph, graph.ancestors([TRAINING]))}


def test_nothing_is_blind_in_a_sound_project() -> None:
    assert _kinds(lineage(*sound())) == {}


@pytest.mark.parametrize(
    ("nodes", "node", "kind"),
    [
        ([exposure("training")], TRAINING, Blindness.NO_PARENTS),
        ([model("fct", STG), exposure("training", FCT)], STG, Blindness.MISSING),
        ([exposure("training", "model.other.far")], "model.other.far", Blindness.OTHER_PROJECT),
        (
            [model("far", package_name="other"), exposure("training", "model.other.far")],
            "model.other.far",
            Blindness.OTHER_PROJECT,
        ),
        ([model("fct"), exposure("training", FCT)], FCT, Blindness.UNSEEN),
        ([model("fct"), exposure("training", FCT)], TRAINING, Blindness.NO_SOURCE),
        (
            [model("s", kind="seed"), exposure("training", "seed.shop.s")],
            "seed.shop.s",
            Blindness.SEED,
        ),
        (
            [model("f", kind="function"), exposure("training", "function.shop.f")],
            "function.shop.f",
            Blindness.UNSEEN,
        ),
        ([source("raw", freshness=None), exposure("training", RAW)], RAW, Blindness.NO_FRESHNESS),
        (
            [
                source("raw", freshness={"warn_after": {"count": None, "period": None}}),
                exposure("training", RAW),
            ],
            RAW,
            Blindness.NO_FRESHNESS,
        ),
        (
            [source("raw", loaded_at_field=None), exposure("training", RAW)],
            RAW,
            Blindness.UNMEASURABLE,
        ),
        (
            [
                *sound()[:-1],
                exposure("training", FCT, refs=[{"name": "fct"}, {"name": "gone"}]),
            ],
            TRAINING,
            Blindness.MISSING,
        ),
        (
            [*sound()[:-1], exposure("training", FCT, sources=[["app", "gone"]])],
            TRAINING,
            Blindness.MISSING,
        ),
    ],
)
def test_where_dbt_cannot_see_is_named(nodes: list[Named], node: str, kind: Blindness) -> None:
    assert _kinds(lineage(*nodes))[node] is kind


@pytest.mark.parametrize("kind", ["metric", "semantic_model", "saved_query"])
def test_ancestry_through_the_semantic_layer_is_incomplete(kind: str) -> None:
    uid = f"{kind}.shop.m"
    graph = lineage(*sound()[:-1], model("m", FCT, kind=kind), exposure("training", uid))

    assert _kinds(graph) == {uid: Blindness.UNSEEN}
    assert RAW in graph.ancestors([TRAINING])


def test_a_disabled_parent_is_told_from_a_missing_one() -> None:
    nodes = [exposure("training", STG)]

    assert _kinds(lineage(*nodes, disabled={STG: [{}]}))[STG] is Blindness.DISABLED
    assert _kinds(lineage(*nodes))[STG] is Blindness.MISSING


@pytest.mark.parametrize("field", ["loaded_at_field", "loaded_at_query"])
def test_what_tells_the_newest_row_may_be_in_the_config(field: str) -> None:
    raw = source("raw", loaded_at_field=None, config={field: "x"})

    assert _kinds(lineage(raw, exposure("training", RAW))) == {}


def test_an_adapter_that_knows_when_a_table_changed_needs_no_column() -> None:
    manifest = document(source("raw", loaded_at_field=None), exposure("training", RAW))
    manifest["metadata"]["adapter_type"] = "snowflake"

    assert _kinds(Lineage(read_lineage_manifest(msgspec.json.encode(manifest)))) == {}


def test_an_exposure_is_found_by_name_and_by_id() -> None:
    graph = lineage(*sound())

    assert find_exposure(graph, "training") == find_exposure(graph, TRAINING) == TRAINING


def test_an_unknown_exposure_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="no exposure nope in the manifest") as raised:
        find_exposure(lineage(*sound()), "nope")

    assert raised.value.next_step == "there are training"


def test_a_disabled_exposure_is_called_disabled() -> None:
    graph = lineage(*sound(), disabled={"exposure.shop.off": [{}]})

    with pytest.raises(ConfigurationError, match="off is disabled"):
        find_exposure(graph, "off")


@pytest.mark.parametrize("name", [RAW, "app.raw", "shop.app.raw"])
def test_a_source_is_found_by_every_name_it_goes_by(name: str) -> None:
    assert find_node(lineage(*sound()), name) == RAW


def test_a_versioned_model_is_found_by_its_version() -> None:
    uid, fields = model("fct.v2", RAW)
    graph = lineage(source("raw"), (uid, {**fields, "name": "fct", "version": 2}))

    assert graph.label(uid) == "fct.v2"
    assert find_node(graph, "fct.v2") == uid


def test_a_name_that_two_nodes_share_is_not_guessed() -> None:
    graph = lineage(model("a"), model("a", package_name="other"))

    with pytest.raises(ConfigurationError, match=r"model\.shop\.a, model\.other\.a"):
        find_node(graph, "a")


def test_tags_are_found_at_the_top_level_and_in_the_config() -> None:
    graph = lineage(
        model("a", tags=["ml"]),
        model("b", tags="ml"),
        model("c", config={"tags": ["ml", "x"]}),
        model("d"),
    )

    assert search(graph, ["ml"]) == ["model.shop.a", "model.shop.b", "model.shop.c"]
    assert search(graph, ["ml", "x"]) == ["model.shop.c"]
    assert search(graph, names=["D"]) == ["model.shop.d"]


def test_only_the_sources_above_the_exposure_are_selected() -> None:
    graph = lineage(*sound(), source("other"), source("free", freshness=None))

    assert upstream_of(graph, "training").selectors == ["source:shop.app.raw"]


@pytest.mark.parametrize("table", ["2.fast", "with blank", "a,b", "what*", "(new)"])
def test_a_name_that_dbts_selection_cannot_hold_is_measured_with_all(table: str) -> None:
    odd, raw = source(table), source("raw")
    graph = lineage(odd, raw, exposure("training", odd[0], raw[0]))

    assert upstream_of(graph, "training").selectors == []
