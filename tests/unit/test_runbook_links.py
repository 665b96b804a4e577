"""Whoever follows a link of an alert, a message or the dashboard arrives where it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ledgermind_obs.monitoring.runbooks import anchors

ROOT = Path(__file__).parents[2]
# The files of this repository, as its host shows them.
OURS = re.compile(r"https://github\.com/leok974/ai-finance-agent-oss/blob/main/([^#\s\"')]+)#?(.*)")
RULES = sorted((ROOT / "prometheus/rules").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "ops/grafana/dashboards").glob("*.json"))
GRAFANA_ALERTS = sorted((ROOT / "ops/grafana/provisioning/alerting").glob("*.yml"))


def alerts() -> Iterator[tuple[str, str]]:
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    yield rule["alert"], rule["annotations"]["runbook_url"]


def grafana_alerts() -> Iterator[tuple[str, str]]:
    for file in GRAFANA_ALERTS:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield rule["title"], rule["annotations"]["runbook_url"]


def links(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from links(inner)
    elif isinstance(value, str):
        yield from (found[0] for found in OURS.finditer(value))


def dashboard_links() -> Iterator[tuple[str, str]]:
    for file in DASHBOARDS:
        for link in links(json.loads(file.read_text())):
            yield file.name, link


def assert_arrives(link: str) -> None:
    found = OURS.fullmatch(link)
    assert found, f"{link} is not of this repository"
    page, anchor = ROOT / found[1], found[2]
    assert page.is_file(), f"there is no {found[1]}"
    if anchor:
        assert anchor in anchors(page.read_text()), f"{found[1]} has no section {anchor}"


@pytest.mark.parametrize(("name", "link"), [*alerts(), *grafana_alerts()])
def test_an_alert_links_to_a_section_that_exists(name: str, link: str) -> None:
    assert "#" in link, f"{name} links to no section"
    assert_arrives(link)


@pytest.mark.parametrize(("name", "link"), list(dashboard_links()))
def test_a_dashboard_links_to_a_page_that_exists(name: str, link: str) -> None:
    assert_arrives(link)


def test_rules_and_dashboard_do_have_links() -> None:
    assert list(alerts())
    assert list(dashboard_links())
