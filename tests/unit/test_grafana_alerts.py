"""The alert in Grafana says what the document says, on what obs exports and the dashboard shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.rules import check, read_rules

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "ops/grafana"
DOCUMENT = yaml.safe_load((GRAFANA / "provisioning/alerting/freshness.yml").read_text())
(GROUP,) = DOCUMENT["groups"]
(RULE,) = GROUP["rules"]
QUERY, REDUCE, THRESHOLD = RULE["data"]


def test_it_fires_when_the_last_value_of_query_a_is_above_120_hours() -> None:
    assert (REDUCE["model"]["type"], REDUCE["model"]["reducer"]) == ("reduce", "last")
    assert REDUCE["model"]["expression"] == QUERY["refId"] == "A"
    (condition,) = THRESHOLD["model"]["conditions"]
    assert condition["evaluator"] == {"type": "gt", "params": [120]}
    assert THRESHOLD["model"]["expression"] == REDUCE["refId"]
    assert RULE["condition"] == THRESHOLD["refId"]


def test_it_fires_also_when_nothing_answers() -> None:
    assert (RULE["noDataState"], RULE["execErrState"]) == ("Alerting", "Alerting")


def test_its_panel_and_its_data_source_exist() -> None:
    board = json.loads((GRAFANA / "dashboards/ml-source-freshness.json").read_text())
    assert RULE["dashboardUid"] == board["uid"]
    (panel,) = [panel for panel in board["panels"] if panel["id"] == RULE["panelId"]]
    assert (panel["type"], panel["title"]) == ("timeseries", "Freshness over 24 hours")
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    assert QUERY["datasourceUid"] in {source["uid"] for source in sources["datasources"]}


def test_its_parts_have_the_fields_that_grafana_requires() -> None:
    assert DOCUMENT["apiVersion"] == 1
    assert all(GROUP[name] for name in ("orgId", "name", "folder", "interval"))
    assert all(RULE[name] for name in ("uid", "title", "condition", "for"))
    assert len(RULE["uid"]) <= 40
    for part in RULE["data"]:
        assert part["model"]["refId"] == part["refId"]
        assert set(part["relativeTimeRange"]) == {"from", "to"}
    assert {part["datasourceUid"] for part in (REDUCE, THRESHOLD)} == {"__expr__"}


def test_its_query_has_no_variable_and_no_fault() -> None:
    rule: dict[str, Any] = {
        "alert": RULE["title"],
        "expr": QUERY["model"]["expr"],
        "labels": RULE["labels"],
        "annotations": {**RULE["annotations"]},
    }
    groups = [{"name": GROUP["name"], "rules": [rule]}]
    known = yaml.safe_load((ROOT / "prometheus/rules/dbt_freshness.yml").read_text())["groups"]
    content = yaml.safe_dump({"groups": [*known, *groups]}).encode()
    found = check(read_rules(content, "freshness.yml"), Catalogue(()), None)
    assert [finding for finding in found if finding.name == RULE["title"]] == []
    assert "$" not in QUERY["model"]["expr"]


def test_its_limit_is_that_of_the_critical_alert() -> None:
    rules = yaml.safe_load((ROOT / "prometheus/rules/dbt_freshness.yml").read_text())["groups"]
    (critical,) = [
        rule
        for group in rules
        for rule in group["rules"]
        if rule.get("alert") == "SourceCriticalStale"
    ]
    hours = set(re.findall(r"known > (\d+)\) / 3600", critical["expr"]))
    assert hours == {str(120 * 3600)}
    assert (critical["for"], critical["labels"]["severity"]) == (
        RULE["for"],
        RULE["labels"]["severity"],
    )
    assert critical["annotations"]["runbook_url"] == RULE["annotations"]["runbook_url"]
