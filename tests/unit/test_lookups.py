from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.dbt.entries import Span
from ledgermind_obs.dbt.manifest import (
    Freshness,
    Hook,
    LookupManifest,
    Macro,
    Metadata,
    Selector,
    Source,
    Threshold,
)
from ledgermind_obs.engines.postgres import lookups, refusals
from ledgermind_obs.engines.postgres.lookups import Answer, entry, lookup
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.freshness import State

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SPAN = Span(NOW, NOW)
LIMITS = Freshness(Threshold(2, "day"), Threshold(5, "day"))


def source(**fields: Any) -> Source:
    return Source(
        **{
            "unique_id": "source.shop.app.orders",
            "name": "orders",
            "source_name": "app",
            "relation_name": '"shop"."public"."orders"',
            "loaded_at_field": "loaded_at",
            "freshness": LIMITS,
            **fields,
        }
    )


def filtered(text: str) -> Source:
    return source(freshness=Freshness(Threshold(2, "day"), filter=text))


def test_the_statement_is_that_of_dbts_macro() -> None:
    words = lookup(filtered("id > 3")).statement.split()

    assert " ".join(words) == (
        "select max(loaded_at) as max_loaded_at, now() as snapshotted_at "
        'from "shop"."public"."orders" where id > 3'
    )


def test_a_query_is_asked_with_the_relation_for_this() -> None:
    query = lookup(source(loaded_at_query="select max(a) from {{ this }}")).statement

    assert '  select max(a) from "shop"."public"."orders"\n)' in query


@pytest.mark.parametrize("field", ["loaded_at", "_At", '"Loaded At"', '"%s; --"'])
def test_plain_columns_share_a_statement(field: str) -> None:
    assert lookup(source(loaded_at_field=field)).column


@pytest.mark.parametrize(
    "odd",
    [
        source(loaded_at_field="loaded_at::timestamp"),
        source(loaded_at_field="loaded_at /*"),
        source(loaded_at_field='"a" "b"'),
        source(loaded_at_field="a\n"),
        source(loaded_at_query="select 1"),
        source(relation_name='"shop"."public"."or"ders"'),
        source(relation_name='"shop"."public"."orders" --'),
        filtered("true"),
    ],
)
def test_what_is_more_than_a_column_is_asked_alone(odd: Source) -> None:
    assert lookup(odd).column == ""


def test_batches_hold_everything_once_and_the_odd_ones_alone() -> None:
    plain = [lookup(source(unique_id=str(number))) for number in range(7)]
    alone = [lookup(source(unique_id=f"odd {number}", loaded_at_query="")) for number in range(2)]
    found = list(lookups.batches([*alone, *plain], size=3))

    assert [len(batch) for batch in found] == [3, 3, 1, 1, 1]
    assert sorted(look for batch in found for look in batch) == sorted([*plain, *alone])


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(days=2), "pass"),
        (timedelta(days=2, seconds=1), "warn"),
        (timedelta(days=5), "warn"),
        (timedelta(days=5, seconds=1), "error"),
        (timedelta(minutes=-5), "pass"),
        (timedelta(minutes=-5, seconds=-1), "future"),
    ],
)
def test_the_status_is_dbts(age: timedelta, status: str) -> None:
    assert entry(source(), Answer(NOW - age, NOW), SPAN).state == status


@pytest.mark.parametrize(
    ("warn_days", "error_days", "status"),
    [(1, 10**9, "query_error"), (10**9, 9, "query_error"), (10**9, 1, "error")],
)
def test_a_limit_of_more_days_than_dbt_can_count_fails_where_dbt_looks_at_it(
    warn_days: int, error_days: int, status: str
) -> None:
    freshness = Freshness(Threshold(warn_days, "day"), Threshold(error_days, "day"))
    found = entry(source(freshness=freshness), Answer(NOW - timedelta(days=3), NOW), SPAN)

    assert found.state == status
    assert found.message.startswith("days=1000000000" if status == "query_error" else "")


@pytest.mark.parametrize("value", [None, datetime(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC)])
def test_a_table_without_rows_is_empty_also_in_dbts_word_for_it(value: datetime | None) -> None:
    found = entry(source(), Answer(value, NOW), SPAN)

    assert (found.state, found.loaded_at, found.checked_at) == (State.EMPTY, None, NOW)


def test_an_answer_dated_long_after_the_run_is_not_believed() -> None:
    found = entry(source(), Answer(NOW, NOW + timedelta(minutes=6)), SPAN)

    assert (found.state, found.checked_at) == (State.QUERY_ERROR, None)
    assert "after the run: check the clocks" in found.message


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(-14, 14)
)
def test_naive_times_are_utc_and_others_keep_their_moment(moment: datetime, hours: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(hours=hours)))

    assert entry(source(), Answer(moment, NOW), SPAN).loaded_at == moment.replace(tzinfo=UTC)
    assert entry(source(), Answer(aware, NOW), SPAN).loaded_at == aware


