"""The image, the GitHub Action and the pre-commit hooks, as far as they can be tried here."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ledgermind_obs.cli import root
from tests.replay import multiplied

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each on one line."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    lines = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in lines]


def test_the_image_is_slim_not_root_and_runs_the_job() -> None:
    found = instructions()
    last_run = max(number for number, (name, _) in enumerate(found) if name == "RUN")
    users = [(number, rest) for number, (name, rest) in enumerate(found) if name == "USER"]

    assert {rest.split()[0] for name, rest in found if name == "FROM"} == {"python:3.12-slim"}
    assert [rest.isdecimal() and int(rest) > 0 for _, rest in users] == [True]
    assert users[0][0] > last_run
    (entry,) = [json.loads(rest) for name, rest in found if name == "ENTRYPOINT"]
    (command,) = [json.loads(rest) for name, rest in found if name == "CMD"]
    assert entry == ["obs"]
    assert CliRunner().invoke(root, [*command, "--help"]).exit_code == 0


def test_the_images_shell_lines_are_shell_and_its_files_are_there() -> None:
    for name, rest in instructions():
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True, timeout=10)
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    assert "constraints.txt" in kept
    assert [name for name in kept if not (ROOT / name).exists()] == []


def test_what_the_image_sets_are_options_of_obs() -> None:
    told = CliRunner().invoke(root, ["freshness", "push", "--help"]).stdout
    variables = re.findall(r"(DBT_PROJECT_DIR|DBT_TARGET_PATH|PUSHGATEWAY_URL)", DOCKERFILE)
    assert len(set(variables)) == 3
    assert all(name in told for name in variables)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Return a folder in which three sources are fresh."""
    made = tmp_path / "made"
    made.mkdir()
    multiplied(made, 3)
    now = datetime.now(UTC).isoformat()
    text = (made / "sources.json").read_text().replace("@NOW@", now)
    (tmp_path / "sources.json").write_text(text)
    (made / "manifest.json").rename(tmp_path / "manifest.json")
    return tmp_path


def gate(directory: Path, **inputs: str) -> tuple[int, str, str]:
    """Run the action's gate as a runner would; return its code, its output and the summary."""
    (step,) = [step for step in ACTION["runs"]["steps"] if "run?" in step["name"]]
    names = {
        variable: re.findall(r"inputs\.([a-z-]+)", text)[0]
        for variable, text in step["env"].items()
    }
    values = {
        variable: inputs.get(name.replace("-", "_"), ACTION["inputs"][name]["default"])
        for variable, name in names.items()
    }
    summary = directory / "summary.md"
    env = {
        **values,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(directory),
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    # As GitHub starts a step with `shell: bash`.
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, summary.read_text()


def test_the_action_opens_on_fresh_sources_and_says_so(artifacts: Path) -> None:
    code, output, summary = gate(artifacts, artifact="sources.json")

    assert code == 0
    assert output == "ML training may run: 3 sources of lab\n"
    assert summary.startswith("### ✅ ML training may run: 3 sources of lab")


def test_the_action_names_each_blocker_in_an_annotation_and_in_the_summary(artifacts: Path) -> None:
    code, output, summary = gate(artifacts, artifact="sources.json", options="--max-age\n1s\n")

    first, sentence, *each = output.splitlines()
    assert code == 1
    assert first.startswith("DO NOT RUN ML TRAINING: 3 of 3 sources")
    assert sentence == f"::error title=obs::{first}"
    assert len(each) == 3
    assert each[0].startswith("::error title=lab.table_00000::pass (")
    assert summary.startswith("### ⛔ DO NOT RUN ML TRAINING")
    assert summary.count("| lab.table_") == 3


def test_an_input_is_one_word_whatever_is_in_it(artifacts: Path) -> None:
    code, output, _ = gate(artifacts, artifact="nothing; touch made_by_input $(id)")

    assert code == 2
    assert "DO NOT RUN ML TRAINING: cannot read nothing; touch" in output
    assert not (artifacts / "made_by_input").exists()


@pytest.mark.parametrize("answer", ["", "no JSON", '{"verdict": "pass"}', "[]"])
def test_an_answer_that_cannot_be_read_is_a_refusal(artifacts: Path, answer: str) -> None:
    (artifacts / "obs").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (artifacts / "obs").chmod(0o755)
    script = str(ROOT / "ops/github/gate.py")
    env = {"PATH": f"{artifacts}:/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, script], env=env, capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 1
    assert done.stdout.startswith("DO NOT RUN: obs gave no verdict")


def test_the_actions_steps_swallow_no_exit_code() -> None:
    steps: list[dict[str, Any]] = ACTION["runs"]["steps"]

    assert ACTION["runs"]["using"] == "composite"
    for step in steps:
        assert "continue-on-error" not in step
        assert "||" not in step["run"]
        assert "${{" not in step["run"]  # an input in a script would be run as a part of it


def test_the_pre_commit_hooks_are_valid_and_run_commands_that_exist() -> None:
    manifest = str(ROOT / ".pre-commit-hooks.yaml")
    subprocess.run([str(BIN / "pre-commit"), "validate-manifest", manifest], check=True, timeout=60)

    entries = {hook["id"]: hook["entry"].split() for hook in HOOKS}
    assert set(entries) == {"obs-lineage-check", "obs-rules-check", "obs-dashboard-check"}
    for program, *command in entries.values():
        assert program == "obs"
        assert CliRunner().invoke(root, [*command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("hook", "name", "matches"),
    [
        ("obs-lineage-check", "models/marts/fct.sql", True),
        ("obs-lineage-check", "README.md", False),
        ("obs-rules-check", "prometheus/rules/dbt.yml", True),
        ("obs-dashboard-check", "ops/grafana/dashboards/ml.json", True),
        ("obs-dashboard-check", "dashboard.json", True),
        ("obs-dashboard-check", "package.json", False),
    ],
)
def test_a_hook_looks_at_the_files_it_is_about(hook: str, name: str, *, matches: bool) -> None:
    (pattern,) = [each["files"] for each in HOOKS if each["id"] == hook]
    assert bool(re.search(pattern, name)) is matches
