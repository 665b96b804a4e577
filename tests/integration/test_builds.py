"""What dbt built, from a real build to the real gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.metrics import Metric
from ledgermind_obs.sinks.exposition import parse_exposition
from tests.integration.building import break_model, dbt, write_models
from tests.integration.shop import Shop

GROUP = {"job": "dbt-builds", "project": "shop", "target": "prod"}


def push(shop: Shop, *argv: str) -> subprocess.CompletedProcess[str]:
    return shop.obs("builds", "push", *argv)


def series(shop: Shop, metric: Metric) -> dict[tuple[str, ...], float]:
    found = parse_exposition(shop.gateway.metrics().encode(), GROUP, [metric])
    return {one.label_values[1:]: one.value for one in found}


def statuses(shop: Shop) -> dict[str, str]:
    found = series(shop, metrics.BUILD_STATUS)
    return {model: status for (model, status), value in found.items() if value == 1.0}


def as_of(shop: Shop) -> float | None:
    return series(shop, metrics.EXPOSURE_AS_OF).get(("shop", "app", "orders"))


def loaded_at(shop: Shop) -> float:
    return float(shop.sql("select extract(epoch from max(loaded_at)) from orders")[0][0])


def test_what_was_built_and_how_old_its_data_is_reach_the_gateway(built: Shop) -> None:
    result = push(built)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert statuses(built) == dict.fromkeys(["stg_orders", "fct_orders", "per_day"], "success")
    assert as_of(built) == pytest.approx(loaded_at(built), abs=0.001)


def test_new_rows_in_a_source_do_not_make_a_table_newer(built: Shop) -> None:
    before = loaded_at(built)
    built.sql("insert into orders values (now())")
    assert built.push().returncode == 0

    assert push(built).returncode == 0

    assert as_of(built) == pytest.approx(before, abs=0.001)
    assert before < loaded_at(built) - 3600


def test_a_push_keeps_what_an_exposure_reads_by_a_view_current_between_builds(
    shop: Shop,
) -> None:
    write_models(shop)
    models = shop.directory / "models/models.yml"
    models.write_text(models.read_text().replace("ref('per_day')", "ref('stg_orders')"))
    assert shop.push().returncode == 0
    dbt(shop, "build")
    assert push(shop).returncode == 0
    before = as_of(shop)
    shop.sql("insert into orders values (now())")

    assert shop.push().returncode == 0

    assert before is not None
    assert as_of(shop) == pytest.approx(loaded_at(shop), abs=0.001)
    assert loaded_at(shop) > before
    assert statuses(shop), "the rest of the group stays"


def test_a_build_that_fails_leaves_the_table_as_old_as_it_was(built: Shop) -> None:
    push(built)
    before, began = as_of(built), series(built, metrics.BUILT_AT)
    built.sql("insert into orders values (now())")
    built.push()
    break_model(built, "fct_orders.sql")
    assert dbt(built, "build") == 1

    assert push(built).returncode == 0

    found = {"stg_orders": "success", "fct_orders": "error", "per_day": "skipped"}
    assert statuses(built) == found
    assert as_of(built) == before
    assert series(built, metrics.BUILT_AT)["fct_orders",] == began["fct_orders",]


def test_a_run_over_one_model_leaves_the_others_as_they_were(built: Shop) -> None:
    push(built)
    before = series(built, metrics.BUILT_AT)
    dbt(built, "run", "--select", "per_day")

    assert push(built).returncode == 0

    after = series(built, metrics.BUILT_AT)
    assert after["per_day",] > before["per_day",]
    assert after["fct_orders",] == before["fct_orders",]


def test_a_host_that_saw_one_model_built_keeps_what_the_gateway_knows_of_the_others(
    built: Shop,
) -> None:
    push(built)
    before = series(built, metrics.BUILT_AT)
    (built.directory / "target" / "obs" / "prod" / "history.shop.json").unlink()
    dbt(built, "run", "--select", "per_day")

    assert push(built).returncode == 0

    assert series(built, metrics.BUILT_AT)["fct_orders",] == before["fct_orders",]
    assert statuses(built)["fct_orders"] == "success"
    assert as_of(built) is None


def test_dbt_test_after_the_build_does_not_hide_it(built: Shop) -> None:
    push(built)
    before = series(built, metrics.BUILT_AT)
    dbt(built, "test")

    result = push(built)

    assert result.returncode == 0
    assert "is of dbt test, which built nothing" in result.stderr
    assert series(built, metrics.BUILT_AT) == before
    assert as_of(built) is not None


def test_with_empty_the_age_of_the_data_is_unknown_until_the_next_build(built: Shop) -> None:
    dbt(built, "build", "--empty")
    push(built)
    assert as_of(built) is None
    assert set(statuses(built).values()) == {"partial"}

    dbt(built, "build")
    push(built)

    assert as_of(built) == pytest.approx(loaded_at(built), abs=0.001)


def test_a_build_before_the_first_measurement_is_of_unknown_age(shop: Shop) -> None:
    write_models(shop)
    dbt(shop, "build")
    assert shop.push().returncode == 0

    assert push(shop).returncode == 0

    assert as_of(shop) is None
    assert statuses(shop)["per_day"] == "success"


def test_the_run_results_of_another_target_are_refused(built: Shop) -> None:
    dbt(built, "build", "--target", "dev")

    result = push(built)

    assert result.returncode == 4
    assert "is of target dev, not of prod" in result.stderr
    assert series(built, metrics.BUILD_STATUS) == {}


def test_a_textfile_of_builds_is_not_that_of_freshness(built: Shop, tmp_path: Path) -> None:
    freshness, builds = tmp_path / "freshness.prom", tmp_path / "builds.prom"
    assert built.push("--textfile", str(freshness)).returncode == 0
    content = freshness.read_bytes()

    refused, written = (
        push(built, "--textfile", str(freshness)),
        push(built, "--textfile", str(builds)),
    )

    assert (refused.returncode, freshness.read_bytes()) == (5, content)
    assert (written.returncode, b"dbt_exposure_as_of_seconds{" in builds.read_bytes()) == (0, True)


def test_a_dry_run_prints_the_metrics_and_remembers_nothing(built: Shop) -> None:
    record = built.directory / "target" / "obs" / "prod" / "history.shop.json"
    before = record.read_bytes()

    result = push(built, "--dry-run")

    assert "dbt_model_built_at_seconds{" in result.stdout
    assert record.read_bytes() == before
    assert series(built, metrics.BUILD_STATUS) == {}


def test_the_document_has_every_node_and_every_source_of_each_exposure(built: Shop) -> None:
    document = json.loads(push(built, "--format", "json").stdout)

    assert [model["name"] for model in document["models"]] == [
        "fct_orders",
        "per_day",
        "stg_orders",
    ]
    (age,) = document["exposures"]
    assert (age["exposure"], age["source"]) == ("training", "app.orders")
    assert age["as_of"] == pytest.approx(loaded_at(built), abs=0.001)


def test_results_copied_from_another_host_are_five_minutes_less_certain(built: Shop) -> None:
    copied = built.directory / "copied.json"
    document = json.loads((built.directory / "target" / "run_results.json").read_text())
    document["metadata"]["generated_at"] = "2026-01-01T00:00:00Z"
    copied.write_text(json.dumps(document))
    shutil.rmtree(built.directory / "target" / "run_results.json", ignore_errors=True)

    assert push(built, "--run-results", str(copied)).returncode == 0

    assert as_of(built) is None
