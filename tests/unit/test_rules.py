import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.cli import root
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.errors import DOCS, ConfigurationError
from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.rules import check, read_rules
from ledgermind_obs.monitoring.runbooks import Page, anchors, read_page

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
        read_rules(content, "r.yml"), Catalogue(sources), {"page.md": Page(frozenset({"here"}))}
    )
    return [finding.message for finding in found]


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
    runbooks = {page.name: read_page(page.read_bytes())}
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
        ("dbt_source_loaded_at_second > 1", "which nothing exports"),
        ("up_to_something > 1", "which nothing exports"),
        (f'{AGE}{{tabel="transactions"}} > 1', "uses the label tabel, which no"),
        (
            "max by (tabel) (dbt_freshness_run_success) == 0",
            "uses the label tabel, which no",
        ),
        (f'{AGE}{{table=~"("}} > 1', "is not PromQL"),
        ("max by (", "is not PromQL"),
        (f'{AGE}{{table="orders"}} > 1', "the dbt project has no such source"),
        (
            "time() - max(dbt_source_loaded_at_seconds) > 1",
            "merges different sources: max() drops the labels project, target",
        ),
        (
            "time() - max without (target) (dbt_source_loaded_at_seconds) > 1",
            "merges different sources: max() drops the label target",
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
    assert faults(record, alert('age{tabel="x"} > 1')) == [
        "uses the label tabel, which no series of age has"
    ]


def test_a_source_without_an_alert_on_its_age_is_a_fault() -> None:
    only = alert(f'{AGE}{{table=~"transactions|ml_features"}} > 1')
    empty = alert('dbt_source_freshness_status{status="empty"} == 1')
    assert faults(only, empty, sources=SOURCES) == ["may be of any age, and no alert looks at it"]


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
    assert found == ["may be of any age, and no alert looks at it"]


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
        (
            {"runbook_url": "https://x/page.md#gone"},
            "page.md#gone, and the page has no such section",
        ),
        (
            {"runbook_url": "https://x/other.md#here"},
            "other.md, which is not in the folder",
        ),
        ({"summary": "{{ $labels.tabel }}"}, "prints the label tabel in its summary"),
    ],
)
def test_an_annotation_that_leads_nowhere_is_a_fault(
    annotation: dict[str, str], words: str
) -> None:
    (found,) = faults(alert(f"{AGE} > 1", **annotation))
    assert words in found


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (
            "# A title\n\n## Source's `state`: is it *so*? ##\n",
            {"a-title", "sources-state-is-it-so"},
        ),
        ("## Again\n## Again\n## Again\n", {"again", "again-1", "again-2"}),
        ("```sh\n# a comment\n```\n# After\n", {"after"}),
        ('<a id="stable"></a>\n## A <i>new</i> title\n', {"stable", "a-new-title"}),
        ("#hashtag\n", set()),
    ],
)
def test_anchors_are_githubs(page: str, found: set[str]) -> None:
    assert anchors(page) == found


def test_a_page_with_a_byte_order_mark_has_its_first_heading() -> None:
    assert read_page(b"\xef\xbb\xbf# First\n").anchors == {"first"}


def test_recorded_metrics_without_end_are_followed_for_a_while() -> None:
    doubled = [
        {"record": f"r{n}", "expr": f'r{n + 1}{{a="1"}} + r{n + 1}{{a="2"}}'} for n in range(40)
    ]
    assert faults(*doubled, alert("r0 > 1"), sources=SOURCES[:1])
    chain = [{"record": f"c{n}", "expr": f"c{n + 1}"} for n in range(2000)]
    assert faults(*chain, alert("c0 > 1"), sources=SOURCES[:1])


def test_labels_that_are_merged_in_count_and_do_not_beat_the_rules_own() -> None:
    content = b"""
    x: &common {labels: {severity: page}, annotations: {summary: common, description: d}}
    groups:
      - name: g
        rules:
          - <<: *common
            alert: A
            expr: up == 0
            annotations: {summary: own}
    """
    (rule,) = read_rules(content, "r.yml")
    assert (rule.labels, rule.annotations) == ({"severity": "page"}, {"summary": "own"})
    assert rule.line == 6


def test_a_bomb_of_aliases_costs_nothing() -> None:
    names = "abcdefghi"
    lines = [f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in pairwise(names)]
    rules = (
        "groups: [{rules: [{alert: A, expr: up, labels: {x: *i, severity: s}, annotations: *i}]}]"
    )
    merges = [f"m{b}: &m{b} {{<<: [{','.join(['*m' + a] * 9)}]}}" for a, b in pairwise(names)]
    content = "\n".join(["a: &a [lol]", *lines, "ma: &ma {k: v}", *merges, rules])
    (rule,) = read_rules(content.encode(), "r.yml")
    assert rule.labels == {"x": "", "severity": "s"}


KEYS = st.sampled_from(["groups", "rules", "alert", "record", "expr", "labels", "name"])


@given(
    st.recursive(st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))
)
def test_whatever_yaml_holds_it_is_rules_or_a_named_error(document: object) -> None:
    try:
        found = read_rules(yaml.safe_dump(document).encode(), "r.yml")
    except ConfigurationError:
        found = []
    assert all(rule.name and rule.expression for rule in found)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"groups: 1", b"groups: [{}]", b"a: b: c", b"\xff"),
        *(b"[" * 100_000, b"- " * 100_000, b"groups: [{rules: [{alert: A}]}]"),
        *(b"groups: [{rules: [1]}]", b"groups: [{rules: [{expr: up}]}]"),
    ],
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
    assert "dbt_freshness.yml:12  R106 error  SourceStaleMLFeatures asks for" in result.stdout
    assert f"next: there are orders ({DOCS}/alerting.md#r106)" in result.stdout
    result = CliRunner().invoke(root, [str(word) for word in (*argv, "--format", "json")])
    assert result.exit_code == 1
    found = json.loads(result.stdout)["findings"][0]
    assert found["node"] == "dbt-freshness/SourceStaleMLFeatures"
    assert (found["code"], found["line"], found["group"]) == ("R106", 12, "dbt-freshness")


def test_a_project_that_dbt_has_not_parsed_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text("name: x")
    argv = ["rules", "check", RULES, "--runbooks", ROOT / "docs", "--project-dir", tmp_path]
    result = CliRunner().invoke(root, [str(word) for word in (*argv, "--no-parse")])
    assert result.exit_code == 2
    assert "name a manifest with --manifest" in result.stderr


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
    assert "the dbt project has no such source" in result.stdout
    assert result.stdout.endswith(" 1 source: 3 errors, 1 file not read\n")
