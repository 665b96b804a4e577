import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ledgermind_obs.cli import root
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.rules import anchors, check, read_rules

ROOT = Path(__file__).parents[2]
RULES = ROOT / "prometheus/rules"
DOCUMENTED = {
    "SourceStaleTransactions": ("warning", "30m"),
    "SourceStaleTransactionLabels": ("warning", "30m"),
    "SourceStaleMLFeatures": ("warning", "30m"),
    "SourceCriticalStale": ("critical", "1h"),
}
SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"
AGE = "time() - dbt_source_loaded_at_seconds"


def source(table: str, name: str = "app") -> Source:
    return Source(unique_id=table, name=table, source_name=name, package_name="ledgermind")


SOURCES = tuple(map(source, ("transactions", "transaction_labels", "ml_features")))


def faults(*rules: Mapping[str, object], sources: tuple[Source, ...] | None = None) -> list[str]:
    content = yaml.safe_dump(
        {"groups": [{"name": "g", "rules": [dict(rule) for rule in rules]}]}
    ).encode()
    found = check(
        read_rules(content, "r.yml"), Catalogue(sources), {"page.md": frozenset({"here"})}
    )
    return [fault.message for fault in found]


def alert(expr: str, **annotations: str) -> dict[str, object]:
    texts = {"summary": "s", "description": "d", "runbook_url": "https://x/page.md#here"}
    return {
        "alert": "A",
        "expr": expr,
        "labels": {"severity": "warning"},
        "annotations": {**texts, **annotations},
    }


def test_the_four_alerts_of_the_runbook_are_in_their_group() -> None:
    groups = yaml.safe_load((RULES / "dbt_freshness.yml").read_text())["groups"]
    (rules,) = [group["rules"] for group in groups if group["name"] == "dbt-freshness"]
    assert {r["alert"]: (r["labels"]["severity"], r["for"]) for r in rules} == DOCUMENTED
    assert all(
        r["annotations"]["runbook_url"].endswith("/DATA_QUALITY_COMPLETE.md#freshness-check-fails")
        for r in rules
    )


def test_our_own_rules_have_no_fault() -> None:
    rules = [r for file in RULES.glob("*.yml") for r in read_rules(file.read_bytes(), file.name)]
    page = ROOT / "docs/DATA_QUALITY_COMPLETE.md"
    runbooks = {page.name: anchors(page.read_text())}
    assert check(rules, Catalogue(SOURCES), runbooks) == []


def test_every_alert_has_tests_by_promtool() -> None:
    tests = "".join(file.read_text() for file in (ROOT / "tests/rules").glob("*.yml"))
    rules = read_rules((RULES / "dbt_freshness.yml").read_bytes(), "")
    assert {rule.name for rule in rules if rule.is_alert and rule.name not in tests} == set()


def test_an_alert_that_is_right_has_no_fault() -> None:
    assert faults(alert(f"{AGE} > 1")) == []


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("dbt_source_loaded_at_second > 1", "nothing exports the metric"),
        ("up_to_something > 1", "nothing exports the metric"),
        (f'{AGE}{{tabel="transactions"}} > 1', "has the label tabel"),
        ("max by (tabel) (dbt_freshness_run_success) == 0", "has the label tabel"),
        (f'{AGE}{{table=~"("}} > 1', "not PromQL"),
        ("max by (", "not PromQL"),
        (f'{AGE}{{table="orders"}} > 1', "no source of the dbt project"),
        ("time() - max(dbt_source_loaded_at_seconds) > 1", "makes one of sources"),
        (
            "time() - max without (target) (dbt_source_loaded_at_seconds) > 1",
            "makes one of sources that differ in target",
        ),
    ],
)
def test_an_expression_that_cannot_mean_what_it_says_is_a_fault(expr: str, words: str) -> None:
    found = faults(alert(expr), alert(f"{AGE} > 1"), sources=SOURCES)
    assert len(found) == 1
    assert words in found[0]


def test_a_count_of_sources_hides_none() -> None:
    assert faults(alert("count(dbt_source_freshness_status == 1) > 1")) == []


def test_a_recorded_metric_is_known_with_its_labels() -> None:
    record = {"record": "age", "expr": AGE, "labels": {"team": "ml"}}
    assert faults(record, alert('age{table="transactions", team="ml"} > 1')) == []
    assert faults(record, alert('age{tabel="x"} > 1')) == ["no series of age has the label tabel"]


