from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.dbt.meta_obs import settings_of
from ledgermind_obs.dbt.positions import line_of
from ledgermind_obs.errors import DOCS
from ledgermind_obs.lineage.findings import CODES, Surroundings, check, is_covered
from ledgermind_obs.monitoring.coverage import covered_by_dashboard, covered_by_rules, selectors
from ledgermind_obs.monitoring.findings import Checked, Ignore, Unread, failing, without
from ledgermind_obs.monitoring.rules import read_rules
from ledgermind_obs.render.findings import rendered
from tests.unit.manifests import (
    DAYS,
    FCT,
    RAW,
    STG,
    TRAINING,
    Named,
    data_test,
    exposure,
    lineage,
    model,
    sound,
    source,
)

ROOT = Path(__file__).parents[2]
EVERYTHING = selectors("dbt_source_loaded_at_seconds")
GOOD = Surroundings(
    project="shop", rules=EVERYTHING, dashboards=EVERYTHING, measured=frozenset({RAW})
)


def _without_last(*others: Named) -> list[Named]:
    return [*sound()[:-1], *others]


_LATE = {"warn_after": DAYS["error_after"], "error_after": DAYS["warn_after"]}

# One project, or its surroundings, for each code that must then appear.
BROKEN: dict[str, tuple[list[Named], dict[str, Any], Surroundings]] = {
    "L101": (_without_last(), {}, GOOD),
    "L102": (_without_last(), {"disabled": {TRAINING: [{}]}}, GOOD),
    "L103": (_without_last(exposure("training", FCT, owner=None)), {}, GOOD),
    "L104": (_without_last(exposure("training")), {}, GOOD),
    "L105": (_without_last(model("m"), exposure("training", "model.shop.m")), {}, GOOD),
    "L106": (_without_last(exposure("training", FCT, "model.shop.gone")), {}, GOOD),
    "L107": (
        _without_last(exposure("training", FCT, "model.shop.off")),
        {"disabled": {"model.shop.off": [{}]}},
        GOOD,
    ),
    "L201": (
        _without_last(model("s", kind="seed"), exposure("training", FCT, "seed.shop.s")),
        {},
        GOOD,
    ),
    "L202": (_without_last(exposure("training", FCT, "model.other.far")), {}, GOOD),
    "L203": ([source("raw", freshness=None), *sound()[1:]], {}, GOOD),
    "L204": (_without_last(model("m"), exposure("training", FCT, "model.shop.m")), {}, GOOD),
    "L205": ([source("raw", loaded_at_field=None), *sound()[1:]], {}, GOOD),
    "L206": ([source("raw", freshness=_LATE), *sound()[1:]], {}, GOOD),
    "L207": ([n for n in sound() if n[0] != "test.shop.test_stg"], {}, GOOD),
    "L208": (sound(), {}, msgspec.structs.replace(GOOD, clock=[("models/sources.yml", 7)])),
    "L301": (
        sound(),
        {},
        msgspec.structs.replace(GOOD, rules=selectors('dbt_source_loaded_at_seconds{table="x"}')),
    ),
    "L302": (sound(), {}, msgspec.structs.replace(GOOD, dashboards=[])),
    "L303": (sound(), {}, msgspec.structs.replace(GOOD, measured=frozenset())),
    "L401": (sound(), {}, msgspec.structs.replace(GOOD, project="other")),
    "L402": (sound(), {}, msgspec.structs.replace(GOOD, changed_files=["models/sources.yml"])),
}


def _codes(nodes: list[Named], keys: dict[str, Any], around: Surroundings) -> set[str]:
    return {found.code for found in check(lineage(*nodes, **keys), ["training"], around).findings}


def test_a_sound_project_has_no_finding() -> None:
    checked = check(lineage(*sound()), ["training"], GOOD)

    assert checked.findings == []
    assert checked.looked_at["exposures"] == [TRAINING]
    assert checked.looked_at["sources"] == [RAW]


def test_every_code_has_a_project_in_which_it_appears() -> None:
    assert set(BROKEN) == {code.id for code in CODES}


@pytest.mark.parametrize("code", BROKEN)
def test_the_code_appears_in_a_project_that_has_the_fault(code: str) -> None:
    assert code in _codes(*BROKEN[code])


