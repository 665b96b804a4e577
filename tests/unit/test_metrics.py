import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs import metrics
from ledgermind_obs.freshness import State
from ledgermind_obs.metrics import (
    BUILD_INFO,
    CHECKED_AT,
    INFO,
    LAST_SUCCESS,
    LOADED_AT,
    METRICS,
    RUN_SUCCESS,
    STATUS,
    Series,
)
from ledgermind_obs.sinks.exposition import exposition, parse_exposition
from tests.unit.reports import HOUR, NOW, of_source, report, source, unmeasured

GROUP = {"job": "dbt-freshness", "project": "ledgermind", "target": "prod"}


def keys(series: list[Series], metric: metrics.Metric) -> set[str]:
    return {item.label_values[2] for item in series if item.metric is metric}


def test_a_measured_source_has_its_time_and_when_that_was_seen() -> None:
    series = list(metrics.report_series(report(source("transactions", age=4 * HOUR))))

    values = {s.metric: s.value for s in series if s.metric in (LOADED_AT, CHECKED_AT)}
    assert values == {LOADED_AT: NOW.timestamp() - 4 * HOUR, CHECKED_AT: NOW.timestamp()}


@pytest.mark.parametrize("state", list(State))
def test_exactly_one_status_of_a_source_is_one(state: State) -> None:
    series = metrics.report_series(report(source("transactions", state)))

    statuses = {s.state: s.value for s in series if s.metric is STATUS}
    assert statuses == {str(each): float(each is state) for each in State}


def test_an_empty_table_has_no_time_but_was_looked_at() -> None:
    series = list(metrics.report_series(report(source("t", State.EMPTY, None))))

    assert not keys(series, LOADED_AT)
    assert keys(series, CHECKED_AT) == {"t"}


def test_a_limit_that_is_not_set_is_not_exported() -> None:
    series = list(metrics.report_series(report(source("t", error_after_seconds=None))))

    assert keys(series, metrics.WARN_AFTER) == {"t"}
    assert not keys(series, metrics.ERROR_AFTER)


def test_a_failed_run_speaks_of_the_run_alone() -> None:
    series = list(metrics.failed_run_series(NOW, 3.0))

    assert {s.metric.name: s.value for s in series} == {
        "dbt_freshness_run_success": 0.0,
        "dbt_freshness_run_timestamp_seconds": NOW.timestamp(),
        "dbt_freshness_run_duration_seconds": 3.0,
    }
    assert LAST_SUCCESS not in {s.metric for s in series}


def test_what_is_written_is_read_back() -> None:
    series = list(metrics.report_series(report(source("a"), unmeasured("b"))))

    found = parse_exposition(exposition(series, GROUP), GROUP)

    assert set(found) == set(series)
    assert len(found) == len(series)


@given(st.text(), st.floats(allow_nan=False))
def test_any_label_value_and_number_survive_the_way_there_and_back(text: str, value: float) -> None:
    series = of_source(LOADED_AT, value, table=text)

    found = parse_exposition(exposition([series], GROUP), GROUP)

    assert [(s.label_values, s.value) for s in found] == [(series.label_values, value)]


@pytest.mark.parametrize(
    "other", [{"target": "dev"}, {"project": "other"}, {"instance": "db1"}, {"job": "manual"}]
)
def test_series_of_another_group_are_not_ours(other: dict[str, str]) -> None:
    content = exposition([Series(RUN_SUCCESS, (), 1.0)], {**GROUP, **other})

    assert parse_exposition(content, GROUP) == []


def test_the_empty_instance_label_that_the_gateway_adds_changes_nothing() -> None:
    content = exposition([Series(RUN_SUCCESS, (), 1.0)], {**GROUP, "instance": ""})

    assert parse_exposition(content, GROUP) == [Series(RUN_SUCCESS, (), 1.0)]


def test_text_in_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_exposition(b'dbt_source_info{package="a} what\n', GROUP)


@pytest.mark.parametrize(
    "line",
    [
        'dbt_source_info{package="a} 1',
        'dbt_source_info{package="a",package="b"} 1',
        "dbt_source_info{package=a} 1",
        "dbt_source_info{,} 1",
        'dbt_source_info{package="a" source="b"} 1',
        "dbt_freshness_run_success",
        "dbt_freshness_run_success yes",
        "dbt_freshness_run_success 1_0",
        "dbt_freshness_run_success 1 1700000000000",
        "dbt_freshness_run_success{} 1 2 3",
    ],
)
def test_what_is_no_sample_of_a_gateway_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"not (a sample|labels|a number)|could not convert"):
        parse_exposition(line.encode() + b"\n", {})


def test_a_series_that_is_there_twice_is_never_written() -> None:
    twice = list(metrics.report_series(report(source("a"), source("a", age=9 * HOUR))))

    with pytest.raises(
        ValueError, match=r"loaded_at_seconds of ledgermind\.app\.a\b.* is there twice"
    ):
        exposition(twice)


def test_every_metric_says_what_it_is_and_has_a_name_of_its_own() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.help.endswith(".") for metric in METRICS)


def test_every_metric_of_the_table_is_exported_by_a_run() -> None:
    series = list(metrics.report_series(report(source("t"))))

    assert {s.metric for s in series} == set(metrics.FRESHNESS_METRICS)
    assert all(len(s.label_values) == len(s.metric.labels) for s in series)
    assert not any(math.isnan(s.value) for s in series)
    assert {INFO, BUILD_INFO} <= {s.metric for s in series if s.value == 1.0}
