"""The whole command line with ``--engine postgres``, on a project that dbt has parsed."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ledgermind_obs import metrics
from tests.integration.shop import OBS, PROJECT, Shop

ENGINE = ("--engine", "postgres")
HOOK = "on-run-start: insert into orders values (now() + interval '1 day')\n"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dbt left when it parsed the first shop; the next ones begin with a copy."""
    return tmp_path_factory.mktemp("kept") / "prod"


@pytest.fixture
def parsed(shop: Shop, kept: Path) -> Shop:
    shutil.rmtree(shop.private_target_path, ignore_errors=True)
    if kept.exists():
        shutil.copytree(kept, shop.private_target_path)
    else:
        assert document(shop)["sources"]
        shutil.copytree(shop.private_target_path, kept)
    return shop


def check(shop: Shop, *argv: str) -> subprocess.CompletedProcess[str]:
    return shop.obs("freshness", "check", *ENGINE, *argv)


def document(shop: Shop, *argv: str) -> dict[str, Any]:
    result = check(shop, "--format", "json", *argv)
    assert result.returncode in {0, 1}, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_push_brings_the_same_series_as_dbts(parsed: Shop) -> None:
    assert parsed.push().returncode == 0
    by_dbt = parsed.series()
    result = parsed.push(*ENGINE)
    by_postgres = parsed.series()

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert by_postgres.keys() == by_dbt.keys()
    stable = by_dbt.keys() - {
        *(metrics.CHECKED_AT, metrics.RUN_TIMESTAMP, metrics.LAST_SUCCESS, metrics.RUN_DURATION)
    }
    assert {m: by_postgres[m] for m in stable} == {m: by_dbt[m] for m in stable}
    assert 'engine="postgres"' in parsed.gateway.metrics()


def test_a_push_loads_nothing_that_it_does_not_use(parsed: Shop) -> None:
    profiles = parsed.directory / "profiles.yml"
    profiles.write_text(profiles.read_text().replace("| int", "| as_number"))
    assert document(parsed)["sources"]
    code = (
        "import atexit, sys; from ledgermind_obs.cli import root; "
        "atexit.register(lambda: print(sorted(sys.modules.keys() & {*sys.argv}))); "
        "root(['freshness', 'push', '--engine', 'postgres'])"
    )
    unused = ["jinja2", "prometheus_client", "rich"]
    unused += ["ledgermind_obs.dbt.process", "ledgermind_obs.gate.judge"]
    done = subprocess.run(
        [sys.executable, "-c", code, *unused, "psycopg2"],
        cwd=parsed.directory,
        env=parsed.env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("['psycopg2']\n", "")


def test_on_a_terminal_the_answers_are_counted(parsed: Shop) -> None:
    ours, its = pty.openpty()
    argv = [OBS, "freshness", "check", *ENGINE]
    with subprocess.Popen(
        argv, cwd=parsed.directory, env=parsed.env, stdout=subprocess.DEVNULL, stderr=its
    ):
        os.close(its)
        shown = b"".join(written(ours))
    os.close(ours)

    assert b"3 of 3" in shown


def written(terminal: int) -> Iterator[bytes]:
    with suppress(OSError):  # the other side was closed
        while chunk := os.read(terminal, 65_536):
            yield chunk


def test_a_source_that_fails_keeps_its_last_known_time(parsed: Shop) -> None:
    assert parsed.push(*ENGINE).returncode == 0
    known = parsed.series()[metrics.LOADED_AT]
    parsed.sql("drop table orders")
    result = parsed.push(*ENGINE)

    assert result.returncode == 0
    assert 'app.orders could not be measured: relation "public.orders" does' in result.stderr
    assert parsed.state_of("orders") == "query_error"
    assert parsed.series()[metrics.LOADED_AT] == known


def test_without_a_database_nothing_is_erased(parsed: Shop) -> None:
    assert parsed.push(*ENGINE).returncode == 0
    known = parsed.series()
    parsed.database.stop()
    result = parsed.push(*ENGINE)

    assert result.returncode == 3
    assert "could not reach the database" in result.stderr
    assert parsed.series()[metrics.LOADED_AT] == known[metrics.LOADED_AT]
    assert parsed.series()[metrics.RUN_SUCCESS] == {"": 0.0}


def test_the_json_says_when_the_manifest_was_written(parsed: Shop) -> None:
    manifest = json.loads((parsed.private_target_path / "manifest.json").read_text())
    written = manifest["metadata"]["generated_at"]

    assert document(parsed)["declared_at"] == written


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        (
            "macros/mine.sql",
            "{% macro postgres__current_timestamp() %} clock_timestamp() {% endmacro %}",
            "macro postgres__current_timestamp is overridden in shop's macros/mine.sql",
        ),
        (
            "selectors.yml",
            "selectors: [{name: few, default: true, definition: 'source:app.orders'}]",
            "selectors.yml has a default selector, few",
        ),
        ("dbt_project.yml", PROJECT + HOOK, "shop has an on-run-start hook, which dbt would run"),
    ],
)
def test_what_dbt_would_do_otherwise_is_refused(
    shop: Shop, file: str, text: str, reason: str
) -> None:
    path = shop.directory / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    result = check(shop)

    assert result.returncode == 2
    assert reason in result.stderr
    assert "use --engine dbt" in result.stderr


