"""Both engines and their floor on the same sources: what dbt costs, and what asking costs."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import click

from bench.measure import Command, Run, median_ratio, median_seconds, report
from demo.services import Postgres, postgres, pushgateway

BIN = Path(sys.executable).parent
OBS, DBT = str(BIN / "obs"), str(BIN / "dbt")
STALE = (0, 1)

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
    """Run dbt, the floor, the least imports and ``obs`` in turn; print how they compare."""
    write_project(directory, count)
    parse = Command([DBT, "parse"], directory, env)
    dbt = Command([DBT, "source", "freshness"], directory, env, STALE)
    obs = Command([OBS, "freshness", "push", "--engine", "postgres"], directory, env)
    floor = Command([sys.executable, "-c", FLOOR, str(count)], directory, env)
    least = Command([sys.executable, "-c", LEAST], directory, env)
    _warm(parse, obs, floor, least)
    quick: list[tuple[Run, Run, Run]] = []
    slow: list[Run] = []
    for number in range(runs):
        if number < dbt_runs:
            slow.append(dbt())
        quick.append((obs(), floor(), least()))
    ours, floors, leasts = map(list, zip(*quick, strict=True))
    return _verdicts(count, ours, floors, leasts, slow)


def _warm(*commands: Command) -> None:
    """Run each once; dbt first, since it writes the manifest, and what it has parsed is kept."""
    for command in commands:
        command()


def _verdicts(
    count: int, ours: list[Run], floors: list[Run], leasts: list[Run], slow: list[Run]
) -> list[bool]:
    seconds = median_seconds(ours)
    faster = median_seconds(slow) / seconds
    dbt = f"{median_seconds(slow):.2f} s / {seconds:.3f} s: {faster:.0f} times faster"
    floor = f"{seconds:.3f} s / {median_seconds(floors):.3f} s"
    least = f"{seconds:.3f} s / {median_seconds(leasts):.3f} s"
    limit = 1 / FASTER.get(count, 1.0)
    floor_limit = FLOOR_LIMIT if count >= MANY else UNLIMITED
    return [
        report(f"{count:,} sources: push / dbt source freshness", 1 / faster, limit, dbt),
        report(f"{count:,} sources: push / floor", median_ratio(ours, floors), floor_limit, floor),
        report(
            f"{count:,} sources: push / least imports", median_ratio(ours, leasts), UNLIMITED, least
        ),
        report(f"{count:,} sources: memory, MiB", max(r.peak_mib for r in ours), 80, "its peak"),
    ]


if __name__ == "__main__":
    main()
