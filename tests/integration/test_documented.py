"""What the pages tell people to type, typed: the checklist's boxes, and every `obs` command."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from demo.data import Demo, load
from docs.make import commands
from services.binaries import find
from services.postgres import Postgres
from services.prometheus import pushgateway
from tests.documented import CommandLine, command_lines
from tests.fake_grafana import EDITOR, fake_grafana
from tests.integration.chain import chain, pushed
from tests.mail_server import post

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ML_OBSERVABILITY_COMPLETE.md").read_text()
REPORT_PAGE = (ROOT / "docs/report.md").read_text()
SECTION = PAGE.partition("\n## Verification checklist\n")[2].partition("\n## ")[0]
# They need a browser, which this machine may not have: CI runs them before all other tests.
ELSEWHERE = {"make test-browser", "make test-panels"}
PATIENCE_SECONDS = 60.0
COMMAND_SECONDS = 120.0

# What stands in a command line of the pages for something that a reader has, and what it is here.
BOARD = "ops/grafana/dashboards/ml-source-freshness.json"
STANDS_FOR = {
    **dict.fromkeys(("/app/warehouse", "/app/shop"), "warehouse"),
    "http://pushgateway:9091": "$PUSHGATEWAY_URL",
    **dict.fromkeys(
        (
            "http://prometheus:9090",
            "http://thanos-query:10902",
            "http://mimir:9009/prometheus",
        ),
        "$PROMETHEUS_URL",
    ),
    "target/run_results.json": "$DBT_TARGET_PATH/run_results.json",
    "target/sources.json": "$DBT_TARGET_PATH/sources.json",
    "target/stage.json": "$DBT_TARGET_PATH/run_results.json",
    "target/marts.json": "$DBT_TARGET_PATH/run_results.json",
    **dict.fromkeys(("DIR", "main-target", "trained"), "$DBT_TARGET_PATH"),
    **dict.fromkeys(("NAME", "EXPOSURE", "training"), "ml_training_pipeline"),
    "NODE": "app.transactions",
    "source:app.orders": "source:app.transactions",
    "orders": "transactions",
    "board.json": BOARD,
    "boards": "ops/grafana/dashboards",
    "monitoring/rules": "prometheus/rules",
    "handbook": "docs",
    "dbt_freshness.yml": "prometheus/rules/dbt_freshness.yml",
    "rules/dbt_freshness.yml": "generated.yml",
    "rules/dbt_freshness_test.yml": "generated_test.yml",
    **dict.fromkeys(("dashboards/dbt_freshness.json", "dbt_freshness.json"), "generated.json"),
    **dict.fromkeys(("app.orders", "app.payments"), "app.transactions"),
}
# Command lines that this chain has no part for, each with the reason.
NOT_HERE = {
    "obs dashboard import -": "reads its standard input; tests/unit/test_import.py has it",
    "obs rules check rules --runbooks handbook": "a folder that is named as the command",
    "obs freshness forget": "would take the others' group; tests/integration/test_forget.py has it",
    "obs freshness push --artifact": "is older than the last push; tests/unit has it",
    "shard=": "shards would meet the other groups here; tests/integration/test_shards.py has them",
}


@dataclass(frozen=True)
class Box:
    """A box to tick: the command that ticks it, and what it then prints."""

    text: str
    command: str
    shown: tuple[str, ...]


def boxes(section: str) -> Iterator[Box]:
    for item in re.split(r"^- \[ \] ", section, flags=re.MULTILINE)[1:]:
        (block,) = re.findall(r"^  ```console\n(.*?)^  ```$", item, re.MULTILINE | re.DOTALL)
        command, *shown = (line[2:] for line in block.splitlines())
        assert command.startswith("$ "), command
        yield Box(item.partition("\n")[0], command[2:], tuple(shown))


BOXES = [box for box in boxes(SECTION) if box.command not in ELSEWHERE]


def test_every_box_of_the_document_is_there() -> None:
    assert len(BOXES) == SECTION.count("- [ ]") - len(ELSEWHERE)
    assert PAGE.count("- [ ]") == SECTION.count("- [ ]") >= 18


def test_what_needs_a_browser_is_run_by_ci() -> None:
    ci = (ROOT / ".ci/run").read_text()
    assert all(command in SECTION and f"\n{command}\n" in ci for command in ELSEWHERE)


@pytest.fixture(scope="module")
def environment(postgres: Postgres) -> Iterator[dict[str, str]]:
    """The whole chain with the demo's data in it, and where a reader's shell finds its parts."""
    postgres.start()
    database = postgres.create_database("documented")
    session = database.connect()
    load(session, Demo(transactions=500))
    session.close()
    with tempfile.TemporaryDirectory(prefix="obs-test-") as name:
        directory = Path(name)
        with (
            fake_grafana() as board,
            post() as mail,
            pushgateway(directory) as gateway,
            chain(directory, pushed(gateway)) as alerting,
        ):
            board.folders["ml"] = "ML"
            # A make that runs the tests is no part of the reader's shell.
            own = {name: text for name, text in os.environ.items() if name != "MAKELEVEL"}
            yield {
                **own,
                **database.env(),
                "PATH": _path(),
                "PUSHGATEWAY_URL": gateway.url,
                "PROMETHEUS_URL": alerting.prometheus.url,
                "ALERTMANAGER_URL": alerting.alertmanager.url,
                "GRAFANA_URL": board.url,
                "GRAFANA_API_KEY": EDITOR,
                "SMTP_URL": f"smtp://{mail.place}",
                "DBT_TARGET": "prod",
                "DBT_TARGET_PATH": str(directory / "target"),
                "DBT_LOG_PATH": str(directory / "logs"),
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                "SITE": str(directory / "site"),
            }
    postgres.drop_database("documented")


def _path() -> str:
    places = (Path(sys.executable).parent, find("amtool").parent, find("promtool").parent)
    return os.pathsep.join([*map(str, places), os.environ["PATH"]])


@pytest.mark.parametrize("box", BOXES, ids=lambda box: box.text)
def test_its_command_ticks_the_box(box: Box, environment: dict[str, str]) -> None:
    # What Prometheus has to scrape first may take a moment.
    patience = PATIENCE_SECONDS if "PROMETHEUS_URL" in box.command else 0.0
    deadline = time.monotonic() + patience
    while fault := _fault(box, environment):
        assert time.monotonic() < deadline, fault
        time.sleep(0.5)


def _fault(box: Box, environment: dict[str, str]) -> str:
    """Return why the box stays empty; nothing if it is ticked."""
    done = _run(["bash", "-euo", "pipefail", "-c", box.command], ROOT, environment)
    missing = [line for line in box.shown if line.strip() not in done.stdout]
    if done.returncode == 0 and not missing:
        return ""
    return f"exit code {done.returncode}, missing {missing}\n{done.stdout}{done.stderr}"


def _run(
    argv: list[str], directory: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def typed(line: CommandLine) -> str:
    """Return the command line with what its words stand for."""
    return shlex.join(["obs", *(STANDS_FOR.get(word, word) for word in line.words)])


def test_the_documents_pipe_mails_the_report(environment: dict[str, str], tmp_path: Path) -> None:
    (line,) = re.findall(r"^ +(cd /app/warehouse && make .+)$", REPORT_PAGE, re.MULTILINE)
    program, words, letter = (tmp_path / name for name in ("mail", "words", "letter"))
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{words}\ncat >{letter}\n")
    program.chmod(0o755)
    env = {**environment, "PATH": f"{tmp_path}{os.pathsep}{environment['PATH']}"}

    done = _run(["bash", "-c", line.replace("/app", str(ROOT))], tmp_path, env)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert words.read_text().splitlines() == ["-s", "dbt freshness", "team@example.com"]
    assert re.match(r"All \d+ sources are fresh|\d+ of \d+ sources needs? ", letter.read_text())


# A command that a page speaks of by its name alone, and that needs to be told something.
NAMES = {
    context.command_path
    for context in commands()
    if any(parameter.required for parameter in context.command.params)
}
TYPED = {
    typed(line): line
    for line in command_lines()
    if "…" not in line.words
    and line.text not in NAMES
    and not any(words in line.text for words in NOT_HERE)
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a command may read and write of the repository, in a copy."""
    copy = tmp_path_factory.mktemp("repository")
    for name in ("warehouse", "prometheus", "ops", "docs"):
        ignored = shutil.ignore_patterns("target", "logs", "__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def built(environment: dict[str, str], repository: Path) -> dict[str, str]:
    """The chain after a measurement and a build, in a target directory of the copy."""
    env = {**environment, "DBT_TARGET_PATH": str(repository / "warehouse/target")}
    for command in (
        "obs freshness push",
        "dbt --quiet source freshness --profiles-dir .",
        "dbt --quiet build --profiles-dir .",
    ):
        _run(command.split(), repository / "warehouse", env).check_returncode()
    return env


@pytest.mark.parametrize("text", sorted(TYPED), ids=str)
def test_a_command_of_the_pages_does_what_it_is_there_for(
    text: str, built: dict[str, str], repository: Path
) -> None:
    # A check may find something, and end with 1; anything above means that it could not work.
    argv = [string.Template(word).safe_substitute(built) for word in shlex.split(text)]
    done = _run(argv, repository, built)
    hint = "say in STANDS_FOR what a word stands for, or in NOT_HERE why it cannot run here"
    assert done.returncode in {0, 1}, f"{TYPED[text]}: {done.stderr}{done.stdout}\n{hint}"


QUERIES = [
    query
    for page in sorted((ROOT / "docs").glob("*.md"))
    for query in re.findall(r"^ *```sql\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: " ".join(query.split())[:60])
def test_a_query_of_the_pages_is_one_of_this_warehouse(query: str, built: dict[str, str]) -> None:
    session = psycopg2.connect(
        host=built["PGHOST"],
        port=built["PGPORT"],
        user=built["PGUSER"],
        password=built["PGPASSWORD"],
        dbname=built["PGDATABASE"],
    )
    try:
        session.cursor().execute(query)
    finally:
        session.close()
