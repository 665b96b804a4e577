"""Prometheus and what belongs to it on loopback: Pushgateway, Alertmanager, postgres_exporter."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.binaries import find
from services.postgres import Postgres
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
def pushgateway(
    directory: Path, port: int = 0, *, persist: bool = False, flags: Sequence[str] = ()
) -> Iterator[Pushgateway]:
    """Run a Pushgateway; with ``persist`` it finds its metrics again when it comes back."""
    port = port or free_port()
    kept = directory / "pushgateway.data" if persist else ""
    command = [
        *(str(find("pushgateway")), f"--web.listen-address={HOST}:{port}"),
        *("--web.enable-admin-api", f"--persistence.file={kept}", *flags),
    ]
    server = _http_server("Pushgateway", directory, port, command)
    with server.running():
        yield Pushgateway(port, server)


@contextmanager
def prometheus(
    directory: Path, config: Path | str, port: int = 0, past: str = ""
) -> Iterator[Prometheus]:
    """Run a Prometheus on a configuration file, or on text that becomes ``prometheus.yml``.

    Its first scrape comes five seconds after its start, whatever the configuration says. ``past``
    is what it has scraped before, in the OpenMetrics format, with times.
    """
    port = port or free_port()
    command = [
        *(str(find("prometheus")), f"--web.listen-address={HOST}:{port}", "--web.enable-lifecycle"),
        f"--config.file={_config_file(directory / 'prometheus.yml', config)}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        "--storage.tsdb.retention.time=60d",
        # An alert that fires before Alertmanager is found would else be told a minute later.
        "--rules.alert.resend-delay=5s",
    ]
    if past:
        _backfill(directory, past)
    server = _http_server("Prometheus", directory, port, command)
    with server.running():
        yield Prometheus(port, server)


def _backfill(directory: Path, past: str) -> None:
    samples = directory / "past.txt"
    samples.write_text(past)
    command = ["tsdb", "create-blocks-from", "--max-block-duration=1440h"]
    command += ["openmetrics", str(samples)]
    argv = [str(find("promtool")), *command, str(directory / "prometheus")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"promtool cannot write what is past: {done.stderr.strip()}")


@contextmanager
def alertmanager(
    directory: Path, config: Path | str, port: int = 0, program: str = "alertmanager"
) -> Iterator[HttpService]:
    """Run an Alertmanager on a configuration file, or on text that becomes ``alertmanager.yml``.

    ``program`` names it among ``services.binaries.PROGRAMS``.
    """
    port, executable = port or free_port(), find(program)
    directory = directory.resolve()
    command = [
        *(str(executable), f"--web.listen-address={HOST}:{port}"),
        f"--config.file={_config_file(directory / 'alertmanager.yml', config)}",
        *(f"--storage.path={directory / 'alertmanager'}", "--cluster.listen-address="),
    ]
    server = _http_server("Alertmanager", directory, port, command)
    server.cwd = executable.parents[2]  # where its template is, if it was fetched
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
