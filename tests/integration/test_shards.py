"""One project in two pushes, each with a grouping key of its own, as docs/scaling.md has it."""

from __future__ import annotations

from pathlib import Path

from tests.integration.chain import Chain, chain, pushed, until
from tests.integration.shop import Shop

A = ("--select", "source:app.orders", "--grouping-key", "shard=a", "--target-path", "target/a")
B = ("--exclude", "source:app.orders", "--grouping-key", "shard=b", "--target-path", "target/b")
TABLES = {"orders": "a", "payments": "b", "refunds": "b"}


def shards_in(alerting: Chain) -> dict[str, str]:
    found = alerting.prometheus.query("dbt_source_loaded_at_seconds")
    return {series["metric"]["table"]: series["metric"]["shard"] for series in found}


def test_two_shards_hold_every_source_once_and_a_gate_names_the_one_it_asks(
    shop: Shop, tmp_path: Path
) -> None:
    with chain(tmp_path / "chain", pushed(shop.gateway)) as alerting:
        for part in (A, B):
            assert shop.push(*part).returncode == 0
        until(lambda: shards_in(alerting) == TABLES, "each source is in its shard")

        gate = ("freshness", "check", *A[:2], "--prometheus", alerting.prometheus.url)
        unnamed = shop.obs(*gate)
        assert unnamed.returncode not in {0, 1}
        assert "2 groups of series" in unnamed.stdout
        named = shop.obs(*gate, "--prometheus-label", "shard=a")
        assert (named.returncode, named.stderr) == (0, "")

        shop.sql("update payments set loaded_at = now() - interval '121 hours'")
        assert shop.push(*B).returncode == 0
        until(lambda: "SourceCriticalStale" in alerting.firing(), "an alert on shard b fires")


def test_a_shard_that_fails_is_hidden_by_one_that_works_while_its_sources_keep_their_times(
    shop: Shop, tmp_path: Path
) -> None:
    with chain(tmp_path / "chain", pushed(shop.gateway)) as alerting:
        for part in (A, B):
            assert shop.push(*part).returncode == 0
        until(lambda: shards_in(alerting) == TABLES, "each source is in its shard")
        assert shop.push(*B, PGPASSWORD="wrong", PGPORT="1").returncode == 3
        failed = 'dbt_freshness_run_success{shard="b"} == 0'
        until(lambda: alerting.prometheus.query(failed), "the failed run is known")
        until(
            lambda: alerting.prometheus.query(f"min_over_time(({failed})[5s:1s])"),
            "rules were evaluated since",
        )
        assert "FreshnessRunFailing" not in alerting.firing()
        assert shards_in(alerting) == TABLES
