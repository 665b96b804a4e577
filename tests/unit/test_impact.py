from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.lineage.changes import Change, Effect, changes_between, read_state
from ledgermind_obs.lineage.impact import Severity, impact_of, impacts_of
from ledgermind_obs.render.impact import as_json, as_markdown, as_table
from tests.unit.manifests import (
    FCT,
    RAW,
    STG,
    TRAINING,
    Fields,
    Named,
    content,
    exposure,
    lineage,
    model,
    sound,
    source,
)


def _fct(**fields: Any) -> Named:
    own: Fields = {
        "checksum": {"name": "sha256", "checksum": "abc"},
        "config": {"materialized": "table"},
        "columns": {"id": {"data_type": "int"}, "note": {}},
        "relation_name": "db.s.fct",
        "contract": {"enforced": True},
        "depends_on": {"nodes": [RAW], "macros": ["macro.shop.outer"]},
    }
    return model("fct", **{**own, **fields})


MACROS = {
    "macro.shop.outer": {"macro_sql": "a", "depends_on": {"macros": ["macro.shop.inner"]}},
    "macro.shop.inner": {"macro_sql": "b"},
}


def _changes(before: Named, after: Named | None, **keys: Any) -> list[tuple[str, str, Effect]]:
    raw = source("raw")
    old = read_state(content(raw, before, macros=MACROS))
    new = read_state(content(raw, *([after] if after else []), **{"macros": MACROS, **keys}))
    return [(change.node, change.kind, change.effect) for change in changes_between(old, new)]


def test_the_same_manifest_twice_has_no_change() -> None:
    assert _changes(_fct(), _fct()) == []


@pytest.mark.parametrize(
    ("fields", "kind", "effect"),
    [
        ({"checksum": {"checksum": "xyz"}}, "SQL changed", Effect.UNKNOWN),
        ({"checksum": None}, "SQL not comparable", Effect.UNKNOWN),
        ({"config": {"materialized": "view"}}, "materialization changed", Effect.UNKNOWN),
        ({"config": {"materialized": "ephemeral"}}, "materialization changed", Effect.BREAKING),
        ({"unrendered_config": {"unique_key": "id"}}, "config changed", Effect.UNKNOWN),
        ({"relation_name": "db.s.other"}, "relation moved", Effect.BREAKING),
        ({"contract": {"enforced": False}}, "contract dropped", Effect.UNKNOWN),
        ({"columns": {"id": {"data_type": "int"}}}, "column removed", Effect.BREAKING),
        (
            {"columns": {"id": {"data_type": "text"}, "note": {}}},
            "column retyped",
            Effect.BREAKING,
        ),
        ({"columns": {"id": {}, "note": {}}}, "column retyped", Effect.UNKNOWN),
    ],
)
def test_a_difference_is_named_with_its_effect(fields: Fields, kind: str, effect: Effect) -> None:
    assert _changes(_fct(), _fct(**fields)) == [(FCT, kind, effect)]


@pytest.mark.parametrize(
    "fields",
    [
        {"columns": {"id": {"data_type": " INT "}, "note": {}, "more": {}}},
        {"unrendered_config": {"tags": ["x"], "meta": {"a": 1}}},
        {"description": "another"},
    ],
)
def test_what_changes_nothing_of_the_data_is_no_change(fields: Fields) -> None:
    assert _changes(_fct(), _fct(**fields)) == []


def test_a_macro_within_a_macro_makes_the_effect_unknown() -> None:
    changed = {**MACROS, "macro.shop.inner": {"macro_sql": "c"}}

    assert _changes(_fct(), _fct(), macros=changed) == [(FCT, "macro changed", Effect.UNKNOWN)]


def test_a_node_that_went_is_removed_disabled_or_renamed() -> None:
    uid, fields = _fct()
    renamed = ("model.shop.fct_new", {**fields, "name": "fct_new"})

    assert _changes(_fct(), None) == [(FCT, "removed", Effect.BREAKING)]
    assert _changes(_fct(), None, disabled={uid: [{}]}) == [(FCT, "disabled", Effect.BREAKING)]
    assert _changes(_fct(), renamed) == [(FCT, "renamed", Effect.BREAKING)]


