"""Whole dbt projects that nobody wrote: all that a source's YAML and table may be, met by chance.

Every time is either years away or some whole number of five minutes and a half past from now, and
no limit is anywhere near that: two runs one after the other never see it crossed in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.integration.odd import PROFILES

Yaml = dict[str, Any]

DATABASES = ["plain", "Mixed Db", "größe"]
ZONES = [
    *("UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Europe/Dublin"),
    *("Pacific/Apia", "Antarctica/Troll", "Africa/Monrovia", "Etc/GMT-14"),
]
DATE_STYLES = ["ISO, MDY", "German", "SQL, DMY", "Postgres, MDY"]

# The longest name that PostgreSQL keeps; it cuts the rest off.
NAME_BYTES = 63
ODD_NAMES = [
    *("MixedCase", "select", "user", "with space", "größe", "日本", "🦆", 'in"the middle', "İ"),
    *('"', '"all"', "it's", "a.b", 'a"."b', "123", "1e5", "None", "true", "null", "$x", "x$1"),
    *("100% %s %(x)s", "back\\slash", "x" * 70, "ö" * 40, "-- no comment", "/* nor this */"),
]

AGO = "now() - interval '{} seconds' - n * interval '1 day'"
AGO_TYPES = [
    *("timestamptz", "timestamptz", "timestamp", "timestamp", "timestamp(0)", "timestamptz(3)"),
    *("text", "moment"),
]
LONG_AGO = [
    "timestamptz '2023-11-05 01:30:00 America/New_York' - n * interval '1 day'",
    "timestamptz '2023-11-05 01:30:00.000001-05'",
    "timestamp '2024-03-10 02:30:00' + n * interval '1 hour'",
    "timestamp '2022-04-03 01:45:00'",
    "timestamptz '2011-12-30 12:00:00 Pacific/Apia'",
    "timestamp '1972-01-07 00:30:00'",
    "timestamp '2024-02-29 23:59:60'",
    "timestamptz '1970-01-01 00:00:00+00'",
    "timestamp '0001-01-01 00:00:00'",
    "timestamptz '0001-01-01 00:00:00+00'",
    "timestamptz '0001-01-01 14:00:00+00'",
    "timestamptz '9999-12-31 23:59:59.999999+00'",
    "timestamp '9999-12-31 23:59:59.999999'",
    "timestamptz '9999-12-31 12:00:00+00'",
    "timestamp '10000-01-01'",
    "timestamptz '0044-03-15 BC'",
    "timestamptz 'infinity'",
    "timestamp '-infinity'",
]
OTHER_TYPES = [
    *("date '2024-01-02' - n", "date 'infinity'", "date '0044-03-15 BC'"),
    *("text '2024-01-02T03:04:05+00:00'", "varchar '2024-01-02'", "name '2024-01-02'"),
    *("n", "n::bigint", "n + 0.5", "'nan'::float8", "'nan'::numeric", "money '1'", "n = 1"),
    *("time '03:04'", "timetz '03:04+05'", "interval '1 day'", "uuidv7()", "'x'::bytea"),
    *("'{}'::json", "'{}'::jsonb", "inet '::1'", "bit '1'", "point '(1, 2)'"),
    *("array[timestamp '2024-01-02']", "tstzrange('2024-01-02', null)", "mood 'glad'"),
    *("daterange '[2024-01-01, 2024-01-02)'", "oid '1'", "pg_lsn '0/1'"),
]
ROWS = 'select {value} as loaded_at, n, {value} as "Loaded At" from generate_series(0, 3) as n'
# How a table is made of the rows in {rows}; {name} is its own name, {part} another one.
KINDS = {
    "table": "create table {name} as {rows}",
    "view": "create table {part} as {rows}; create view {name} as select * from {part}",
    "materialized": "create materialized view {name} as {rows}",
    "partitioned": "create table {part} as {rows};"
    "create table {name} (like {part}) partition by list (n);"
    "create table {part}_some partition of {name} for values in (0, 1);"
    "create table {part}_rest partition of {name} default;"
    "insert into {name} select * from {part}",
    "inherited": "create table {part} as {rows}; create table {name} (like {part});"
    "alter table {part} inherit {name}",
    "unlogged": "create unlogged table {name} as {rows}",
    "empty": "create table {name} as {rows} with no data",
    "only nulls": "create table {name} as {rows};"
    'update {name} set loaded_at = null, "Loaded At" = null',
    "row security": "create table {name} as {rows}; alter table {name} enable row level security;"
    "create policy few on {name} using (n > 1)",
    "denied": "create table {name} as {rows}; revoke all on {name} from reader",
    "missing": "select 1",
}

FIELDS = [
    *('"loaded_at"', "LOADED_AT", '"Loaded At"', '"LOADED_AT"', " loaded_at ", "nowhere", "n"),
    *("loaded_at::timestamp", "loaded_at::timestamptz", "cast(loaded_at as timestamp(0))"),
    *("loaded_at at time zone 'Asia/Kathmandu'", 'coalesce(loaded_at, "Loaded At")'),
    *("loaded_at\n  + interval '1 hour'", "distinct loaded_at", "all loaded_at", "user", "null"),
    *("'2024-01-02'", "loaded_at order by n", "loaded_at) filter (where n > 1", "tableoid"),
    *("case when n > 1 then loaded_at end", "loaded_at -- the newest\n", "localtime", "*", "größe"),
    *("to_timestamp(1700000000 + n)", "(select max(n) from generate_series(1, 2) n)::text"),
]
FILTERS = [
    *("true", "false", "n < 2", "n % 2 = 0", "loaded_at is not null", '"Loaded At" is null'),
    *("nowhere", "n >", "n = 1 -- only that", "n = 1 /* that", "'größe' <> '%s %(x)s'", "(n > 1)"),
    *("true order by 1", "true limit 1", "true group by n", "n in (\n  1,\n  2\n)", "  "),
]
QUERIES = [
    *("select max(loaded_at) from {{ this }}", "select max(loaded_at) from {{this}} where n > 1"),
    *("select max(loaded_at)::timestamp from {{  this  }} as t", "select null", "values (null)"),
    *("with t as (select * from {{ this }}) select max(loaded_at) from t", "select '{{this}}'"),
    *("select loaded_at from {{ this }}", "select n, n from {{ this }}", "select 1 -- {{ this }}"),
    "(select max(loaded_at) from {{ this }}) union (select max(loaded_at) from {{ this }})",
    *("select loaded_at from {{ this }} order by n limit 1", "select date '2024-01-02'", "selec"),
]


@dataclass(frozen=True)
class Table:
    """A table as YAML declares it, the SQL that makes it, and the name it is made by."""

    declared: Yaml
    sql: str
    identifier: str


@dataclass(frozen=True)
class Group:
    """A source as dbt's YAML has it: a schema with tables."""

    declared: Yaml
    schema: str
    tables: list[Table]

    def declare(self, name: str) -> Yaml:
        """Return its YAML; its tables are named by their place in it."""
        tables = [
            {**table.declared, "name": f"{name}_{place:02}"}
            for place, table in enumerate(self.tables)
        ]
        return {**self.declared, "name": name, "schema": self.schema, "tables": tables}

    def statements(self, parts: str) -> Iterator[str]:
        """Yield the SQL that makes it; ``parts`` is what names of its tables' parts begin with."""
        schema = quoted(self.schema)
        yield f"create schema {schema}"
        for place, table in enumerate(self.tables):
            name = f"{schema}.{quoted(table.identifier)}"
            yield table.sql.replace("{name}", name).replace("{part}", f"{parts}_{place}")


