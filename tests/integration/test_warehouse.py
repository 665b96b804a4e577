"""The dbt project and the demo's data, on real PostgreSQL with real dbt.

The databases are in a zone half an hour off UTC, so what depends on the session's zone fails here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from demo.data import NAMES, TAXONOMY, Demo, TablesInUseError, load
from services.postgres import Postgres

ROOT = Path(__file__).parents[2]
DBT = Path(sys.executable).with_name("dbt")
DEMO = Demo(transactions=3_000, now=datetime(2026, 3, 3, 10, tzinfo=UTC))
DIGEST = "select md5(string_agg(t::text, '|' order by t::text)) from {} as t"


@dataclass
class Warehouse:
    """A database with the demo's data, and dbt that builds the project on it."""

    database: Postgres
    directory: Path

    def dbt(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a dbt command for which every warning is an error."""
        env = {
            **os.environ,
            **self.database.env(),
            "DBT_TARGET": "dev",
            "DBT_SCHEMA": "analytics",
            "DBT_TARGET_PATH": str(self.directory),
            "DBT_LOG_PATH": str(self.directory),
        }
        strict = ["--warn-error", "--show-all-deprecations", "--no-use-colors"]
        return subprocess.run(
            [DBT, *strict, *command],
            cwd=ROOT / "warehouse",
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction of its own; return its rows, if it has any."""
        return sql(self.database, statement, *values)

    def artifact(self, name: str) -> Any:
        """Return a JSON file of the last command."""
        return json.loads((self.directory / name).read_text())

    def failed_tests(self) -> dict[str, int]:
        """Return what failed in the last run, each with its number of rows."""
        return {
            result["unique_id"].split(".")[2]: result["failures"]
            for result in self.artifact("run_results.json")["results"]
            if result["status"] not in {"success", "pass", "no-op", "skipped"}
        }


def sql(database: Postgres, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    session = database.connect()
    try:
        with session, session.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        session.close()


def fill(database: Postgres, demo: Demo, *, drop: bool = False) -> dict[str, int]:
    session = database.connect()
    try:
        return load(session, demo, drop=drop)
    finally:
        session.close()


def off_utc(database: Postgres) -> Postgres:
    sql(database, f"alter database {database.dbname} set timezone = 'America/St_Johns'")
    return database


@pytest.fixture(scope="module")
def built(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Warehouse, subprocess.CompletedProcess[str]]]:
    """The warehouse, with the result of the first build."""
    postgres.start()
    database = off_utc(postgres.create_database("finance"))
    fill(database, replace(DEMO, now=datetime.now(UTC)))
    warehouse = Warehouse(database, tmp_path_factory.mktemp("target"))
    yield warehouse, warehouse.dbt("build")
    postgres.drop_database("finance")


@pytest.fixture
def warehouse(built: tuple[Warehouse, subprocess.CompletedProcess[str]]) -> Warehouse:
    return built[0]


@pytest.fixture
def empty(database: Postgres) -> Postgres:
    return off_utc(database)


@pytest.fixture
def two_rows(warehouse: Warehouse) -> Iterator[tuple[int, int]]:
    """Two training rows that a test may spoil; labels and features are put right again."""
    ids = tuple(
        txn_id
        for (txn_id,) in warehouse.sql(
            "select txn_id from analytics.fct_training_view order by txn_id limit 2"
        )
    )
    saved = warehouse.sql(
        """
        select updated_at, ts_month, txn_id
        from transaction_labels inner join ml_features using (txn_id) where txn_id in %s
        """,
        ids,
    )
    yield ids
    for observed_at, month, txn_id in saved:
        observe(warehouse, txn_id, observed_at)
        date(warehouse, txn_id, month)


def observe(warehouse: Warehouse, txn_id: int, at: datetime) -> None:
    warehouse.sql("update transaction_labels set updated_at = %s where txn_id = %s", at, txn_id)


def date(warehouse: Warehouse, txn_id: int, month: datetime) -> None:
    warehouse.sql("update ml_features set ts_month = %s where txn_id = %s", month, txn_id)


def month_of(warehouse: Warehouse, txn_id: int) -> datetime:
    [(month,)] = warehouse.sql(
        "select ts_month::timestamp from ml_features where txn_id = %s", txn_id
    )
    assert isinstance(month, datetime)
    return month


def this_month() -> datetime:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None)


