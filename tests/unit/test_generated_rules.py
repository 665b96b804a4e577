"""From a project to its alert rules, without Prometheus."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.cli import root
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.durations import parse_age
from ledgermind_obs.monitoring.alerts import days
from ledgermind_obs.monitoring.generate import alert_names, camel_case, escaped
from ledgermind_obs.monitoring.promql import Matcher
from ledgermind_obs.render.yaml_document import to_yaml

SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"
DAY = {"count": 1, "period": "day"}
WEEK = {"count": 7, "period": "day"}


@pytest.fixture(autouse=True)
def away_from_our_own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def source(table: str, name: str = "app", package: str = "shop", **more: Any) -> dict[str, Any]:
    return {
        "unique_id": f"source.{package}.{name}.{table}",
        "name": table,
        "source_name": name,
        "package_name": package,
        "loaded_at_field": "loaded_at",
        "freshness": {"warn_after": DAY, "error_after": WEEK},
        **more,
    }


def exposure(name: str, *parents: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "resource_type": "exposure",
        "package_name": "shop",
        "depends_on": {"nodes": list(parents)},
        "owner": {"name": "Finance", "email": "finance@example.org"},
        **more,
    }


def project(tmp_path: Path, *sources: dict[str, Any], exposures: list[dict[str, Any]]) -> Path:
    path = tmp_path / "manifest.json"
    document = {
        "metadata": {"dbt_schema_version": SCHEMA, "project_name": "shop"},
        "nodes": {},
        "sources": {each["unique_id"]: each for each in sources},
        "exposures": {f"exposure.shop.{each['name']}": each for each in exposures},
    }
    path.write_text(json.dumps(document))
    return path


def run(manifest: Path, *argv: object) -> Result:
    words = ["rules", "generate", "--manifest", manifest, *argv]
    return CliRunner().invoke(root, [str(word) for word in words])


def alerts(result: Result) -> dict[str, dict[str, Any]]:
    assert result.exit_code == 0, result.output
    groups = yaml.safe_load(result.stdout)["groups"]
    return {rule["alert"]: rule for g in groups for rule in g["rules"] if "alert" in rule}


def recorded(result: Result, metric: str) -> dict[str, float]:
    groups = yaml.safe_load(result.stdout)["groups"]
    rules = [rule for g in groups for rule in g["rules"] if rule.get("record") == metric]
    return {
        rule["labels"]["table"]: float(rule["expr"].removeprefix("vector(").rstrip(")"))
        for rule in rules
    }


def test_each_source_gets_an_alert_with_its_own_limit_owner_and_exposures(tmp_path: Path) -> None:
    orders = source("orders")
    manifest = project(tmp_path, orders, exposures=[exposure("sales", orders["unique_id"])])
    rule = alerts(run(manifest))["SourceStaleOrders"]
    assert "> 86400) / 3600" in rule["expr"]
    assert rule["labels"] == {"severity": "warning", "owner": "Finance", "exposures": "sales"}
    assert rule["annotations"]["summary"] == "{{ $labels.table }} source is stale (>1 day)"


@pytest.mark.parametrize(
    ("more", "owner"),
    [
        ({"config": {"meta": {"obs": {"owner": "payments"}, "owner": "other"}}}, "payments"),
        ({"meta": {"owner": "payments"}}, "payments"),
        ({}, "Finance"),
    ],
)
def test_the_owner_is_the_nearest_that_is_named(
    tmp_path: Path, more: dict[str, Any], owner: str
) -> None:
    orders = source("orders", **more)
    manifest = project(tmp_path, orders, exposures=[exposure("sales", orders["unique_id"])])
    assert alerts(run(manifest))["SourceStaleOrders"]["labels"]["owner"] == owner


def test_a_source_without_an_owner_has_no_such_label(tmp_path: Path) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    assert alerts(run(manifest))["SourceStaleOrders"]["labels"] == {"severity": "warning"}


GATES = [
    ({"max_age": "3d"}, 3 * 86400),
    ({"fail_on": "warn"}, 86400),
    ({"fail_on": "error"}, 7 * 86400),
]


@pytest.mark.parametrize(("settings", "limit"), GATES)
def test_a_gate_downstream_makes_its_own_limit_critical(
    tmp_path: Path, settings: dict[str, str], limit: float
) -> None:
    orders, other = source("orders"), source("other")
    gated = exposure("training", orders["unique_id"], config={"meta": {"obs": settings}})
    manifest = project(tmp_path, orders, other, exposures=[gated])
    result = run(manifest)
    assert recorded(result, "source:dbt_source:gate_after_seconds") == {"orders": limit}
    assert alerts(result)["SourceCriticalStale"]["labels"]["severity"] == "critical"


def test_an_exposure_can_be_named_as_gated_and_without_any_gate_nothing_pages(
    tmp_path: Path,
) -> None:
    orders = source("orders")
    manifest = project(tmp_path, orders, exposures=[exposure("sales", orders["unique_id"])])
    assert "SourceCriticalStale" not in alerts(run(manifest))
    assert "SourceCriticalStale" in alerts(run(manifest, "--gated", "sales"))
    assert run(manifest, "--gated", "sale").exit_code == 2


def test_a_label_that_looks_like_a_template_is_text(tmp_path: Path) -> None:
    orders = source("orders", meta={"owner": "{{ nobody }}"})
    labels = alerts(run(project(tmp_path, orders, exposures=[])))["SourceStaleOrders"]["labels"]
    assert labels["owner"] == '{{ "{{" }} nobody }}'


def test_a_recording_rule_has_its_labels_as_they_are(tmp_path: Path) -> None:
    orders = source("orders", meta={"owner": "{{ nobody }}"})
    result = run(project(tmp_path, orders, exposures=[]))
    rules = [rule for group in yaml.safe_load(result.stdout)["groups"] for rule in group["rules"]]
    owners = {rule["labels"]["owner"] for rule in rules if "record" in rule and "labels" in rule}
    assert owners == {"{{ nobody }}"}


def test_what_another_project_on_the_same_prometheus_has_can_be_left_out(tmp_path: Path) -> None:
    result = run(project(tmp_path, source("orders"), exposures=[]), "--without-general")
    assert list(alerts(result)) == ["SourceStaleOrders"]
    groups = [group["name"] for group in yaml.safe_load(result.stdout)["groups"]]
    assert groups == ["dbt-freshness", "dbt-freshness-sources"]


def test_rules_are_evaluated_less_often_than_scraped_and_before_their_series_are_stale(
    tmp_path: Path,
) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    groups = yaml.safe_load(run(manifest).stdout)["groups"]
    intervals = {group["name"]: parse_age(group["interval"]) for group in groups}
    assert all(60 <= seconds <= 120 for seconds in intervals.values())
    assert intervals["dbt-freshness"] == intervals["dbt-freshness-sources"] == 120


def test_for_kubernetes_the_same_groups_are_a_prometheus_rule(tmp_path: Path) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    plain = yaml.safe_load(run(manifest).stdout)
    rule = yaml.safe_load(run(manifest, "--format", "kubernetes").stdout)
    assert (rule["kind"], rule["metadata"]["name"]) == ("PrometheusRule", "dbt-freshness-shop")
    assert rule["spec"] == plain


def test_check_says_what_would_change_and_writes_nothing(tmp_path: Path) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    rules, tests = tmp_path / "r.yml", tmp_path / "t.yml"
    files = ("--output", rules, "--tests", tests)
    missing = run(manifest, *files, "--check")
    assert (missing.exit_code, rules.exists()) == (1, False)
    assert f"{rules}: no file" in missing.output
    assert run(manifest, *files).exit_code == 0
    assert (run(manifest, *files, "--check").exit_code, run(manifest, *files).output) == (0, "")
    before = rules.read_text()
    rules.write_text(before.replace("86400", "99"))
    changed = run(manifest, *files, "--check")
    assert changed.exit_code == 1
    assert "> 86400) / 3600" in changed.output
    assert rules.read_text() != before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--check"], "--check needs the file to compare"),
        (["--tests", "t.yml"], "--tests needs the file that it tests"),
        (["--output", "a", "--tests", "b", "--format", "kubernetes"], "no PrometheusRule"),
        (["--output", "a", "--tests", "a"], "the same file"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, argv: list[str], words: str
) -> None:
    result = run(project(tmp_path, source("orders"), exposures=[]), *argv)
    assert result.exit_code == 2
    assert words in result.output


def test_the_check_of_rules_finds_nothing_where_no_source_has_an_owner_or_an_exposure(
    tmp_path: Path,
) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    rules = tmp_path / "r.yml"
    assert run(manifest, "--output", rules).exit_code == 0

    argv = ["rules", "check", str(rules), "--manifest", str(manifest)]
    result = CliRunner().invoke(root, argv)

    assert result.exit_code == 0, result.output
    assert "1 source, 0 runbooks: no finding" in result.output


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    result = run(manifest, "--output", tmp_path / "none" / "r.yml")
    assert result.exit_code == 5
    assert "cannot write" in result.output


def test_a_link_is_followed_and_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    link = tmp_path / "link.yml"
    link.symlink_to(tmp_path / "real.yml")
    assert run(manifest, "--output", link).exit_code == 0
    assert link.is_symlink()
    assert "SourceStaleOrders" in (tmp_path / "real.yml").read_text()


@pytest.mark.parametrize(
    ("name", "camel"),
    [
        ("ml_features", "MLFeatures"),
        ("transactions", "Transactions"),
        ("orderLines-2024", "OrderLines2024"),
        ("—", "Table"),
    ],
)
def test_names_are_as_in_the_document(name: str, camel: str) -> None:
    assert camel_case(name) == camel


PART = st.sampled_from(["a", "A", "a_b", "b", "a b", "1", "-", "b1"])


@given(st.lists(st.tuples(PART, PART, PART), unique=True, max_size=12))
def test_no_two_sources_share_an_alert(keys: list[tuple[str, str, str]]) -> None:
    sources = {
        f"source.{package}.{name}.{table}": Source(
            unique_id="", name=table, source_name=name, package_name=package
        )
        for package, name, table in keys
    }
    names = alert_names(sources)
    assert names.keys() == sources.keys()
    assert len(set(names.values())) == len(names)
    assert alert_names(dict(reversed(sources.items()))) == names


def test_two_sources_of_one_table_are_named_by_their_source() -> None:
    both = {
        name: Source(unique_id=name, name="orders", source_name=name, package_name="shop")
        for name in ("erp", "web")
    }
    assert alert_names(both) == {"erp": "SourceStaleERPOrders", "web": "SourceStaleWebOrders"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(172800, "2 days"), (3600, "1 hour"), (5400, "90 minutes"), (61, "61 seconds")],
)
def test_a_limit_is_told_in_the_largest_unit_that_fits(seconds: float, words: str) -> None:
    assert days(seconds) == words


@given(st.text())
def test_a_name_as_a_pattern_matches_itself(name: str) -> None:
    assert Matcher("table", "=~", escaped(name) + "|").matches(name)


TREES = st.recursive(
    st.text() | st.integers() | st.sampled_from(["", "yes", "30m", "a:b", "a: b", "x\n y", "1e3"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(TREES)
def test_what_is_written_is_read_as_it_was(document: Any) -> None:
    assert yaml.safe_load(to_yaml(document, "a comment\n\nof lines")) == document
