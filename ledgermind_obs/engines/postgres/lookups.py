"""What dbt's PostgreSQL adapter asks of a source, and what it makes of the answer.

The statements are those of dbt's macros ``collect_freshness`` and ``collect_freshness_custom_sql``
(dbt/include/global_project/macros/adapters/freshness.sql). Look-ups of plain columns may share a
statement, each as a scalar subquery, so that every value keeps its own type and one cannot change
the meaning of another; whatever is more than a column's name is asked by itself, as dbt does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ledgermind_obs.dbt.entries import Span, empty, failed, timed
from ledgermind_obs.dbt.manifest import Freshness, Source
from ledgermind_obs.freshness import SourceFreshness, State

# One round trip and one plan for so many look-ups; more of them take longer to plan than they save.
BATCH_SIZE = 50

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_NAME = r'(?:[A-Za-z_][\w$]*|"[^"]+")'
_PLAIN_FIELD = re.compile(_NAME, re.ASCII)
_PLAIN_RELATION = re.compile(rf"(?:{_NAME}\.){{0,2}}{_NAME}", re.ASCII)
_THIS = re.compile(r"\{\{\s*this\s*\}\}")


class Lookup(NamedTuple):
    """One source's question; ``column`` is its share of a common statement, if it may have one."""

    unique_id: str
    statement: str
    column: str = ""


class Answer(NamedTuple):
    """What the database said: a value of whatever type, or an error in its words."""

    max_loaded_at: object = None
    snapshotted_at: datetime | None = None
    error: str = ""
    seconds: float = 0.0


def lookup(source: Source) -> Lookup:
    """Return what dbt would ask of the source."""
    relation = source.relation_name or ""
    if source.loaded_at_query is not None:
        query = _THIS.sub(lambda _: relation, source.loaded_at_query)
        return Lookup(source.unique_id, _custom_statement(query))
    field, condition = source.loaded_at_field or "", _filter(source)
    plain = _PLAIN_FIELD.fullmatch(field) and _PLAIN_RELATION.fullmatch(relation)
    column = f"(select max({field}) from {relation})" if plain and not condition else ""
    return Lookup(source.unique_id, _statement(field, relation, condition), column)


def _statement(field: str, relation: str, condition: str) -> str:
    where = f"\nwhere {condition}\n" if condition else "\n"
    return (
        f"select\n  max({field}) as max_loaded_at,\n  now() as snapshotted_at\n"
        f"from {relation}{where}"
    )


def _custom_statement(query: str) -> str:
    return (
        f"with source_query as (\n  {query}\n)\n"
        "select\n  (select * from source_query) as max_loaded_at,\n  now() as snapshotted_at\n"
    )


def common_statement(lookups: Iterable[Lookup]) -> str:
    """Return one statement for look-ups of plain columns: the time, then each one's value."""
    return ",\n".join(["select now()", *(lookup.column for lookup in lookups)])


def sole_row(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return the time and the snapshot's time; raises ValueError where dbt would not take them."""
    if len(rows) != 1 or len(rows[0]) != len(("max_loaded_at", "snapshotted_at")):
        raise ValueError("expected one row of two values: does loaded_at_field or filter add more?")
    return rows[0]


def batches(lookups: Sequence[Lookup], size: int = BATCH_SIZE) -> Iterator[list[Lookup]]:
    """Yield the look-ups in groups of at most ``size``; what cannot be shared is alone."""
    shared = [lookup for lookup in lookups if lookup.column]
    yield from (shared[start : start + size] for start in range(0, len(shared), size))
    yield from ([lookup] for lookup in lookups if not lookup.column)


def entry(source: Source, answer: Answer, span: Span) -> SourceFreshness:
    """Return what the answer says of the source, as dbt would have it."""
    checked_at = answer.snapshotted_at
    if answer.error or checked_at is None:
        from ledgermind_obs.dbt.log import database_message

        return failed(source, database_message(answer.error) or "the database gave no reason")
    if objection := span.objection(checked_at):
        return failed(source, objection)
    try:
        loaded_at = _loaded_at(answer.max_loaded_at)
        age = (checked_at - loaded_at).total_seconds()
        state = _state(source.freshness or Freshness(), age)
    except (TypeError, OverflowError) as error:
        return failed(source, str(error))
    if loaded_at.date() == _NEVER.date():
        return empty(source, checked_at)
    return timed(source, state, loaded_at, checked_at)


def _loaded_at(value: object) -> datetime:
    """Return the newest row's time: without a row year 1, without a zone UTC, as in dbt.

    Raises TypeError for what is no timestamp, OverflowError for one that UTC cannot express.
    """
    if value is None:
        return _NEVER
    if not isinstance(value, datetime):
        raise TypeError(
            f"expected a timestamp and received a value of type {type(value).__name__!r}; "
            "cast loaded_at_field to timestamp"
        )
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _state(freshness: Freshness, age: float) -> State:
    """Return dbt's verdict on an age in seconds."""
    if _exceeded(freshness.error_after_seconds, age):
        return State.ERROR
    if _exceeded(freshness.warn_after_seconds, age):
        return State.WARN
    return State.PASS


def _exceeded(limit: float | None, age: float) -> bool:
    """Return whether the limit is passed; raises OverflowError for one that dbt cannot express."""
    return limit is not None and age > timedelta(seconds=limit).total_seconds()


def _filter(source: Source) -> str:
    return (source.freshness.filter if source.freshness else None) or ""