@dataclass(frozen=True)
class Project:
    """A project, the database it is about, and what the reader's sessions start with.

    One of the schemas, the ``closed`` one, may not be entered.
    """

    settings: Yaml
    database: str
    zone: str
    date_style: str
    closed: int
    groups: list[Group]

    def __str__(self) -> str:
        """Return what it is like as a whole."""
        return f"{self.settings} on {self.database!r}, {self.zone}, {self.date_style}"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Keep Hypothesis from printing pages of tables."""
        printer.text(f"<{self}>")

    def documents(self) -> dict[str, Yaml]:
        """Return the project's YAML by file."""
        named = {"name": "odd", "profile": "odd", "version": "1.0"}
        sources = [group.declare(f"s{number}") for number, group in enumerate(self.groups)]
        return {
            "dbt_project.yml": {**named, **self.settings},
            "models/sources.yml": {"sources": sources},
        }

    def statements(self) -> Iterator[str]:
        """Yield the SQL that fills the database."""
        sessions = f"alter role reader in database {quoted(self.database)} set"
        yield f"{sessions} timezone = '{self.zone}'"
        yield f"{sessions} datestyle = '{self.date_style}'"
        yield "alter default privileges grant select on tables to reader"
        yield "create schema parts"
        yield "create domain moment as timestamptz; create type mood as enum ('sad', 'glad')"
        for number, group in enumerate(self.groups):
            yield from group.statements(f"parts.s{number}")
            if number != self.closed:
                yield f"grant usage on schema {quoted(group.schema)} to reader"

    def write(self, directory: Path) -> None:
        """Write the project's files."""
        (directory / "models").mkdir(parents=True)
        (directory / "profiles.yml").write_text(PROFILES)
        for name, document in self.documents().items():
            # JSON is YAML, as long as it does not write characters as two.
            text = json.dumps(document, ensure_ascii=False)
            (directory / name).write_text(text, encoding="utf-8")

    def describe(self, table: str) -> str:
        """Return all that was chosen for the table of this name."""
        group, place = (int(part) for part in table.removeprefix("s").split("_"))
        found = self.groups[group]
        return "\n".join(
            [
                *(f"{table}: {found.tables[place].declared}", found.tables[place].sql),
                f"its source: {found.declared}, schema {found.schema!r}",
                f"its project: {self}",
            ]
        )


