"""A whole chain, from dbt to Alertmanager and Grafana, and ``obs doctor`` in front of it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from services.monitoring import ROOT, Yaml, alertmanager_config, prometheus_config, prompt_rules
from services.postgres import Postgres
from services.prometheus import (
    HttpService,
    Prometheus,
    Pushgateway,
    alertmanager,
    prometheus,
    pushgateway,
)
from services.server import ServiceError
from tests.fake_grafana import ADMIN, FakeGrafana, fake_grafana
from tests.integration.chain import until
from tests.integration.shop import DBT, TABLES, Shop, new_project, open_shop

DASHBOARD = "ml-source-freshness"
MODEL = "".join(f"-- {{{{ source('app', '{table}') }}}}\n" for table in TABLES) + (
    "{{ config(materialized='table') }} select 1 as n\n"
)
EXPOSURE = """
exposures:
  - name: training
    type: application
    owner: {name: ML, email: ml@example.org}
    depends_on: [ref('daily')]
"""
CANARY_RULE = """
groups:
  - name: canary
    rules:
      - alert: Canary
        expr: obs_canary_timestamp_seconds
        labels: {severity: none}
        annotations: {summary: obs doctor tries the chain}
"""

# What Prometheus sends here ends by itself after 20 s, and is sent again every 5 s. After a reload
# it may be lost until Alertmanager is found again: what is still there may be about to end.
LASTS_SECONDS = 12

Checks = dict[str, dict[str, Any]]


@dataclass
class Diagnosis:
    """What one run of the doctor said."""

    code: int
    checks: Checks
    stdout: str
    stderr: str
    seconds: float

    def in_state(self, state: str) -> dict[str, str]:
        """Return the checks in a state, each with what it saw."""
        return {n: c["observed"] for n, c in self.checks.items() if c["state"] == state}

    @property
    def failed(self) -> dict[str, str]:
        """Return the checks that failed."""
        return self.in_state("failed")


@dataclass
class Ward:
    """The parts of the chain, and the shop in which ``obs`` runs."""

    shop: Shop
    gateway: Pushgateway
    prometheus: Prometheus
    alertmanager: HttpService
    grafana: FakeGrafana
    directory: Path
    options: list[str] = field(default_factory=list)
    rules: int = 0

    def doctor(self, *argv: str, **env: str) -> Diagnosis:
        """Run ``obs doctor`` and return what it said."""
        began = time.monotonic()
        result = self.shop.obs("doctor", "--format", "json", *self.options, *argv, **env)
        seconds = time.monotonic() - began
        assert result.stdout, (result.returncode, result.stderr)
        checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
        return Diagnosis(result.returncode, checks, result.stdout, result.stderr, seconds)

    def push(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``obs freshness push`` on the same project."""
        return self.shop.push("--engine", "postgres", *argv, **env)

    def check(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``obs freshness check`` on the same project."""
        return self.shop.obs("freshness", "check", "--engine", "postgres", *argv, **env)

    def build(self) -> None:
        """Build the models, and push that they were built."""
        built = subprocess.run(
            [DBT, "build", "--target", "prod", "--profiles-dir", "."],
            cwd=self.shop.directory,
            env={**self.shop.env, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert built.returncode == 0, built.stdout
        pushed = self.shop.obs("builds", "push")
        assert pushed.returncode == 0, pushed.stderr

    def reconfigure(self, change: Any) -> None:
        """Change Prometheus' configuration by a function, and let it be read."""
        path = self.directory / "prometheus.yml"
        config: Yaml = yaml.safe_load(path.read_text())
        change(config)
        path.write_text(yaml.safe_dump(config))
        self.prometheus.reload()

    def reroute(self, change: Any) -> None:
        """Change Alertmanager's configuration by a function, and let it be read."""
        path = self.directory / "alertmanager.yml"
        config: Yaml = yaml.safe_load(path.read_text())
        change(config)
        path.write_text(yaml.safe_dump(config))
        self.alertmanager.request("/-/reload", "POST")

    def post(self, target: str = "prod", kind: str = "gauge", **series: float) -> None:
        """Add series to a group of the shop, as another program would."""
        path = f"/metrics/job/dbt-freshness/project/shop/target/{target}"
        lines = [f"# TYPE {name} {kind}\n{name} {value!r}\n" for name, value in series.items()]
        _send(f"{self.gateway.url}{path}", "".join(lines).encode())

    def heal(self) -> None:
        """Push everything anew, and return once Prometheus has it."""
        for command in (["freshness", "push", "--engine", "postgres"], ["builds", "push"]):
            pushed = self.shop.obs(*command)
            assert pushed.returncode == 0, pushed.stderr
        self.scraped()

    def forget(self, target: str) -> None:
        """Take a group of the shop away."""
        path = f"/metrics/job/dbt-freshness/project/shop/target/{target}"
        self.gateway.request(path, "DELETE")
        until(lambda: all(g.get("target") != target for g in self.groups()), "it is gone")

    def silence(self, alert: str) -> str:
        """Silence an alert for an hour, and return the silence's id."""
        now = datetime.now(UTC)
        wanted = {
            "matchers": [{"name": "alertname", "value": alert, "isRegex": False}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "ann",
            "comment": "maintenance",
        }
        said = _send(f"{self.alertmanager.url}/api/v2/silences", json.dumps(wanted).encode())
        return str(json.loads(said)["silenceID"])

    def is_whole(self) -> None:
        """Return once Prometheus scrapes, evaluates and sends as it did in the beginning."""
        until(lambda: len(self._rules()) == self.rules, "the rules are loaded")
        until(lambda: all(r["health"] == "ok" for r in self._rules()), "the rules are healthy")
        labelled = 'dbt_freshness_run_success{job="dbt-freshness", instance=""}'
        until(lambda: self.prometheus.query(labelled), "the gateway is scraped")
        checked = 'dbt_source_checked_at_seconds{job="dbt-freshness"}'
        until(lambda: self.prometheus.query(checked), "each metric is scraped")
        until(self.sends, "alerts are sent")

    def _rules(self) -> list[Any]:
        groups = json.loads(self.prometheus.request("/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def sends(self) -> bool:
        """Return whether Prometheus has somebody to send to, and what always fires arrives."""
        found = json.loads(self.prometheus.request("/api/v1/alertmanagers"))["data"]
        if not found["activeAlertmanagers"]:
            return False
        alerts = json.loads(self.alertmanager.request("/api/v2/alerts"))
        soon = datetime.now(UTC) + timedelta(seconds=LASTS_SECONDS)
        lasting = [each for each in alerts if datetime.fromisoformat(each["endsAt"]) > soon]
        arrived = {alert["labels"]["alertname"] for alert in lasting}
        return (
            not any(rule["name"] == "Watchdog" for rule in self._rules()) or "Watchdog" in arrived
        )

    def groups(self) -> list[Mapping[str, str]]:
        """Return the labels of the gateway's groups."""
        return [g["labels"] for g in json.loads(self.gateway.request("/api/v1/metrics"))["data"]]

    def scraped(self) -> None:
        """Return once Prometheus has the last push."""
        pushed = self.shop.series()
        wanted = next(v for m, v in pushed.items() if m.name.endswith("run_timestamp_seconds"))[""]
        expression = 'dbt_freshness_run_timestamp_seconds{target="prod"}'

        def has_it() -> bool:
            found = self.prometheus.query(expression)
            return any(abs(float(each["value"][1]) - wanted) < 1 for each in found)

        until(has_it, "Prometheus has the push")


def rules_of(directory: Path) -> Path:
    """Return a folder with the project's rules and one on the canary."""
    rules = directory / "rules"
    prompt_rules(rules)
    (rules / "canary.yml").write_text(CANARY_RULE)
    return rules


@contextmanager
def opened_ward(postgres: Postgres, name: str) -> Iterator[Ward]:
    """Run the chain on a database of this name, in a directory of its own."""
    postgres.start()
    with (
        tempfile.TemporaryDirectory(prefix="obs-test-") as directory,
        ward(Path(directory), postgres.create_database(name)) as opened,
    ):
        yield opened
    postgres.drop_database(name)


@contextmanager
def ward(directory: Path, database: Postgres) -> Iterator[Ward]:
    """Run the chain, pushed to once and scraped: nothing is wrong with it."""
    with ExitStack() as stack:
        gateway = stack.enter_context(pushgateway(directory, persist=True))
        # Nobody is told in these tests: what arrives at Alertmanager is as far as it goes.
        nobody = "http://127.0.0.1:9"
        config = alertmanager_config(directory, nobody)
        alerts = stack.enter_context(alertmanager(directory, config))
        config = _prometheus(directory, gateway, alerts)
        told = stack.enter_context(prometheus(directory, config))
        grafana = stack.enter_context(fake_grafana())
        shop = _shop(directory, database, gateway)
        opened = Ward(shop, gateway, told, alerts, grafana, directory, ["--engine", "postgres"])
        _configure(opened)
        _load_own_rules(opened)
        assert opened.push().returncode == 0
        opened.build()
        opened.scraped()
        opened.rules = len(opened._rules())
        opened.is_whole()
        yield opened


def _send(url: str, content: bytes) -> str:
    """Return what a server answers to a POST; raise ServiceError if it refuses."""
    headers = {"Content-Type": "application/json" if content.startswith(b"{") else "text/plain"}
    request = urllib.request.Request(url, content, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read(), "utf-8")
    except urllib.error.HTTPError as error:
        with error:
            raise ServiceError(f"{error.code} {error.read()!r}") from error


def _prometheus(directory: Path, gateway: Pushgateway, alerts: HttpService) -> str:
    rules = rules_of(directory)
    config = prometheus_config(directory, {"pushgateway": gateway.url}, alerts.url, quick=False)
    return yaml.safe_dump({**yaml.safe_load(config), "rule_files": [f"{rules}/*.yml"]})


def _shop(directory: Path, database: Postgres, gateway: Pushgateway) -> Shop:
    template = directory / "template"
    new_project(template)
    (template / "models" / "daily.sql").write_text(MODEL)
    (template / "models" / "exposures.yml").write_text(EXPOSURE)
    shop = open_shop(template, directory / "shop", database, gateway)
    for table in TABLES:
        shop.sql(f"update {table} set loaded_at = now() - interval '1 hour'")  # noqa: S608
    return shop


def _load_own_rules(opened: Ward) -> None:
    """Let Prometheus run the rules that follow from the shop's project, too."""
    own = opened.directory / "own"
    own.mkdir()
    argv = ("--without-general", "--output", str(own / "shop.yml"))
    written = opened.shop.obs("rules", "generate", *argv)
    assert written.returncode == 0, written.stderr
    prompt_rules(opened.directory / "rules", own)
    opened.prometheus.reload()


def _configure(opened: Ward) -> None:
    dashboards = ROOT / "ops/grafana/dashboards"
    opened.shop.env |= {
        "PROMETHEUS_URL": opened.prometheus.url,
        "ALERTMANAGER_URL": opened.alertmanager.url,
        "GRAFANA_URL": opened.grafana.url,
        "GRAFANA_API_KEY": ADMIN,
        "OBS_PUSH_TIMEOUT": "3s",
        "OBS_RULES": str(opened.directory / "rules"),
        "OBS_DASHBOARDS": str(dashboards),
    }
    imported = opened.shop.obs("dashboard", "import", str(dashboards))
    assert imported.returncode == 0, imported.stderr
