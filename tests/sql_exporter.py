"""What burningalchemist/sql_exporter makes of its configuration, as its documentation says.

No package registry has its program; this reads the same files, refuses what it refuses, asks the
same database, and serves what it would serve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from services.postgres import Postgres
from services.server import HOST
from services.serving import serving

Yaml = dict[str, Any]

# Every key that it documents; it refuses a file with any other.
KEYS = {
    "config": "global collector_files target jobs collectors",
    "global": "scrape_timeout scrape_timeout_offset scrape_error_drop_interval min_interval "
    "warmup_delay max_connections max_idle_connections max_connection_lifetime",
    "target": "name data_source_name aws_secret_name collectors enable_ping",
    "collector": "collector_name min_interval metrics queries",
    "metric": "metric_name type help key_labels static_labels value_label values query query_ref "
    "no_prepared_statement static_value timestamp_value",
    "query": "query_name query no_prepared_statement",
}
NEEDED = {"metric": {"metric_name", "type", "help"}, "query": {"query_name", "query"}}


class RefusedError(Exception):
    """A configuration that sql_exporter does not start with."""


@dataclass(frozen=True)
class Query:
    """A query, and the metrics that its one row fills."""

    name: str
    sql: str
    metrics: tuple[Yaml, ...]


def read(path: Path) -> list[Query]:
    """Return the queries of a configuration file; raise RefusedError as sql_exporter would."""
    config = _checked("config", yaml.safe_load(path.read_text()))
    _checked("global", config.get("global", {}))
    target = _checked("target", config.get("target") or {})
    if not target.get("data_source_name"):
        raise RefusedError("missing data_source_name")
    files = [file for glob in config["collector_files"] for file in sorted(path.parent.glob(glob))]
    collectors = [_checked("collector", yaml.safe_load(file.read_text())) for file in files]
    by_name = {collector["collector_name"]: collector for collector in collectors}
    if unknown := set(target["collectors"]) - set(by_name):
        raise RefusedError(f"unknown collectors: {unknown}")
    return [query for name in target["collectors"] for query in _queries(by_name[name])]


def _queries(collector: Yaml) -> Iterator[Query]:
    metrics = [_metric(metric) for metric in collector["metrics"]]
    queries = [_checked("query", query) for query in collector["queries"]]
    names = [query["query_name"] for query in queries]
    if unresolved := {metric["query_ref"] for metric in metrics} - set(names):
        raise RefusedError(f"unresolved query_ref: {unresolved}")
    for query in queries:
        filled = [metric for metric in metrics if metric["query_ref"] == query["query_name"]]
        yield Query(query["query_name"], query["query"], tuple(filled))


def _metric(metric: Yaml) -> Yaml:
    _checked("metric", metric)
    if ("query" in metric) == ("query_ref" in metric):
        raise RefusedError("exactly one of query and query_ref")
    if metric["type"] not in {"gauge", "counter"}:
        raise RefusedError(f"unsupported metric type: {metric['type']}")
    if len(metric.get("values", ())) != 1:
        raise RefusedError("one value column, as long as there is no value_label")
    return metric


def _checked(kind: str, found: Yaml) -> Yaml:
    if unknown := set(found) - set(KEYS[kind].split()):
        raise RefusedError(f"unknown fields in {kind}: {unknown}")
    if missing := NEEDED.get(kind, set()) - set(found):
        raise RefusedError(f"missing in {kind}: {missing}")
    return found


class Answers(Collector):
    """Asks the database anew for each scrape."""

    def __init__(self, queries: Iterable[Query], database: Postgres) -> None:
        self.queries, self.database = tuple(queries), database

    def collect(self) -> Iterator[Metric]:
        """Yield what the queries give; one that fails leaves out its own metrics only."""
        families: dict[str, GaugeMetricFamily] = {}
        with closing(self.database.connect()) as session:
            session.autocommit = True
            for query in self.queries:
                for row in _rows(session, query):
                    _fill(families, query, row)
        yield from families.values()


def _rows(session: psycopg2.extensions.connection, query: Query) -> list[dict[str, object]]:
    with session.cursor() as cursor:
        try:
            cursor.execute(query.sql)
        except psycopg2.Error:
            return []
        columns = [column.name for column in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _fill(families: dict[str, GaugeMetricFamily], query: Query, row: Mapping[str, object]) -> None:
    for metric in query.metrics:
        (column,) = metric["values"]
        if (value := row[column]) is None:
            continue  # a null is not exported
        # Its program cannot take anything else for a number, a truth value included.
        assert type(value) in {int, float, Decimal}, f"{query.name}: {column} is {type(value)}"
        labels = {name: str(row[name]) for name in metric.get("key_labels", ())}
        labels |= metric.get("static_labels", {})
        name, names = metric["metric_name"], sorted(labels)
        family = families.setdefault(name, GaugeMetricFamily(name, metric["help"], labels=names))
        family.add_metric([labels[label] for label in names], float(str(value)))


@contextmanager
def sql_exporter(config: Path, database: Postgres) -> Iterator[str]:
    """Serve what the configuration makes of the database; yield the address."""
    registry = CollectorRegistry()
    answers = Answers(read(config), database)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = _scraped(registry)
            self.send_response(200 if body else 500)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with serving(server := ThreadingHTTPServer((HOST, 0), Handler)):
        registry.register(answers)
        yield f"http://{HOST}:{server.server_port}"


def _scraped(registry: CollectorRegistry) -> bytes:
    """Return the metrics; nothing, which it answers with 500, if the database cannot be reached."""
    try:
        return generate_latest(registry)
    except psycopg2.OperationalError:
        return b""