def test_a_new_node_is_safe_and_nothing_else_is() -> None:
    old, new = (read_state(content(source("raw"), *nodes)) for nodes in ([], [_fct()]))

    assert [change.effect for change in changes_between(old, new)] == [Effect.SAFE]


def test_a_source_that_went_moved_or_lost_a_column_breaks() -> None:
    columns = {"id": {"data_type": "int"}}
    before = read_state(content(source("raw", relation_name="a.b", columns=columns)))
    moved = read_state(content(source("raw", relation_name="a.c", columns={})))
    gone = read_state(content())

    kinds = [change.kind for change in changes_between(before, moved)]
    assert kinds == ["relation moved", "column removed"]
    assert [change.kind for change in changes_between(before, gone)] == ["removed"]


@pytest.mark.parametrize(
    ("effect", "reaches", "severity"),
    [
        (Effect.BREAKING, STG, Severity.CRITICAL),
        (Effect.UNKNOWN, STG, Severity.CRITICAL),
        (Effect.SAFE, STG, Severity.SAFE),
        (Effect.BREAKING, "model.shop.loose", Severity.HIGH),
        (Effect.UNKNOWN, "model.shop.loose", Severity.UNKNOWN),
        (Effect.BREAKING, "model.shop.end", Severity.LOW),
        (Effect.UNKNOWN, "model.shop.end", Severity.UNKNOWN),
    ],
)
def test_severity_is_how_far_it_reaches_and_unknown_is_never_safe(
    effect: Effect, reaches: str, severity: Severity
) -> None:
    graph = lineage(*sound(), model("loose", RAW), model("end", "model.shop.loose"))
    change = Change(reaches, "SQL changed", "x", effect)

    assert impacts_of(graph, graph, [change])[0].severity is severity


def test_a_removed_node_reaches_what_stood_on_it_before() -> None:
    before, after = lineage(*sound()), lineage(source("raw"), exposure("training"))
    (found,) = impacts_of(before, after, [Change(FCT, "removed", "x", Effect.BREAKING)])

    assert found.reach.exposures == {TRAINING: ("fct", "training")}


def test_the_worst_comes_first() -> None:
    graph = lineage(*sound(), model("end", RAW))
    changes = [
        Change("model.shop.end", "added", "x", Effect.SAFE),
        Change("model.shop.end", "SQL changed", "x", Effect.UNKNOWN),
        Change(STG, "removed", "x", Effect.BREAKING),
    ]

    severities = [impact.severity for impact in impacts_of(graph, graph, changes)]
    assert severities == [Severity.CRITICAL, Severity.UNKNOWN, Severity.SAFE]


def test_a_nodes_impact_has_the_path_to_each_exposure_and_model() -> None:
    found = impact_of(lineage(*sound()), RAW)

    assert found.severity is Severity.CRITICAL
    assert found.reach.exposures[TRAINING] == ("app.raw", "stg", "fct", "training")
    assert set(found.reach.models) == {STG, FCT}


def test_markdown_is_a_table_that_a_name_cannot_break() -> None:
    graph = lineage(*sound())
    impacts = impacts_of(graph, graph, [Change(STG, "a|b", "<img>\nx", Effect.UNKNOWN)])
    text = as_markdown(impacts)

    assert "| **critical** | `stg` | a\\|b: &lt;img> x (effect unknown) | 1 model, 1 exp" in text
    assert "- stg → fct → training" in text


def test_the_forms_agree_on_what_was_found() -> None:
    impacts = [impact_of(lineage(*sound()), RAW)]

    assert "critical: app.raw" in as_table(impacts)
    assert msgspec.json.decode(as_json(impacts))["impacts"][0]["severity"] == "critical"


@given(st.binary(max_size=100))
def test_bytes_that_are_no_manifest_give_one_clear_error(noise: bytes) -> None:
    with pytest.raises(ArtifactError):
        read_state(noise)
