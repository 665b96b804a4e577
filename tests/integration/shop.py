"""A small dbt project of three sources on a database of its own, and ``obs`` in front of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ledgermind_obs import metrics
from ledgermind_obs.metrics import Metric
from ledgermind_obs.sinks.exposition import parse_exposition
from services.postgres import Postgres
from services.prometheus import Pushgateway

BIN = Path(sys.executable).parent
OBS = str(BIN / "obs")
DBT = str(BIN / "dbt")
DEADLINE = 60.0

PROJECT = "name: shop\nprofile: shop\nversion: '1.0'\nflags:\n  use_colors: true\n"
PROFILES = """
shop:
  target: "{{ env_var('SHOP_TARGET', 'prod') }}"
  outputs:
    prod: &output
      type: postgres
      host: "{{ env_var('PGHOST') }}"
      port: "{{ env_var('PGPORT') | int }}"
      user: "{{ env_var('PGUSER') }}"
      password: "{{ env_var('PGPASSWORD') }}"
      dbname: "{{ env_var('PGDATABASE') }}"
      schema: public
      threads: 2
    dev: *output
"""
SOURCES = """
sources:
  - name: app
    schema: public
    config:
      loaded_at_field: loaded_at
      freshness:
        warn_after: {count: 2, period: day}
        error_after: {count: 5, period: day}
    tables:
"""
TABLES = ("orders", "payments", "refunds")
AGES = {"orders": "4 hours", "payments": "58 hours", "refunds": "6 hours"}

Values = dict[Metric, dict[str, float]]


@dataclass
class Shop:
    """The project, the gateway it pushes to, and the environment both are found in."""

    directory: Path
    database: Postgres
    gateway: Pushgateway
    env: dict[str, str]

    def obs(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``obs`` in the project, without a terminal."""
        return subprocess.run(
            [OBS, *argv],
            cwd=self.directory,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def push(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``obs freshness push``."""
        return self.obs("freshness", "push", *argv, **env)

    def forget(self) -> None:
        """Lose what is remembered here, and what dbt last wrote."""
        for path in self.directory.glob("target/obs/*/history.*.json"):
            path.unlink()
        (self.directory / "target/run_results.json").unlink(missing_ok=True)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start ``obs`` in the project and return at once."""
        return subprocess.Popen(
            [OBS, *argv],
            cwd=self.directory,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        session = self.database.connect()
        try:
            with session, session.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            session.close()

    def series(self, target: str = "prod") -> Values:
        """Return what the gateway serves of this project, by metric and table (and status)."""
        group = {"job": "dbt-freshness", "project": "shop", "target": target}
        content = self.gateway.metrics().encode()
        found: Values = {}
        for series in parse_exposition(content, group):
            name = ".".join(series.label_values[2:4]) if series.source else ""
            found.setdefault(series.metric, {})[name] = series.value
        return found

    def state_of(self, table: str) -> str:
        """Return the one state in which the gateway has the table."""
        statuses = self.series()[metrics.STATUS]
        states = [name for name, value in statuses.items() if value == 1.0]
        (state,) = [name.split(".")[1] for name in states if name.split(".")[0] == table]
        return state

    @property
    def private_target_path(self) -> Path:
        """Where ``obs`` lets dbt write for target prod."""
        return self.directory / "target" / "obs" / "prod"

    def dbt_processes(self) -> list[psutil.Process]:
        """Return the processes that work on this project's private target directory."""
        mark = str(self.private_target_path)
        return [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])]

    def write_sources(self, *tables: str) -> None:
        """Declare these tables as the project's sources."""
        lines = "".join(f"      - name: {table}\n" for table in tables)
        (self.directory / "models" / "sources.yml").write_text(SOURCES + lines)

    def keep_parsed(self, template: Path) -> None:
        """Give the template what dbt remembers of parsing the project."""
        parsed = ("partial_parse.msgpack", "inputs.json")
        kept = template / "target" / "obs" / "prod"
        kept.mkdir(parents=True, exist_ok=True)
        for name in parsed:
            shutil.copy(self.private_target_path / name, kept)

    def replace_dbt(self, script: str) -> None:
        """Put a shell script in dbt's place; ``$DBT`` in it is the real one."""
        executable = self.directory / "dbt"
        executable.write_text(f"#!/bin/sh\nDBT={DBT}\n{script}\n")
        executable.chmod(0o755)
        self.env["OBS_DBT"] = str(executable)


def new_project(directory: Path) -> None:
    """Write the project's files."""
    (directory / "models").mkdir(parents=True)
    (directory / "dbt_project.yml").write_text(PROJECT)
    (directory / "profiles.yml").write_text(PROFILES)
    lines = "".join(f"      - name: {table}\n" for table in TABLES)
    (directory / "models" / "sources.yml").write_text(SOURCES + lines)


def open_shop(template: Path, directory: Path, database: Postgres, gateway: Pushgateway) -> Shop:
    """Return a shop with its tables filled, on a copy of a project that dbt has parsed before."""
    shutil.copytree(template, directory)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "PUSHGATEWAY_URL": gateway.url,
        **database.env(),
    }
    shop = Shop(directory, database, gateway, env)
    for table, age in AGES.items():
        shop.sql(f"create table {table} as select now() - interval '{age}' as loaded_at")
    return shop
