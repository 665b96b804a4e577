"""The graph as ``obs`` walks it, beside what a real dbt selects from the same project."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import upstream_of
from tests.generated import write_project

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NODES_PER_PROJECT = 5


# One process for many selections: dbt takes longer to start than to answer.
LIST = """
import json, sys
from dbt.cli.main import dbtRunner
for selection in json.loads(sys.argv[1]):
    done = dbtRunner().invoke([
        "--quiet", "ls", "--profiles-dir", ".", "--output", "json", "--output-keys", "unique_id",
        "--indirect-selection", "empty", "--select", *selection,
    ])
    assert done.success, done.exception
    print(json.dumps(["LISTED", *(json.loads(line)["unique_id"] for line in done.result)]))
"""


def _run(directory: Path, *argv: str) -> str:
    env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _parse(directory: Path) -> None:
    _run(directory, str(BIN / "dbt"), "parse", "--profiles-dir", ".")


def _selected(directory: Path, selections: list[list[str]]) -> list[set[str]]:
    """Return what a real dbt lists for each selection."""
    output = _run(directory, sys.executable, "-c", LIST, json.dumps(selections))
    answers = [json.loads(line) for line in output.splitlines() if line.startswith('["LISTED"')]
    assert len(answers) == len(selections), output
    return [set(answer[1:]) for answer in answers]


def _lineage(directory: Path) -> Lineage:
    return Lineage(read_lineage_manifest((directory / "target/manifest.json").read_bytes()))


def _selector(lineage: Lineage, uid: str) -> str:
    """Return what means the node alone in dbt's selection syntax."""
    kind, package, name = uid.split(".", 2)
    if kind == "exposure":
        return f"exposure:{name}"
    return f"source:{package}.{name}" if kind == "source" else lineage.nodes[uid].name


def _agree(directory: Path, uids: list[str]) -> None:
    lineage = _lineage(directory)
    names = [_selector(lineage, uid) for uid in uids]
    selections = [[selection] for name in names for selection in (f"+{name}", f"{name}+")]
    walks = [walk([uid]) for uid in uids for walk in (lineage.ancestors, lineage.descendants)]

    assert _selected(directory, selections) == [set(walk) for walk in walks]


@pytest.mark.parametrize("seed", [1, 2])
def test_ancestors_and_descendants_are_what_dbt_selects(tmp_path: Path, seed: int) -> None:
    write_project(tmp_path, seed, models=40, sources=8)
    _parse(tmp_path)
    lineage = _lineage(tmp_path)
    chance = random.Random(seed)  # noqa: S311 - the same nodes every time
    candidates = [uid for uid in lineage.nodes if not uid.startswith("test.")]
    chosen = [*lineage.exposures, *chance.sample(candidates, NODES_PER_PROJECT - 2)]

    _agree(tmp_path, chosen)


def test_ancestors_and_descendants_of_the_warehouse_are_what_dbt_selects(tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    shutil.copytree(ROOT / "warehouse", warehouse, ignore=shutil.ignore_patterns("target", "logs"))
    _parse(warehouse)

    lineage = _lineage(warehouse)
    chosen = [*lineage.exposures, "model.ledgermind.dim_merchants"]

    _agree(warehouse, chosen)


def test_the_selection_of_an_exposure_means_exactly_its_sources_to_dbt(tmp_path: Path) -> None:
    write_project(tmp_path, 9, models=30, sources=10)
    _parse(tmp_path)
    upstream = upstream_of(_lineage(tmp_path), "use0")

    assert upstream.measured
    assert _selected(tmp_path, [upstream.selectors]) == [set(upstream.measured)]
