import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

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
    return [fault.message for fault in check(read, Catalogue(SOURCES))]


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
        ({"id": None}, "it has no numeric id"),
        ({"gridPos": {"x": 20, "y": 0, "w": 8, "h": 4}}, "its gridPos does not fit"),
        ({"gridPos": {"x": "0", "y": 0, "w": 8, "h": 4}}, "its gridPos does not fit"),
        ({"title": ""}, "it has no title"),
        ({"defaults": {"unit": ""}}, "it has no unit"),
        ({"defaults": {"thresholds": {}}}, "it has no thresholds"),
        ({"defaults": {"thresholds": {"steps": [{"value": 1}]}}}, "first threshold has a value"),
        (
            {"defaults": {"thresholds": {"steps": [{}, {"value": 120}, {"value": 48}]}}},
            "its thresholds do not rise",
        ),
        ({"thresholds": []}, "Grafana ignores thresholds of the panel"),
        ({"defaults": {"mappings": []}}, "nothing is green here"),
        ({"targets": []}, "it has no query"),
        ({"targets": [{"refId": "A"}]}, "a query of it has no expr"),
        ({"targets": [{"expr": "up"}]}, "it has the refId None twice, or none"),
        ({"targets": [{"refId": "A", "expr": "max by ("}]}, "not PromQL"),
        ({"targets": [{"refId": "A", "expr": "nothing"}]}, "nothing exports the metric"),
        (
            {"targets": [{"refId": "A", "expr": 'dbt_source_loaded_at_seconds{table="x"}'}]},
            "no source of the dbt project",
        ),
        ({"datasource": {"uid": "${DS_PROMETHEUS}"}}, "${DS_PROMETHEUS} is not resolved"),
    ],
)
def test_each_fault_of_a_panel_is_told(changes: dict[str, Any], words: str) -> None:
    (found,) = faults(panel(**changes))
    assert words in found


def test_panels_that_share_an_id_or_a_place_are_told_also_below_a_row() -> None:
    beside = panel(title="Q", gridPos={"x": 8, "y": 0, "w": 8, "h": 4})
    assert faults(panel(), beside) == ["it has the id 1 of P"]
    assert faults(panel(), panel(id=2, title="Q")) == ["it covers a part of P"]
    row = {"id": 5, "type": "row", "gridPos": {"x": 0, "y": 9, "w": 24, "h": 1}}
    assert faults(panel(), {**row, "panels": [panel()]}) == ["it has the id 1 of P"]


def test_a_green_text_for_no_data_is_no_mapping() -> None:
    green = {**NEVER, "options": {"match": "null+nan", "result": {"color": "green"}}}
    assert len(faults(panel(defaults={"mappings": [green]}))) == 1


def test_a_variables_query_is_checked_too() -> None:
    variable = {"name": "v", "query": {"query": "label_values(dbt_nothing, project)"}}
    (found,) = faults(panel(), templating={"list": [variable]})
    assert "nothing exports the metric dbt_nothing" in found


def test_variables_of_grafana_do_not_disturb_the_parser() -> None:
    query = 'rate(x{a=~"$v"}[$__rate_interval]) / $__range_s + rate(y[${window}:1m])'
    assert without_variables(query) == 'rate(x{a=~"$v"}[5m]) / 300 + rate(y[5m:1m])'
    assert {s.name for s in parse(without_variables(query)).selectors} == {"x", "y"}


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
