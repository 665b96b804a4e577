"""What goes wrong while PostgreSQL is asked: it costs what it must, and the report says so."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from psycopg2 import OperationalError
from psycopg2.extensions import connection as Session  # noqa: N812 - as the engine calls it

from ledgermind_obs.dbt.log import database_message
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.dbt.profiles import Profile
from ledgermind_obs.engines.postgres import workers as engine
from ledgermind_obs.engines.postgres.lookups import Answer, lookup
from ledgermind_obs.errors import DbtError
from services.postgres import Postgres
from tests.integration.odd import run_sql

TABLES = [f"t{number}" for number in range(6)]
SLOW = "create view {} as select loaded_at from t0, pg_sleep(20)"


@pytest.fixture
def filled(database: Postgres) -> Postgres:
    run_sql(database, *(f"create table {name} as select now() as loaded_at" for name in TABLES))
    return database


def profile_of(database: Postgres, **parameters: object) -> Profile:
    connection = {
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "password": database.password,
        "dbname": database.dbname,
        "application_name": "obs",
        "connect_timeout": 5,
    }
    return Profile("target test", {**connection, **parameters}, {})


def source(name: str, field: str = "loaded_at") -> Source:
    return Source(
        unique_id=f"source.lab.app.{name}",
        name=name,
        source_name="app",
        relation_name=f'"public"."{name}"',
        loaded_at_field=field,
    )


def ask(
    profile: Profile,
    *sources: Source,
    on_answer: Callable[[str], None] = lambda _: None,
    meanwhile: Callable[[], None] = lambda: None,
    **limits: float,
) -> dict[str, Answer]:
    answers = engine.ask(
        profile,
        [lookup(source) for source in sources],
        threads=int(limits.get("threads", 1)),
        query_seconds=limits.get("query_seconds", 30.0),
        deadline=time.monotonic() + limits.get("timeout", 30.0),
        batch_size=int(limits.get("batch_size", 25)),
        on_answer=on_answer,
        meanwhile=meanwhile,
    )
    return {unique_id.rsplit(".", 1)[1]: answer for unique_id, answer in answers.items()}


def failures(answers: dict[str, Answer]) -> dict[str, str]:
    return {name: answer.error.splitlines()[0] for name, answer in answers.items() if answer.error}


def reported(answers: dict[str, Answer]) -> str:
    """Return what a report says of the one look-up that failed."""
    [error] = [answer.error for answer in answers.values()]
    return database_message(error)


@contextmanager
def locked(database: Postgres, table: str) -> Iterator[None]:
    session = database.connect()
    try:
        session.cursor().execute(f"lock table {table} in access exclusive mode")
        yield
    finally:
        session.close()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def backends(database: Postgres, query: str) -> list[int]:
    session = database.connect()
    try:
        with session.cursor() as cursor:
            cursor.execute(
                "select pid from pg_stat_activity where application_name = 'obs' "
                "and state = 'active' and query like %s",
                (query,),
            )
            return [pid for (pid,) in cursor.fetchall()]
    finally:
        session.close()


def test_a_locked_table_costs_itself_only(
    filled: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.3)
    monkeypatch.setattr(engine, "TOGETHER_SECONDS", 0.3)
    with locked(filled, "t3"):
        answers = ask(profile_of(filled), *map(source, TABLES))

    assert failures(answers) == {"t3": "canceling statement due to lock timeout"}


def test_a_slow_source_costs_itself_only(filled: Postgres) -> None:
    slow = source("t2", "(select loaded_at from pg_sleep(30))")
    others = [source(name) for name in TABLES if name != "t2"]
    answers = ask(profile_of(filled), *others, slow, query_seconds=0.3)

    assert failures(answers) == {"t2": "canceling statement due to statement timeout"}


def test_what_is_not_answered_by_the_deadline_says_so(filled: Postgres) -> None:
    slow = [source(name, "(select loaded_at from pg_sleep(30))") for name in TABLES]
    began = time.monotonic()
    answers = ask(profile_of(filled), *slow, timeout=1.0)

    assert time.monotonic() - began < 5
    assert failures(answers).keys() == set(TABLES)


def test_a_server_that_stands_still_does_not_hold_the_run(filled: Postgres) -> None:
    stopped: list[int] = []

    def stop() -> None:
        wait_until(lambda: backends(filled, "%pg_sleep%"))
        stopped.extend(backends(filled, "%pg_sleep%"))
        for pid in stopped:
            os.kill(pid, 19)

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        began = time.monotonic()
        slow = source("t0", "(select loaded_at from pg_sleep(2))")
        answers = ask(profile_of(filled), slow, timeout=3.0)
    finally:
        stopper.join()
        for pid in stopped:
            os.kill(pid, 18)

    assert time.monotonic() - began < 10
    assert failures(answers) == {"t0": "no answer before the deadline (--timeout)"}


def test_a_lost_connection_is_made_once_more(filled: Postgres) -> None:
    def terminate() -> None:
        wait_until(lambda: backends(filled, "%pg_sleep%"))
        run_sql(
            filled,
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'obs' and query like '%pg_sleep%'",
        )

    terminator = threading.Thread(target=terminate)
    terminator.start()
    slow = source("t0", "(select loaded_at from pg_sleep(1))")
    answers = ask(profile_of(filled), slow, *map(source, TABLES[1:]))
    terminator.join()

    assert failures(answers) == {}


def test_a_server_that_is_gone_leaves_what_it_answered(filled: Postgres) -> None:
    def stop() -> None:
        wait_until(lambda: backends(filled, "%pg_sleep%"))
        filled.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    slow = source("t0", "(select loaded_at from pg_sleep(20))")
    answers = ask(profile_of(filled), *map(source, TABLES[1:]), slow)
    stopper.join()

    assert failures(answers).keys() == {"t0"}


def test_no_server_at_all_is_an_error_and_no_report(filled: Postgres) -> None:
    profile = profile_of(filled)
    filled.stop()

    with pytest.raises(DbtError, match="could not reach the database: connection to server"):
        ask(profile, source("t0"))


def test_a_server_that_never_says_a_word_is_given_up_at_the_deadline(filled: Postgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        profile = profile_of(filled, port=silent.getsockname()[1], connect_timeout=5)
        began = time.monotonic()
        with pytest.raises(DbtError, match="could not reach the database: no answer before the"):
            ask(profile, source("t0"), timeout=0.3)

    assert time.monotonic() - began < 3


def test_a_refusal_is_taken_once_however_many_could_connect(
    filled: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = engine.connect
    tried: list[Profile] = []

    def counted(profile: Profile) -> Session:
        tried.append(profile)
        return connect(profile)

    monkeypatch.setattr(engine, "connect", counted)
    with pytest.raises(DbtError, match="does not exist"):
        ask(profile_of(filled, dbname="nowhere"), *map(source, TABLES), threads=4, batch_size=1)

    assert len(tried) == 1


def test_slow_tables_that_began_in_one_batch_are_asked_side_by_side(filled: Postgres) -> None:
    slow = [f"slow{number}" for number in range(3)]
    run_sql(filled, *(SLOW.format(name) for name in slow))
    asking = threading.Thread(
        target=ask,
        args=(profile_of(filled), *map(source, slow)),
        kwargs={"threads": 3, "query_seconds": 4.0},
    )
    asking.start()
    try:
        wait_until(lambda: len(backends(filled, "%max_loaded_at%slow%")) == 3)
    finally:
        asking.join()


def test_each_answer_is_told_once_whether_it_came_in_a_batch_or_alone(filled: Postgres) -> None:
    told: list[str] = []
    sources = [*map(source, TABLES[1:]), source("nowhere"), source("t0", "(loaded_at)")]
    ask(profile_of(filled), *sources, threads=3, on_answer=told.append)

    assert sorted(told) == sorted(source.unique_id for source in sources)


def test_something_else_can_be_done_while_the_database_works(filled: Postgres) -> None:
    done: list[float] = []
    slow = source("t0", "(select loaded_at from pg_sleep(0.5))")
    ask(profile_of(filled), slow, meanwhile=lambda: done.append(time.monotonic()))
    [moment] = done

    assert time.monotonic() - moment > 0.4


def test_a_connection_too_few_leaves_the_work_to_the_others(filled: Postgres) -> None:
    run_sql(
        filled,
        "create role single login password 'single' connection limit 1",
        "grant select on all tables in schema public to single",
    )
    try:
        lonely = replace(filled, user="single", password="single")
        answers = ask(profile_of(lonely), *map(source, TABLES), threads=3, batch_size=2)
        assert failures(answers) == {}
    finally:
        run_sql(filled, "drop owned by single", "drop role single")


@pytest.mark.parametrize(
    ("field", "refusal"),
    [
        ("nextval('numbers')::text::timestamp", "cannot execute nextval() in a read-only"),
        ("set_config('transaction_read_only', 'off', false)::timestamp", "must be set before any"),
    ],
)
def test_a_look_up_cannot_write(filled: Postgres, field: str, refusal: str) -> None:
    run_sql(filled, "create sequence numbers")
    [message] = failures(ask(profile_of(filled), source("t0", field))).values()

    assert refusal in message


def test_sessions_carry_the_name_and_leave_none_behind(filled: Postgres) -> None:
    ask(profile_of(filled), *map(source, TABLES), threads=3, batch_size=2)
    session = filled.connect()

    def gone() -> bool:
        with session.cursor() as cursor:
            cursor.execute("select count(*) from pg_stat_activity where application_name = 'obs'")
            [(count,)] = cursor.fetchall()
        session.rollback()
        return bool(count == 0)

    try:
        wait_until(gone)
    finally:
        session.close()


def test_look_ups_cut_off_by_the_deadline_are_not_blamed_on_a_connection_lost_before(
    filled: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, tried = engine.connect, itertools.count()
    refused = threading.Event()

    def refusing_once(profile: Profile) -> Session:
        if next(tried) != 1:
            return connect(profile)
        wait_until(lambda: backends(filled, "%pg_sleep%"))
        refused.set()
        raise OperationalError("FATAL: sorry, too many clients already")

    monkeypatch.setattr(engine, "connect", refusing_once)
    slow = [source(name, "(select loaded_at from pg_sleep(30))") for name in TABLES]
    answers = ask(profile_of(filled), *slow, threads=2, timeout=1.5)

    assert refused.is_set()
    assert set(failures(answers).values()) == {"no answer before the deadline (--timeout)"}


def test_a_limit_beyond_what_postgresql_can_count_is_its_longest(filled: Postgres) -> None:
    years = 300_000 * 86_400.0
    answers = ask(profile_of(filled), *map(source, TABLES), query_seconds=years, timeout=years)

    assert failures(answers) == {}


def test_a_value_that_a_row_holds_is_not_told(filled: Postgres) -> None:
    run_sql(filled, "create table notes as select text 'the secret \"of\" a row' as loaded_at")
    report = reported(ask(profile_of(filled), source("notes", "loaded_at::timestamp")))

    assert report == 'invalid input syntax for type timestamp: "…"'


def test_plans_are_made_within_the_deadline_or_the_failure_says_so(filled: Postgres) -> None:
    asked = [lookup(source(name)) for name in TABLES]
    assert set(engine.plans(profile_of(filled), asked, time.monotonic() + 20)) == {
        one.unique_id for one in asked
    }
    began = time.monotonic()
    with (
        locked(filled, "t3"),
        pytest.raises(DbtError, match="explained 3 of 6 look-ups before the deadline"),
    ):
        engine.plans(profile_of(filled), asked, time.monotonic() + 0.7)
    assert time.monotonic() - began < 5


def test_a_server_that_never_says_a_word_does_not_hold_an_explanation(filled: Postgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        profile = profile_of(filled, port=silent.getsockname()[1], connect_timeout=60)
        began = time.monotonic()
        with pytest.raises(DbtError, match="explained 0 of 1 look-ups before the deadline"):
            engine.plans(profile, [lookup(source("t0"))], time.monotonic() + 0.3)

    assert time.monotonic() - began < 3


def test_a_fault_of_a_worker_is_not_taken_for_a_deadline(filled: Postgres) -> None:
    def fail(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        ask(profile_of(filled), source("t0"), on_answer=fail)
