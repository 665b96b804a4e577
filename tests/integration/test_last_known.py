"""What was known is known again: a gateway that forgot, an old copy of it, a second host."""

import base64
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.metrics import CHECKED_AT, LOADED_AT, RUN_SUCCESS
from ledgermind_obs.sinks.exposition import parse_exposition
from services.prometheus import Pushgateway, pushgateway
from tests.integration.shop import TABLES, Shop, Values
from tests.unit.servers import Answer, web

DIRECTLY = ("--engine", "postgres")
OF_THE_RUN = {metrics.RUN_SUCCESS, metrics.RUN_TIMESTAMP, metrics.RUN_DURATION}
PLAIN = {"Content-Type": "text/plain; version=0.0.4"}
LOST = "had lost what was last pushed; the last known times are sent again"
OLDER = "showed an older push"
NEWER = "does another host or directory push this group?"


def push(shop: Shop, *argv: str, code: int = 0, told: str = "", **env: str) -> str:
    """Push without dbt and return what was said, which is nothing where nothing was expected."""
    result = shop.push(*DIRECTLY, *argv, **env)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    if told:
        assert told in result.stderr
    return result.stderr


def memory(shop: Shop) -> list[Path]:
    return list(shop.directory.rglob("delivered/*.json"))


def forget(shop: Shop) -> None:
    for path in memory(shop):
        path.unlink()


def of_table(values: Values, table: str) -> dict[metrics.Metric, dict[str, float]]:
    return {
        metric: {name: value for name, value in found.items() if name.split(".")[0] == table}
        for metric, found in values.items()
        if metric not in OF_THE_RUN
    }


def test_a_partial_push_to_a_gateway_that_forgot_brings_the_last_known_time_back(
    pushed: Shop,
) -> None:
    before = pushed.series()
    pushed.sql("drop table refunds")
    pushed.gateway.wipe()

    said = push(pushed, told=f"{pushed.gateway.url} {LOST}")

    after = pushed.series()
    assert said.count("\n") == 2  # that, and why refunds could not be measured
    assert pushed.state_of("refunds") == "query_error"
    assert after[LOADED_AT] == before[LOADED_AT]
    assert after[CHECKED_AT]["refunds"] == before[CHECKED_AT]["refunds"]


def test_a_selected_push_to_a_gateway_that_forgot_brings_the_others_back_whole(
    pushed: Shop,
) -> None:
    before = pushed.series()
    pushed.gateway.wipe()

    push(pushed, "--select", "source:app.orders", told=LOST)

    after = pushed.series()
    assert after.keys() == before.keys()
    for table in ("payments", "refunds"):
        assert of_table(after, table) == of_table(before, table)


def test_a_failed_push_to_a_gateway_that_forgot_brings_everything_back(pushed: Shop) -> None:
    before = pushed.series()
    pushed.gateway.wipe()
    pushed.database.stop()

    push(pushed, code=3, told=LOST)

    after = pushed.series()
    assert after[RUN_SUCCESS] == {"": 0.0}
    assert {m: v for m, v in after.items() if m not in OF_THE_RUN} == {
        m: v for m, v in before.items() if m not in OF_THE_RUN
    }


def test_a_whole_push_to_a_gateway_that_forgot_has_nothing_to_say(pushed: Shop) -> None:
    pushed.gateway.wipe()

    assert push(pushed) == ""

    assert set(pushed.series()[LOADED_AT]) == set(TABLES)


@pytest.fixture
def kept_gateway(tmp_path: Path) -> Iterator[Pushgateway]:
    """A gateway that writes down what it holds when it is stopped."""
    with pushgateway(tmp_path / "gateway", persist=True) as server:
        yield server


def test_a_gateway_with_an_old_copy_moves_no_time_back(
    pushed: Shop, kept_gateway: Pushgateway, tmp_path: Path
) -> None:
    pushed.gateway, pushed.env["PUSHGATEWAY_URL"] = kept_gateway, kept_gateway.url
    push(pushed)
    kept_gateway.stop()
    data = tmp_path / "gateway" / "pushgateway.data"
    shutil.copy(data, tmp_path / "old.data")
    kept_gateway.start()
    pushed.sql("update refunds set loaded_at = now()")
    push(pushed)
    before = pushed.series()
    kept_gateway.stop()
    shutil.copy(tmp_path / "old.data", data)
    kept_gateway.start()
    assert pushed.series()[LOADED_AT]["refunds"] < before[LOADED_AT]["refunds"]
    pushed.sql("drop table refunds")

    push(pushed, told=f"{kept_gateway.url} {OLDER}")

    after = pushed.series()
    assert after[LOADED_AT] == before[LOADED_AT]
    assert after[CHECKED_AT]["refunds"] == before[CHECKED_AT]["refunds"]


@pytest.fixture
def second_host(pushed: Shop, tmp_path: Path) -> Shop:
    """The project in another directory, as it was before anything was remembered there."""
    shutil.copytree(pushed.directory, tmp_path / "second")
    env = {**pushed.env, "HOME": str(tmp_path / "second")}
    found = Shop(tmp_path / "second", pushed.database, pushed.gateway, env)
    forget(found)
    return found


