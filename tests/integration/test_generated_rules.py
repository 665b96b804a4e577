"""Rules of projects that nobody wrote: they are taken, fire, and reach their owners."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledgermind_obs.cli import root
from services.monitoring import alertmanager_config
from services.prometheus import alertmanager
from tests.integration.chain import until
from tests.integration.test_alerting import post_alerts
from tests.integration.test_rules import promtool
from tests.unit.servers import Answer, Web, web

# `make rules-prove` tries fifty.
PROJECTS = int(os.environ.get("OBS_TEST_PROJECTS", "5"))
SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"

Yaml = dict[str, Any]

_names = st.sampled_from(
    ["orders", "Orders", "ml_features", "a b", "x.y+z", 'q"uote', "größe", "1"]
)
_limits = st.one_of(
    st.none(),
    st.builds(
        lambda count, period: {"count": count, "period": period},
        st.integers(0, 400),
        st.sampled_from(["minute", "hour", "day"]),
    ),
)
_owners = st.sampled_from(["payments", "Data & Co", "a@example.org", "{{ odd }}", "Größe", "A, B"])
_owner_meta: st.SearchStrategy[Yaml] = st.one_of(
    st.just({}),
    _owners.map(lambda owner: {"owner": owner}),
    _owners.map(lambda owner: {"obs": {"owner": owner}}),
)
_gates = st.sampled_from([{}, {"max_age": "3d"}, {"fail_on": "warn"}, {"fail_on": "error"}])
_keys = st.tuples(st.sampled_from(["shop", "pkg"]), st.sampled_from(["app", "erp"]), _names)


@dataclass(frozen=True)
class Project:
    """A manifest, and how its rules are asked for."""

    manifest: Yaml
    options: tuple[str, ...]


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """Draw a project of sources and the exposures that depend on them."""
    keys = draw(st.lists(_keys, unique=True, min_size=1, max_size=8))
    sources = {}
    for package, name, table in keys:
        uid = f"source.{package}.{name}.{table}"
        sources[uid] = {
            "unique_id": uid,
            "name": table,
            "source_name": name,
            "package_name": package,
            "loaded_at_field": "loaded_at",
            "freshness": {"warn_after": draw(_limits), "error_after": draw(_limits)},
            "meta": draw(_owner_meta),
        }
    exposures = {
        f"exposure.shop.use{number}": {
            "name": f"use{number}",
            "resource_type": "exposure",
            "package_name": "shop",
            "owner": {"name": draw(_owners)},
            "config": {"meta": {"obs": draw(_gates)}},
            "depends_on": {"nodes": draw(st.lists(st.sampled_from(sorted(sources)), unique=True))},
        }
        for number in range(draw(st.integers(0, 3)))
    }
    metadata = {
        "dbt_schema_version": SCHEMA,
        "project_name": draw(st.sampled_from(["shop", "a.b"])),
    }
    document = {"metadata": metadata, "nodes": {}, "sources": sources, "exposures": exposures}
    options = draw(st.sampled_from([(), ("--critical-after", "5d")]))
    return Project(document, options)


def generate(project: Project, directory: Path) -> tuple[Path, Path]:
    """Write the manifest, its rules and their cases; return the last two."""
    manifest, rules, cases = (directory / name for name in ("manifest.json", "r.yml", "t.yml"))
    manifest.write_text(json.dumps(project.manifest))
    argv = ["rules", "generate", "--manifest", manifest, "--output", rules, "--tests", cases]
    words = [str(word) for word in (*argv, *project.options)]
    result = CliRunner().invoke(root, words)
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(root, [*words, "--check"]).exit_code == 0
    checked = CliRunner().invoke(root, ["rules", "check", str(rules), "--manifest", str(manifest)])
    assert checked.exit_code == 0, checked.output
    return rules, cases


def alerts_of(rules: Path) -> list[Yaml]:
    """Return the labels that each alert sets, with braces as Prometheus sends them."""
    groups = yaml.safe_load(rules.read_text())["groups"]
    found = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return [
        {"alertname": rule["alert"]}
        | {name: text.replace('{{ "{{" }}', "{{") for name, text in rule["labels"].items()}
        for rule in found
        if rule["alert"] != "Watchdog"
    ]


def channel(owner: str) -> str:
    return "#" + re.sub(r"[^a-z0-9]+", "-", owner.lower())


def routed(config: str, owners: set[str]) -> str:
    """Return the configuration with these owners in the place of ours."""
    document = yaml.safe_load(config)
    (ours,) = [r for r in document["route"]["routes"] if r["receiver"] == "owner"]
    pattern = "|".join(map(re.escape, sorted(owners))) or "nobody"
    ours["matchers"] = [f"owner=~{json.dumps(pattern, ensure_ascii=False)}"]
    return yaml.safe_dump(document, allow_unicode=True)


def told(people: Web) -> set[tuple[str, str]]:
    """Return channel and alert of each message."""
    messages = [json.loads(asked.body) for asked in people.asked if asked.path == "/slack"]
    return {(m["channel"], m["attachments"][0]["title"].split("] ")[1]) for m in messages}


def assert_reach(alerts: list[Yaml], directory: Path) -> None:
    """Let the alerts fire: each reaches its owner, those of the first owner the fall-back."""
    owners = sorted({alert["owner"] for alert in alerts if "owner" in alert})
    named = set(owners[1:])  # the first one is forgotten
    wanted = {
        (channel(a["owner"]) if a.get("owner") in named else "#data-quality", a["alertname"])
        for a in alerts
    }
    with web(Answer(202, b"ok")) as people:
        config = routed(alertmanager_config(directory, people.url), named)
        with alertmanager(directory, config) as server:
            post_alerts(server.url, alerts)
            until(lambda: wanted <= told(people), "each alert reaches somebody")
            assert told(people) == wanted


@settings(
    max_examples=PROJECTS,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # a smaller project that fails would start Alertmanager at each step
    suppress_health_check=list(HealthCheck),
)
@given(project=projects())
def test_any_projects_rules_are_taken_fire_when_they_should_and_reach_their_owner(
    project: Project,
) -> None:
    with tempfile.TemporaryDirectory(prefix="obs-test-") as scratch:
        rules, cases = generate(project, Path(scratch))
        linted = promtool("check", "rules", "--lint=all", "--lint-fatal", rules)
        assert linted.returncode == 0, linted.stdout + linted.stderr
        tested = promtool("test", "rules", cases)
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert_reach(alerts_of(rules), Path(scratch) / "alertmanager")