@pytest.mark.parametrize("value", [NOW.date(), "2026-01-01", 3, NOW.time(), [NOW]])
def test_what_is_no_timestamp_is_an_error(value: object) -> None:
    found = entry(source(), Answer(value, NOW), SPAN)

    assert (found.state, found.loaded_at) == (State.QUERY_ERROR, None)
    assert "cast loaded_at_field to timestamp" in found.message


@pytest.mark.parametrize("rows", [[], [(1, 2), (1, 2)], [(1, 2, 3)]])
def test_another_shape_than_one_row_of_two_is_no_answer(rows: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="one row of two values"):
        lookups.sole_row(rows)


def manifest(**fields: Any) -> LookupManifest:
    metadata = Metadata(
        adapter_type=fields.pop("adapter_type", "postgres"),
        dbt_version=fields.pop("dbt_version", "1.11.12"),
    )
    return LookupManifest(metadata=metadata, sources={}, **fields)


def overriding(name: str, package: str = "shop") -> LookupManifest:
    return manifest(macros={"m": Macro(name, package, "macros/mine.sql")})


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (manifest(adapter_type="snowflake"), "the manifest is of adapter snowflake"),
        (manifest(adapter_type=None), "the manifest is of adapter unknown"),
        (overriding("collect_freshness"), "macro collect_freshness is overridden in shop's"),
        (overriding("postgres__current_timestamp", "tools"), "overridden in tools's macros/mine"),
        (overriding("default__collect_freshness_custom_sql"), "is overridden"),
        (manifest(selectors={"daily": Selector(default=True)}), "a default selector, daily"),
    ],
)
def test_a_project_that_changes_the_measurement_is_refused(
    refused: LookupManifest, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as raised:
        refusals.check_manifest(refused, selected=False)

    assert raised.value.next_step == "use --engine dbt"


@pytest.mark.parametrize("accepted", [overriding("current_timestamp", "dbt"), overriding("mine")])
def test_dbts_own_macros_and_other_macros_are_no_override(accepted: LookupManifest) -> None:
    refusals.check_manifest(accepted, selected=False)


def hooked(unique_id: str, tag: str, dbt_version: str = "1.10.2") -> LookupManifest:
    return manifest(nodes={unique_id: Hook("tools", [tag])}, dbt_version=dbt_version)


@pytest.mark.parametrize(
    ("dbt_version", "said"),
    [("1.10.2", None), ("1.11.12", None), ("2.0.0-preview.4", None), ("1.8.9", True)],
)
def test_a_hook_that_dbt_runs_before_the_measurement_is_refused(
    dbt_version: str, said: bool | None
) -> None:
    refused = hooked("operation.tools.tools-on-run-start-0", "on-run-start", dbt_version)
    with pytest.raises(ConfigurationError, match="tools has an on-run-start hook") as raised:
        refusals.check_hooks(refused, said)

    assert "source_freshness_run_project_hooks: false" in raised.value.next_step


@pytest.mark.parametrize(
    ("dbt_version", "said"), [("1.11.12", False), ("1.8.9", None), ("1.9.8", None), ("1.5.0", None)]
)
def test_a_hook_that_dbt_would_not_run_does_not_matter(dbt_version: str, said: bool | None) -> None:
    accepted = hooked("operation.tools.tools-on-run-start-0", "on-run-start", dbt_version)
    refusals.check_hooks(accepted, said)


@pytest.mark.parametrize(
    "accepted",
    [
        hooked("operation.tools.tools-on-run-end-0", "on-run-end"),
        hooked("model.shop.orders", "on-run-start"),
    ],
)
def test_a_hook_after_the_measurement_and_a_model_do_not_matter(accepted: LookupManifest) -> None:
    refusals.check_hooks(accepted, None)


def test_a_default_selector_does_not_matter_to_a_selection() -> None:
    refusals.check_manifest(manifest(selectors={"daily": Selector(default=True)}), selected=True)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (source(loaded_at_field=None), "freshness by the table's metadata: app.orders"),
        (source(loaded_at_query="select {{ var('x') }}"), "more Jinja than {{ this }}: app"),
        (source(loaded_at_query="{% if true %}select 1{% endif %}"), "more Jinja"),
        (source(loaded_at_field="now()); commit; drop table x; --"), "a semicolon"),
        (filtered("true; drop table x"), "a semicolon"),
        (source(relation_name='"a"."b"."c"; drop table x'), "a semicolon"),
        (source(relation_name=None), "no relation_name"),
    ],
)
def test_a_source_that_only_dbt_can_measure_is_refused_by_name(
    refused: Source, reason: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        refusals.check_sources([source(), refused])

    assert reason in str(raised.value)
    assert "app.orders" in str(raised.value)


def test_many_refused_sources_are_counted() -> None:
    refused = [source(name=f"t{number}", loaded_at_field=None) for number in range(5)]

    with pytest.raises(ConfigurationError, match=r"app\.t0, app\.t1, app\.t2 and 2 more"):
        refusals.check_sources(refused)