def test_two_hosts_that_push_one_group_are_noticed_and_the_later_look_counts(
    pushed: Shop, second_host: Shop
) -> None:
    assert push(second_host) == ""
    later = pushed.series()
    pushed.sql("drop table refunds")

    push(pushed, told=f"{pushed.gateway.url} holds a later push")

    assert pushed.series()[CHECKED_AT]["refunds"] == later[CHECKED_AT]["refunds"]
    assert NEWER in push(second_host)


def test_a_whole_push_with_dbt_notices_the_other_host_too(pushed: Shop, second_host: Shop) -> None:
    push(second_host)

    result = pushed.push()

    assert result.returncode == 0
    assert result.stderr.count("\n") == 1
    assert NEWER in result.stderr
    assert pushed.push().stderr == ""


def test_what_left_the_project_does_not_come_back(pushed: Shop) -> None:
    pushed.write_sources("orders", "payments")
    assert pushed.push().returncode == 0
    pushed.gateway.wipe()

    push(pushed, "--select", "source:app.orders", told=LOST)

    assert set(pushed.series()[LOADED_AT]) == {"orders", "payments"}


def test_without_a_memory_the_gateways_own_answer_counts(pushed: Shop) -> None:
    before = pushed.series()
    forget(pushed)
    pushed.sql("drop table refunds")

    push(pushed)

    assert pushed.series()[LOADED_AT] == before[LOADED_AT]
    assert memory(pushed)


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(204), "answers with 204, not with 200"),
        (Answer(200, b"", PLAIN), "is not a Pushgateway's"),
        (Answer(200, b"up 1\n", PLAIN), "is not a Pushgateway's"),
    ],
)
def test_what_answers_in_a_gateways_place_is_sent_nothing(
    pushed: Shop, answer: Answer, words: str, remembered: bool
) -> None:
    with web(answer) as server:
        if not remembered:
            forget(pushed)
        argv = ["--pushgateway", server.url, "--select", "source:app.orders"]
        push(pushed, *argv, code=5, told=f"{server.url}/metrics {words}")

    assert [asked.method for asked in server.asked] == ["GET"]


def test_a_damaged_memory_costs_a_line_and_nothing_else(pushed: Shop) -> None:
    before = pushed.series()
    (path,) = memory(pushed)
    path.write_bytes(path.read_bytes()[:-100])
    pushed.sql("drop table refunds")

    push(pushed, told=f"ignoring the memory {path}, which is damaged: its checksum")

    assert pushed.series()[LOADED_AT] == before[LOADED_AT]
    push(pushed)


def test_a_whole_push_without_dbt_does_not_ask_the_gateway(pushed: Shop) -> None:
    with web() as server:
        push(pushed, "--pushgateway", server.url)

    assert [asked.method for asked in server.asked] == ["PUT"]


def test_a_gateway_without_its_consistency_check_confirms_with_202(
    pushed: Shop, kept_gateway: Pushgateway
) -> None:
    kept_gateway.stop()
    kept_gateway.server.command = [*kept_gateway.server.command, "--push.disable-consistency-check"]
    kept_gateway.start()

    push(pushed, "--pushgateway", kept_gateway.url)
    pushed.sql("drop table refunds")
    push(pushed, "--pushgateway", kept_gateway.url)

    pushed.gateway = kept_gateway
    assert set(pushed.series()[LOADED_AT]) == set(TABLES)


@pytest.mark.parametrize("value", [".", "..", "a/../b"])
def test_any_value_of_a_group_arrives_as_it_is(pushed: Shop, value: str) -> None:
    group = ["--job", value, "--grouping-key", f"team={value}"]
    push(pushed, *group)
    pushed.sql("drop table refunds")

    push(pushed, *group)

    labels = {"job": value, "project": "shop", "target": "prod", "team": value}
    found = parse_exposition(pushed.gateway.metrics().encode(), labels, [LOADED_AT])
    assert {series.label_values[2] for series in found} == set(TABLES)


def test_a_run_that_is_told_to_end_says_so_and_ends_at_once(pushed: Shop) -> None:
    session = pushed.database.connect()
    before = pushed.series()
    with session.cursor() as cursor:
        cursor.execute("lock table orders in access exclusive mode")
        run = pushed.start("freshness", "push", *DIRECTLY)
        wait_for_lock(pushed)
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=20)
    session.close()

    after = pushed.series()
    assert run.returncode == 128 + signal.SIGTERM
    assert after[RUN_SUCCESS] == {"": 0.0}
    for table in TABLES:
        assert of_table(after, table) == of_table(before, table)


def wait_for_lock(shop: Shop) -> None:
    asked = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and wait_event_type = 'Lock'"
    )
    ended = threading.Event()
    for _ in range(500):
        if shop.sql(asked)[0][0]:
            return
        ended.wait(0.02)
    raise AssertionError("nobody waits for the lock")


def test_what_is_remembered_holds_no_credentials(pushed: Shop) -> None:
    url = pushed.gateway.url.replace("://", "://me:s3cret@")

    push(pushed, "--pushgateway", url)

    kept = b"".join(path.read_bytes() for path in memory(pushed))
    assert b"s3cret" not in kept
    assert base64.b64encode(b"me:s3cret") not in kept
