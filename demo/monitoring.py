"""The project's own configuration of Prometheus and Alertmanager, on loopback.

Addresses and secrets become this machine's; rules, routes and texts stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]

Yaml = dict[str, Any]

# Options B and C have the labels of their sources from the scrape configuration.
_LABELS = {"project": "ledgermind", "target": "prod"}
_LABELLED = frozenset({"postgres", "ai-finance-backend"})


def alertmanager_config(directory: Path, people: str) -> str:
    """Return the Alertmanager's configuration; ``people`` is a URL that stands for all of them.

    Slack is ``/slack`` below it, the pager ``/pagerduty``; mail is left out. It does not wait long.
    """
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
    return text.replace("/run/secrets", str(secrets))


def prometheus_config(
    directory: Path, targets: Mapping[str, str], alerts: str, *, quick: bool
) -> str:
    """Return Prometheus' configuration with one second for every interval.

    ``targets`` are the jobs to scrape and their URLs, ``alerts`` is Alertmanager's; ``quick`` lets
    every alert fire at once, instead of after its half hour.
    """
    config = _read(ROOT / "prometheus/prometheus.yml")
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    rules = _quick_rules(directory) if quick else (ROOT / "prometheus/rules").glob("*.yml")
    config["rule_files"] = [str(path) for path in rules]
    _set_target(config["alerting"]["alertmanagers"][0], alerts)
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [jobs.get(name, {"job_name": name}) for name in targets]
    for job, url in zip(config["scrape_configs"], targets.values(), strict=True):
        _set_target(job, url)
    return yaml.safe_dump(config)


def _quick_rules(directory: Path) -> Iterator[Path]:
    """Yield copies of the rule files in which no condition has to last."""
    for path in (ROOT / "prometheus/rules").glob("*.yml"):
        rules = _read(path)
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        quick = directory / "rules" / path.name
        quick.parent.mkdir(parents=True, exist_ok=True)
        quick.write_text(yaml.safe_dump(rules))
        yield quick


def _set_target(job: Yaml, url: str) -> None:
    labels = _LABELS if job.get("job_name") in _LABELLED else {}
    job["static_configs"] = [{"targets": [url.removeprefix("http://")], "labels": labels}]


def _read(path: Path) -> Yaml:
    document: Yaml = yaml.safe_load(path.read_text())
    return document
