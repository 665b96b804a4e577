"""The training workflow: nothing may swallow the gate's exit code."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ledgermind_obs.cli import root

ROOT = Path(__file__).parents[2]


def _steps(job: str) -> list[dict[str, Any]]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ml.yml").read_text())
    steps: list[dict[str, Any]] = workflow["jobs"][job]["steps"]
    return steps


def test_the_gate_stands_before_the_training_and_stops_the_job() -> None:
    names = [step.get("name") for step in _steps("train")]
    gate = next(step for step in _steps("train") if "freshness check" in step.get("run", ""))

    assert names.index(gate["name"]) < names.index("Train")
    assert not {"continue-on-error", "if"} & gate.keys()
    assert not set(gate["run"]) & set("|;&")


@pytest.mark.parametrize(("job", "command"), [("train", "freshness"), ("lineage", "lineage")])
def test_the_commands_of_the_workflow_are_ones_that_obs_knows(job: str, command: str) -> None:
    (line,) = [step["run"] for step in _steps(job) if f"obs {command}" in step.get("run", "")]
    argv = shlex.split(line)

    assert argv[0] == "obs"
    assert CliRunner().invoke(root, [*argv[1:], "--help"]).exit_code == 0