def test_a_finding_says_how_the_node_leads_to_the_exposure() -> None:
    (found,) = check(lineage(*BROKEN["L203"][0]), ["training"], GOOD).findings

    assert found.path == ("app.raw", "stg", "fct", "training")
    assert (found.name, found.file) == ("app.raw", "models/sources.yml")


def test_disabled_exposures_of_one_name_are_all_named_in_one_order() -> None:
    packages = ("c", "shop", "a", "b")
    disabled: dict[str, Any] = {f"exposure.{name}.training": [{}] for name in packages}
    findings = check(lineage(*_without_last(), disabled=disabled), ["training"], GOOD).findings

    named = [finding.node for finding in findings if finding.code == "L102"]
    assert named == sorted(disabled)


def test_a_fault_above_two_exposures_is_told_once() -> None:
    nodes = [*BROKEN["L203"][0], exposure("other", FCT)]

    assert len(check(lineage(*nodes), ["training", "other"], GOOD).findings) == 1


def test_nothing_beside_the_manifest_is_no_finding() -> None:
    assert check(lineage(*sound()), ["training"], Surroundings()).findings == []


def test_a_unit_test_is_a_test() -> None:
    nodes = [n for n in sound() if n[0] != "test.shop.test_stg"]

    assert "L207" not in _codes([*nodes, model("u", STG, kind="unit_test")], {}, GOOD)
    assert "L207" not in _codes([*nodes, data_test("again", STG)], {}, GOOD)


@pytest.mark.parametrize(
    ("ignored", "left"),
    [
        (Ignore("L203"), 0),
        (Ignore("L203", "app.raw"), 0),
        (Ignore("L203", RAW), 0),
        (Ignore("L203", "app.*"), 0),
        (Ignore("L203", "app.other"), 1),
        (Ignore("L204", "app.raw"), 1),
    ],
)
def test_a_finding_is_ignored_by_code_and_node(ignored: Ignore, left: int) -> None:
    findings = check(lineage(*BROKEN["L203"][0]), ["training"], GOOD).findings

    assert len(without(findings, [ignored])) == left


def test_a_name_is_ignored_as_it_is_whatever_characters_it_has() -> None:
    nodes = [source("r[a]w*", freshness=None), exposure("training", "source.shop.app.r[a]w*")]
    findings = check(lineage(*nodes), ["training"], GOOD).findings

    assert without(findings, [Ignore("L203", "app.r[a]w*")]) == []


def test_errors_fail_and_warnings_do_so_on_demand() -> None:
    warning = check(lineage(*BROKEN["L103"][0]), ["training"], GOOD).findings
    error = check(lineage(*BROKEN["L203"][0]), ["training"], GOOD).findings

    assert failing(error, "error") == error
    assert failing(warning, "warning") == warning
    assert failing(warning, "error") == []


# --- which sources rules and dashboards speak of

ORDERS = Source("source.shop.app.orders", "orders", "app", "shop")


@pytest.mark.parametrize(
    ("expression", "covered"),
    [
        ("time() - dbt_source_loaded_at_seconds > 5", True),
        ('time() - dbt_source_loaded_at_seconds{table="orders"}', True),
        ('max by (table) (dbt_source_loaded_at_seconds{table="other"})', False),
        ('dbt_source_loaded_at_seconds{table=~"ord.*|x"}', True),
        ('dbt_source_loaded_at_seconds{table=~"ord"}', False),
        ('dbt_source_loaded_at_seconds{table!="orders"}', False),
        ('dbt_source_loaded_at_seconds{table!~"other"}', True),
        ('dbt_source_loaded_at_seconds{source="app", project="p"}', True),
        ('dbt_source_loaded_at_seconds{package="other"}', False),
        ("table_loaded_at_seconds{table='orders'}", True),
        ('dbt_source_freshness_status{status="query_error"} == 1', True),
        ('dbt_source_loaded_at_seconds{table="$table"}', True),
        ('dbt_source_loaded_at_seconds{table=~"${table:regex}"}', True),
        ('dbt_source_loaded_at_seconds{table=~"("}', False),
        ('dbt_source_loaded_at_seconds{x="}",table="other"}', False),
        ("dbt_freshness_run_success == 0", False),
        ("my_dbt_source_loaded_at_seconds", False),
        ("up == 0", False),
    ],
)
def test_a_query_covers_the_sources_that_its_matchers_select(
    expression: str, covered: bool
) -> None:
    assert is_covered(ORDERS, selectors(expression)) is covered


