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


def test_a_gate_stands_before_the_training_and_before_the_promotion_and_stops_the_job() -> None:
    names = [step.get("name") for step in _steps("train")]
    gates = [step for step in _steps("train") if "freshness check" in step.get("run", "")]

    places = [names.index(gate["name"]) for gate in gates]
    assert places[0] < names.index("Train") < places[1] < names.index("Promote")
    for gate in gates:
        assert not {"continue-on-error", "if"} & gate.keys()
        assert not set(gate["run"]) & set("|;&")


def test_what_is_built_was_measured_before_and_is_pushed_even_if_it_failed() -> None:
    runs = [step.get("run", "") for step in _steps("train")]
    measured, built, pushed = (
        next(i for i, run in enumerate(runs) if run.startswith(command))
        for command in ("obs freshness push", "dbt build", "obs builds push")
    )

    assert measured < built < pushed
    assert _steps("train")[pushed]["if"] == "success() || failure()"


@pytest.mark.parametrize("job", ["train", "lineage"])
def test_the_commands_of_the_workflow_are_ones_that_obs_knows(job: str) -> None:
    lines = [step["run"] for step in _steps(job) if step.get("run", "").startswith("obs ")]

    assert lines
    for line in lines:
        argv = shlex.split(line)
        assert CliRunner().invoke(root, [*argv[1:], "--help"]).exit_code == 0