def after(month: datetime) -> datetime:
    """Return the first instant after a month."""
    return (month + timedelta(days=31)).replace(day=1)


def test_the_project_builds_without_a_warning_or_a_deprecation(
    built: tuple[Warehouse, subprocess.CompletedProcess[str]],
) -> None:
    result = built[1]

    assert result.returncode == 0, result.stdout
    assert "WARN=0 ERROR=0 SKIP=0" in result.stdout
    assert "deprecat" not in result.stdout.lower()


def test_the_docs_describe_every_column_and_what_training_depends_on(warehouse: Warehouse) -> None:
    result = warehouse.dbt("docs", "generate")
    assert result.returncode == 0, result.stdout

    manifest, catalog = warehouse.artifact("manifest.json"), warehouse.artifact("catalog.json")
    described = {**manifest["nodes"], **manifest["sources"]}
    columns = {
        (node_id, name): described[node_id]["columns"].get(name, {}).get("description")
        for node_id, node in {**catalog["nodes"], **catalog["sources"]}.items()
        for name in node["columns"]
    }
    assert len(catalog["nodes"]) == 8
    assert len(catalog["sources"]) == 7
    assert [column for column, description in columns.items() if not description] == []

    training = manifest["exposures"]["exposure.ledgermind.ml_training_pipeline"]
    assert {node_id.split(".")[-1] for node_id in training["depends_on"]["nodes"]} == {
        "fct_training_view",
        "dim_merchants",
        "fct_suggestions_eval",
    }
    assert training["tags"] == ["canary", "ledgermind", "ml", "phase3", "training"]


def test_fresh_demo_data_has_stale_labels_and_nothing_else_stale(warehouse: Warehouse) -> None:
    result = warehouse.dbt("source", "freshness")

    assert result.returncode == 0, result.stdout
    results = warehouse.artifact("sources.json")["results"]
    assert {entry["unique_id"].split(".")[-1]: entry["status"] for entry in results} == {
        "transactions": "pass",
        "transaction_labels": "warn",
        "ml_features": "pass",
    }


def test_late_feedback_and_late_labels_come_in_and_no_other_row_is_written(
    warehouse: Warehouse,
) -> None:
    versions = dict(
        warehouse.sql("select ctid::text, event_id from analytics.fct_suggestions_eval")
    )
    [(answered, answered_txn)] = warehouse.sql(
        """
        insert into suggestion_feedback (id, event_id, txn_id, action, label, created_at)
        select gen_random_uuid(), event_id, txn_id, 'accept', 'Dining', suggested_at
        from analytics.fct_suggestions_eval
        where feedback_id is null and suggested_at < (select max(feedback_at) - interval '30 days'
            from analytics.fct_suggestions_eval)
        order by event_id limit 1
        returning event_id, txn_id
        """
    )
    [(labelled,)] = warehouse.sql(
        """
        select event_id from analytics.fct_suggestions_eval
        where true_label <> 'Transport' and txn_id <> %s order by event_id limit 1
        """,
        answered_txn,
    )
    warehouse.sql(
        """
        update transaction_labels set label = 'Transport'
        where txn_id = (select txn_id from suggestion_events where id = %s)
        """,
        labelled,
    )

    result = warehouse.dbt("build", "--select", "fct_suggestions_eval")

    assert result.returncode == 0, result.stdout
    assert warehouse.sql(
        """
        select user_action, user_selected_label, is_accepted
        from analytics.fct_suggestions_eval where event_id = %s
        """,
        answered,
    ) == [("accept", "Dining", 1)]
    assert {
        label
        for (label,) in warehouse.sql(
            "select true_label from analytics.fct_suggestions_eval where event_id = %s", labelled
        )
    } == {"Transport"}
    now = dict(warehouse.sql("select ctid::text, event_id from analytics.fct_suggestions_eval"))
    assert {event for _, event in versions.items() ^ now.items()} == {answered, labelled}


def test_a_label_of_the_last_half_second_and_a_feature_of_this_month_are_no_leak(
    warehouse: Warehouse, two_rows: tuple[int, int]
) -> None:
    first, second = two_rows
    observe(warehouse, first, after(month_of(warehouse, first)) - timedelta(seconds=0.5))
    date(warehouse, second, this_month())

    result = warehouse.dbt("build", "--select", "fct_training_view")

    assert (result.returncode, warehouse.failed_tests()) == (0, {})


