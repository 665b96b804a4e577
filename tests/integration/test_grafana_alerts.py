"""The query of the alert in Grafana, asked of a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.integration.chain import chain, pushed, until
from tests.integration.shop import Shop

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "ops/grafana/provisioning/alerting/freshness.yml"


def above_its_limit(values: dict[str, float]) -> set[str]:
    """Return the tables whose value the alert's threshold is below."""
    threshold = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"][0]["data"][2]["model"]
    return {
        table
        for table, value in values.items()
        if value > threshold["conditions"][0]["evaluator"]["params"][0]
    }


@pytest.mark.parametrize("with_rules", [True, False], ids=["with the rules", "without them"])
def test_only_a_source_of_more_than_120_hours_is_above_the_limit_also_after_its_series_went(
    shop: Shop, tmp_path: Path, with_rules: bool
) -> None:
    shop.sql("update payments set loaded_at = now() - interval '121 hours'")
    shop.sql("update refunds set loaded_at = now() - interval '119 hours'")
    assert shop.push().returncode == 0
    query = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"][0]["data"][0]["model"]["expr"]
    if not with_rules:
        query = query.replace(":known", ":of_nobody")
    with chain(tmp_path / "chain", pushed(shop.gateway)) as alerting:

        def values() -> dict[str, float]:
            found = alerting.prometheus.query(query)
            return {s["metric"]["table"]: float(s["value"][1]) for s in found}

        until(lambda: set(values()) == {"orders", "payments", "refunds"}, "all three have a value")
        assert above_its_limit(values()) == {"payments"}
        shop.gateway.wipe()
        until(lambda: not alerting.prometheus.query("dbt_source_loaded_at_seconds"), "they went")
        assert above_its_limit(values()) == {"payments"}
