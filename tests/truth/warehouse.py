"""Random histories on a real PostgreSQL with a real dbt: is any claim later than the truth?

``python -m tests.truth.warehouse [HISTORIES]``. Each model carries, of each source, the newest
moment that it has read: the truth is what a query finds in it.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.durations import format_age
from ledgermind_obs.gate.as_of import AsOf, keeps_content
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.sinks.record import read_record
from services.postgres import Postgres, postgres
from tests.truth.__main__ import too_late
from tests.truth.histories import DAY, Claim

BIN = Path(sys.executable).parent
HISTORIES, STEPS, DEADLINE = 200, 14, 120.0
EXPOSURE = "exposure.truth.training"
KINDS = ("table", "table", "incremental", "view", "ephemeral")
OPEN, SHUT = 0, 1

_PROJECT = "name: truth\nprofile: truth\nversion: '1.0'\n"
_PROFILES = """
truth:
  target: prod
  outputs:
    prod:
      type: postgres
      host: "{{ env_var('PGHOST') }}"
      port: "{{ env_var('PGPORT') | int }}"
      user: "{{ env_var('PGUSER') }}"
      password: "{{ env_var('PGPASSWORD') }}"
      dbname: "{{ env_var('PGDATABASE') }}"
      schema: public
      threads: 2
"""
_SOURCES = """
sources:
  - name: app
    schema: public
    config:
      loaded_at_field: loaded_at
      freshness: {error_after: {count: 1000, period: day}}
    tables: [%s]
exposures:
  - name: training
    type: ml
    owner: {name: ML, email: ml@example.org}
    depends_on: [%s]
