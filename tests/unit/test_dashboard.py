import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.cli import root
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring.dashboard import (
    MAX_BYTES,
    check,
    differences,
    read_dashboard,
    resolved,
    without_variables,
)
from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.promql import parse
from tests.fake_grafana import colour_of

FILE = Path(__file__).parents[2] / "ops/grafana/dashboards/ml-source-freshness.json"
OURS = read_dashboard(FILE.read_bytes(), FILE.name)
TABLES = ("transactions", "transaction_labels", "ml_features")
SOURCES = tuple(
    Source(unique_id=t, name=t, source_name="app", package_name="ledgermind") for t in TABLES
)
BOARD = {"uid": "board", "title": "A board", "panels": []}
NEVER = {
    "type": "special",
    "options": {"match": "null+nan", "result": {"text": "never loaded", "color": "red"}},
}


def panel(**changes: Any) -> dict[str, Any]:
    defaults = {"unit": "s", "mappings": [NEVER], "thresholds": {"steps": [{"color": "green"}]}}
    return {
        "id": 1,
        "type": "stat",
        "title": "P",
        "gridPos": {"x": 0, "y": 0, "w": 8, "h": 4},
        "targets": [{"refId": "A", "expr": "dbt_freshness_run_success"}],
        "fieldConfig": {"defaults": {**defaults, **changes.pop("defaults", {})}},
        **changes,
    }


def faults(*panels: dict[str, Any], **changes: Any) -> list[str]:
    model = {**BOARD, "panels": list(panels), **changes}
    read = read_dashboard(json.dumps(model).encode(), "b.json")
    return [found.message for found in check(read, Catalogue(SOURCES))]


def test_our_own_dashboard_has_no_fault() -> None:
    assert check(OURS, Catalogue(SOURCES)) == []


def test_our_own_dashboard_has_the_panels_of_the_runbook() -> None:
    titles = [(p["type"], p["title"]) for p in OURS.model["panels"][:4]]
    assert titles == [
        ("stat", "transactions freshness (hours)"),
        ("stat", "transaction_labels freshness (hours)"),
        ("stat", "ml_features freshness (hours)"),
        ("timeseries", "Freshness over 24 hours"),
    ]
    assert OURS.model["time"] == {"from": "now-24h", "to": "now"}
    assert (OURS.uid, OURS.title) == ("ml-freshness", "LedgerMind ML Source Freshness")


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize(
    ("hours", "colour"), [(47, "green"), (49, "yellow"), (119, "yellow"), (121, "red")]
)
def test_the_colours_are_those_of_the_runbook(index: int, hours: float, colour: str) -> None:
    defaults = OURS.model["panels"][index]["fieldConfig"]["defaults"]
    assert colour_of(defaults["thresholds"]["steps"], hours) == colour


def test_a_panel_that_is_right_has_no_fault() -> None:
    assert faults(panel()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": None}, "has no id"),
        ({"gridPos": {"x": 20, "y": 0, "w": 8, "h": 4}}, "has a gridPos that does not fit"),
        ({"gridPos": {"x": "0", "y": 0, "w": 8, "h": 4}}, "has a gridPos that does not fit"),
        ({"title": ""}, "has no title"),
        ({"defaults": {"unit": ""}}, "has no unit"),
        ({"defaults": {"thresholds": {}}}, "has no thresholds"),
        ({"defaults": {"thresholds": {"steps": [{"value": 1}]}}}, "has no base colour"),
        (
            {"defaults": {"thresholds": {"steps": [{}, {"value": 120}, {"value": 48}]}}},
            "has thresholds that do not rise: 120, 48",
        ),
        ({"thresholds": []}, "has thresholds where Grafana ignores them"),
        ({"defaults": {"mappings": []}}, "would show missing data in green"),
        ({"targets": []}, "has no query"),
        ({"targets": [{"refId": "A"}]}, "has a query without an expr"),
        ({"targets": [{"expr": "up"}]}, "has a query without a refId"),
        ({"targets": [{"refId": "A", "expr": "max by ("}]}, "is not PromQL"),
        ({"targets": [{"refId": "A", "expr": "nothing"}]}, "nothing, which nothing exports"),
        (
            {"targets": [{"refId": "A", "expr": 'dbt_source_loaded_at_seconds{table="x"}'}]},
            "the dbt project has no such source",
        ),
        (
            {"datasource": {"uid": "${DS_PROMETHEUS}"}},
            "has the unresolved data source ${DS_PROMETHEUS}",
        ),
    ],
)
def test_each_fault_of_a_panel_is_told(changes: dict[str, Any], words: str) -> None:
    (found,) = faults(panel(**changes))
    assert words in found


