"""One run's project, tables and group on the gateway, and ``obs`` run in the midst of them."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psycopg2
from prometheus_client.parser import text_string_to_metric_families
from psycopg2 import sql

from tests.faults.stage import BIN, HERE, Stage, copy_project
from tests.faults.world import World

GROUP = {"job": "dbt-freshness", "project": "shop", "target": "prod"}
WAITING = "select pid from pg_stat_activity where wait_event_type = 'Lock'"
NEIGHBOUR = b"# TYPE neighbour gauge\nneighbour 42\n"
PRIVATE_FILES = {"sources.json", "manifest.json", "obs.lock", "partial_parse.msgpack", "dbt.log"}
_POLL_SECONDS = 0.004
_END_SECONDS = 3.0

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class Outcome:
    """How a run of obs ended; ``code`` is negative for a signal, None if it did not end in time."""

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    megabytes: float

    @property
    def exit(self) -> int | None:
        """The exit code as a shell shows it."""
        return self.code if self.code is None or self.code >= 0 else 128 - self.code


@dataclass
class Scene:
    """The project of one run, and what is true of its tables."""

    stage: Stage
    directory: Path
    world: World
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    secrets: Mapping[str, str] = field(default_factory=dict)
    textfile: bool = False
    engine: str = "dbt"
    wired: bool = False
    complaints: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def project(self) -> Path:
        """Where the dbt project is."""
        return self.directory / "shop"

    @property
    def target(self) -> Path:
        """Where dbt's files go."""
        return self.project / "target"

    @property
    def metrics_file(self) -> Path:
        """The textfile of a run that has one; its directory is not obs' own."""
        return self.directory / "collector" / "shop.prom"

    def set_up(self) -> None:
        """Write the project, put a neighbour on the gateway and fill the tables."""
        self.directory.mkdir()
        self.metrics_file.parent.mkdir()
        copy_project(self.stage.template, self.project)
        manifest = self.directory / "manifest.json"
        manifest.write_bytes(self.stage.template.manifest.read_bytes())
        self.misbehave({})
        self.set_world(before=True)
        _put(self.stage, "/metrics/job/other/project/neighbour", NEIGHBOUR)

    def set_world(self, *, before: bool, well: bool = False) -> None:
        """Let the tables hold what they held before, or what they hold now."""
        times = self.world.at(self.started_at, before=before)
        failing = () if before or well else self.world.failing
        tables = {
            table: {
                "loaded_at": loaded_at.isoformat(),
                "error": f'relation "{table}" does not exist' if table in failing else "",
            }
            for table, loaded_at in times.items()
        }
        told = {"tables": tables, "fatal": "" if before or well else self.world.fatal}
        (self.directory / "world.json").write_text(json.dumps(told))
        if self.engine != "dbt":
            self._fill(times, failing)

    def _fill(self, times: Mapping[str, datetime], failing: Sequence[str]) -> None:
        user = self.stage.database.user
        with self.sql() as run:
            for table, loaded_at in times.items():
                run("delete from {}", table)
                run("insert into {} values (%s)", table, values=[loaded_at])
                run("grant select on {} to {}", table, user)
            for table in failing:
                run("revoke select on {} from {}", table, user)

    @contextmanager
    def sql(self) -> Iterator[Any]:
        """Yield what runs a statement, as the owner, and returns how many rows it is about."""
        with self.stage.owner() as session, session.cursor() as cursor:

            def run(text: str, *names: str, values: Sequence[object] = ()) -> int:
                cursor.execute(sql.SQL(text).format(*map(sql.Identifier, names)), values)
                return cursor.rowcount

            yield run

    @contextmanager
    def locked_table(self, table: str) -> Iterator[None]:
        """Hold a lock on a table, for as long as the server lives."""
        with suppress(psycopg2.Error), self.sql() as run:
            run("begin")
            run("lock table {} in access exclusive mode", table)
            yield

    def waiting_queries(self) -> int:
        """Return how many sessions wait for a lock; none where the server is down."""
        with suppress(psycopg2.Error), self.sql() as run:
            return int(run(WAITING))
        return 0

    def misbehave(self, misdeed: Mapping[str, Any]) -> None:
        """Tell the fake dbt what to do wrong."""
        (self.directory / "misdeed.json").write_text(json.dumps(dict(misdeed)))

    def note(self, moment: str) -> None:
        """Leave word that a moment has come."""
        with (self.directory / "happened").open("a") as noted:
            noted.write(moment + "\n")

    def happened(self) -> list[str]:
        """Return what the fake dbt, or the hook, noted."""
        noted = self.directory / "happened"
        found = noted.read_text().split("\n") if noted.exists() else []
        return [*found, *(["hook"] if (self.directory / "hooked").exists() else [])]

    def env(self) -> dict[str, str]:
        """Return the environment of a run; secrets come from it, as in production."""
        port = self.stage.wire.port if self.wired else self.stage.database.port
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            **self.stage.database.env(),
            "PGPORT": str(port),
            "PUSHGATEWAY_URL": self.stage.front.url,
            "OBS_PUSHGATEWAY_USERNAME": "shop",
            "OBS_PUSHGATEWAY_PASSWORD": self.secrets["password"],
            "OBS_PROMETHEUS_TOKEN": self.secrets["token"],
            "OBS_PUSH_TIMEOUT": "1.5s",
            "OBS_LOCK_TIMEOUT": "0s",
            "OBS_TIMEOUT": "20s",
            "OBS_DBT": str(BIN / "dbt" if self.engine == "real" else self.stage.fake_dbt),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "FAULTS_SCENE": str(self.directory),
            "PYTHONPATH": self.stage.python_path(),
            **({"OBS_TEXTFILE": str(self.metrics_file)} if self.textfile else {}),
        }

    def obs(
        self,
        argv: Sequence[str],
        *,
        seconds: float = 90.0,
        env: Mapping[str, str] | None = None,
        streams: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        deaf: bool = False,
    ) -> Outcome:
        """Run obs in the project and return how that ended."""
        with self.started(argv, env, streams or {}, limits or {}, deaf=deaf) as run:
            return run.outcome(seconds)

    @contextmanager
    def started(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        streams: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        *,
        deaf: bool = False,
    ) -> Iterator[Started]:
        """Start obs in the project; at the end of the block it is no more."""
        kinds = {"stdin": "null", "stdout": "pipe", "stderr": "pipe", **(streams or {})}
        closed = [number for number, kind in enumerate(kinds.values()) if kind == "closed"]
        told = {"closed": closed, "ignored": [2] if deaf else [], "limits": dict(limits or {})}
        launch = [sys.executable, "-IS", str(HERE / "inside" / "launch.py"), json.dumps(told)]
        opened = {name: _stream(kind, self.directory) for name, kind in kinds.items()}
        process = subprocess.Popen(
            [*launch, str(BIN / "obs"), *argv],
            cwd=self.project,
            env={**self.env(), **(env or {})},
            stdin=opened["stdin"],
            stdout=opened["stdout"],
            stderr=opened["stderr"],
            start_new_session=True,
        )
        for handle in opened.values():
            if handle not in (subprocess.PIPE, subprocess.DEVNULL):
                os.close(handle)
        self.stage.front.client = process.pid
        run = Started(process, kinds)
        try:
            yield run
        finally:
            run.end()

    def series(self) -> Series:
        """Return what is known of our group where it went."""
        if self.textfile:
            content = self.metrics_file.read_text() if self.metrics_file.is_file() else ""
            return _series(content, {k: v for k, v in GROUP.items() if k != "job"})
        return _series(self.stage.gateway.metrics(), GROUP)

    def await_no_group(self) -> None:
        """Return once the gateway has nothing of our group: it only queues the wish."""
        deadline = time.monotonic() + _END_SECONDS
        while self.series() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def neighbour(self) -> bool:
        """Return whether the other project's group is still what it was."""
        return 'neighbour="42' in self.stage.gateway.metrics().replace("} 42", 'neighbour="42')

    def processes(self) -> list[int]:
        """Return the processes that were started in this scene and are still there."""
        mark = f"FAULTS_SCENE={self.directory}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def is_dbt(self, number: int) -> bool:
        """Return whether a process is one of dbt's."""
        with suppress(OSError):
            return b"--log-format\0json" in Path(f"/proc/{number}/cmdline").read_bytes()
        return False

    def left_processes(self) -> list[int]:
        """Return the processes that do not go away by themselves within a moment."""
        deadline = time.monotonic() + _END_SECONDS
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return found

    def locked(self) -> list[Path]:
        """Return the locks below the target directory that somebody holds."""
        return [path for path in self.target.rglob("*.lock") if path.is_file() and _is_held(path)]

    def files(self) -> list[Path]:
        """Return the regular files of the project and the collector's directory."""
        places = (self.project, self.metrics_file.parent)
        return [path for place in places for path in place.rglob("*") if _is_regular(path)]

    def mend(self) -> None:
        """Take away what is in the place of an artifact and is no file: dbt would stumble too."""
        for path in self.target.rglob("*"):
            if path.name not in ("sources.json", "manifest.json") or _is_regular(path):
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()

    def memory(self) -> list[Path]:
        """Return the files in which obs remembers, below dbt's target directory."""
        private = self.target / "obs"
        found = private.rglob("*") if private.is_dir() else iter(())
        return [path for path in found if path.is_file() and path.name not in PRIVATE_FILES]