"""
_MODEL = """
{{ config(materialized='%s', unique_key='source') }}
select source, min(newest) as newest
from (%s) as parents
where {%% if var('broken', '') == '%s' %%} no_such_column {%% else %%} true {%% endif %%}
group by source
"""


class Warehouse:
    """A dbt project of random models on a database of its own, and what happens to it."""

    def __init__(self, seed: int, directory: Path, database: Postgres) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a history is to be had again
        self._directory, self._database = directory, database
        self._sources = [f"s{number}" for number in range(self._random.randint(1, 3))]
        self._parents: dict[str, list[str]] = {}
        self._frozen = self._spoilt = False
        self.decisions: list[tuple[int, float, float]] = []
        self._write()

    def claims(self) -> Iterator[Claim]:
        """Live through the history, and ask after each step."""
        for _ in range(STEPS):
            self._step()
            if not self._frozen:
                yield from self._ask()
        self._decide()

    def _write(self) -> None:
        chosen, models = self._random, self._directory / "models"
        models.mkdir(parents=True)
        (self._directory / "dbt_project.yml").write_text(_PROJECT)
        (self._directory / "profiles.yml").write_text(_PROFILES)
        for table in self._sources:
            self._sql(f"create table {table} (loaded_at timestamptz)")
            self._load(table)
        for number in range(chosen.randint(2, 5)):
            name, above = f"m{number}", [*self._sources, *self._parents]
            self._parents[name] = chosen.sample(above, min(len(above), chosen.choice((1, 1, 2))))
            read = " union all ".join(self._read(parent) for parent in self._parents[name])
            kind = chosen.choice(KINDS) if number else "table"
            (models / f"{name}.sql").write_text(_MODEL % (kind, read, name))
        tops = sorted({f"m{number}", chosen.choice(list(self._parents))})
        self._tops = tops
        tables = ", ".join(f"{{name: {table}}}" for table in self._sources)
        refs = ", ".join(f"ref('{top}')" for top in tops)
        (models / "models.yml").write_text(_SOURCES % (tables, refs))

    def _read(self, parent: str) -> str:
        if parent in self._sources:
            table = f"{{{{ source('app', '{parent}') }}}}"
            return f"select '{parent}'::text as source, max(loaded_at) as newest from {table}"
        return f"select source, newest from {{{{ ref('{parent}') }}}}"

    def _step(self) -> None:
        step = self._random.choices(
            (self._load_any, self._remove, self._measure, self._build), (4, 0.4, 3, 3)
        )[0]
        step()

    def _load_any(self) -> None:
        if not self._frozen:
            self._load(self._random.choice(self._sources))

    def _load(self, table: str) -> None:
        """Add a row; its stamp may be older than the rows that are there."""
        age = self._random.choice((0.0, self._random.uniform(0, 2 * DAY)))
        self._sql(f"insert into {table} values (now() - interval '{age} seconds')")

    def _remove(self) -> None:
        """Take the newest rows away; until somebody looks nobody can know, and nobody is asked."""
        table = self._random.choice(self._sources)
        self._sql(f"delete from {table} where loaded_at > now() - interval '12 hours'")
        self._frozen = True

    def _measure(self) -> None:
        self._obs("freshness", "push", "--engine", "postgres", "--textfile", "freshness.prom")
        self._frozen = False

    def _build(self) -> None:
        """Build all or a part; it may fail, be empty, or be known to nobody.

        While anything is empty no build is hidden: nobody could know what it read.
        """
        chance, argv = self._random, ["build"]
        if chance.random() < 0.4:
            argv += ["--select", chance.choice(list(self._parents)) + chance.choice(("", "+"))]
        if chance.random() < 0.25:
            argv += ["--vars", f"broken: {chance.choice(list(self._parents))}"]
        recorded = self._spoilt or chance.random() < 0.85
        if recorded and chance.random() < 0.1:
            argv.append("--empty")
        self._spoilt = "--empty" in argv or (self._spoilt and len(argv) > 1)
        if not recorded:
            argv += ["--target-path", "elsewhere"]
        self._run(BIN / "dbt", *argv, "--profiles-dir", ".", codes=(0, 1, 2))
        if recorded:
            self._obs("builds", "push", "--textfile", "builds.prom", codes=(0, 2))

    def _ask(self) -> Iterator[Claim]:
        manifest = self._directory / "target/obs/prod/manifest.json"
        if not manifest.exists():
            return
        lineage = Lineage(read_lineage_manifest(manifest.read_bytes()))
        record = read_record(manifest.parent, "truth", "prod", lambda _: None)
        as_of, now = AsOf(lineage, record.history), datetime.now(UTC).timestamp()
        for uid in lineage.ancestors([EXPOSURE]):
            name = lineage.label(uid)
            tops = self._tops if uid == EXPOSURE else [name]
            if uid == EXPOSURE or keeps_content(lineage, uid):
                truth = self._truth(tops)
                for source, claimed in as_of.of(uid).items():
                    held = truth.get(lineage.manifest.sources[source].name, -inf)
                    yield Claim(uid, source, now, claimed, held)

    def _truth(self, models: list[str]) -> dict[str, float]:
        """Return, of each source, the oldest that any of the models holds."""
        found: dict[str, float] = {}
        for model in models:
            held = self._held(model)
            for source in self._sources_of(model):
                found[source] = min(found.get(source, inf), held.get(source, -inf))
        return found

    def _sources_of(self, model: str) -> set[str]:
        parents = self._parents[model]
        own = {parent for parent in parents if parent in self._sources}
        return own.union(*(self._sources_of(p) for p in parents if p in self._parents))

    def _held(self, model: str) -> dict[str, float]:
        there = self._sql(f"select to_regclass('public.{model}')")[0][0]
        if there is None:  # an ephemeral model is nowhere: what reads it reads its parents
            parents = self._parents[model]
            tables = {p: self._newest(p) for p in parents if p in self._sources}
            return {**self._truth([p for p in parents if p in self._parents]), **tables}
        rows = self._sql(f"select source, extract(epoch from newest) from {model}")
        return {source: -inf if newest is None else float(newest) for source, newest in rows}

    def _newest(self, table: str) -> float:
        newest = self._sql(f"select extract(epoch from max(loaded_at)) from {table}")[0][0]
        return -inf if newest is None else float(newest)

    def _decide(self) -> None:
        """Ask the gate itself, with a limit; it measures, so that nothing is unseen."""
        limit = self._random.choice((0.25, 1.0, 3.0)) * DAY
        argv = ("--exposure", "training", "--engine", "postgres", "--max-age", f"{limit:.0f}s")
        code = self._obs("freshness", "check", *argv, codes=(OPEN, SHUT))
        truth = self._truth(self._tops)
        age = datetime.now(UTC).timestamp() - min(truth.values(), default=inf)
        self.decisions.append((code, age, limit))

    def _obs(self, *argv: str, codes: tuple[int, ...] = (0,)) -> int:
        return self._run(BIN / "obs", *argv, codes=codes)

    def _run(self, program: Path, *argv: str, codes: tuple[int, ...]) -> int:
        env = {**os.environ, **self._database.env(), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
        done = subprocess.run(
            [program, *argv],
            cwd=self._directory,
            env=env,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        if done.returncode not in codes:
            raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.returncode

    def _sql(self, statement: str) -> list[tuple]:  # type: ignore[type-arg]
        session = self._database.connect()
        try:
            with session, session.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            session.close()


def lived(seed: int, directory: Path, server: Postgres) -> tuple[list[Claim], list[str]]:
    """Live through one history; return its claims, and how the gate was wrong, if it was."""
    name = f"truth_{seed}"
    warehouse = Warehouse(seed, directory / name, server.create_database(name))
    claims = list(warehouse.claims())
    server.drop_database(name)
    wrong = [
        f"seed {seed}: open at {format_age(age)}, limit {format_age(limit)}"
        for code, age, limit in warehouse.decisions
        if code == OPEN and age > limit
    ]
    return claims, wrong


def main() -> int:
    """Run the histories that were asked for; return 1 if anything is claimed beyond the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", type=int, nargs="?", default=HISTORIES)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.histories)
    with (
        tempfile.TemporaryDirectory(prefix="obs-truth-") as place,
        postgres(Path(place)) as server,
        ThreadPoolExecutor(options.workers) as pool,
    ):
        found = list(pool.map(lambda seed: lived(seed, Path(place), server), seeds))
    asked = [claim for claims, _ in found for claim in claims]
    claims = [claim for claim in asked if claim.claimed is not None]
    late = [claim for claim in claims if too_late(claim)]
    wrong = [each for _, each_wrong in found for each in each_wrong]
    sys.stdout.write(
        f"{len(seeds)} histories on PostgreSQL and dbt: {len(asked):,} questions, "
        f"{len(claims):,} claims, {len(late)} later than the truth; "
        f"{len(wrong)} gates open over data that is too old\n"
    )
    for trouble in (*late[:10], *wrong[:10]):
        sys.stdout.write(f"{trouble}\n")
    return 1 if late or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
