"""Prometheus and Alertmanager as the project configures them, and those whom they tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.monitoring import RULES, Yaml, alertmanager_config, prometheus_config
from services.prometheus import HttpService, Prometheus, Pushgateway, alertmanager, prometheus
from tests.integration.mailbox import Mailbox, mailbox
from tests.unit.servers import Answer, Web, web

PATIENCE_SECONDS = 60.0


@dataclass
class Chain:
    """Prometheus, Alertmanager, and those whom Alertmanager tells."""

    prometheus: Prometheus
    alertmanager: HttpService
    people: Web
    mail: Mailbox

    def told(self, path: str) -> list[Yaml]:
        """Return what was sent to one of them, in the order in which it came."""
        return [json.loads(asked.body) for asked in self.people.asked if asked.path == path]

    def slack(self) -> list[Yaml]:
        """Return the messages of the Slack channel."""
        return [message["attachments"][0] for message in self.told("/slack")]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now, without the one that always does."""
        found = self.prometheus.query('ALERTS{alertstate="firing", alertname!="Watchdog"}')
        return {series["metric"]["alertname"] for series in found}


@contextmanager
def chain(
    directory: Path,
    targets: dict[str, str],
    rules: Path = RULES,
    program: str = "alertmanager",
) -> Iterator[Chain]:
    """Run the chain on scrape ``targets``: a job's name, and where it is; and on these rules."""
    with ExitStack() as stack:
        people = stack.enter_context(web(Answer(202, b"ok")))
        mail = stack.enter_context(mailbox())
        alerts = stack.enter_context(
            alertmanager(
                directory,
                alertmanager_config(directory, people.url, mail.place),
                program=program,
            )
        )
        config = prometheus_config(directory, targets, alerts.url, quick=True, rules=rules)
        yield Chain(stack.enter_context(prometheus(directory, config)), alerts, people, mail)


def until(condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds; fail where that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:.0f} s: {what}"
        time.sleep(0.2)


def pushed(gateway: Pushgateway) -> dict[str, str]:
    """Return the scrape targets of Option A."""
    return {"pushgateway": gateway.url}