def test_a_hook_that_dbt_would_not_run_either_does_not_matter(shop: Shop) -> None:
    text = PROJECT + "  source_freshness_run_project_hooks: false\n" + HOOK
    (shop.directory / "dbt_project.yml").write_text(text)
    by_dbt = json.loads(shop.obs("freshness", "check", "--format", "json").stdout)
    by_postgres = document(shop)

    times = [[s["loaded_at"] for s in found["sources"]] for found in (by_dbt, by_postgres)]
    assert times[0] == times[1]
    assert shop.sql("select count(*) from orders") == [(1,)]


def test_dbt_runs_a_hook_before_it_measures(shop: Shop) -> None:
    (shop.directory / "dbt_project.yml").write_text(PROJECT + HOOK)
    by_dbt = json.loads(shop.obs("freshness", "check", "--format", "json").stdout)

    assert {s["table"]: s["state"] for s in by_dbt["sources"]}["orders"] == "future"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("--select", "tag:daily"), "cannot follow the selector 'tag:daily'"),
        (("--select", "source:nowhere"), "no source matches source:nowhere"),
    ],
)
def test_what_it_cannot_follow_is_refused(parsed: Shop, argv: tuple[str, ...], reason: str) -> None:
    result = check(parsed, *argv)

    assert (result.returncode, result.stderr.count(reason)) == (2, 1)


def test_dbt_cannot_explain(shop: Shop) -> None:
    result = shop.obs("freshness", "check", "--explain")

    assert (result.returncode, "add --engine postgres" in result.stderr) == (2, True)


def test_explain_names_the_scans_and_the_index_that_ends_them(parsed: Shop) -> None:
    parsed.sql("create index on payments (loaded_at)")
    parsed.sql("insert into orders select now() from generate_series(1, 50000)")
    parsed.sql("analyze")
    scans = {scan["name"]: scan for scan in document(parsed, "--explain")["scans"]}

    assert scans.keys() == {"app.orders", "app.refunds"}
    assert scans["app.orders"]["rows"] == 50001
    assert scans["app.orders"]["advice"].endswith('"public"."orders" (loaded_at)')
    parsed.sql(scans["app.orders"]["advice"].replace(" concurrently", ""))
    told = check(parsed, "--explain").stdout.splitlines()[-1]
    assert told.split("  ")[0] == "app.refunds"
    assert "about 1 row  " in told
    assert told.endswith("no index needed: it is small")


def test_explain_takes_no_guess_for_the_rows_of_a_table_that_was_never_analyzed(
    parsed: Shop,
) -> None:
    parsed.sql("alter table orders set (autovacuum_enabled = off)")
    parsed.sql("insert into orders select now() from generate_series(1, 50000)")
    scans = {scan["name"]: scan for scan in document(parsed, "--explain")["scans"]}

    assert scans["app.orders"]["rows"] is None
    assert 1_500_000 < scans["app.orders"]["bytes"] < 3_000_000
    assert "1.8 MB, never analyzed" in check(parsed, "--explain").stdout