@dataclass
class Started:
    """A running obs, and what is read from it meanwhile."""

    process: subprocess.Popen[bytes]
    kinds: Mapping[str, str]

    def __post_init__(self) -> None:
        """Begin to read."""
        self._began = time.monotonic()
        self._read: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._usage = 0.0
        pipes = {"stdout": self.process.stdout, "stderr": self.process.stderr}
        self._readers = [
            threading.Thread(target=self._follow, args=(name, pipe))
            for name, pipe in pipes.items()
            if pipe
        ]
        for reader in self._readers:
            reader.start()

    def _follow(self, name: str, pipe: IO[bytes]) -> None:
        with pipe:
            if self.kinds[name] == "leaves":
                self._read[name] = pipe.read(1)
                return
            self._read[name] = pipe.read()

    def outcome(self, seconds: float) -> Outcome:
        """Wait for the end, for so long, and return how it was."""
        deadline = self._began + seconds
        while not self._ended():
            if time.monotonic() > deadline:
                self.end()
                return self._outcome(None)
            time.sleep(_POLL_SECONDS)
        elapsed = time.monotonic() - self._began
        return self._outcome(self.process.returncode, elapsed)

    def end(self) -> None:
        """Kill it, if it is still there."""
        if not self._ended():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            _, status, _ = os.wait4(self.process.pid, 0)
            self.process.returncode = os.waitstatus_to_exitcode(status)
        for reader in self._readers:
            reader.join(_END_SECONDS)

    def _ended(self) -> bool:
        if self.process.returncode is not None:
            return True
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if pid == 0:
            return False
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self._usage = usage.ru_maxrss / 1024
        return True

    def _outcome(self, code: int | None, seconds: float | None = None) -> Outcome:
        for reader in self._readers:
            reader.join(_END_SECONDS)
        took = time.monotonic() - self._began if seconds is None else seconds
        out, err = (self._read[name].decode("utf-8", "replace") for name in ("stdout", "stderr"))
        return Outcome(code, out, err, took, self._usage)


def _stream(kind: str, directory: Path) -> int:
    if kind in ("pipe", "leaves"):
        return subprocess.PIPE
    if kind == "full":
        full = directory / "full"
        if not full.is_symlink():
            full.symlink_to("/dev/full")
        return os.open(full, os.O_WRONLY)
    if kind == "gone":
        reader, writer = os.pipe()
        os.close(reader)
        return writer
    return os.open(os.devnull, os.O_RDWR)


def _is_held(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _put(stage: Stage, path: str, body: bytes) -> None:
    import urllib.request

    call = urllib.request.Request(stage.gateway.url + path, data=body, method="PUT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(call, timeout=_END_SECONDS):
        pass


def _series(content: str, group: Mapping[str, str]) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(content):
        for sample in family.samples:
            if group.items() <= sample.labels.items():
                labels = {k: v for k, v in sample.labels.items() if k not in GROUP and v}
                found[sample.name, frozenset(labels.items())] = float(sample.value)
    return found