def test_a_source_without_an_alert_on_its_age_is_a_fault() -> None:
    only = alert(f'{AGE}{{table=~"transactions|ml_features"}} > 1')
    empty = alert('dbt_source_freshness_status{status="empty"} == 1')
    assert faults(only, empty, sources=SOURCES) == ["no alert looks at the age of this source"]


def test_an_alert_looks_through_a_recorded_metric_and_its_matchers() -> None:
    record = {"record": "age", "expr": f'{AGE}{{table!="ml_features"}}'}
    assert len(faults(record, alert("age > 1"), sources=SOURCES)) == 1
    assert len(faults(record, alert('age{table="transactions"} > 1'), sources=SOURCES)) == 2


def test_what_an_alert_excludes_it_does_not_watch() -> None:
    excluded = alert("dbt_freshness_run_success unless dbt_source_loaded_at_seconds")
    assert len(faults(excluded, sources=SOURCES)) == 3


def test_recorded_metrics_that_name_each_other_are_no_endless_loop() -> None:
    rules = [{"record": "a", "expr": "b"}, {"record": "b", "expr": "a"}]
    found = faults(*rules, alert("a > 1"), sources=SOURCES[:1])
    assert found == ["no alert looks at the age of this source"]


def test_an_alert_without_what_people_need_is_a_fault() -> None:
    found = faults({"alert": "A", "expr": f"{AGE} > 1"})
    assert [message.split()[-1] for message in found] == [
        "severity",
        "summary",
        "description",
        "runbook_url",
    ]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"runbook_url": "https://x/page.md#gone"}, "page.md has no section #gone"),
        ({"runbook_url": "https://x/other.md#here"}, "there is no runbook other.md"),
        ({"summary": "{{ $labels.tabel }}"}, "its summary asks for the label tabel"),
    ],
)
def test_an_annotation_that_leads_nowhere_is_a_fault(
    annotation: dict[str, str], words: str
) -> None:
    (found,) = faults(alert(f"{AGE} > 1", **annotation))
    assert words in found


def test_anchors_are_githubs() -> None:
    page = "# A title\n\n## Source's `state`: is it *so*?\n"
    assert anchors(page) == {"a-title", "sources-state-is-it-so"}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"groups: 1", b"groups: [{}]", b"a: b: c", b"\xff"]
)
def test_what_is_no_rule_file_is_named(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^bad\.yml is not"):
        read_rules(content, "bad.yml")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    limits = {"warn_after": {"count": 1, "period": "day"}}
    entry = {
        "unique_id": "source.x.app.orders",
        "name": "orders",
        "source_name": "app",
        "package_name": "x",
        "freshness": limits,
    }
    path = tmp_path / "manifest.json"
    path.write_text(
        json.dumps(
            {
                "metadata": {"dbt_schema_version": SCHEMA},
                "nodes": {},
                "exposures": {},
                "sources": {"source.x.app.orders": entry},
            }
        )
    )
    return path


def test_the_command_says_what_is_wrong_and_exits_1(manifest: Path) -> None:
    argv = ["rules", "check", RULES, "--runbooks", ROOT / "docs", "--manifest", manifest]
    result = CliRunner().invoke(root, [str(word) for word in argv])
    assert result.exit_code == 1
    assert "SourceStaleTransactions (warning)" in result.stdout
    assert "there are orders" in result.stdout
    result = CliRunner().invoke(root, [str(word) for word in (*argv, "--format", "json")])
    assert result.exit_code == 1
    assert {"place", "message", "next_step"} == json.loads(result.stdout)["faults"][0].keys()


def test_a_project_that_dbt_has_not_parsed_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text("name: x")
    argv = ["rules", "check", RULES, "--runbooks", ROOT / "docs", "--project-dir", tmp_path]
    result = CliRunner().invoke(root, [str(word) for word in (*argv, "--no-parse")])
    assert result.exit_code == 2
    assert "dbt parse" in result.stderr


def test_a_dashboard_that_cannot_be_read_does_not_hide_the_faults_of_another(
    manifest: Path, tmp_path: Path
) -> None:
    boards = tmp_path / "boards"
    boards.mkdir()
    (boards / "a.json").write_text("{")
    ours = ROOT / "ops/grafana/dashboards/ml-source-freshness.json"
    (boards / "b.json").write_text(ours.read_text())
    argv = ["dashboard", "check", str(boards), "--manifest", str(manifest)]
    result = CliRunner().invoke(root, argv)
    assert result.exit_code == 2
    assert "a.json is not JSON" in result.stderr
    assert "no source of the dbt project" in result.stdout
    assert "2 files: " in result.stdout
