"""Both engines and their floor on the same sources: what dbt costs, and what asking costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from bench.measure import Command, Run, median_ratio, median_seconds, report
from services.postgres import Postgres, postgres
from services.prometheus import pushgateway

BIN = Path(sys.executable).parent
OBS, DBT = str(BIN / "obs"), str(BIN / "dbt")
STALE = (0, 1)
ENGINE = ("--engine", "postgres")

PROFILES = """
bench:
  target: prod
  outputs:
    prod:
      type: postgres
      host: "{{ env_var('PGHOST') }}"
      port: "{{ env_var('PGPORT') | as_number }}"
      user: "{{ env_var('PGUSER') }}"
      password: "{{ env_var('PGPASSWORD') }}"
      dbname: "{{ env_var('PGDATABASE') }}"
      schema: public
      threads: 4
"""
# The same questions over one connection, one after the other, and nothing else.
FLOOR = """
import psycopg2, sys
session = psycopg2.connect("")
cursor = session.cursor()
for number in range(int(sys.argv[1])):
    cursor.execute(f'select max(loaded_at), now() from "public"."table_{number:05}"')
    cursor.fetchone()
"""
# What no push can do without, and nothing of ours: imports, questions, a text that is there.
PARTS = """
import click, msgspec, psycopg2, yaml
import http.client, os, sys, threading, urllib.parse
count, batch, body = int(sys.argv[1]), 50, open(sys.argv[2], "rb").read()
look_up = '(select max(loaded_at) from "public"."table_{:05}")'
waiting = [range(first, min(first + batch, count)) for first in range(0, count, batch)]
def work():
    session = psycopg2.connect("")
    cursor = session.cursor()
    while waiting:
        cursor.execute("select now(), " + ", ".join(map(look_up.format, waiting.pop())))
        cursor.fetchall()
workers = [threading.Thread(target=work) for _ in range(min(2, len(waiting)))]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
gateway = http.client.HTTPConnection(urllib.parse.urlsplit(os.environ["PUSHGATEWAY_URL"]).netloc)
gateway.request("PUT", "/metrics/job/dbt-freshness/project/bench/target/prod", body)
sys.exit(gateway.getresponse().status != 200)
"""
LEAST = "import click, psycopg2, prometheus_client"
# How many times faster than dbt it has to be.
FASTER = {4: 12.0, 1_000: 75.0}
# With few sources the imports are most of the time; the floor has next to none.
MANY, FLOOR_LIMIT, UNLIMITED = 1_000, 1.5, 99


@click.command()
@click.option(
    "--sources", multiple=True, type=int, default=(3, 4, 100, 1_000, 5_000), show_default=True
)
@click.option("--runs", default=5, show_default=True, help="Counted runs of the quick commands.")
@click.option("--dbt-runs", default=2, show_default=True, help="Counted runs of dbt.")
def main(sources: tuple[int, ...], runs: int, dbt_runs: int) -> None:
    """Print each ratio with its limit; end with 1 where one is over."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        with postgres(directory / "postgres") as server, pushgateway(directory) as gateway:
            env = {**os.environ, **server.env(), "PUSHGATEWAY_URL": gateway.url}
            env["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
            create_tables(server, max(sources))
            results = [
                verdict
                for count in sources
                for verdict in compare(directory / str(count), count, env, runs, dbt_runs)
            ]
    sys.exit(0 if all(results) else 1)


def create_tables(server: Postgres, count: int) -> None:
    """Create tables of one row, with an index on the loaded-at column."""
    session = server.connect()
    session.autocommit = True
    with session.cursor() as cursor:
        for number in range(count):
            name = f"table_{number:05}"
            cursor.execute(
                f"create table {name} as select now() as loaded_at;"
                f"create index on {name} (loaded_at)"
            )
        cursor.execute("vacuum analyze")  # before the server does it in the middle
    session.close()


def write_project(directory: Path, count: int) -> None:
    """Write a dbt project of so many sources."""
    (directory / "models").mkdir(parents=True)
    (directory / "dbt_project.yml").write_text("name: bench\nprofile: bench\nversion: '1.0'\n")
    (directory / "profiles.yml").write_text(PROFILES)
    limits = {"warn_after": {"count": 2, "period": "day"}}
    source = {
        "name": "app",
        "schema": "public",
        "config": {"loaded_at_field": "loaded_at", "freshness": limits},
        "tables": [{"name": f"table_{number:05}"} for number in range(count)],
    }
    # JSON is YAML.
    (directory / "models" / "sources.yml").write_text(json.dumps({"sources": [source]}))


def compare(
    directory: Path, count: int, env: dict[str, str], runs: int, dbt_runs: int
) -> list[bool]:
    """Run dbt, ``obs`` and what it is held against in turn; print how they compare."""
    write_project(directory, count)
    Command([DBT, "parse"], directory, env)()
    dbt = Command([DBT, "source", "freshness"], directory, env, STALE)
    quick = commands(directory, count, env)
    for command in quick.values():
        command()
    found: dict[str, list[Run]] = {name: [] for name in ("dbt", *quick)}
    for number in range(runs):
        if number < dbt_runs:
            found["dbt"].append(dbt())
        for name, command in quick.items():
            found[name].append(command())
    return _verdicts(count, found)


def commands(directory: Path, count: int, env: dict[str, str]) -> dict[str, Command]:
    """Return the push, and by name what it is held against."""
    push = [OBS, "freshness", "push", *ENGINE]
    text = directory / "metrics.txt"
    with text.open("wb") as file:
        subprocess.run([*push, "--dry-run"], cwd=directory, env=env, stdout=file, check=True)
    scripts: dict[str, tuple[str, ...]] = {
        "floor": (FLOOR, str(count)),
        "parts": (PARTS, str(count), str(text)),
        "least imports": (LEAST,),
    }
    others = {
        name: Command([sys.executable, "-c", *script], directory, env)
        for name, script in scripts.items()
    }
    return {"push": Command(push, directory, env), **others}


def _verdicts(count: int, found: dict[str, list[Run]]) -> list[bool]:
    others = dict(found)
    push, dbt = others.pop("push"), others.pop("dbt")
    seconds, of_dbt = median_seconds(push), median_seconds(dbt)
    faster = f"{of_dbt:.2f} s / {seconds:.3f} s: {of_dbt / seconds:.0f} times faster"
    limits = {"floor": FLOOR_LIMIT if count >= MANY else UNLIMITED}
    verdicts = [
        report(
            f"{count:,} sources: push / dbt source freshness",
            seconds / of_dbt,
            1 / FASTER.get(count, 1.0),
            faster,
        )
    ]
    for name, runs in others.items():
        detail = f"{seconds:.3f} s / {median_seconds(runs):.3f} s"
        limit = limits.get(name, UNLIMITED)
        ratio = median_ratio(push, runs)
        verdicts.append(report(f"{count:,} sources: push / {name}", ratio, limit, detail))
    peak = max(run.peak_mib for run in push)
    return [*verdicts, report(f"{count:,} sources: memory, MiB", peak, 80, "its peak")]


if __name__ == "__main__":
    main()
