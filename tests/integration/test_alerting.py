"""From a table that stops being loaded to a person who is told, on the real parts."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from demo.data import Demo, load
from services.binaries import find
from services.monitoring import ROOT
from services.postgres import Postgres
from services.prometheus import Pushgateway
from tests.integration.chain import Chain, chain, pushed, until
from tests.integration.shop import OBS

FRESH = Demo(transactions=200, labels_age=timedelta(hours=1))
STALE = replace(FRESH, labels_age=timedelta(hours=58))

# https://github.com/prometheus/alertmanager/pull/3944
READS_YAML = (0, 30)

Push = Callable[[], subprocess.CompletedProcess[str]]


@pytest.fixture
def push(database: Postgres, gateway: Pushgateway, tmp_path: Path) -> Push:
    env = {
        **os.environ,
        **database.env(),
        "PUSHGATEWAY_URL": gateway.url,
        "DBT_TARGET": "prod",
        "DBT_TARGET_PATH": str(tmp_path / "target"),
    }
    return lambda: subprocess.run(
        [OBS, "freshness", "push", "--project-dir", str(ROOT / "warehouse")],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def alerting(gateway: Pushgateway, tmp_path: Path) -> Iterator[Chain]:
    with chain(tmp_path, pushed(gateway)) as parts:
        yield parts


@pytest.fixture(params=["alertmanager", "alertmanager-sid"])
def either(gateway: Pushgateway, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Chain]:
    """The chain with this system's Alertmanager, and with one that reads details as YAML."""
    with chain(tmp_path, pushed(gateway), program=request.param) as parts:
        status = json.loads(parts.alertmanager.request("/api/v2/status"))
        version = tuple(map(int, status["versionInfo"]["version"].split(".")[:2]))
        assert request.param == "alertmanager" or version >= READS_YAML
        yield parts


def fill(database: Postgres, demo: Demo) -> None:
    session = database.connect()
    try:
        load(session, replace(demo, now=Demo().now), drop=True)
    finally:
        session.close()


