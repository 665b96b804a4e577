"""The project's own configuration of Prometheus and Alertmanager, with short times, on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.services import HttpService, Prometheus, Pushgateway, alertmanager, prometheus
from tests.unit.servers import Answer, Web, web

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0

Yaml = dict[str, Any]


@dataclass
class Chain:
    """Prometheus, Alertmanager, and those whom Alertmanager tells."""

    prometheus: Prometheus
    alertmanager: HttpService
    people: Web

    def told(self, path: str) -> list[Yaml]:
        """Return what was sent to one of them, in the order in which it came."""
        return [json.loads(asked.body) for asked in self.people.asked if asked.path == path]

    def slack(self) -> list[Yaml]:
        """Return the messages of the Slack channel."""
        return [message["attachments"][0] for message in self.told("/slack")]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        found = self.prometheus.query('ALERTS{alertstate="firing"}')
        return {series["metric"]["alertname"] for series in found}


@contextmanager
def chain(directory: Path, targets: dict[str, str]) -> Iterator[Chain]:
    """Run the chain on scrape ``targets``: a job's name, and where it is."""
    with ExitStack() as stack:
        people = stack.enter_context(web(Answer(202, b"ok")))
        alerts = stack.enter_context(
            alertmanager(directory, alertmanager_config(directory, people.url))
        )
        config = prometheus_config(directory, targets, alerts.url)
        yield Chain(stack.enter_context(prometheus(directory, config)), alerts, people)


def until(condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds; fail where that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:.0f} s: {what}"
        time.sleep(0.2)


def alertmanager_config(directory: Path, people: str) -> str:
    """Return ops/alertmanager/alertmanager.yml with its secrets and addresses on this machine."""
    config = _read(ROOT / "ops/alertmanager/alertmanager.yml")
    secrets = directory / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "slack_webhook_url").write_text(f"{people}/slack")
    (secrets / "pagerduty_routing_key").write_text("key")
    (secrets / "smtp_password").write_text("password")
    config["global"]["pagerduty_url"] = f"{people}/pagerduty"
    config["templates"] = [str(ROOT / "ops/alertmanager/*.tmpl")]
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in config["receivers"]:
        receiver.pop("email_configs")
    text = yaml.safe_dump(config, allow_unicode=True)
    return text.replace("/etc/alertmanager/secrets", str(secrets))


def prometheus_config(directory: Path, targets: dict[str, str], alerts: str) -> str:
    """Return prometheus/prometheus.yml with one second for every interval, on these targets."""
    config = _read(ROOT / "prometheus/prometheus.yml")
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(path) for path in _quick_rules(directory)]
    _set_targets(config["alerting"]["alertmanagers"][0], alerts)
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [jobs.get(name, {"job_name": name}) for name in targets]
    for job, url in zip(config["scrape_configs"], targets.values(), strict=True):
        _set_targets(job, url)
    return yaml.safe_dump(config)


def _quick_rules(directory: Path) -> Iterator[Path]:
    """Yield the rules as they are but for how long a condition has to last."""
    for path in (ROOT / "prometheus/rules").glob("*.yml"):
        rules = _read(path)
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        quick = directory / "rules" / path.name
        quick.parent.mkdir(parents=True, exist_ok=True)
        quick.write_text(yaml.safe_dump(rules))
        yield quick


def _set_targets(job: Yaml, url: str) -> None:
    entry = {"targets": [url.removeprefix("http://")]}
    if job.get("job_name") in {"postgres", "ai-finance-backend"}:
        entry["labels"] = {"project": "ledgermind", "target": "prod"}  # type: ignore[assignment]
    job["static_configs"] = [entry]


def _read(path: Path) -> Yaml:
    document: Yaml = yaml.safe_load(path.read_text())
    return document


def pushed(gateway: Pushgateway) -> dict[str, str]:
    """Return the scrape targets of Option A."""
    return {"pushgateway": gateway.url}
