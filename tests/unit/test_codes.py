"""Each code is documented, appears where its fault is, and does not where it is not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.errors import DOCS
from ledgermind_obs.lineage import findings as lineage
from ledgermind_obs.monitoring import dashboard, rules
from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.findings import Code, Finding
from ledgermind_obs.monitoring.runbooks import Page, anchors

ROOT = Path(__file__).parents[2]
PAGES = {
    "docs/lineage.md": lineage.CODES,
    "docs/alerting.md": rules.CODES,
    "docs/dashboard.md": dashboard.CODES,
}
SOURCES = (Source(unique_id="source.shop.app.orders", name="orders", source_name="app"),)
AGE = "time() - dbt_source_loaded_at_seconds"
PARTS = " or ".join(["up"] * 502)

# Of each kind of fault, an expression that has it, and the nearest one that has not.
EXPRESSIONS = {
    "101": ("max by (", "max by (project, target, package, source, table) (dbt_source_info)"),
    "102": (PARTS, PARTS.replace("or up or up", "or up", 1)),
    "103": ("dbt_source_loaded_at > 1", "dbt_source_loaded_at_seconds > 1"),
    "104": ('up{instanc="a"} == 0', 'up{instance="a"} == 0'),
    "105": (f'{AGE}{{table=~"\\\\pL+"}}', f'{AGE}{{table=~"[a-z]+"}}'),
    "106": (f'{AGE}{{table="order"}} > 1', f'{AGE}{{table="orders"}} > 1'),
    "107": ("time() - max(dbt_source_loaded_at_seconds)", "max(dbt_freshness_run_success)"),
}


def alert(**changes: Any) -> dict[str, Any]:
    texts = {"summary": "s", "description": "d", "runbook_url": "https://x/page.md#here"}
    fields = {"alert": "A", "expr": AGE, "labels": {"severity": "warning"}, "annotations": texts}
    return {**fields, **changes}


def annotated(**changes: str) -> dict[str, Any]:
    return alert(annotations={**alert()["annotations"], **changes})


# A rule that has the fault, and the nearest one that has not.
RULES = {
    **{f"R{n}": (alert(expr=bad), alert(expr=good)) for n, (bad, good) in EXPRESSIONS.items()},
    "R201": (alert(labels={"team": "ml"}), alert(labels={"severity": "page"})),
    "R202": (annotated(summary=""), annotated(summary="A table is old")),
    "R203": (annotated(runbook_url=""), alert()),
    "R204": (annotated(summary="{{ $labels.tabel }}"), annotated(summary="{{ $labels.table }}")),
    "R301": (annotated(runbook_url="https://x/other.md#here"), alert()),
    "R302": (annotated(runbook_url="https://x/page.md#gone"), alert()),
    "R303": (annotated(runbook_url="https://x/latin.md#here"), alert()),
    "R401": (alert(expr=f'{AGE}{{table!="orders"}}'), alert(expr=f'{AGE}{{table!="items"}}')),
}

MAPPED = {"type": "special", "options": {"match": "null+nan", "result": {"color": "red"}}}
STEPS = [{"value": None, "color": "green"}, {"value": 2, "color": "red"}]


def panel(**changes: Any) -> dict[str, Any]:
    steps = changes.pop("steps", STEPS)
    defaults = {"unit": "h", "mappings": [MAPPED], "thresholds": {"steps": steps}}
    return {
        "id": 1,
        "type": "stat",
        "title": "P",
        "gridPos": {"x": 0, "y": 0, "w": 8, "h": 4},
        "targets": [{"refId": "A", "expr": AGE}],
        "fieldConfig": {"defaults": {**defaults, **changes.pop("defaults", {})}},
        **changes,
    }


def asking(*expressions: str, refs: str = "AB") -> list[dict[str, Any]]:
    targets = zip(refs, expressions, strict=False)
    return [panel(targets=[{"refId": ref, "expr": expr} for ref, expr in targets])]


def beside(**changes: Any) -> list[dict[str, Any]]:
    place = {"x": 8, "y": 0, "w": 8, "h": 4}
    return [panel(), panel(**{"id": 2, "gridPos": place, **changes})]


GREEN = {"type": "special", "options": {"match": "null+nan", "result": {"color": "dark-green"}}}
TWO_MAPS = [
    {"type": "special", "options": {"match": match, "result": {"color": "red"}}}
    for match in ("null", "nan")
]
PANELS = {
    **{f"D{n}": (asking(bad), asking(good)) for n, (bad, good) in EXPRESSIONS.items()},
    "D108": ([panel(targets=[{"refId": "A"}])], asking("up")),
    "D109": ([panel(targets=[])], [panel(type="text", targets=[])]),
    "D110": (asking("up", "up", refs="AA"), asking("up", "up", refs="AB")),
    "D201": ([panel(title="")], [panel()]),
    "D202": ([panel(defaults={"unit": ""})], [panel(type="text", defaults={"unit": ""})]),
    "D203": ([panel(steps=[])], [panel(type="timeseries", steps=[])]),
    "D204": ([panel(thresholds=[1])], [panel()]),
    "D205": ([panel(steps=STEPS[1:])], [panel(steps=STEPS[:1])]),
    "D206": ([panel(steps=[*STEPS, {"value": 1}])], [panel(steps=[*STEPS, {"value": 3}])]),
    "D207": ([panel(defaults={"mappings": [GREEN]})], [panel(defaults={"mappings": TWO_MAPS})]),
    "D301": ([panel(id=None)], [panel(id=7)]),
    "D302": (beside(id=1), beside(id=2)),
    "D303": ([panel(gridPos={"x": 17, "y": 0, "w": 8, "h": 4})], beside()),
    "D304": (beside(gridPos={"x": 7, "y": 3, "w": 8, "h": 4}), beside()),
    "D401": ([panel(datasource="${DS_PROMETHEUS}")], [panel(datasource="${datasource}")]),
}


def of_rule(rule: dict[str, Any]) -> list[Finding]:
    content = yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}).encode()
    pages = {"page.md": Page(frozenset({"here"})), "latin.md": Page(fault="it is not UTF-8")}
    return rules.check(rules.read_rules(content, "r.yml"), Catalogue(SOURCES), pages)


def of_panels(panels: Sequence[dict[str, Any]]) -> list[Finding]:
    model = {"uid": "b", "title": "B", "panels": panels}
    read = dashboard.read_dashboard(json.dumps(model).encode(), "b.json")
    return dashboard.check(read, Catalogue(SOURCES))


def ids(found: list[Finding]) -> set[str]:
    return {finding.code for finding in found}


@pytest.mark.parametrize("code", RULES)
def test_a_rules_code_appears_where_the_fault_is_and_nowhere_else(code: str) -> None:
    bad, good = RULES[code]
    assert code in ids(of_rule(bad))
    assert code not in ids(of_rule(good))


@pytest.mark.parametrize("code", PANELS)
def test_a_dashboards_code_appears_where_the_fault_is_and_nowhere_else(code: str) -> None:
    bad, good = PANELS[code]
    assert ids(of_panels(bad)) == {code}
    assert ids(of_panels(good)) == set()


@pytest.mark.parametrize(("codes", "tried"), [(rules.CODES, RULES), (dashboard.CODES, PANELS)])
def test_every_code_is_tried(codes: Sequence[Code], tried: dict[str, Any]) -> None:
    assert set(tried) == {code.id for code in codes}


@pytest.mark.parametrize("page", PAGES)
def test_every_code_is_explained_and_every_explained_code_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    explained = re.findall(r"^### ([LRD]\d+)\n\n\*\*", text, re.MULTILINE)
    assert explained == [code.id for code in PAGES[page]]
    words = " ".join(text.split())
    for code in PAGES[page]:
        assert f"### {code.id} **{code.title}** ({code.severity}). " in words


@pytest.mark.parametrize("page", PAGES)
def test_the_help_of_a_finding_leads_to_its_paragraph(page: str) -> None:
    there = anchors((ROOT / page).read_text())
    for code in PAGES[page]:
        assert code.help == f"{DOCS.removesuffix('docs')}{page}#{code.id.lower()}"
        assert code.id.lower() in there


@pytest.mark.parametrize("page", PAGES)
def test_no_code_is_given_twice(page: str) -> None:
    assert len({code.id for code in PAGES[page]}) == len(PAGES[page])
