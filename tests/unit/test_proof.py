import math
from datetime import timedelta

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.freshness import State
from ledgermind_obs.metrics import CHECKED_AT, LAST_SUCCESS, LOADED_AT, RUN_TIMESTAMP, Series
from ledgermind_obs.sinks.proof import check_series
from tests.unit.reports import DAY, HOUR, NOW, of_source, report, source, unmeasured

KEY = ("ledgermind", "app", "a")
SERIES = list(metrics.report_series(report(source("a"))))


def with_value(metric: metrics.Metric, value: float) -> list[Series]:
    return [s._replace(value=value) if s.metric is metric else s for s in SERIES]


@pytest.mark.parametrize("state", list(State))
def test_what_a_run_reports_can_be_true(state: State) -> None:
    made = {
        State.FUTURE: source("a", state, -2 * HOUR),
        State.EMPTY: source("a", state, None),
        State.MISSING: unmeasured("a", state),
        State.QUERY_ERROR: unmeasured("a", state),
    }.get(state, source("a", state))

    check_series(list(metrics.report_series(report(made))), NOW)


def test_a_source_of_the_future_that_could_not_be_measured_since_keeps_its_time() -> None:
    kept = source("a", State.QUERY_ERROR, -2 * HOUR)

    check_series(list(metrics.report_series(report(kept))), NOW)


@pytest.mark.parametrize("metric", [LOADED_AT, CHECKED_AT, metrics.WARN_AFTER, metrics.INFO])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_evidence(metric: metrics.Metric, value: float) -> None:
    with pytest.raises(ValueError, match=f"{metric.name} of .* is (nan|-?inf)"):
        check_series(with_value(metric, value), NOW)


@pytest.mark.parametrize("metric", [CHECKED_AT, RUN_TIMESTAMP, LAST_SUCCESS])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (NOW.timestamp() + 301, "ahead of this machine's clock"),
        (1e300, "ahead of this machine's clock"),
        (1.79, "no time of a run"),
        (0.0, "no time of a run"),
        (-1.5, "no time of a run"),
    ],
)
def test_a_look_or_run_at_an_impossible_moment_is_no_evidence(
    metric: metrics.Metric, value: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        check_series(with_value(metric, value), NOW)


def test_clocks_may_differ_by_five_minutes() -> None:
    check_series(with_value(CHECKED_AT, NOW.timestamp() + 299), NOW)
    check_series(SERIES, NOW - timedelta(seconds=299))


@pytest.mark.parametrize("value", [-1e11, 1e12])
def test_a_row_of_no_year_is_no_evidence(value: float) -> None:
    with pytest.raises(ValueError, match="no time of a row"):
        check_series(with_value(LOADED_AT, value), NOW)


def test_a_row_of_1900_can_be_the_newest() -> None:
    check_series(with_value(LOADED_AT, -2_208_988_800.0), NOW)


def test_a_fresh_source_has_no_row_of_tomorrow() -> None:
    with pytest.raises(ValueError, match="not in the state future"):
        check_series(with_value(LOADED_AT, NOW.timestamp() + DAY), NOW)


@pytest.mark.parametrize("metric", [LOADED_AT, CHECKED_AT])
def test_a_source_that_was_measured_has_its_times(metric: metrics.Metric) -> None:
    with pytest.raises(ValueError, match=rf"{metric.name} of ledgermind\.app\.a is missing"):
        check_series([s for s in SERIES if s.metric is not metric], NOW)


def test_one_source_is_not_in_two_states() -> None:
    both = [s._replace(value=1.0) if s.metric is metrics.STATUS else s for s in SERIES]
    with pytest.raises(ValueError, match="is in two states"):
        check_series(both, NOW)


def test_a_series_that_is_there_twice_is_no_evidence() -> None:
    with pytest.raises(ValueError, match="is there twice"):
        check_series([*SERIES, of_source(LOADED_AT, 1.0, *KEY)], NOW)


def test_a_state_that_only_a_newer_obs_knows_is_let_be() -> None:
    newer = [
        s
        if s.metric is not metrics.STATUS
        else s._replace(label_values=(*s.label_values[:-1], "stalled"))
        for s in SERIES
        if s.metric is not metrics.STATUS or s.value == 1.0
    ]

    check_series(newer, NOW)
