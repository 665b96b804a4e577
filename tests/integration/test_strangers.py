"""Projects that are not ours, by the quickstart from ``pip install`` to an alert that arrives."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from shutil import copy

import pytest

from services.postgres import Postgres
from services.prometheus import Pushgateway
from tests.integration.chain import Chain, chain, pushed, until
from tests.integration.strangers import DUCKDB_CONSTRAINTS, Stranger, stranger
from tests.integration.wheel import install, installed

Alerts = set[tuple[str, str]]


@pytest.fixture(scope="module")
def python(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a clean environment: the wheel, beside dbt with two adapters."""
    adapters = ("dbt-core<1.12", "dbt-duckdb", "dbt-postgres")
    place, wheel = tmp_path_factory.mktemp("strangers"), distributions[".whl"]
    return install(place, wheel, *adapters, constraints=DUCKDB_CONSTRAINTS)


def on_postgres(found: Stranger, database: Postgres) -> Stranger:
    """Return the project with its tables in a database of PostgreSQL's."""

    def sql(statement: str) -> None:
        with closing(database.connect()) as session, session, session.cursor() as cursor:
            cursor.execute(statement)

    return Stranger(found.directory, found.gateway, found.env | database.env(), sql)


def arrived(alerting: Chain) -> Alerts:
    """Return name and owner of each alert that Alertmanager holds."""
    alerts = json.loads(alerting.alertmanager.request("/api/v2/alerts"))
    return {(alert["labels"]["alertname"], alert["labels"].get("owner", "")) for alert in alerts}


def assert_alerted(found: Stranger, stale: str, alert: str, owner: str, place: Path) -> None:
    """Follow the page with fresh data; once ``stale`` makes a table old, this alert arrives."""
    found.sql((found.directory / "tables.sql").read_text())
    found.follow_the_quickstart()
    rules, watchdog = place / "rules", ("Watchdog", "")
    rules.mkdir()
    copy(found.directory / "dbt_freshness.yml", rules)
    with chain(place / "chain", pushed(found.gateway), rules) as alerting:
        until(lambda: arrived(alerting) == {watchdog}, "what always fires arrives, and no other")
        found.sql(stale)
        found.push()
        until(lambda: arrived(alerting) == {watchdog, (alert, owner)}, f"{alert} of {owner}")
        until(alerting.slack, "somebody is told")
        assert alerting.slack()[0]["title"] == f"🚨 [WARNING] {alert}"


def test_a_shop_on_duckdb_with_versions_in_its_names_alerts_the_owner_of_its_dashboard(
    python: Path, gateway: Pushgateway, tmp_path: Path
) -> None:
    shop = stranger("duckdb_shop", tmp_path, python, gateway)
    stale = "update raw_v2.orders_v2_1 set _loaded_at = _loaded_at - interval 20 hours"

    assert_alerted(shop, stale, "SourceStaleOrders", "Sales & Co", tmp_path)


def test_two_packages_with_one_table_name_in_three_sources_alert_the_owner_of_the_stale_one(
    python: Path, gateway: Pushgateway, database: Postgres, tmp_path: Path
) -> None:
    platform = on_postgres(stranger("two_packages", tmp_path, python, gateway), database)
    platform.type_in("dbt deps")
    stale = "update web.events set received_at = received_at - interval '8 hours'"

    assert_alerted(platform, stale, "SourceStalePlatformWebEvents", "web team", tmp_path)


def test_a_project_of_odd_names_and_no_exposure_alerts_the_owner_that_its_table_names(
    python: Path, gateway: Pushgateway, tmp_path: Path
) -> None:
    odd = stranger("odd_names", tmp_path, python, gateway)
    stale = """update "ERP export"."größe-und_farbe (neu)"
               set "Changed At" = "Changed At" - interval 2 hours"""

    assert_alerted(odd, stale, "SourceStaleGrößeUndFarbeNeu", "Einkauf, Süd", tmp_path)


def test_pip_finds_nothing_amiss_in_an_environment_that_has_obs_beside_dbt(python: Path) -> None:
    assert installed(python)
