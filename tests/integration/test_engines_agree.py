"""Both engines on the same database at the same moment: one answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from services.postgres import Postgres
from tests.integration.odd import Engines, Odd, comparable, run_sql, write_project

OF_TYPE = {
    "timestamp_naive": "timestamp '2026-01-02 03:04:05.678901'",
    "midnight": "timestamp '2026-01-02 00:00:00'",
    "timestamptz_dst": "timestamptz '2026-11-01 01:30:00 America/New_York'",
    "spring_forward": "timestamp '2026-03-08 02:30:00'",
    "date_column": "date '2026-01-02'",
    "text_column": "text '2026-01-02T03:04:05+00:00'",
    "integer_column": "1767323045",
    "numeric_column": "1767323045.5",
    "time_column": "time '03:04:05'",
    "interval_column": "interval '1 day'",
    "boolean_column": "true",
    "array_column": "array[timestamp '2026-01-02']",
    "infinite": "timestamptz 'infinity'",
    "infinite_naive": "timestamp 'infinity'",
    "minus_infinite": "timestamptz '-infinity'",
    "minus_infinite_naive": "timestamp '-infinity'",
    "year_1": "timestamp '0001-01-01 00:00:00'",
    "year_1_east": "timestamptz '0001-01-01 00:00:00+00'",
    "year_2": "timestamptz '0002-03-04 00:00:00+00'",
    "year_9999": "timestamptz '9999-12-31 23:59:59+00'",
    "year_9999_naive": "timestamp '9999-12-31 23:59:59.999999'",
    "year_10000": "timestamp '10000-01-01'",
    "before_christ": "timestamp '0044-03-15 BC'",
    "future": "now() + interval '10 days'",
    "just_ahead": "now() + interval '2 minutes'",
    "fresh": "now() - interval '1 hour'",
    "stale": "now() - interval '3 days'",
    "very_stale": "now() - interval '9 days'",
    "null_date": "null::date",
}
STATIC = "create table {} as select timestamptz '2026-01-02 03:04:05.678901+00' as loaded_at"
DATABASE = "odd"


def holding(columns: str) -> str:
    return f"create table {{}} as select {columns}"


JANUARY = "timestamp '2026-01-02'"
PARTITIONED = """
    create table {} (loaded_at timestamp) partition by range (loaded_at);
    create table a_partition partition of {} default;
    insert into {} values ('2026-01-02')
