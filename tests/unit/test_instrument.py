"""What an application exports of its tables."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ledgermind_obs.instrument import LoadedAtGauge
from ledgermind_obs.metrics import LOADED_AT, STATUS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def application(registry: CollectorRegistry) -> LoadedAtGauge:
    return LoadedAtGauge(registry)


def labels(table: str, **others: str) -> dict[str, str]:
    empty = dict.fromkeys((STATUS if "status" in others else LOADED_AT).labels, "")
    return {**empty, "table": table, **others}


def test_the_documents_own_words_set_the_gauge(
    application: LoadedAtGauge, registry: CollectorRegistry
) -> None:
    application.labels(table="transactions").set(NOON.timestamp())
    assert registry.get_sample_value(LOADED_AT.name, labels("transactions")) == NOON.timestamp()


@pytest.mark.parametrize(
    "at",
    [NOON, NOON.replace(tzinfo=None), NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))],
    ids=["in UTC", "without a zone", "in a zone"],
)
def test_a_time_means_the_same_in_whatever_zone_the_process_runs(
    application: LoadedAtGauge,
    registry: CollectorRegistry,
    at: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        application.loaded("transactions", at)
    time.tzset()
    assert registry.get_sample_value(LOADED_AT.name, labels("transactions")) == NOON.timestamp()


def test_a_table_that_became_empty_has_no_time_until_it_is_filled(
    application: LoadedAtGauge, registry: CollectorRegistry
) -> None:
    application.loaded("ml_features", NOON)
    application.loaded("ml_features", None)
    empty = labels("ml_features", status="empty")
    assert registry.get_sample_value(LOADED_AT.name, labels("ml_features")) is None
    assert registry.get_sample_value(STATUS.name, empty) == 1
    application.loaded("ml_features", NOON)
    assert registry.get_sample_value(LOADED_AT.name, labels("ml_features")) == NOON.timestamp()
    assert registry.get_sample_value(STATUS.name, empty) == 0


def test_a_table_that_never_had_a_row_is_empty(
    application: LoadedAtGauge, registry: CollectorRegistry
) -> None:
    application.loaded("ml_features", None)
    assert registry.get_sample_value(LOADED_AT.name, labels("ml_features")) is None
    assert registry.get_sample_value(STATUS.name, labels("ml_features", status="empty")) == 1


def test_two_sources_of_one_table_name_have_a_time_each(
    application: LoadedAtGauge, registry: CollectorRegistry
) -> None:
    application.loaded("events", NOON, source="web", package="shop")
    application.loaded("events", NOON - timedelta(days=3), source="app", package="shop")
    web, app = (labels("events", source=name, package="shop") for name in ("web", "app"))
    assert registry.get_sample_value(LOADED_AT.name, web) == NOON.timestamp()
    assert registry.get_sample_value(LOADED_AT.name, app) == NOON.timestamp() - 3 * 86_400


def test_a_gauge_that_was_told_nothing_exports_nothing(
    application: LoadedAtGauge, registry: CollectorRegistry
) -> None:
    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == []
