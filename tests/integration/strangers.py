"""Projects that are not ours, each in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from shutil import copytree

from services.prometheus import Pushgateway
from tests.integration.quickstart import type_in, typed
from tests.integration.wheel import CONSTRAINTS, ROOT, run

PROJECTS = ROOT / "tests/data/strangers"
DUCKDB_CONSTRAINTS = (CONSTRAINTS, PROJECTS / "constraints.txt")
# Up to where the page adds an exposure of its own to the project.
COMMANDS = [line for line, _ in takewhile(lambda item: "training" not in item[0], typed())]


@dataclass(frozen=True)
class Stranger:
    """A project, the gateway it pushes to, and how SQL reaches its tables."""

    directory: Path
    gateway: Pushgateway
    env: dict[str, str]
    sql: Callable[[str], object]

    def type_in(self, command: str) -> str:
        """Type a command of the quickstart in the project's folder; return what it prints."""
        return type_in(command, self.directory, self.gateway.url, self.env)

    def follow_the_quickstart(self) -> None:
        """Type what the page says to type, from the version to the gate."""
        for command in COMMANDS:
            self.type_in(command)

    def push(self) -> None:
        """Measure and push, as cron would."""
        self.type_in("obs freshness push --pushgateway http://pushgateway:9091")


def stranger(name: str, place: Path, python: Path, gateway: Pushgateway) -> Stranger:
    """Return a copy of a project on DuckDB, without its tables."""
    directory = place / name
    copytree(PROJECTS / name, directory)
    env = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(place),
        "TZ": "UTC",
        "LANG": "C.UTF-8",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    return Stranger(directory, gateway, env, lambda sql: run(*_in_duckdb(python, directory, sql)))


def _in_duckdb(python: Path, directory: Path, sql: str) -> tuple[object, ...]:
    code = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute(sys.argv[2])"
    return python, "-c", code, directory / "data.duckdb", sql
