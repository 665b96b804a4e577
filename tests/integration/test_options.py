"""Options B and C, and what the dashboard asks, on the real parts."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from psycopg2.extensions import connection

from demo.data import Demo, load
from ledgermind_obs import metrics
from ledgermind_obs.freshness import SourceKey, State
from ledgermind_obs.http.endpoint import Endpoint, Tls
from ledgermind_obs.instrument import LoadedAtGauge
from ledgermind_obs.metrics import Series
from ledgermind_obs.monitoring.dashboard import queries, read_dashboard
from ledgermind_obs.sinks.pushgateway import Pushgateway as Sink
from services.monitoring import ROOT, prometheus_config
from services.postgres import Postgres
from services.prometheus import HttpService, Prometheus, Pushgateway, postgres_exporter, prometheus
from services.server import HOST, Server, free_port
from tests.fake_grafana import colour_of
from tests.integration.chain import Chain, chain, pushed, until
from tests.sql_exporter import sql_exporter

DASHBOARD = ROOT / "ops/grafana/dashboards/ml-source-freshness.json"
MODEL = read_dashboard(DASHBOARD.read_bytes(), DASHBOARD.name).model
TABLES = ("transactions", "transaction_labels", "ml_features")
COLOURS = {47: "green", 49: "yellow", 119: "yellow", 121: "red"}


def asked(expression: str) -> str:
    """The query as Grafana sends it when every variable stands at All."""
    return re.sub(r'"\$\w+"', '".*"', expression)


def ages(server: Prometheus, panel: int) -> dict[str, float]:
    """What a panel's first query shows, in hours, by table and target."""
    found = server.query(asked(MODEL["panels"][panel]["targets"][0]["expr"]))
    return {
        f"{series['metric']['table']} {series['metric'].get('target', '')}".strip(): float(
            series["value"][1]
        )
        for series in found
    }


def push(gateway: Pushgateway, target: str, series: list[Series]) -> None:
    grouping = {"job": "dbt-freshness", "project": "ledgermind", "target": target}
    Sink(Endpoint.parse(gateway.url, tls=Tls(), timeout=5), grouping).put(series)


def of_age(hours: float, state: State = State.PASS) -> list[Series]:
    now, found = time.time(), []
    for table in TABLES:
        key = tuple(SourceKey("ledgermind", "app", table))
        found.append(Series(metrics.LOADED_AT, key, now - hours * 3600))
        found.append(Series(metrics.STATUS, (*key, str(state)), 1.0))
        found.append(Series(metrics.WARN_AFTER, key, 172_800.0))
        found.append(Series(metrics.ERROR_AFTER, key, 432_000.0))
        found.append(Series(metrics.EXPOSURE_AS_OF, ("training", *key), now - hours * 3600))
    found.append(Series(metrics.BUILD_STATUS, ("ledgermind", "features", "failed"), 1.0))
    found.append(Series(metrics.RUN_TIMESTAMP, (), now))
    return [*found, Series(metrics.RUN_SUCCESS, (), 1.0)]


@pytest.fixture
def watched(gateway: Pushgateway, tmp_path: Path) -> Iterator[Prometheus]:
    config = prometheus_config(tmp_path, pushed(gateway), "http://127.0.0.1:9", quick=True)
    with prometheus(tmp_path, config) as server:
        yield server


def test_the_dashboards_queries_return_data_and_its_tiles_the_right_colours(
    gateway: Pushgateway, watched: Prometheus
) -> None:
    for hours in COLOURS:
        push(gateway, f"t{hours}", of_age(hours))
    until(lambda: len(ages(watched, 0)) == len(COLOURS), "the gateway is scraped")
    for query in queries(MODEL):
        assert watched.query(asked(query)), query
    for panel, table in enumerate(TABLES):
        defaults = MODEL["panels"][panel]["fieldConfig"]["defaults"]
        shown = {
            name: colour_of(defaults["thresholds"]["steps"], age)
            for name, age in ages(watched, panel).items()
        }
        assert shown == {f"{table} t{hours}": colour for hours, colour in COLOURS.items()}


def test_what_was_never_loaded_is_not_a_number_on_its_tile_beside_a_fresh_copy(
    gateway: Pushgateway, watched: Prometheus
) -> None:
    push(gateway, "dev", of_age(1))
    empty = [item for item in of_age(0, State.EMPTY) if item.metric is not metrics.LOADED_AT]
    push(gateway, "prod", empty)
    until(lambda: len(ages(watched, 0)) == 2, "the gateway is scraped")
    shown = ages(watched, 0)
    assert shown["transactions dev"] == pytest.approx(1, abs=0.1)
    assert str(shown["transactions prod"]) == "nan"


def test_a_prometheus_without_any_source_has_nothing_for_a_tile_which_says_so(
    watched: Prometheus,
) -> None:
    for panel in range(3):
        assert ages(watched, panel) == {}
        assert MODEL["panels"][panel]["fieldConfig"]["defaults"]["noValue"] == "not exported"


@contextmanager
def by_postgres_exporter(directory: Path, database: Postgres) -> Iterator[dict[str, str]]:
    queries_file = ROOT / "ops/postgres_exporter/queries.yml"
    with postgres_exporter(directory, database, queries_file) as exporter:
        yield {"postgres": exporter.url}