"""
DIVIDING = "create view {} as select now() + n / (n - 1) * interval '1 day' as loaded_at from ones"
TEN_DAYS = f"{JANUARY} + n * interval '1 day' as loaded_at, n from generate_series(0, 9) n"

TYPES = [Odd(name, holding(f"{value} as loaded_at")) for name, value in OF_TYPE.items()]
TABLES = [
    Odd("empty", "create table {} (loaded_at timestamptz)"),
    Odd("empty_date", "create table {} (loaded_at date)"),
    Odd("emptied", "create table {} as select now() as loaded_at; truncate {}"),
    Odd("only_nulls", holding("null::timestamptz as loaded_at from generate_series(1, 9)")),
    Odd("a_view", f"create view {{}} as select {JANUARY} as loaded_at"),
    Odd("materialized", f"create materialized view {{}} as select {JANUARY} as loaded_at"),
    Odd("dividing_by_zero", DIVIDING),
    Odd("partitioned", PARTITIONED),
    Odd(
        "is_foreign",
        "create foreign table {} (loaded_at timestamp) server here options (table_name 'midnight')",
    ),
    Odd("missing_table", "select 1"),
    Odd("denied", "create table {} as select now() as loaded_at; revoke all on {} from reader"),
    Odd("denied_schema", schema="closed"),
    Odd("in_another_schema", schema="odd schema"),
    Odd("in_another_database", "select 1", database="postgres"),
    Odd("MixedCase"),
    Odd("select"),
    Odd("with space"),
    Odd("a_percent", identifier="100% %s %(x)s"),
    Odd("umlaut", identifier="größe_日本"),
    Odd("a_quote", identifier='in"the middle'),
]
COLUMNS = [
    Odd("missing_column", loaded_at="nowhere"),
    Odd("misspelt_column", loaded_at="loaded_att"),
    Odd("quoted_column", holding(f'{JANUARY} as "Loaded At"'), '"Loaded At"'),
    Odd("upper_column", loaded_at="LOADED_AT"),
    Odd("reserved_column", holding(f'{JANUARY} as "order"'), "order"),
    Odd("reserved_quoted", holding(f'{JANUARY} as "order"'), '"order"'),
    Odd("user_column", loaded_at="user"),
    Odd("whole_row", loaded_at="whole_row"),
    Odd("expression", loaded_at="loaded_at + interval '1 day'"),
    Odd("cast_date", holding("date '2026-01-02' as d"), "d::timestamp"),
    Odd("cast_text", holding("text '2026-01-02 03:04' as d"), "d::timestamptz"),
    Odd("at_time_zone", loaded_at="loaded_at at time zone 'Asia/Kathmandu'"),
    Odd("qualified", loaded_at="qualified.loaded_at"),
    Odd("open_comment", loaded_at="loaded_at /* and"),
    Odd("close_comment", loaded_at="loaded_at */ "),
    Odd("two_values", loaded_at="loaded_at), max(loaded_at"),
    Odd("out_of_its_brackets", loaded_at="loaded_at) as max_loaded_at, now() --"),
]
FILTERS = [
    Odd("with_percent", holding(f"7 % 4 as x, {JANUARY} as loaded_at"), filter="x % 2 = 1"),
    Odd("filtered", holding(TEN_DAYS), filter="n < 3"),
    Odd("filtered_to_nothing", filter="false"),
    Odd("filter_with_comment", filter="loaded_at < now() -- only the past"),
    Odd("filter_fails", filter="nowhere = 1"),
    Odd("filter_unbalanced", filter="true) or (true"),
    Odd("filter_unions", filter="true union all select now(), now()"),
    Odd("filter_grouped", filter="true group by loaded_at"),
]
QUERIES = [
    Odd("query", query="select max(loaded_at) from {{ this }}"),
    Odd("query_of_date", query="select max(loaded_at)::date from {{this}}"),
    Odd("query_many_rows", query="select loaded_at from {{ this }} union all select now()"),
    Odd("query_no_rows", query="select loaded_at from {{ this }} where false"),
    Odd("query_two_columns", query="select now(), now()"),
    Odd("query_comment", query="select max(loaded_at) from {{ this }} -- the newest"),
]
TOO_MANY_DAYS = 10**9
YESTERDAY = holding("now() - interval '1 day' as loaded_at")
LIMITS = [
    Odd("only_a_warning", error_days=None),
    Odd("only_an_error", warn_days=None),
    Odd("an_error_before_the_warning", YESTERDAY, warn_days=9, error_days=0),
    Odd("error_no_dbt_can_count", YESTERDAY, warn_days=0, error_days=TOO_MANY_DAYS),
    Odd("warning_no_dbt_can_count", YESTERDAY, warn_days=TOO_MANY_DAYS, error_days=9),
    Odd("warning_no_dbt_counts_to", warn_days=TOO_MANY_DAYS, error_days=5),
]
FURTHER = """
    create table "odd schema".further as select timestamp '2026-01-02' as loaded_at;
    create table public.twice as select timestamp '2026-01-03' as loaded_at;
    create table "odd schema".twice as select timestamp '2026-01-04' as loaded_at
"""
SEARCH_PATH = [
    Odd("further_in_search_path", FURTHER, query="select max(loaded_at) from further"),
    Odd("first_in_search_path", "select 1", query="select max(loaded_at) from twice"),
]

ODD = [*TYPES, *TABLES, *COLUMNS, *FILTERS, *QUERIES, *LIMITS, *SEARCH_PATH]


@pytest.fixture(scope="module")
def odd(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """All the odd sources; the reader is no superuser, and its clock shows New York's time."""
    directory = tmp_path_factory.mktemp("odd") / "project"
    write_project(directory, ODD)
    postgres.start()
    database = postgres.create_database(DATABASE)
    run_sql(
        database,
        "create role reader login password 'reader'",
        "alter role reader set timezone = 'America/New_York'",
        'create schema "odd schema"; grant usage on schema "odd schema" to reader',
        "create schema closed",
        *("alter default privileges grant select on tables to reader",),
        "create extension postgres_fdw",
        "create server here foreign data wrapper postgres_fdw options "
        f"(host '{database.host}', port '{database.port}', dbname '{DATABASE}')",
        "create user mapping for reader server here options (user 'reader', password 'reader')",
        "create table ones as select 1 as n",
        *(source.create() for source in ODD),
    )
    yield Engines(directory, replace(database, user="reader", password="reader"))
    postgres.start()
    postgres.drop_database(DATABASE)
    run_sql(postgres, "drop role reader")


@pytest.fixture(scope="module")
def both(odd: Engines) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What either engine says of each source, one run right after the other."""
    by_dbt, by_postgres = odd.sources("dbt"), odd.sources("postgres")
    assert by_dbt.keys() == by_postgres.keys() == {source.name for source in ODD}
    return {name: (by_dbt[name], by_postgres[name]) for name in by_dbt}


@pytest.mark.parametrize("name", [source.name for source in ODD])
def test_both_engines_say_the_same(
    both: dict[str, tuple[dict[str, Any], dict[str, Any]]], name: str
) -> None:
    by_dbt, by_postgres = comparable(*both[name])

    assert by_postgres == by_dbt
