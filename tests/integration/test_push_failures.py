"""Nothing that was known is ever lost by a failure: the series before and after each of them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ledgermind_obs import metrics
from ledgermind_obs.metrics import LOADED_AT, RUN_SUCCESS
from tests.integration.shop import DEADLINE, OBS, PROJECT, Shop, Values

OF_THE_RUN = (metrics.RUN_SUCCESS, metrics.RUN_TIMESTAMP, metrics.RUN_DURATION)
PATIENCE = 20.0


def await_that(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain until {what}"
        time.sleep(0.02)


def of_sources(values: Values) -> Values:
    return {metric: found for metric, found in values.items() if metric not in OF_THE_RUN}


def of_sources_in(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines() if line.startswith(b"dbt_source_")]


def unlabelled(content: bytes) -> bytes:
    return content.replace(b'project="shop",target="prod"', b"")


def assert_failed_and_nothing_lost(
    shop: Shop, before: Values, result: subprocess.CompletedProcess[str], code: int, words: str
) -> None:
    after = shop.series()
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "the last known values are kept; alerts see a failed run" in result.stderr
    assert after[RUN_SUCCESS] == {"": 0.0}
    assert of_sources(after) == of_sources(before)


@contextmanager
def table_locked(shop: Shop, table: str) -> Iterator[None]:
    session = shop.database.connect()
    try:
        with session.cursor() as cursor:
            cursor.execute(f"lock table {table} in access exclusive mode")
            yield
    finally:
        session.close()


def waiting_queries(shop: Shop) -> int:
    rows = shop.sql(
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and wait_event_type = 'Lock'"
    )
    return int(rows[0][0])


def test_a_database_that_is_down(pushed: Shop) -> None:
    before = pushed.series()
    pushed.database.stop()

    result = pushed.push()

    words = "dbt could not reach the database: connection to server at"
    assert_failed_and_nothing_lost(pushed, before, result, 3, words)
    assert "try: dbt debug --project-dir" in result.stderr


def test_a_dbt_that_crashes(pushed: Shop) -> None:
    before = pushed.series()
    pushed.replace_dbt("echo 'ImportError: libpq.so.5: cannot open shared object file' >&2; exit 1")

    result = pushed.push()

    words = "dbt ended with exit code 1 and gave no result: ImportError: libpq.so.5"
    assert_failed_and_nothing_lost(pushed, before, result, 3, words)


def test_a_dbt_that_is_killed(pushed: Shop) -> None:
    before = pushed.series()
    with table_locked(pushed, "orders"):
        run = pushed.start("freshness", "push")
        await_that(lambda: waiting_queries(pushed), "dbt waits for the lock")
        for process in pushed.dbt_processes():
            process.kill()
        stdout, stderr = run.communicate(timeout=PATIENCE)

    result = subprocess.CompletedProcess(run.args, run.returncode, stdout, stderr)
    assert_failed_and_nothing_lost(pushed, before, result, 3, "dbt was ended by SIGKILL")


def test_a_dbt_that_hangs(pushed: Shop) -> None:
    before = pushed.series()
    with table_locked(pushed, "orders"):
        result = pushed.push("--timeout", "8s")
        await_that(lambda: not waiting_queries(pushed), "its query is gone from the server")

    words = "dbt did not finish within 8 s and was ended"
    assert_failed_and_nothing_lost(pushed, before, result, 3, words)
    assert not pushed.dbt_processes()


def test_a_file_cut_short(pushed: Shop) -> None:
    before = pushed.series()
    cut = 'truncate -s -60 "$PWD/target/obs/prod/sources.json"'
    pushed.replace_dbt(f'"$DBT" "$@"\n{cut}')

    result = pushed.push()

    assert_failed_and_nothing_lost(pushed, before, result, 4, "sources.json cannot be read")


def test_a_file_left_from_an_earlier_run(pushed: Shop) -> None:
    before = pushed.series()
    assert (pushed.private_target_path / "sources.json").is_file()
    pushed.replace_dbt("echo 'all is well'; exit 0")

    result = pushed.push()

    words = "dbt ended with exit code 0 and gave no result: all is well"
    assert_failed_and_nothing_lost(pushed, before, result, 3, words)


def test_a_file_brought_back_from_an_earlier_run(pushed: Shop) -> None:
    before = pushed.series()
    artifact = pushed.private_target_path / "sources.json"
    kept = pushed.directory / "kept.json"
    kept.write_bytes(artifact.read_bytes())
    pushed.replace_dbt(f'"$DBT" "$@"\ncp {kept} {artifact}')

    result = pushed.push()

    assert_failed_and_nothing_lost(
        pushed, before, result, 4, "dbt's files come from different runs"
    )


def test_an_empty_selection(pushed: Shop) -> None:
    before = pushed.series()

    result = pushed.push("--select", "source:nope")

    words = "nothing to measure: no source matches source:nope"
    assert_failed_and_nothing_lost(pushed, before, result, 2, words)


def test_a_project_that_does_not_parse(pushed: Shop) -> None:
    before = pushed.series()
    (pushed.directory / "models" / "broken.yml").write_text("sources: [")

    result = pushed.push()

    assert_failed_and_nothing_lost(pushed, before, result, 3, "broken.yml")


def test_a_gateway_that_is_down_and_comes_back_later(pushed: Shop) -> None:
    pushed.gateway.stop()
    result = pushed.push("--push-timeout", "1s")
    assert result.returncode == 5
    assert f"{pushed.gateway.url} cannot be reached: Connection refused" in result.stderr

    pushed.gateway.start()

    assert pushed.push().returncode == 0
    assert set(pushed.series()[LOADED_AT]) == {"orders", "payments", "refunds"}


def test_a_gateway_that_comes_back_while_the_push_is_retried(pushed: Shop) -> None:
    pushed.sql("drop table refunds")
    pushed.gateway.stop()
    run = pushed.start("freshness", "push")
    await_that(pushed.dbt_processes, "dbt runs")
    await_that(lambda: not pushed.dbt_processes(), "dbt is done and the push begins")
    restart = threading.Timer(0.5, pushed.gateway.start)
    restart.start()

    _, stderr = run.communicate(timeout=PATIENCE)

    restart.join()
    assert run.returncode == 0, stderr
    assert set(pushed.series()[LOADED_AT]) == {"orders", "payments", "refunds"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_an_obs_that_is_killed_leaves_no_dbt_no_lock_and_no_half_written_file(
    pushed: Shop, number: signal.Signals
) -> None:
    before = pushed.series()
    path = pushed.directory / "dbt.prom"
    assert pushed.push("--textfile", str(path)).returncode == 0
    content = path.read_bytes()
    with table_locked(pushed, "orders"):
        run = pushed.start("freshness", "push", "--textfile", str(path))
        await_that(lambda: waiting_queries(pushed), "dbt waits for the lock")
        children = psutil.Process(run.pid).children(recursive=True)
        os.kill(run.pid, number)
        _, stderr = run.communicate(timeout=PATIENCE)
        await_that(lambda: not any(c.is_running() for c in children), "its children are gone")

    assert run.returncode != 0
    assert "Traceback" not in stderr
    assert len(children) >= 2
    told = number != signal.SIGKILL  # whoever is told to end says so
    assert of_sources_in(path.read_bytes()) == of_sources_in(content)
    assert (path.read_bytes() != content) == told
    assert (b"dbt_freshness_run_success{} 0" in unlabelled(path.read_bytes())) == told
    assert not list(path.parent.glob(".*.tmp"))
    assert pushed.series() == before
    assert pushed.push().returncode == 0


def test_a_run_while_another_one_runs(pushed: Shop) -> None:
    before = pushed.series()
    with table_locked(pushed, "orders"):
        first = pushed.start("freshness", "push")
        await_that(lambda: waiting_queries(pushed), "the first run waits for the lock")
        second = pushed.push()
        assert second.returncode == 6
        assert f"another obs run (process {first.pid}) holds" in second.stderr
        assert pushed.series() == before
    assert first.wait(PATIENCE) == 0
    assert first.stdout
    assert first.stderr
    first.stdout.close()
    first.stderr.close()


def test_two_targets_are_pushed_at_the_same_time(pushed: Shop) -> None:
    with table_locked(pushed, "orders"):
        first = pushed.start("freshness", "push")
        await_that(lambda: waiting_queries(pushed), "the run of prod waits for the lock")
        second = pushed.push("--target", "dev", "--exclude", "source:app.orders")
        assert second.returncode == 0
    assert first.communicate(timeout=PATIENCE)[1] == ""
    assert first.returncode == 0
    assert {path.name for path in (pushed.directory / "target" / "obs").iterdir()} == {
        *("dev", "prod")
    }


def test_a_project_directory_that_nobody_may_write(pushed: Shop, tmp_path: Path) -> None:
    before = pushed.series()
    place = tmp_path / "a-file"
    place.write_text("")

    result = pushed.push("--target-path", str(place / "target"))

    assert_failed_and_nothing_lost(pushed, before, result, 2, "cannot write below")


# In a session of its own, which no signal to dbt's group reaches.
STRAGGLER = "import os; os.setsid(); open('straggler', 'w').write(str(os.getpid())); {}"


@pytest.fixture
def straggling(pushed: Shop) -> Iterator[Shop]:
    """Give a shop whose dbt leaves such a process behind, which would stay for a minute."""
    code = STRAGGLER.format("import time; time.sleep(60)")
    start = f'{sys.executable} -c "{code}" &\nwhile [ ! -s straggler ]; do sleep 0.01; done\n'
    pushed.replace_dbt(f'{start}"$DBT" "$@"\n')
    yield pushed
    os.kill(int((pushed.directory / "straggler").read_text()), signal.SIGKILL)


def test_a_run_that_finished_is_pushed_although_something_keeps_dbts_output_open(
    straggling: Shop,
) -> None:
    before = straggling.series()[metrics.LAST_SUCCESS][""]

    result = straggling.push("--timeout", "45s")

    assert (result.returncode, result.stderr) == (0, "")
    assert straggling.series()[metrics.LAST_SUCCESS][""] > before


def test_a_dbt_that_hangs_is_ended_although_something_keeps_its_output_open(
    straggling: Shop,
) -> None:
    before = straggling.series()
    with table_locked(straggling, "orders"):
        result = straggling.push("--timeout", "8s")
        await_that(lambda: not waiting_queries(straggling), "its query is gone from the server")

    words = "dbt did not finish within 8 s and was ended"
    assert_failed_and_nothing_lost(straggling, before, result, 3, words)


def test_a_dbt_that_hangs_in_a_background_job_leaves_no_query_in_the_server(pushed: Shop) -> None:
    before = pushed.series()
    background = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    with table_locked(pushed, "orders"):
        result = subprocess.run(
            [*background, OBS, "freshness", "push", "--timeout", "8s"],
            cwd=pushed.directory,
            env=pushed.env,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        await_that(lambda: not waiting_queries(pushed), "its query is gone from the server")

    words = "dbt did not finish within 8 s and was ended"
    assert_failed_and_nothing_lost(pushed, before, result, 3, words)


def test_a_directory_that_is_cleared_during_a_run_lets_no_second_run_in(pushed: Shop) -> None:
    with table_locked(pushed, "orders"):
        first = pushed.start("freshness", "push")
        await_that(lambda: waiting_queries(pushed), "the first run waits for the lock")
        shutil.rmtree(pushed.directory / "target")
        second = pushed.push()
        assert second.returncode == 6
        assert f"another obs run (process {first.pid}) holds" in second.stderr
    first.communicate(timeout=PATIENCE)
    assert pushed.push().returncode == 0


RAISES_WARNINGS = "  warn_error: true\n  require_all_warnings_handled_by_warn_error: true\n"


def test_a_warning_that_dbts_flags_make_an_error_of_is_pushed_as_a_warning(pushed: Shop) -> None:
    before = pushed.series()
    (pushed.directory / "dbt_project.yml").write_text(PROJECT + RAISES_WARNINGS)

    result = pushed.push()

    after = pushed.series()
    assert result.returncode == 0
    assert "dbt calls it warn, but wrote no time" in result.stderr
    assert pushed.state_of("payments") == "warn"
    for metric in (LOADED_AT, metrics.CHECKED_AT):
        assert after[metric]["payments"] == before[metric]["payments"]
    gate = pushed.obs("freshness", "check")
    assert (gate.returncode, "WARN" in gate.stdout or "warn" in gate.stdout) == (0, True)
    assert pushed.obs("freshness", "check", "--max-age", "9d").returncode == 1
    told = PROJECT + RAISES_WARNINGS.replace(
        "warn_error: true\n", "warn_error_options: {error: all, warn: [LogFreshnessResult]}\n", 1
    )
    (pushed.directory / "dbt_project.yml").write_text(told)
    assert (pushed.push().stderr, pushed.state_of("payments")) == ("", "warn")


def test_a_value_that_a_row_holds_is_neither_told_nor_pushed(pushed: Shop) -> None:
    pushed.sql("alter table orders alter loaded_at type text using 'a secret'")
    sources = pushed.directory / "models" / "sources.yml"
    sources.write_text(sources.read_text().replace(": loaded_at", ": loaded_at::timestamp"))

    result = pushed.push()

    assert result.returncode == 0
    assert 'invalid input syntax for type timestamp: "…"' in result.stderr
    assert "secret" not in result.stderr + result.stdout + pushed.gateway.metrics()


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        ('rm "$to/sources.json"; mkfifo "$to/sources.json"', 4, "sources.json is a FIFO"),
        ("sed -i 's,/sources/v3,/sources/v99,' \"$to/sources.json\"", 4, "has schema sources v99"),
        ('sed -i \'s/\\(elapsed_time": \\)[^}]*/\\11e300/\' "$to/sources.json"', 4, "took 1e+300"),
    ],
)
def test_a_result_that_cannot_be_believed(pushed: Shop, damage: str, code: int, words: str) -> None:
    before = pushed.series()
    pushed.replace_dbt(f'to="$PWD/target/obs/prod"; "$DBT" "$@"\n{damage}')

    result = pushed.push()

    assert_failed_and_nothing_lost(pushed, before, result, code, words)


def test_an_old_result_that_cannot_be_removed(pushed: Shop) -> None:
    before = pushed.series()
    artifact = pushed.private_target_path / "sources.json"
    artifact.unlink()
    artifact.mkdir()

    result = pushed.push()

    assert_failed_and_nothing_lost(pushed, before, result, 2, "cannot remove")
