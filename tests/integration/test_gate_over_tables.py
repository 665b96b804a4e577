"""The gate in front of training, on the tables that dbt really built between it and the sources."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from tests.integration.building import break_model, dbt, mend_model, write_models
from tests.integration.shop import Shop

OPEN, SHUT = "ML training may run", "DO NOT RUN ML TRAINING"


def check(shop: Shop, *argv: str) -> subprocess.CompletedProcess[str]:
    return shop.obs("freshness", "check", "--exposure", "training", *argv)


def opens(result: subprocess.CompletedProcess[str]) -> bool:
    sentence = result.stdout.split(":", maxsplit=1)[0]
    assert (result.returncode, sentence) in {(0, OPEN), (1, SHUT)}, result.stdout + result.stderr
    return result.returncode == 0


def build(shop: Shop, *argv: str) -> int:
    """Build, and push what was built, as a job does."""
    code = dbt(shop, "build", *argv)
    assert shop.obs("builds", "push").returncode == 0
    return code


def verdict(shop: Shop, *argv: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check(shop, "--format", "json", *argv).stdout)
    return found


def test_fresh_sources_and_tables_that_were_built_open(built: Shop) -> None:
    result = check(built)

    assert opens(result), result.stdout
    assert "1 source upstream of training measured, 2 tables built" in result.stdout
    assert "the oldest data 4 h old (app.orders)" in result.stdout


def test_a_build_that_fails_blocks_by_the_models_name_until_it_is_mended(built: Shop) -> None:
    build(built)
    break_model(built, "fct_orders.sql")
    assert build(built) == 1

    result = check(built)

    assert not opens(result)
    assert result.stdout.startswith(f"{SHUT}: fct_orders failed to build\n")
    assert "fct_orders → per_day → training" in result.stdout
    assert "next: see dbt's log, mend it, then dbt build --select fct_orders+" in result.stdout
    mend_model(built, "fct_orders.sql")
    assert dbt(built, "build") == 0
    assert opens(check(built))


def test_a_week_of_failing_builds_blocks_by_the_age_of_the_data_too(built: Shop) -> None:
    assert not opens(check(built, "--max-age", "3h", "--allow-error"))

    built.sql("insert into orders values (now())")
    result = check(built, "--max-age", "3h")

    assert not opens(result)
    assert result.stdout.startswith(f"{SHUT}: fct_orders holds data that is too old")
    held = r"holds app\.orders as of 4 h( \d+ min)? ago, limit 3 h \(--max-age\)"
    assert re.search(held, result.stdout)
    dbt(built, "build")
    assert opens(check(built, "--max-age", "3h"))


def test_a_table_built_from_a_source_that_was_stale_blocks_although_all_is_fresh_now(
    shop: Shop,
) -> None:
    write_models(shop)
    shop.sql("update orders set loaded_at = now() - interval '6 days'")
    assert shop.push().returncode == 0
    dbt(shop, "build")
    shop.sql("insert into orders values (now())")
    assert shop.push().returncode == 0

    result = check(shop)

    assert not opens(result)
    assert "holds app.orders as of 6 d ago, limit 5 d (error_after)" in result.stdout
    assert verdict(shop)["sources"][0]["state"] == "pass"


def test_a_run_over_one_model_does_not_make_the_others_look_built(shop: Shop) -> None:
    write_models(shop)
    assert shop.push().returncode == 0
    dbt(shop, "run", "--select", "stg_orders fct_orders")
    dbt(shop, "run", "--select", "fct_orders")

    result = check(shop)

    assert not opens(result)
    assert "per_day has no build on record" in result.stdout
    assert "dbt build --select per_day, then obs builds push" in result.stdout


def test_dbt_test_after_dbt_build_does_not_hide_the_build(built: Shop) -> None:
    assert built.obs("builds", "push").returncode == 0
    dbt(built, "test")

    assert opens(check(built))


def test_a_failed_test_on_the_path_blocks_and_is_let_through_by_name(built: Shop) -> None:
    built.sql("insert into orders values (null)")
    assert build(built) == 1

    result = check(built)

    assert not opens(result)
    assert "1 test failed" in result.stdout
    assert "failed: not_null_fct_orders_loaded_at" in result.stdout
    dbt(built, "run")
    assert not opens(check(built)), "a run without tests proves nothing of them"
    let = check(built, "--allow-failed-test", "not_null_*")
    assert opens(let)
    assert "let through by --allow-failed-test not_null_*: fct_orders" in let.stdout


def test_without_a_build_on_record_nothing_opens_but_by_name(shop: Shop) -> None:
    write_models(shop)

    result = check(shop)

    assert not opens(result)
    assert "2 tables have no build on record" in result.stdout
    by_name = ("--allow-unbuilt", "fct_*", "--allow-unbuilt", "per_day")
    assert not opens(check(shop, *by_name))
    assert opens(check(shop, *by_name, "--allow-unknown-age", "app.orders"))


def test_sources_only_says_that_tables_were_not_judged(shop: Shop) -> None:
    write_models(shop)

    result = check(shop, "--sources-only")

    assert opens(result)
    assert result.stdout.splitlines()[0].endswith("; tables were not judged (--sources-only)")
    assert verdict(shop, "--sources-only")["tables"] is None


def test_a_table_built_before_anything_was_measured_holds_data_of_unknown_age(
    shop: Shop,
) -> None:
    write_models(shop)
    dbt(shop, "build")

    result = check(shop)

    assert not opens(result)
    assert "holds data of unknown age" in result.stdout
    assert "next: measure before you build" in result.stdout
    dbt(shop, "build")
    assert opens(check(shop)), "the check before this build was a measurement"


def test_what_was_pushed_is_enough_on_a_host_that_saw_no_build(built: Shop) -> None:
    assert built.obs("builds", "push").returncode == 0
    built.forget()

    assert not opens(check(built))
    assert opens(check(built, "--pushgateway", built.gateway.url))


def test_a_pushed_build_that_failed_blocks(built: Shop) -> None:
    break_model(built, "per_day.sql")
    dbt(built, "build")
    assert built.obs("builds", "push").returncode == 0
    built.forget()

    result = check(built, "--pushgateway", built.gateway.url)

    assert not opens(result)
    assert result.stdout.startswith(f"{SHUT}: per_day failed to build\n")


@pytest.mark.parametrize("flag", ["--empty", "--sample"])
def test_a_build_of_a_part_is_no_build(built: Shop, flag: str) -> None:
    argv = [flag] if flag == "--empty" else [flag, "1 day"]
    dbt(built, "build", *argv)

    result = check(built)

    assert not opens(result)
    assert "were built in part" in result.stdout


def test_results_of_another_target_are_refused_if_they_were_named_and_else_left_out(
    built: Shop,
) -> None:
    dbt(built, "build", "--target", "dev")

    named = check(built, "--run-results", "target/run_results.json")
    left_out = check(built)

    assert (named.returncode, named.stdout.split(":")[0]) == (4, SHUT)
    assert not opens(left_out)
    assert "note: the project's own last run is not used: " in left_out.stdout
    assert "target/run_results.json is of target dev, not of prod" in left_out.stdout


def test_a_view_needs_no_build_and_is_no_better_than_its_parents(built: Shop) -> None:
    found = verdict(built)
    names = [each["name"] for each in found["tables"]]

    assert names == ["stg_orders", "fct_orders", "per_day", "training"]
    assert found["tables"][0]["data"] == []
    assert found["tables"][2]["data"] == found["tables"][3]["data"]
