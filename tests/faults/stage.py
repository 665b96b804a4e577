"""What all runs of one worker share: the servers, the project that dbt has parsed, the fake dbt."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg2.extensions import connection

from services.postgres import Postgres, postgres
from services.prometheus import Pushgateway, pushgateway
from tests.faults.front import Front, front
from tests.faults.wire import Wire, wire
from tests.faults.world import ERROR_HOURS, TABLES, WARN_HOURS

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
DATABASE = "shop"
ROLE = "shopkeeper"
OWNERS_PASSWORD = "postgres"

PROJECT = "name: shop\nprofile: shop\nversion: '1.0'\n"
PROFILES = """
shop:
  target: prod
  outputs:
    prod: &output
      type: postgres
      host: "{{ env_var('PGHOST') }}"
      port: "{{ env_var('PGPORT') | as_number }}"
      user: "{{ env_var('PGUSER') }}"
      password: "{{ env_var('PGPASSWORD') }}"
      dbname: "{{ env_var('PGDATABASE') }}"
      schema: public
      threads: 2
      connect_timeout: 2
    dev: *output
"""
SOURCES = f"""
sources:
  - name: app
    schema: public
    loaded_at_field: loaded_at
    freshness:
      warn_after: {{count: {WARN_HOURS:.0f}, period: hour}}
      error_after: {{count: {ERROR_HOURS:.0f}, period: hour}}
    tables:
""" + "".join(f"      - name: {table}\n" for table in TABLES)
MODEL = "select * from {{ source('app', 'TABLE') }}\n"
EXPOSURE = """
exposures:
  - name: training
    type: ml
    owner: {name: Shop, email: shop@example.org}
    depends_on: [ref('stg_orders'), ref('stg_payments')]
"""


@dataclass(frozen=True)
class Template:
    """The project as it is deployed, and the manifest that a real dbt made of it."""

    project: Path
    manifest: Path


@dataclass
class Stage:
    """One worker's servers and places; ``package`` holds the obs to run, if it is not the usual."""

    home: Path
    template: Template
    database: Postgres
    gateway: Pushgateway
    front: Front
    wire: Wire
    package: Path | None = None

    @property
    def fake_dbt(self) -> Path:
        """The dbt that misbehaves as told."""
        return self.home / "dbt"

    def python_path(self) -> str:
        """Return where obs finds itself, and what goes wrong inside it."""
        places = [self.package, HERE / "inside"]
        return os.pathsep.join(str(place) for place in places if place)

    @contextmanager
    def owner(self) -> Iterator[connection]:
        """Yield a session of the one who owns the database; each statement stands for itself."""
        owner = replace(self.database, user="postgres", password=OWNERS_PASSWORD)
        session = owner.connect()
        session.autocommit = True
        try:
            yield session
        finally:
            session.close()

    def reset(self) -> None:
        """Take up again what the last run took down, and forget what it told."""
        self.database.start()
        self.gateway.start()
        self.front.plan = None
        self.front.up()
        self.wire.spoil = ""
        self.gateway.wipe()
        self.front.asked.clear()


@contextmanager
def stage(template: Template, package: Path | None = None) -> Iterator[Stage]:
    """Run one worker's servers."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(_directory()))
        admin = stack.enter_context(postgres(home))
        database = _shop_database(admin)
        gateway = stack.enter_context(pushgateway(home))
        relay = stack.enter_context(front(gateway.port))
        line = stack.enter_context(wire(database.port))
        found = Stage(home, template, database, gateway, relay, line, package)
        _write_fake_dbt(found.fake_dbt)
        yield found


@contextmanager
def parsed_template() -> Iterator[Template]:
    """Write the project and let a real dbt parse it."""
    with _directory() as home:
        project = Path(home) / "project"
        _write_project(project)
        yield Template(project, _parse(project, Path(home) / "parsed"))


def _write_project(project: Path) -> None:
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text(PROJECT)
    (project / "profiles.yml").write_text(PROFILES)
    (project / "models" / "sources.yml").write_text(SOURCES + EXPOSURE)
    for table in ("orders", "payments"):
        model = project / "models" / f"stg_{table}.sql"
        model.write_text(MODEL.replace("TABLE", table))


def _parse(project: Path, target: Path) -> Path:
    login = dict.fromkeys(("PGHOST", "PGUSER", "PGPASSWORD"), "nobody")
    env = {**os.environ, **login, "PGPORT": "1", "PGDATABASE": DATABASE}
    subprocess.run(
        [
            *(str(BIN / "dbt"), "parse", "--target", "prod", "--target-path", str(target)),
            *("--project-dir", str(project), "--profiles-dir", str(project)),
            *("--log-path", str(target)),
        ],
        env={**env, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        check=True,
        capture_output=True,
    )
    return target / "manifest.json"


def _shop_database(admin: Postgres) -> Postgres:
    """Return a database of a role whose password no other text can hold."""
    password = secrets.token_hex(12)
    session = admin.create_database(DATABASE).connect()
    with session, session.cursor() as cursor:
        cursor.execute(f"create role {ROLE} login password '{password}'")
        cursor.execute(f"grant all on schema public to {ROLE}")
        for table in TABLES:
            cursor.execute(f"create table {table} (loaded_at timestamptz)")
            cursor.execute(f"grant select on {table} to {ROLE}")
    session.close()
    return replace(admin, dbname=DATABASE, user=ROLE, password=password)


def _write_fake_dbt(path: Path) -> None:
    script = (HERE / "fake_dbt.py").read_text()
    path.write_text(f"#!{sys.executable} -IS\n{script}")
    path.chmod(0o755)


def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="obs-faults-", ignore_cleanup_errors=True)


def copy_project(template: Template, directory: Path) -> None:
    """Copy the project as it is deployed, with the manifest of an earlier run of dbt."""
    shutil.copytree(template.project, directory)
    (directory / "target").mkdir()
    shutil.copy(template.manifest, directory / "target" / "manifest.json")