def test_panels_that_share_an_id_or_a_place_are_told_also_below_a_row() -> None:
    beside = panel(title="Q", gridPos={"x": 8, "y": 0, "w": 8, "h": 4})
    same = ["has the id 1, and so has P: Grafana mixes them up"]
    assert faults(panel(), beside) == same
    assert faults(panel(), panel(id=2, title="Q")) == ["overlaps P: Grafana moves one of them"]
    row = {"id": 5, "type": "row", "gridPos": {"x": 0, "y": 9, "w": 24, "h": 1}}
    assert faults(panel(), {**row, "panels": [panel()]}) == [
        "has the id 1, and so has P: Grafana mixes them up"
    ]


def test_each_panel_that_overlaps_is_named_once_however_many_lie_there() -> None:
    stacked = [panel(id=n, title=str(n)) for n in range(1, 60)]
    assert len(faults(*stacked)) == 58
    tall = panel(gridPos={"x": 0, "y": 0, "w": 24, "h": 10**9})
    assert len(faults(tall, *stacked[1:])) == 58


def test_a_green_text_for_no_data_is_no_mapping() -> None:
    green = {**NEVER, "options": {"match": "null+nan", "result": {"color": "green"}}}
    assert len(faults(panel(defaults={"mappings": [green]}))) == 1


def test_a_variables_query_is_checked_too() -> None:
    variable = {"name": "v", "query": {"query": "label_values(dbt_nothing, project)"}}
    (found,) = faults(panel(), templating={"list": [variable]})
    assert "dbt_nothing, which nothing exports" in found


def test_variables_of_grafana_do_not_disturb_the_parser() -> None:
    query = 'rate(x{a=~"$v"}[$__rate_interval]) / $__range_s + rate(y[${window}:1m])'
    assert without_variables(query) == 'rate(x{a=~"$v"}[5m]) / 300 + rate(y[5m:1m])'
    assert {s.name for s in parse(without_variables(query)).selectors} == {"x", "y"}


def values(depth: int) -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    return st.recursive(plain, lambda inner: st.lists(inner, max_size=2), max_leaves=depth)


KEYS = st.sampled_from(sorted({*panel(), "templating", "list", "query", "steps", "value", "expr"}))


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, values(3)) | values(3)))
def test_whatever_a_panel_holds_it_is_checked(fields: dict[str, Any]) -> None:
    faults({"type": "stat", **fields}, templating={"list": [fields]})


@pytest.mark.parametrize(
    "wrapped",
    [
        BOARD,
        {"dashboard": BOARD},
        {"meta": {"slug": "a-board"}, "dashboard": {**BOARD, "id": 4, "version": 2}},
        {
            "apiVersion": "dashboard.grafana.app/v1beta1",
            "metadata": {"name": "board"},
            "spec": {"title": "A board", "panels": []},
        },
    ],
)
def test_a_dashboard_is_read_in_any_of_its_wrappings(wrapped: dict[str, Any]) -> None:
    assert read_dashboard(json.dumps(wrapped).encode(), "b.json").model == BOARD


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "has no list of panels"),
        (b'{"panels": {}}', "has no list of panels"),
        (b'{"panels": [1]}', "has no list of panels"),
        (b'{"panels": [], "title": 5, "uid": "u"}', "its title is not a text"),
        (b'{"panels": [], "title": " ", "uid": "u"}', "has no title"),
        (b'{"panels": [], "title": "T"}', "has no uid"),
        (b'{"panels": [], "title": "T", "uid": "a b"}', "which Grafana refuses"),
        (b'{"panels": [], "title": "T", "uid": "%s"}' % (b"u" * 41), "which Grafana refuses"),
        (b'{"apiVersion": "dashboard.grafana.app/v2beta1", "spec": {}}', "schema v2"),
        (b'{"elements": {}, "layout": {}}', "schema v2"),
        (b" " * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_what_cannot_be_imported_is_told_by_name(content: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^b\.json ") as error:
        read_dashboard(content, "b.json")
    assert words in str(error.value)


def test_fifty_megabytes_are_not_read_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.write(b'{"panels": [')
        file.truncate(50_000_000)
    result = CliRunner().invoke(root, ["dashboard", "import", str(path)])
    assert result.exit_code == 2
    assert "larger than" in result.stderr


def test_inputs_are_filled_in_everywhere() -> None:
    model = {**BOARD, "__inputs": [], "panels": [{"datasource": "${DS_A}", "x": ["${DS_B}"]}]}
    read = read_dashboard(json.dumps(model).encode(), "b.json")
    assert read.inputs == ["DS_A", "DS_B"]
    filled = resolved(read, 'a"\\1').model
    assert filled == {**BOARD, "panels": [{"datasource": 'a"\\1', "x": ['a"\\1']}]}


def test_what_grafana_sets_itself_is_no_difference() -> None:
    assert differences({**BOARD, "id": 4, "version": 7}, BOARD) == []
    assert differences({**BOARD, "panels": [1]}, {**BOARD, "tags": ["t"]}) == [
        "panels: 1 entries in Grafana, 0 here",
        'tags: nothing in Grafana, ["t"] here',
    ]
