"""Both engines on projects that nobody wrote: one answer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from services.postgres import Postgres
from tests.integration.odd import Engines, comparable, run_sql
from tests.integration.projects import Project, projects


@pytest.fixture(scope="module")
def reader(postgres: Postgres) -> Iterator[Postgres]:
    """The server as a role sees it that owns nothing."""
    postgres.start()
    run_sql(postgres, "create role reader login password 'reader'")
    yield replace(postgres, user="reader", password="reader")
    postgres.start()
    run_sql(postgres, "drop role reader")


@contextmanager
def filled(server: Postgres, reader: Postgres, project: Project) -> Iterator[Engines]:
    """Both engines in front of the project and a database of its own."""
    database = server.create_database(project.database)
    try:
        with tempfile.TemporaryDirectory(prefix="obs-test-") as directory:
            project.write(Path(directory) / "project")
            run_sql(database, *project.statements())
            known = replace(reader, dbname=project.database)
            yield Engines(Path(directory) / "project", known)
    finally:
        server.drop_database(project.database)


@settings(
    max_examples=6,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # a smaller project that fails would take a dbt run for each step
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
@given(project=projects)
def test_both_engines_say_the_same_of_any_project(
    postgres: Postgres, reader: Postgres, project: Project
) -> None:
    with filled(postgres, reader, project) as engines:
        by_dbt, by_postgres = engines.sources("dbt"), engines.sources("postgres")

    assert by_postgres.keys() == by_dbt.keys()
    both = {name: comparable(by_dbt[name], by_postgres[name]) for name in by_dbt}
    differing = {name: (dbts, ours) for name, (dbts, ours) in both.items() if dbts != ours}
    for name, (dbts, ours) in differing.items():
        note(f"{project.describe(name)}\ndbt: {dbts}\npostgres: {ours}")
    assert not differing