def quoted(name: str) -> str:
    """Return the name as an identifier of SQL."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def kept(name: str) -> str:
    """Return as much of a name as PostgreSQL keeps."""
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


T = TypeVar("T")


def mostly(
    tenths: int, usual: st.SearchStrategy[T], rare: st.SearchStrategy[T]
) -> st.SearchStrategy[T]:
    """Return what draws ``usual`` in so many tenths of all cases; ``one_of`` has no weights.

    The rare numbers are in the middle: Hypothesis likes both ends.
    """
    return st.integers(0, 9).flatmap(lambda number: usual if (number - 5) % 10 < tenths else rare)


# Without what is of Jinja, what ends a statement, and what ends a line.
_LETTERS = st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="{};#")
_plain_names = st.from_regex(r"[a-z][a-z0-9_]{3,9}", fullmatch=True)
_odd_names = st.sampled_from(ODD_NAMES) | st.text(_LETTERS, min_size=1, max_size=12)
names = mostly(6, _plain_names, _odd_names)

_counts = {
    "minute": st.integers(-2, 400).map(lambda number: number * 5),
    "hour": st.integers(0, 72),
    "day": st.integers(0, 30),
}
_limits = st.sampled_from(list(_counts)).flatmap(
    lambda period: st.fixed_dictionaries({"count": _counts[period], "period": st.just(period)})
)
# dbt cannot count so many days.
TOO_LONG = {"count": 10**9, "period": "day"}
_odd_limits = st.sampled_from([None, {}, {"count": None, "period": None}, {"count": 3}, TOO_LONG])
limits = mostly(9, _limits, _odd_limits)
_both = {"warn_after": limits, "error_after": limits}
_filter = {"filter": st.sampled_from([None, *FILTERS])}
freshness = mostly(
    6,
    st.fixed_dictionaries(_both),
    st.fixed_dictionaries({**_both, **_filter})
    | st.fixed_dictionaries({}, optional={**_both, **_filter}),
)
_fields = mostly(7, st.just("loaded_at"), st.sampled_from(FIELDS))
timings = mostly(
    8,
    _fields.map(lambda field: {"loaded_at_field": field}),
    st.sampled_from(QUERIES).map(lambda query: {"loaded_at_query": query}),
)
quoting = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("database", "schema", "identifier"), st.booleans())
)

_kinds = mostly(6, st.just("table"), st.sampled_from(list(KINDS)))
_ago = st.tuples(st.integers(-300, 3000), st.sampled_from(AGO_TYPES)).map(
    lambda drawn: f"({AGO.format(drawn[0] * 300 + 90)})::{drawn[1]}"
)
values = mostly(7, _ago, st.sampled_from(LONG_AGO) | st.sampled_from(OTHER_TYPES))
rows = values.map(lambda value: ROWS.replace("{value}", value))


def _limiting(tenths: int) -> st.SearchStrategy[Yaml]:
    """Return what draws freshness in most of so many tenths of all cases, or none, or a null."""
    declared = mostly(9, freshness, st.none()).map(lambda found: {"freshness": found})
    return mostly(tenths, declared, st.just({}))


@st.composite
def settings_of(
    draw: st.DrawFn, when: st.SearchStrategy[Yaml], limiting: st.SearchStrategy[Yaml]
) -> Yaml:
    """Draw freshness and when it was loaded, each at the top or below ``config``."""
    declared: Yaml = {}
    for part in (draw(when), draw(limiting)):
        place = declared.setdefault("config", {}) if draw(st.booleans()) else declared
        place.update(part)
    declared |= draw(mostly(8, st.just({}), quoting.map(lambda found: {"quoting": found})))
    return declared


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw a table, which says itself when it was loaded or leaves that to its source."""
    identifier = draw(names)
    sql = KINDS[draw(_kinds)].replace("{rows}", draw(rows))
    declared = draw(settings_of(mostly(5, st.just({}), timings), _limiting(5)))
    return Table({**declared, "identifier": identifier}, sql, identifier)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    """Draw a source, which always says when its tables were loaded."""
    return Group(
        draw(settings_of(timings, _limiting(8))),
        draw(names),
        draw(st.lists(tables(), min_size=8, max_size=20, unique_by=lambda t: kept(t.identifier))),
    )


project_settings = st.fixed_dictionaries(
    {},
    optional={
        "quoting": mostly(6, st.just({}), quoting),
        "sources": freshness.map(lambda found: {"odd": {"+freshness": found}}),
        "query-comment": st.sampled_from(["", None, "a -- b"]),
    },
)
projects = st.builds(
    Project,
    settings=project_settings,
    database=st.sampled_from(DATABASES),
    zone=st.sampled_from(ZONES),
    date_style=st.sampled_from(DATE_STYLES),
    closed=st.integers(0, 9),
    groups=st.lists(groups(), min_size=4, max_size=6, unique_by=lambda g: kept(g.schema)),
)