def test_an_alert_covers_what_its_recording_rules_select() -> None:
    rules = b"""
    groups:
      - rules:
          - {record: "dbt:age", expr: "time() - dbt_source_loaded_at_seconds"}
          - {record: "dbt:unused", expr: "dbt_source_loaded_at_seconds{table='x'}"}
          - {alert: Stale, expr: "dbt:age{table=~'orders|x'} > 5"}
    """
    found = covered_by_rules(read_rules(rules, "rules.yml"))

    assert is_covered(ORDERS, found)
    assert not is_covered(msgspec.structs.replace(ORDERS, name="payments"), found)


def test_what_an_alert_leaves_out_is_not_covered() -> None:
    rules = b"""
    groups:
      - rules:
          - {alert: Odd, expr: "up unless dbt_source_loaded_at_seconds"}
    """
    assert covered_by_rules(read_rules(rules, "rules.yml")) == []


def test_a_recording_rule_alone_covers_nothing() -> None:
    rules = b"groups: [{rules: [{record: r, expr: dbt_source_loaded_at_seconds}]}]"

    assert covered_by_rules(read_rules(rules, "rules.yml")) == []


def test_panels_within_rows_count() -> None:
    target = {"expr": 'dbt_source_loaded_at_seconds{table="orders"}'}
    dashboard = {"panels": [{"type": "row", "panels": [{"targets": [target]}]}]}

    assert is_covered(ORDERS, covered_by_dashboard(dashboard))


# --- where it is declared

YAML = """\
version: 2
sources:
  - name: other
    tables:
      - name: raw
  - name: app
    tables:
      - name: first
      - description: x
        name: raw
exposures:
  - name: training
"""


def test_a_line_is_the_one_that_starts_the_declaration() -> None:
    assert line_of(YAML, "sources", ["app", "raw"]) == 9
    assert line_of(YAML, "exposures", ["training"]) == 12


@pytest.mark.parametrize("text", ["", "a: [", "sources: 3", "sources: [3]", YAML])
def test_a_declaration_that_is_not_there_has_no_line(text: str) -> None:
    assert line_of(text, "sources", ["app", "gone"]) == 0


# --- the forms


def _found(code: str) -> Checked:
    nodes, keys, around = BROKEN[code]
    return check(lineage(*nodes, **keys), ["training"], around)


def test_the_table_ends_with_what_to_do_next() -> None:
    assert rendered(_found("L203"), "table", "error").splitlines() == [
        "models/sources.yml  L203 error  app.raw has no freshness",
        "    app.raw → stg → fct → training",
        "    next: give it freshness and a loaded_at_field, or a reason in "
        f"meta.obs.no_freshness ({DOCS}/lineage.md#l203)",
        "    or:   --ignore L203:app.raw",
        "",
        "1 exposure, 3 nodes upstream, 1 source: 1 error",
    ]


def test_a_table_for_a_terminal_wraps_all_but_what_is_to_be_copied() -> None:
    name = "a_source_with_quite_a_long_name"
    nodes = [source(name, freshness=None), exposure("training", f"source.shop.app.{name}")]
    checked = check(lineage(*nodes), ["training"], GOOD)
    lines = rendered(checked, "table", "error", width=50).splitlines()

    assert f"    or:   --ignore L203:app.{name}" in lines
    assert max(len(x) for x in lines if "--ignore" not in x and DOCS not in x) <= 50
    unwrapped = rendered(checked, "table", "error")
    assert " ".join(" ".join(lines).split()) == " ".join(unwrapped.split())


def test_json_has_the_findings_and_what_was_looked_at() -> None:
    document = json.loads(rendered(_found("L203"), "json", "error"))

    assert document["exposures"] == [TRAINING]
    assert document["findings"][0]["node"] == RAW
    assert document["findings"][0]["help"] == f"{DOCS}/lineage.md#l203"


