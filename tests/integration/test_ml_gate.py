"""The gate in front of ML training, on the warehouse with real parts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.data import Demo, load
from services.postgres import Postgres
from services.prometheus import Prometheus, Pushgateway, prometheus

ROOT = Path(__file__).parents[2]
OBS = Path(sys.executable).with_name("obs")
NAME = "ml_training_pipeline"
DBT = Path(sys.executable).with_name("dbt")
BLOCKED, OPEN = "DO NOT RUN ML TRAINING", "ML training may run"
SCRAPED_SECONDS = 60


@dataclass
class Ml:
    """The warehouse's project with a database of its own."""

    project: Path
    database: Postgres

    def obs(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``obs`` in the project."""
        return subprocess.run(
            [OBS, *argv],
            cwd=self.project,
            env={**os.environ, **self.database.env(), "DBT_TARGET": "dev", **env},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def gate(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the gate in front of the training job."""
        return self.obs("freshness", "check", "--exposure", NAME, *argv, **env)

    def build(self) -> None:
        """Measure, build what is upstream of the training job, and say so, as a job does."""
        self.obs("freshness", "check")
        environment = {**os.environ, **self.database.env(), "DBT_TARGET": "dev"}
        argv = [str(DBT), "build", "--select", f"+exposure:{NAME}", "--profiles-dir", "."]
        done = subprocess.run(
            argv, cwd=self.project, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
        pushed = self.obs("builds", "push", "--textfile", "target/builds.prom")
        assert pushed.returncode == 0, pushed.stderr

    def sql(self, statement: str) -> None:
        """Run a statement in the warehouse's database."""
        session = self.database.connect()
        with session, session.cursor() as cursor:
            cursor.execute(statement)
        session.close()


@pytest.fixture(scope="module")
def ml(postgres: Postgres) -> Iterator[Ml]:
    postgres.start()
    database = postgres.create_database("ml_gate")
    session = database.connect()
    load(session, Demo(transactions=500))
    session.close()
    with tempfile.TemporaryDirectory(prefix="obs-test-") as directory:
        project = Path(directory) / "warehouse"
        ignored = shutil.ignore_patterns("target", "logs")
        shutil.copytree(ROOT / "warehouse", project, ignore=ignored)
        found = Ml(project, database)
        found.build()
        yield found
    postgres.drop_database("ml_gate")


def test_fresh_sources_let_training_run_and_the_old_label_is_a_warning(ml: Ml) -> None:
    found = ml.gate()

    assert found.returncode == 0, found.stdout + found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == (
        f"{OPEN}: 3 sources upstream of {NAME} measured, 1 with a warning, 3 tables built, "
        "the oldest data 2 d 10 h old (app.transaction_labels)"
    )
    assert any(line.startswith("app.transaction_labels  warn  2 d 10 h") for line in lines)


def test_sources_without_freshness_are_let_through_by_the_reason_they_give(ml: Ml) -> None:
    found = ml.gate()

    told = [line for line in found.stdout.splitlines() if "meta.obs.no_freshness" in line]
    assert len(told) == 2
    assert "app.suggestion_events has no freshness" in found.stdout


def test_a_reason_that_has_ended_counts_no_more(ml: Ml) -> None:
    path = ml.project / "models/sources.yml"
    before = path.read_text()
    reason = 'no_freshness: "New rows come when users act'
    assert reason in before
    path.write_text(
        before.replace(reason, f"{reason}")
        .replace("obs: {no_freshness: ", "obs: {no_freshness: {until: 2026-01-01, reason: ")
        .replace('training data."}', 'training data."}}')
    )
    found = ml.gate()
    path.write_text(before)

    assert found.returncode == 1
    assert found.stdout.startswith(f"{BLOCKED}: 2 sources without freshness upstream of {NAME}\n")
    assert "app.suggestion_events → " in found.stdout


def test_a_setting_that_obs_does_not_know_is_refused_by_file_and_line(ml: Ml) -> None:
    path = ml.project / "models/sources.yml"
    before = path.read_text()
    path.write_text(before.replace("obs: {no_freshness:", "obs: {no_freshnes:", 1))
    found = ml.gate()
    path.write_text(before)

    assert found.returncode == 2
    assert f"{BLOCKED}: models/sources.yml:" in found.stdout
    assert "meta.obs of app.suggestion_events: no_freshnes is not known" in found.stdout


def test_a_table_that_was_not_rebuilt_blocks_by_the_age_of_what_it_holds(ml: Ml) -> None:
    ml.sql("insert into transactions select * from transactions where false")
    found = ml.gate("--max-age", "1h", "--allow-error", "--format", "json")

    tables = {each["name"]: each for each in json.loads(found.stdout)["tables"]}
    assert found.returncode == 1
    assert tables["fct_training_view"]["blocks"] is True
    assert tables["fct_training_view"]["build"] == "built"


def test_a_table_that_is_gone_blocks_and_comes_back(ml: Ml) -> None:
    ml.sql("alter table ml_features rename to ml_features_gone")
    gone = ml.gate()
    ml.sql("alter table ml_features_gone rename to ml_features")

    assert gone.returncode == 1
    assert 'app.ml_features  query error  relation "public.ml_features" does not' in gone.stdout
    assert "app.ml_features → stg_ml_features → fct_training_view → " in gone.stdout
    assert ml.gate().returncode == 0


def test_the_file_of_that_run_is_judged_as_well(ml: Ml) -> None:
    assert ml.gate().returncode == 0
    artifact = ml.project / "target/obs/dev/sources.json"

    assert ml.gate("--artifact", str(artifact)).returncode == 0
    old = ml.gate("--artifact", str(artifact), "--artifact-max-age", "0s")
    assert (old.returncode, old.stdout.split(":")[0]) == (4, BLOCKED)


def test_a_database_that_is_down_blocks(ml: Ml) -> None:
    found = ml.gate(PGHOST="127.0.0.1", PGPORT="1")

    assert (found.returncode, found.stdout.split(":")[0]) == (3, BLOCKED)


@pytest.fixture
def scraping(gateway: Pushgateway, tmp_path: Path) -> Iterator[Prometheus]:
    config = f"""
    scrape_configs:
      - job_name: pushgateway
        honor_labels: true
        scrape_interval: 1s
        static_configs: [{{targets: ["127.0.0.1:{gateway.port}"]}}]
    """
    with prometheus(tmp_path, config) as server:
        yield server


def test_what_was_pushed_is_judged_without_the_warehouse(
    ml: Ml, gateway: Pushgateway, scraping: Prometheus
) -> None:
    no_warehouse = {"PGHOST": "127.0.0.1", "PGPORT": "1"}
    unknown = ml.gate("--prometheus", scraping.url, **no_warehouse)
    assert (unknown.returncode, unknown.stdout.split(":")[0]) == (4, BLOCKED)

    pushed = ml.obs("freshness", "push", "--exposure", NAME, PUSHGATEWAY_URL=gateway.url)
    assert pushed.returncode == 0, pushed.stderr
    _await(scraping, 'count(dbt_source_checked_at_seconds{table="transactions"})')
    unbuilt = ml.gate("--prometheus", scraping.url, **no_warehouse)
    assert unbuilt.returncode == 1
    assert unbuilt.stdout.startswith(f"{BLOCKED}: 3 tables have no build on record")
    assert ml.obs("builds", "push", PUSHGATEWAY_URL=gateway.url).returncode == 0
    _await(scraping, "count(dbt_exposure_as_of_seconds)")

    found = ml.gate("--prometheus", scraping.url, "--format", "json", **no_warehouse)
    assert found.returncode == 0, found.stdout + found.stderr
    judged = {source["name"]: source["state"] for source in json.loads(found.stdout)["sources"]}
    assert judged == {
        "app.transactions": "pass",
        "app.transaction_labels": "warn",
        "app.ml_features": "pass",
    }
    assert ml.gate("--prometheus", scraping.url, "--push-max-age", "0s").returncode == 4
    assert ml.gate("--prometheus", scraping.url, "--target", "prod").returncode == 4


def _await(server: Prometheus, expression: str) -> None:
    deadline = time.monotonic() + SCRAPED_SECONDS
    while not server.query(expression):
        assert time.monotonic() < deadline, f"Prometheus never had {expression}"
        time.sleep(0.1)


def test_lineage_of_the_warehouse_is_sound(ml: Ml) -> None:
    found = ml.obs("lineage", "check", NAME, "--format", "json")

    assert (found.returncode, json.loads(found.stdout)["findings"]) == (0, [])


def test_the_second_engine_gives_the_same_verdict_by_the_same_gate(ml: Ml) -> None:
    found = ml.gate("--engine", "postgres")

    assert found.returncode == 0, found.stdout + found.stderr
    lines = found.stdout.splitlines()
    assert lines[0].startswith(f"{OPEN}: 3 sources upstream of {NAME} measured, 1 with a warning")


@pytest.mark.parametrize("engine", ["dbt", "postgres"])
def test_what_was_named_and_was_not_measured_blocks(ml: Ml, engine: str) -> None:
    def check(*argv: str) -> subprocess.CompletedProcess[str]:
        return ml.obs("freshness", "check", "--engine", engine, *argv)

    whole = check()
    typo = check("--select", "source:app.transactions", "source:app.transaction")
    silent = check("--select", "source:app.transactions", "source:app.model_registry")

    assert (whole.returncode, typo.returncode, silent.returncode) == (1, 1, 1)
    assert "2 sources without freshness" in whole.stdout.splitlines()[0]
    assert typo.stdout.startswith(f"{BLOCKED}: nothing is selected by 'source:app.transaction'\n")
    assert silent.stdout.startswith(f"{BLOCKED}: 1 source without freshness\n")
    assert check("--select", "source:app.transactions").returncode == 0
    assert check("--allow-no-freshness", "app.*").returncode == 0


def test_a_dashboard_is_not_to_be_used(ml: Ml) -> None:
    found = ml.obs("freshness", "check", "--exposure", "suggestion_quality", "--max-age", "1s")

    assert found.returncode == 1
    assert found.stdout.startswith("DO NOT USE THE DASHBOARD: ")
