from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import psycopg2
import pytest

from services import binaries
from services import prometheus as monitors
from services.postgres import Postgres
from services.prometheus import Pushgateway
from services.server import HOST, Server, ServiceError

ALERTMANAGER = "{route: {receiver: nobody}, receivers: [{name: nobody}]}"


def push(gateway: Pushgateway, line: str, job: str) -> None:
    url = f"{gateway.url}/metrics/job/{job}"
    request = urllib.request.Request(url, data=f"{line}\n".encode(), method="PUT")
    urllib.request.urlopen(request, timeout=5).close()


def listening_on(pid: int) -> set[str]:
    sockets = psutil.Process(pid).net_connections("inet")
    return {connection.laddr.ip for connection in sockets if connection.status == "LISTEN"}


def test_postgres_listens_on_loopback_and_answers_sql(postgres: Postgres) -> None:
    assert postgres.server.pid
    assert listening_on(postgres.server.pid) == {HOST}
    session = postgres.connect()
    with session, session.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchall() == [(1,)]
    session.close()


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(host=postgres.host, port=postgres.port, user="postgres", password="no")


def test_postgres_answers_on_its_socket(postgres: Postgres) -> None:
    psycopg2.connect(
        host=str(postgres.socket_directory),
        port=postgres.port,
        user=postgres.user,
        password=postgres.password,
        dbname=postgres.dbname,
    ).close()


def test_each_test_has_a_database_of_its_own(database: Postgres) -> None:
    assert database.env()["PGDATABASE"] != "postgres"
    session = database.connect()
    with session, session.cursor() as cursor:
        cursor.execute("select count(*) from pg_tables where schemaname = 'public'")
        assert cursor.fetchall() == [(0,)]
    session.close()


def test_postgres_comes_back_on_the_same_port_with_its_data(database: Postgres) -> None:
    session = database.connect()
    with session, session.cursor() as cursor:
        cursor.execute("create table kept as select 42 as answer")
    database.stop()  # with the session still open
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        database.connect()
    database.start()
    again = database.connect()
    with again, again.cursor() as cursor:
        cursor.execute("select answer from kept")
        assert cursor.fetchall() == [(42,)]
    again.close()
    session.close()


def test_the_gateway_is_empty_when_a_test_starts(gateway: Pushgateway) -> None:
    assert "push_time_seconds{" not in gateway.metrics()
    push(gateway, "left_over 1", job="first")
    assert 'left_over{instance="",job="first"} 1' in gateway.metrics()
    gateway.wipe()
    assert "left_over" not in gateway.metrics()


def test_the_gateway_comes_back_on_the_same_port(gateway: Pushgateway) -> None:
    gateway.stop()
    with pytest.raises(OSError, match="refused"):
        gateway.metrics()
    gateway.start()
    assert "pushgateway_build_info" in gateway.metrics()


def test_a_persistent_gateway_keeps_its_metrics(tmp_path: Path) -> None:
    with monitors.pushgateway(tmp_path, persist=True) as gateway:
        push(gateway, "kept 1", job="first")
        gateway.stop()
        gateway.start()
        assert 'kept{instance="",job="first"} 1' in gateway.metrics()


def test_prometheus_answers_queries_and_reads_its_configuration_again(tmp_path: Path) -> None:
    with monitors.prometheus(tmp_path, "{}") as prometheus:
        assert prometheus.query("vector(1)")[0]["value"][1] == "1"
        (tmp_path / "prometheus.yml").write_text("nonsense: true")
        with pytest.raises(ServiceError, match="field nonsense not found"):
            prometheus.reload()
        (tmp_path / "prometheus.yml").write_text("{}")
        prometheus.reload()
        with pytest.raises(ServiceError, match="parse error"):
            prometheus.query("1 +")


def test_alertmanager_listens_on_loopback_alone(tmp_path: Path) -> None:
    with monitors.alertmanager(tmp_path, ALERTMANAGER) as alertmanager:
        assert '"cluster"' in alertmanager.request("/api/v2/status")
        assert alertmanager.server.pid
        assert listening_on(alertmanager.server.pid) == {HOST}


def test_postgres_exporter_reads_a_database(tmp_path: Path, database: Postgres) -> None:
    queries = tmp_path / "queries.yml"
    queries.write_text(
        "answer:\n  query: select 42 as value\n"
        "  metrics: [{value: {usage: GAUGE, description: An answer.}}]\n"
    )
    with monitors.postgres_exporter(tmp_path, database, queries) as exporter:
        metrics = exporter.metrics()
        assert "pg_up 1" in metrics
        assert "answer_value" in metrics


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        service = monitors.pushgateway(tmp_path, taken.getsockname()[1])
        with pytest.raises(ServiceError, match=r"(?s)^Pushgateway ended.*address already in use"):
            service.__enter__()


def test_a_service_ends_with_its_block_whatever_happens(tmp_path: Path) -> None:
    pids = []

    def use_and_fail() -> None:
        with monitors.pushgateway(tmp_path) as gateway:
            pids.append(gateway.server.pid)
            raise LookupError

    with pytest.raises(LookupError):
        use_and_fail()
    assert pids[0] is not None
    assert not psutil.pid_exists(pids[0])


def test_a_service_that_does_not_want_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.server.STOP_SECONDS", 0.2)
    log = tmp_path / "log"
    program = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    stubborn = Server("stubborn", ["sh", "-c", program], log, lambda: "ready" in log.read_text())
    stubborn.start()
    pid = stubborn.pid
    stubborn.stop()
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_a_killed_run_leaves_no_service(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from services.postgres import postgres\n"
        "with postgres(Path(sys.argv[1])) as server:\n"
        "    print(server.server.pid, flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout
        server = psutil.Process(int(run.stdout.readline()))
        run.kill()
    server.wait(10)


def test_programs_on_the_path_are_taken_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "prometheus-pushgateway"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert binaries.find("pushgateway") == program


def test_a_machine_without_apt_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "TOOLS", tmp_path / "tools")
    with pytest.raises(binaries.SetupError, match="Install alertmanager and amtool on PATH"):
        binaries.find("alertmanager")
    with pytest.raises(binaries.SetupError, match="Install alertmanager-sid on PATH"):
        binaries.find("alertmanager-sid")
