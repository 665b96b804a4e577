"""The verification checklist of docs/ML_OBSERVABILITY_COMPLETE.md: each command ticks its box."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.data import Demo, load
from services.binaries import find
from services.postgres import Postgres
from services.prometheus import pushgateway
from tests.fake_grafana import EDITOR, fake_grafana
from tests.integration.chain import chain, pushed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ML_OBSERVABILITY_COMPLETE.md").read_text()
SECTION = PAGE.partition("\n## Verification checklist\n")[2].partition("\n## ")[0]
# Needs a browser, which this machine may not have: CI runs it before all other tests.
ELSEWHERE = {"make test-browser"}
PATIENCE_SECONDS = 60.0
COMMAND_SECONDS = 120.0


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
    database = postgres.create_database("checklist")
    session = database.connect()
    load(session, Demo(transactions=500))
    session.close()
    with tempfile.TemporaryDirectory(prefix="obs-test-") as name:
        directory = Path(name)
        with (
            fake_grafana() as board,
            pushgateway(directory) as gateway,
            chain(directory, pushed(gateway)) as alerting,
        ):
            yield {
                **os.environ,
                **database.env(),
                "PATH": _path(),
                "PUSHGATEWAY_URL": gateway.url,
                "PROMETHEUS_URL": alerting.prometheus.url,
                "ALERTMANAGER_URL": alerting.alertmanager.url,
                "GRAFANA_URL": board.url,
                "GRAFANA_API_KEY": EDITOR,
                "DBT_TARGET_PATH": str(directory / "target"),
                "DBT_LOG_PATH": str(directory / "logs"),
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                "SITE": str(directory / "site"),
            }
    postgres.drop_database("checklist")


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
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", box.command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    missing = [line for line in box.shown if line.strip() not in done.stdout]
    if done.returncode == 0 and not missing:
        return ""
    return f"exit code {done.returncode}, missing {missing}\n{done.stdout}{done.stderr}"