@contextmanager
def by_sql_exporter(directory: Path, database: Postgres) -> Iterator[dict[str, str]]:
    with sql_exporter(ROOT / "ops/sql_exporter/sql_exporter.yml", database) as url:
        yield {"sql-exporter": url}


@pytest.fixture(params=[by_postgres_exporter, by_sql_exporter])
def option_b(
    request: pytest.FixtureRequest, database: Postgres, tmp_path: Path
) -> Iterator[tuple[Chain, connection]]:
    """The chain on one of the exporters, and the database in which a table is stale."""
    stale = Demo(transactions=200, labels_age=timedelta(hours=58))
    with closing(database.connect()) as session:
        load(session, replace(stale, now=Demo().now), drop=True)
        with request.param(tmp_path, database) as targets, chain(tmp_path, targets) as parts:
            yield parts, session


def test_option_b_raises_the_same_alerts_and_fills_the_same_dashboard(
    option_b: tuple[Chain, connection],
) -> None:
    parts, session = option_b
    until(
        lambda: parts.firing() == {"SourceStaleTransactionLabels"},
        "this alert fires, and no other",
    )
    assert ages(parts.prometheus, 1) == {"transaction_labels prod": pytest.approx(58, abs=0.1)}
    with session, session.cursor() as cursor:
        cursor.execute("truncate ml_features")
    until(lambda: "SourceEmpty" in parts.firing(), "the empty table is told")
    with session, session.cursor() as cursor:
        cursor.execute("drop table transactions cascade")
    until(lambda: "SourceSilent" in parts.firing(), "the failing query is told")
    assert {"SourceStaleTransactionLabels", "SourceEmpty", "SourceSilent"} <= parts.firing()


@pytest.fixture
def application(tmp_path: Path) -> Iterator[HttpService]:
    port = free_port()
    command = [sys.executable, str(ROOT / "docs/option_c.py"), str(port), "58"]
    server = Server("application", command, tmp_path / "application.log", lambda: serves(service))
    service = HttpService(port, server)
    with server.running():
        yield service


def serves(service: HttpService) -> bool:
    try:
        return "dbt_source_loaded_at_seconds" in service.metrics()
    except OSError:
        return False


def test_option_c_raises_the_same_alerts_and_outlives_its_application(
    application: HttpService, tmp_path: Path
) -> None:
    with chain(tmp_path, {"ai-finance-backend": application.url}) as parts:
        until(
            lambda: parts.firing() == {"SourceStaleTransactions"}, "this alert fires, and no other"
        )
        assert ages(parts.prometheus, 0) == {"transactions prod": pytest.approx(58, abs=0.1)}
        assert ages(parts.prometheus, 2)["ml_features prod"] == pytest.approx(0, abs=0.1)
        application.stop()
        until(lambda: "SourceSilent" in parts.firing(), "the silence is told")
        assert "SourceStaleTransactions" in parts.firing()


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[tuple[LoadedAtGauge, Chain]]:
    registry, port = CollectorRegistry(), free_port()
    server, thread = start_http_server(port, HOST, registry)
    try:
        with chain(tmp_path, {"ai-finance-backend": f"http://{HOST}:{port}"}) as parts:
            yield LoadedAtGauge(registry), parts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def alerted(parts: Chain) -> set[tuple[str, str]]:
    found = parts.prometheus.query('ALERTS{alertstate="firing", alertname!="Watchdog"}')
    return {(a["metric"]["alertname"], a["metric"].get("source", "")) for a in found}


def test_option_c_tells_an_empty_table_and_keeps_two_sources_of_one_table_name_apart(
    scraped: tuple[LoadedAtGauge, Chain],
) -> None:
    application, parts = scraped
    now = datetime.now(UTC)
    application.loaded("transactions", now, source="bank")
    application.loaded("transactions", now - timedelta(hours=58))
    application.loaded("ml_features", None)
    expected = {("SourceStaleTransactions", "app"), ("SourceEmpty", "app")}
    until(lambda: alerted(parts) == expected, "these alerts fire, and no other")
    known = parts.prometheus.query('dbt_source_loaded_at_seconds{table="transactions"}')
    assert {a["metric"]["source"] for a in known} == {"app", "bank"}
    application.loaded("ml_features", now)
    until(lambda: parts.firing() == {"SourceStaleTransactions"}, "the filled table is well")


def test_several_processes_of_an_application_show_the_newest_time(tmp_path: Path) -> None:
    code = (
        "import sys; from ledgermind_obs.instrument import dbt_source_loaded_at as g; "
        "g.labels('transactions', source='app').set(float(sys.argv[1]))"
    )
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for moment in ("200", "100"):
        subprocess.run([sys.executable, "-c", code, moment], env=env, check=True)
    collect = (
        "from prometheus_client import CollectorRegistry, generate_latest, multiprocess as m; "
        "r = CollectorRegistry(); m.MultiProcessCollector(r); print(generate_latest(r).decode())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", collect], env=env, check=True, capture_output=True, text=True
    ).stdout
    line = 'dbt_source_loaded_at_seconds{package="",source="app",table="transactions"} 200.0'
    assert line in shown