def test_a_github_annotation_cannot_be_broken_out_of() -> None:
    nodes = [source("raw", freshness=None, original_file_path="a,b:c%\n::error::x"), *sound()[1:]]
    text = rendered(check(lineage(*nodes), ["training"], GOOD), "github", "error")

    assert text.startswith("::error file=a%2Cb%3Ac%25%0A%3A%3Aerror%3A%3Ax,title=L203 source")
    assert len(text.splitlines()) == 2


def test_sarif_names_rule_place_level_and_the_page_that_explains() -> None:
    (run,) = json.loads(rendered(_found("L203"), "sarif", "error"))["runs"]
    (result,) = run["results"]

    assert (result["ruleId"], result["level"]) == ("L203", "error")
    physical = result["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "models/sources.yml"
    rules = {rule["id"]: rule["helpUri"] for rule in run["tool"]["driver"]["rules"]}
    assert rules["L203"] == f"{DOCS}/lineage.md#l203"


def test_a_file_for_a_code_scanner_is_a_uri() -> None:
    nodes = [source("raw", freshness=None, original_file_path="my models/ä%.yml"), *sound()[1:]]
    checked = check(lineage(*nodes), ["training"], GOOD)
    (result,) = json.loads(rendered(checked, "sarif", "error"))["runs"][0]["results"]

    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "my%20models/%C3%A4%25.yml"


def _suite(checked: Checked, fail_on: str) -> ElementTree.Element:
    return ElementTree.fromstring(rendered(checked, "junit", fail_on))  # noqa: S314 - our own text


def test_junit_has_a_test_for_each_code_and_fails_those_that_were_found() -> None:
    suite = _suite(_found("L203"), "error")
    failed = [case.get("name", "") for case in suite if case.find("failure") is not None]

    assert len(suite) == len(CODES)
    assert failed == ["L203 source has no freshness"]
    assert suite.get("failures") == "1"


@pytest.mark.parametrize(("fail_on", "failures"), [("error", 0), ("warning", 1)])
def test_a_warning_is_a_failure_in_junit_only_if_it_fails_the_command(
    fail_on: str, failures: int
) -> None:
    suite = _suite(_found("L103"), fail_on)

    assert suite.get("failures") == str(failures)
    assert len(suite.findall("testcase/failure")) == failures
    assert "has no owner" in "".join(suite.itertext())


def test_a_file_that_was_not_read_is_in_every_form() -> None:
    unread = [Unread("r.yml", "cannot read r.yml: Permission denied")]
    checked = Checked(command="rules check", codes=CODES, looked_at={}, unread=unread)

    assert "1 file not read" in rendered(checked, "table", "error")
    assert json.loads(rendered(checked, "json", "error"))["unread"][0]["file"] == "r.yml"
    assert rendered(checked, "github", "error").startswith("::error file=r.yml")
    (run,) = json.loads(rendered(checked, "sarif", "error"))["runs"]
    assert not run["invocations"][0]["executionSuccessful"]
    assert _suite(checked, "error").get("errors") == "1"


@pytest.mark.parametrize("form", ["table", "json", "github", "sarif", "junit"])
def test_a_name_is_shown_on_one_line_and_commands_nothing(form: str) -> None:
    (code,) = [code for code in CODES if code.id == "L203"]
    found = code.at("r\x01\x1b[2J<&>\n\ud800", "has no freshness", "give it some")
    checked = Checked(command="lineage check", codes=CODES, looked_at={}, findings=[found])
    text = rendered(checked, form, "error")

    assert not {"\x01", "\x1b", "\ud800"} & set(text)
    assert "r\ufffd\ufffd[2J" in text
    if form == "junit":
        ElementTree.fromstring(text)  # noqa: S314 - our own text


def test_a_source_that_says_why_it_is_not_measured_is_no_finding_until_its_day() -> None:
    said = {"no_freshness": {"reason": "changes by hand", "until": "2026-12-31"}}
    found = lineage(
        source("raw", freshness=None, meta={"obs": said}),
        *sound()[1:],
    )

    def codes(now: datetime) -> list[str]:
        around = Surroundings(settings=settings_of(found.manifest, None), now=now)
        return [each.code for each in check(found, ["training"], around).findings]

    assert "L203" not in codes(datetime(2026, 12, 31, tzinfo=UTC))
    assert "L203" in codes(datetime(2027, 1, 1, tzinfo=UTC))
