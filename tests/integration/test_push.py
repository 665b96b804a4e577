"""``obs freshness push`` on real PostgreSQL, real dbt and a real Pushgateway."""

import json
import subprocess
import urllib.request

import psutil

from ledgermind_obs import metrics
from ledgermind_obs.metrics import CHECKED_AT, LAST_SUCCESS, LOADED_AT, RUN_SUCCESS, STATUS
from ledgermind_obs.sinks.exposition import parse_exposition
from tests.integration.shop import OBS, TABLES, Shop


def newest_row(shop: Shop, table: str) -> float:
    return float(shop.sql(f"select extract(epoch from max(loaded_at)) from {table}")[0][0])  # noqa: S608


def test_what_arrives_is_what_sql_sees(pushed: Shop) -> None:
    values = pushed.series()

    assert values[LOADED_AT] == {table: newest_row(pushed, table) for table in TABLES}
    assert values[RUN_SUCCESS] == {"": 1.0}
    assert {table: pushed.state_of(table) for table in TABLES} == {
        "orders": "pass",
        "payments": "warn",
        "refunds": "pass",
    }
    assert values[metrics.WARN_AFTER]["orders"] == 2 * 86400
    assert values[metrics.ERROR_AFTER]["orders"] == 5 * 86400


def test_a_dropped_table_keeps_its_last_known_time_and_says_why(pushed: Shop) -> None:
    before = pushed.series()
    pushed.sql("drop table refunds")

    result = pushed.push()

    after = pushed.series()
    assert result.returncode == 0
    assert 'app.refunds could not be measured: relation "public.refunds" does not exist' in (
        result.stderr
    )
    assert pushed.state_of("refunds") == "query_error"
    assert after[LOADED_AT] == before[LOADED_AT]
    assert after[CHECKED_AT]["refunds"] == before[CHECKED_AT]["refunds"]
    assert after[CHECKED_AT]["orders"] > before[CHECKED_AT]["orders"]


def test_an_emptied_table_is_empty_and_the_others_stay(pushed: Shop) -> None:
    before = pushed.series()
    pushed.sql("truncate refunds")

    assert pushed.push().returncode == 0

    after = pushed.series()
    assert pushed.state_of("refunds") == "empty"
    assert after[LOADED_AT] == {t: v for t, v in before[LOADED_AT].items() if t != "refunds"}
    assert after[CHECKED_AT]["refunds"] > before[CHECKED_AT]["refunds"]


def test_a_clock_ahead_is_not_taken_for_fresh(pushed: Shop) -> None:
    pushed.sql("insert into refunds values (now() + interval '2 hours')")

    assert pushed.push().returncode == 0

    assert pushed.state_of("refunds") == "future"


def test_a_selected_run_leaves_the_other_sources_alone(pushed: Shop) -> None:
    before = pushed.series()
    pushed.sql("update orders set loaded_at = now()")

    assert pushed.push("--select", "source:app.orders").returncode == 0

    after = pushed.series()
    assert after[LOADED_AT]["orders"] > before[LOADED_AT]["orders"]
    for metric in (LOADED_AT, CHECKED_AT, metrics.WARN_AFTER, metrics.INFO):
        others = {name for name in before[metric] if not name.startswith("orders")}
        assert {n: after[metric][n] for n in others} == {n: before[metric][n] for n in others}
    assert after[STATUS].keys() == before[STATUS].keys()


def test_a_source_that_left_the_project_leaves_with_the_next_whole_run(pushed: Shop) -> None:
    pushed.write_sources("orders", "payments")

    assert pushed.push("--select", "source:app.orders").returncode == 0
    assert set(pushed.series()[LOADED_AT]) == set(TABLES)

    assert pushed.push().returncode == 0
    assert set(pushed.series()[LOADED_AT]) == {"orders", "payments"}


def test_a_laptops_dev_never_overwrites_production(pushed: Shop) -> None:
    before = pushed.series()
    pushed.sql("update orders set loaded_at = now()")

    assert pushed.push(SHOP_TARGET="dev").returncode == 0

    assert pushed.series() == before
    assert pushed.series("dev")[LOADED_AT]["orders"] > before[LOADED_AT]["orders"]


def test_cron_needs_nothing_but_path_and_home(shop: Shop) -> None:
    options = ["--project-dir", str(shop.directory), "--pushgateway", shop.gateway.url]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(shop.directory), **shop.database.env()}

    result = subprocess.run(
        [OBS, "freshness", "push", *options],
        cwd="/",
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert set(shop.series()[LOADED_AT]) == set(TABLES)


def test_the_gateways_own_words_on_a_refusal_reach_the_user(pushed: Shop) -> None:
    other = b"# TYPE dbt_freshness_run_success counter\ndbt_freshness_run_success 3\n"
    url = f"{pushed.gateway.url}/metrics/job/other"
    pushed.gateway.wipe()
    urllib.request.urlopen(urllib.request.Request(url, data=other, method="PUT")).close()

    result = pushed.push()

    assert result.returncode == 5
    assert "refused the PUT with 400: pushed metrics are invalid or inconsistent" in result.stderr


def test_what_was_seen_is_kept_also_if_it_cannot_be_delivered(pushed: Shop) -> None:
    pushed.forget()

    result = pushed.push("--pushgateway", "http://127.0.0.1:1")

    assert result.returncode == 5
    [record] = pushed.private_target_path.glob("history.*.json")
    assert all(f'"source.shop.app.{table}"' in record.read_text() for table in TABLES)


def test_a_textfile_is_what_the_gateway_would_have_got(pushed: Shop) -> None:
    path = pushed.directory / "dbt.prom"

    assert pushed.push("--textfile", str(path)).returncode == 0

    labels = {"project": "shop", "target": "prod"}
    found = parse_exposition(path.read_bytes(), labels, [LOADED_AT])
    assert {s.label_values[2]: s.value for s in found} == pushed.series()[LOADED_AT]


def test_the_gate_measures_and_decides(shop: Shop) -> None:
    opened = shop.obs("freshness", "check")
    assert opened.returncode == 0
    assert opened.stdout.startswith("ML training may run: 3 sources of shop (target prod), 1 with")

    shop.sql("update orders set loaded_at = now() - interval '6 days'")
    blocked = shop.obs("freshness", "check", "--format", "json")
    assert blocked.returncode == 1
    document = json.loads(blocked.stdout)
    assert document["verdict"] == "block"
    assert [s["name"] for s in document["sources"] if s["blocks"]] == ["app.orders"]


def test_nothing_of_a_run_stays_behind_but_dbts_own_files(pushed: Shop) -> None:
    assert not pushed.dbt_processes()
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(pushed.directory)]
    kept = {path.name for path in pushed.directory.iterdir()}
    assert kept == {"dbt_project.yml", "models", "profiles.yml", "target"}
    assert pushed.series()[LAST_SUCCESS][""] > 0
