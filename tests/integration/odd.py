"""A project of odd sources, each an idea of where two engines might not agree."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.postgres import Postgres
from tests.integration.shop import DEADLINE, OBS

# dbt tells of what is no timestamp in words of its own.
DBTS_OWN_WORDS = ("Expected a timestamp value", "Got an invalid result")

PROJECT = "name: odd\nprofile: odd\nversion: '1.0'\n"
PROFILES = """
odd:
  target: prod
  outputs:
    prod:
      type: postgres
      host: "{{ env_var('PGHOST') }}"
      port: "{{ env_var('PGPORT') | as_number }}"
      user: "{{ env_var('PGUSER') }}"
      pass: "{{ env_var('PGPASSWORD') }}"
      dbname: "{{ env_var('PGDATABASE') }}"
      schema: public
      threads: 2
      connect_timeout: 5
      keepalives_idle: 30
      search_path: 'public, "odd schema"'
"""


@dataclass(frozen=True)
class Odd:
    """A source: what is asked of it, and the SQL that makes its table (``{}`` is its name)."""

    name: str
    sql: str = "create table {} as select timestamptz '2026-01-02 03:04:05.678901+00' as loaded_at"
    loaded_at: str | None = "loaded_at"
    filter: str | None = None
    query: str | None = None
    schema: str = "public"
    identifier: str | None = None
    database: str | None = None
    warn_days: int | None = 2
    error_days: int | None = 5

    def table(self) -> dict[str, Any]:
        """Return the table as the source's YAML declares it."""
        days = {"warn_after": self.warn_days, "error_after": self.error_days}
        freshness: dict[str, Any] = {
            name: None if count is None else {"count": count, "period": "day"}
            for name, count in days.items()
        }
        if self.filter:
            freshness["filter"] = self.filter
        config: dict[str, Any] = {"freshness": freshness}
        if self.query is not None:
            config["loaded_at_query"] = self.query
        elif self.loaded_at is not None:
            config["loaded_at_field"] = self.loaded_at
        return {
            "name": self.name,
            "identifier": self.identifier or self.name,
            "config": config,
        }

    def create(self) -> str:
        """Return the SQL that makes its table."""
        quoted = (self.identifier or self.name).replace('"', '""')
        return self.sql.replace("{}", f'"{self.schema}"."{quoted}"')


def write_project(directory: Path, sources: Iterable[Odd]) -> None:
    """Write a project of these sources, one dbt source for each schema and database."""
    (directory / "models").mkdir(parents=True)
    (directory / "dbt_project.yml").write_text(PROJECT)
    (directory / "profiles.yml").write_text(PROFILES)
    groups: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for source in sources:
        groups.setdefault((source.schema, source.database), []).append(source.table())
    document = [
        {
            "name": f"s{number}",
            "schema": schema,
            **({"database": database} if database else {}),
            "tables": tables,
        }
        for number, ((schema, database), tables) in enumerate(groups.items())
    ]
    # JSON is YAML.
    (directory / "models" / "sources.yml").write_text(json.dumps({"sources": document}))


@dataclass
class Engines:
    """A project, and ``obs`` in front of it with one engine or the other."""

    directory: Path
    database: Postgres
    env: dict[str, str] = field(default_factory=dict)

    def obs(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``obs`` in the project, without a terminal."""
        base = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        return subprocess.run(
            [OBS, *argv],
            cwd=self.directory,
            env={**base, **self.database.env(), **self.env, **env},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def report(self, engine: str, *argv: str) -> dict[str, Any]:
        """Return the JSON of a check."""
        result = self.obs("freshness", "check", "--format", "json", "--engine", engine, *argv)
        assert result.returncode in {0, 1}, result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def sources(self, engine: str, *argv: str) -> dict[str, dict[str, Any]]:
        """Return each source's entry by its table."""
        return {entry["table"]: entry for entry in self.report(engine, *argv)["sources"]}


def comparable(by_dbt: dict[str, Any], by_postgres: dict[str, Any]) -> tuple[Any, Any]:
    """Return of dbt's entry, and of the other engine's a little later, what must be the same."""
    varying = {"checked_at", "age_seconds", "message"}
    entries = [
        {key: value for key, value in entry.items() if key not in varying}
        for entry in (by_dbt, by_postgres)
    ]
    dbts_own = by_dbt["message"].startswith(DBTS_OWN_WORDS)
    for entry, whole in zip(entries, (by_dbt, by_postgres), strict=True):
        entry["message"] = bool(whole["message"]) if dbts_own else whole["message"]
    if by_dbt["checked_at"] and by_postgres["checked_at"]:
        first, second = (datetime.fromisoformat(e["checked_at"]) for e in (by_dbt, by_postgres))
        in_its_turn = timedelta() < second - first < timedelta(minutes=1)
        entries[1]["looked at"] = "in its turn" if in_its_turn else f"{second - first} after dbt"
        entries[0]["looked at"] = "in its turn"
    return entries[0], entries[1]


def run_sql(database: Postgres, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    session = database.connect()
    session.autocommit = True
    try:
        with session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        session.close()