def plain(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body
    return "\n".join(str(body.get_content()).splitlines())


def titles(alerting: Chain) -> list[str]:
    return [message["title"] for message in alerting.slack()]


def test_a_stale_source_reaches_people_and_an_outage_resolves_nothing(
    database: Postgres, push: Push, alerting: Chain
) -> None:
    fill(database, STALE)
    assert push().returncode == 0
    stale = "🚨 [WARNING] SourceStaleTransactionLabels"
    until(lambda: stale in titles(alerting), "a message in Slack")
    (message,) = [each for each in alerting.slack() if each["title"] == stale]
    assert message["text"].splitlines() == [
        "Summary: transaction_labels source is stale (>2 days)",
        "Last Update: 58 hours ago",
        "Severity: warning",
        "Project: ledgermind, target prod",
        "Runbook: https://github.com/leok974/ai-finance-agent-oss/blob/main/"
        "docs/DATA_QUALITY_COMPLETE.md#freshness-check-fails",
        "",
        "Grafana: https://grafana.example.com/d/ml-freshness",
        f"Prometheus: {message['text'].rpartition('Prometheus: ')[2]}",
    ]
    assert message["text"].endswith("/alerts")
    assert alerting.told("/pagerduty") == []

    until(lambda: [x for x in alerting.mail.letters if x["Subject"] == stale], "a letter")
    (letter,) = [each for each in alerting.mail.letters if each["Subject"] == stale]
    assert letter["To"] == "ml@ledger-mind.org"
    assert plain(letter) == f"{stale}\n\n{message['text']}"
    assert set(alerting.mail.logins) == {("obs@ledger-mind.org", "password")}

    database.stop()
    assert push().returncode == 3
    until(lambda: "🚨 [WARNING] FreshnessRunFailing" in titles(alerting), "the outage is told")
    assert {"SourceStaleTransactionLabels", "FreshnessRunFailing"} <= alerting.firing()

    database.start()
    fill(database, FRESH)
    assert push().returncode == 0
    resolved = {
        "✅ [RESOLVED] SourceStaleTransactionLabels",
        "✅ [RESOLVED] FreshnessRunFailing",
    }
    until(lambda: resolved <= set(titles(alerting)), "both are told to be over")
    assert alerting.firing() == set()
    order = [title for title in titles(alerting) if "Labels" in title]
    assert order == [stale, "✅ [RESOLVED] SourceStaleTransactionLabels"]


def test_a_wiped_gateway_resolves_nothing(
    database: Postgres, push: Push, gateway: Pushgateway, alerting: Chain
) -> None:
    fill(database, STALE)
    assert push().returncode == 0
    until(lambda: "SourceStaleTransactionLabels" in alerting.firing(), "the alert fires")
    gateway.wipe()
    until(lambda: "SourceSilent" in alerting.firing(), "the silence is noticed")
    assert "SourceStaleTransactionLabels" in alerting.firing()


def test_a_critical_source_pages_and_its_warning_is_silenced(
    database: Postgres, push: Push, alerting: Chain
) -> None:
    fill(database, replace(FRESH, labels_age=timedelta(days=6)))
    assert push().returncode == 0
    until(lambda: alerting.told("/pagerduty"), "the pager")
    event = alerting.told("/pagerduty")[0]
    assert event["payload"]["summary"] == (
        "🚨 [CRITICAL] SourceCriticalStale: transaction_labels source is critically stale (>5 days)"
    )
    details = event["payload"]["custom_details"]
    assert (details["table"], details["last_update"]) == ("app.transaction_labels", "144 hours ago")
    assert details["owner"] == "LedgerMind ML"
    assert event["payload"]["severity"] == "critical"
    until(lambda: "🚨 [CRITICAL] SourceCriticalStale" in titles(alerting), "Slack as well")
    until(lambda: suppressed(alerting) == {"SourceStaleTransactionLabels"}, "the warning is silent")


def suppressed(alerting: Chain) -> set[str]:
    alerts = json.loads(alerting.alertmanager.request("/api/v2/alerts"))
    return {a["labels"]["alertname"] for a in alerts if a["status"]["inhibitedBy"]}


def test_each_critical_source_is_paged_on_its_own(either: Chain) -> None:
    tables = ["transactions", "transaction_labels", "ml_features"]
    post_alerts(either.alertmanager.url, [critical(table) for table in tables])
    until(lambda: len(either.told("/pagerduty")) == len(tables), "a page per source")
    pages = either.told("/pagerduty")
    told = {page["payload"]["custom_details"]["table"] for page in pages}
    assert told == {f"app.{table}" for table in tables}
    assert len({page["dedup_key"] for page in pages}) == len(tables)


def test_each_alert_reaches_its_owner_and_the_fall_back_gets_the_rest(either: Chain) -> None:
    owned = {"alertname": "SourceEmpty", "severity": "warning", "owner": "LedgerMind ML"}
    typo = {**owned, "owner": "Ledgermind"}
    nobody = {"alertname": "FreshnessRunFailing", "severity": "warning"}
    post_alerts(either.alertmanager.url, [owned, typo, nobody])
    until(lambda: len(either.told("/slack")) == len([owned, typo, nobody]), "all are told")
    channels = sorted(message["channel"] for message in either.told("/slack"))
    assert channels == ["#data-quality", "#data-quality", "#ledgermind-ml"]
    until(lambda: len(either.mail.letters) == len(channels), "all are mailed")
    addresses = sorted(letter["To"] for letter in either.mail.letters)
    assert addresses == ["data-quality@ledger-mind.org"] * 2 + ["ml@ledger-mind.org"]


def test_the_dead_mans_switch_is_fed_and_nobody_else_hears_of_it(either: Chain) -> None:
    until(lambda: either.told("/watchdog"), "the watchdog")
    (message, *_) = either.told("/watchdog")
    assert [alert["labels"]["alertname"] for alert in message["alerts"]] == ["Watchdog"]
    assert "Watchdog" not in "".join(titles(either))


def critical(table: str) -> dict[str, str]:
    place = {"project": "ledgermind", "target": "prod", "package": "ledgermind", "source": "app"}
    return {"alertname": "SourceEmpty", "severity": "critical", "table": table, **place}


def post_alerts(url: str, alerts: list[dict[str, str]]) -> None:
    texts = {"summary": "s", "last_update": "now", "runbook_url": "r", "prometheus_url": "p"}
    body = json.dumps([{"labels": labels, "annotations": texts} for labels in alerts]).encode()
    request = urllib.request.Request(
        f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=10).close()


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["severity=warning", "owner=LedgerMind ML"], "owner"),
        (["severity=critical", "owner=LedgerMind ML"], "pager,owner"),
        (["severity=critical", "owner=somebody"], "pager,fall-back"),
        (["severity=warning", "alertname=FreshnessPushMissing"], "fall-back"),
        (["severity=none", "alertname=Watchdog"], "watchdog"),
    ],
)
def test_each_alert_goes_to_its_receivers(labels: list[str], receivers: str) -> None:
    config = ROOT / "ops/alertmanager/alertmanager.yml"
    argv = [str(find("amtool")), "config", "routes", "test", f"--config.file={config}"]
    result = subprocess.run([*argv, *labels], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, receivers)


def test_alertmanager_takes_its_configuration() -> None:
    argv = [str(find("amtool")), "check-config", str(ROOT / "ops/alertmanager/alertmanager.yml")]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