def test_a_label_of_the_next_first_instant_and_a_feature_of_next_month_are_leaks(
    warehouse: Warehouse, two_rows: tuple[int, int]
) -> None:
    first, second = two_rows
    observe(warehouse, first, after(month_of(warehouse, first)))
    date(warehouse, second, after(this_month()))

    result = warehouse.dbt("build", "--select", "fct_training_view")

    assert result.returncode == 1
    assert warehouse.failed_tests() == {
        "not_after_month_end_fct_training_view_label_observed_at__label_observed_at__ts_month": 1,
        "not_in_future_fct_training_view_ts_month": 1,
    }


def test_the_same_arguments_load_the_same_rows_and_another_seed_others(empty: Postgres) -> None:
    def digests() -> dict[str, str]:
        return {name: sql(empty, DIGEST.format(name))[0][0] for name in NAMES}

    rows = fill(empty, DEMO)
    first = digests()
    assert fill(empty, DEMO) == rows
    assert digests() == first
    fill(empty, replace(DEMO, seed=2))
    assert not set(digests().values()) & set(first.values())


def test_the_demo_has_every_label_kind_of_source_and_action(empty: Postgres) -> None:
    rows = fill(empty, DEMO)

    assert rows["transactions"] == DEMO.transactions
    assert {label for (label,) in sql(empty, "select label from transaction_labels")} == {*TAXONOMY}
    sources = {source for (source,) in sql(empty, "select source from transaction_labels")}
    assert {"human", "rule", "import", "seed_rules_20260101"} <= sources
    assert {action for (action,) in sql(empty, "select action from suggestion_feedback")} == {
        "accept",
        "reject",
    }
    assert rows["model_registry"] == 3
    assert rows["ml_training_runs"] == 12


@pytest.mark.parametrize(
    "now",
    [
        "2024-02-29T12:00:00",
        "2026-01-01T00:00:00",
        "2026-03-01T00:30:00",
        "2026-03-03T09:59:59.999999",
        "2026-03-03T10:00:00",  # the newest label is of the month's first instant
        "2026-12-31T23:59:59",
    ],
)
@pytest.mark.parametrize("hours", [(4, 58, 6), (128, 4, 6), (128, 135, 140), (0, 0, 0)])
def test_ages_are_as_asked_and_no_label_leaks_on_any_day(
    empty: Postgres, now: str, hours: tuple[int, int, int]
) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    ages = [timedelta(hours=age) for age in hours]

    fill(empty, Demo(500, ages[0], ages[1], ages[2], now=at))

    [newest] = sql(
        empty,
        """
        select
            (select max(created_at) from transactions),
            (select max(updated_at) at time zone 'UTC' from transaction_labels),
            (select max(created_at) at time zone 'UTC' from ml_features)
        """,
    )
    assert [at - time for time in newest] == ages
    assert sql(
        empty,
        """
        select
            count(*) filter (where updated_at >= ts_month + interval '1 month'),
            count(*) filter (where ts_month > %s)
        from ml_features left join transaction_labels using (txn_id)
        """,
        at.replace(tzinfo=None),
    ) == [(0, 0)]


def test_the_loader_replaces_no_table_but_its_own(empty: Postgres) -> None:
    sql(empty, "create table transactions (id integer); insert into transactions values (7)")

    with pytest.raises(TablesInUseError, match="not the demo's own: table transactions"):
        fill(empty, DEMO)

    assert sql(empty, "select id from transactions") == [(7,)]
    assert fill(empty, DEMO, drop=True)["transactions"] == DEMO.transactions


def test_a_failed_load_leaves_the_rows_of_the_last_one(empty: Postgres) -> None:
    fill(empty, DEMO)
    before = sql(empty, DIGEST.format("transactions"))

    with pytest.raises(psycopg2.Error):
        fill(empty, replace(DEMO, seed=2**70))

    assert sql(empty, DIGEST.format("transactions")) == before


def test_the_command_says_in_one_line_what_it_loaded_or_why_not(empty: Postgres) -> None:
    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "demo.data", "--transactions", "50", "--labels-age", "6d"],
            cwd=ROOT,
            env={**os.environ, **empty.env(), **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    loaded, failed = run(), run(PGDATABASE="no_such_database")

    assert loaded.returncode == 0
    assert loaded.stdout.splitlines()[0].split() == ["transactions", "50"]
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (1, "", 1)
    assert 'database "no_such_database" does not exist' in failed.stderr
