"""The project's own configuration of Prometheus and Alertmanager, on loopback.

Addresses and secrets become this machine's; rules, routes and texts stay what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]

Yaml = dict[str, Any]

# The jobs of Options B and C are comments, for whoever needs them to make them live.
_IN_COMMENT = re.compile(r"^  # (?=- job_name:|  )", re.MULTILINE)


def alertmanager_config(directory: Path, people: str, mail: str | None = None) -> str:
    """Return the Alertmanager's configuration; ``people`` is a URL that stands for all of them.

    Slack is ``/slack`` below it, the pager ``/pagerduty``, the dead man's switch ``/watchdog``;
    ``mail`` is a server's host and port; without one nothing is mailed. It does not wait long.
    """
    config = _read(ROOT / "ops/alertmanager/alertmanager.yml")
    config["global"]["pagerduty_url"] = f"{people}/pagerduty"
    config["templates"] = [str(ROOT / "ops/alertmanager/*.tmpl")]
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in config["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = f"{people}/{receiver['name']}"
    if mail:
        config["global"] |= {"smtp_smarthost": mail, "smtp_require_tls": False}
    else:
        for receiver in config["receivers"]:
            receiver.pop("email_configs", None)
    text = yaml.safe_dump(config, allow_unicode=True)
    return text.replace("/run/secrets", str(_secrets(directory, people)))


def _secrets(directory: Path, people: str) -> Path:
    """Write a file a secret and return where they are."""
    secrets = directory / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "slack_webhook_url").write_text(f"{people}/slack")
    (secrets / "pagerduty_routing_key").write_text("key")
    (secrets / "smtp_password").write_text("password")
    return secrets


def prometheus_config(
    directory: Path, targets: Mapping[str, str], alerts: str, *, quick: bool
) -> str:
    """Return Prometheus' configuration with one second for its intervals.

    ``targets`` are the jobs to scrape and their URLs, ``alerts`` is Alertmanager's; ``quick`` lets
    every alert fire at once, instead of after its half hour, and evaluates every group each second.
    """
    text = (ROOT / "prometheus/prometheus.yml").read_text()
    config: Yaml = yaml.safe_load(_IN_COMMENT.sub("  ", text))
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    rules = _quick_rules(directory) if quick else (ROOT / "prometheus/rules").glob("*.yml")
    config["rule_files"] = [str(path) for path in rules]
    _set_target(config["alerting"]["alertmanagers"][0], alerts)
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [jobs[name] for name in targets]
    for job, url in zip(config["scrape_configs"], targets.values(), strict=True):
        _set_target(job, url)
    return yaml.safe_dump(config)


def _quick_rules(directory: Path) -> Iterator[Path]:
    """Yield copies of the rule files in which no condition has to last, and no group to wait."""
    for quick in prompt_rules(directory / "rules"):
        rules = _read(quick)
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        quick.write_text(yaml.safe_dump(rules))
        yield quick


def prompt_rules(directory: Path) -> list[Path]:
    """Write copies of the rule files whose groups have no interval of their own; return them."""
    directory.mkdir(parents=True, exist_ok=True)
    prompt = []
    for path in (ROOT / "prometheus/rules").glob("*.yml"):
        rules = _read(path)
        for group in rules["groups"]:
            group.pop("interval", None)
        prompt.append(directory / path.name)
        prompt[-1].write_text(yaml.safe_dump(rules))
    return prompt


def _set_target(job: Yaml, url: str) -> None:
    (static,) = job["static_configs"]
    static["targets"] = [url.removeprefix("http://")]


def _read(path: Path) -> Yaml:
    document: Yaml = yaml.safe_load(path.read_text())
    return document
