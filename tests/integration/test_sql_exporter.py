"""What ops/sql_exporter asks of a real PostgreSQL, and what is exported of the answers."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from demo.data import Demo, load
from ledgermind_obs import metrics
from ledgermind_obs.metrics import Series
from ledgermind_obs.sinks.exposition import parse_exposition
from services.monitoring import ROOT
from services.postgres import Postgres
from tests.sql_exporter import sql_exporter

CONFIG = ROOT / "ops/sql_exporter/sql_exporter.yml"
NEWEST = {
    "transactions": "select extract(epoch from max(created_at)) from transactions",
    "transaction_labels": "select extract(epoch from max(updated_at)) from transaction_labels",
    "ml_features": "select extract(epoch from max(created_at)) from ml_features",
}


@pytest.fixture
def filled(database: Postgres) -> Postgres:
    demo = Demo(transactions=50, labels_age=timedelta(hours=58))
    with closing(database.connect()) as session:
        load(session, replace(demo, now=Demo().now), drop=True)
    return database


@pytest.fixture
def exporter(filled: Postgres) -> Iterator[str]:
    with sql_exporter(CONFIG, filled) as url:
        yield url


def scraped(url: str) -> list[Series]:
    with urlopen(f"{url}/metrics") as answer:
        return parse_exposition(answer.read(), {})


def times(found: list[Series]) -> dict[str, float]:
    return {s.label_values[2]: s.value for s in found if s.metric is metrics.LOADED_AT}


def emptiness(found: list[Series]) -> dict[str, float]:
    return {s.label_values[2]: s.value for s in found if s.metric is metrics.STATUS}


def execute(database: Postgres, statement: str) -> float | None:
    with closing(database.connect()) as session, session, session.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return float(row[0]) if row else None


def test_each_table_has_the_time_of_its_newest_row_and_is_not_empty(
    filled: Postgres, exporter: str
) -> None:
    found = scraped(exporter)
    newest = {table: execute(filled, statement) for table, statement in NEWEST.items()}
    assert times(found) == pytest.approx(newest)
    assert emptiness(found) == dict.fromkeys(NEWEST, 0.0)
    named = {s.label_values[:2] for s in found}
    assert named == {("ledgermind", "app")}
    assert {s.label_values[3] for s in found if s.metric is metrics.STATUS} == {"empty"}


def test_an_empty_table_has_no_time_and_its_status_is_empty(
    filled: Postgres, exporter: str
) -> None:
    execute(filled, "truncate ml_features")
    found = scraped(exporter)
    assert set(times(found)) == set(NEWEST) - {"ml_features"}
    assert emptiness(found) == dict.fromkeys(NEWEST, 0.0) | {"ml_features": 1.0}


def test_a_query_that_fails_silences_its_own_table_only(filled: Postgres, exporter: str) -> None:
    execute(filled, "drop table ml_features cascade")
    found = scraped(exporter)
    assert set(times(found)) == set(emptiness(found)) == set(NEWEST) - {"ml_features"}


def test_a_database_that_is_down_is_a_failed_scrape(filled: Postgres, exporter: str) -> None:
    filled.stop()
    with pytest.raises(HTTPError) as failed:
        scraped(exporter)
    failed.value.close()
    assert failed.value.code == 500
