"""What a shell is offered, by the script that ``obs completion`` prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledgermind_obs.cli import root
from tests.replay import recorded
from tests.unit.recorded import scenario


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project that dbt has parsed once; there is no dbt any more."""
    recorded(tmp_path, scenario("1.11", "whole")).unlink()
    (tmp_path / "target").mkdir()
    (tmp_path / "manifest.json").rename(tmp_path / "target/manifest.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(line: str) -> list[str]:
    words = line.split(" ")
    env = {
        "_OBS_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner().invoke(root, [], env=env, prog_name="obs")
    return [each.partition(",")[2] for each in result.stdout.splitlines() if each]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("obs fr", ["freshness"]),
        ("obs freshness pu", ["push"]),
        ("obs freshness check --exposure ml", ["ml_training"]),
        ("obs freshness push --exposure ml", ["ml_training"]),
        ("obs lineage graph ml", ["ml_training"]),
        ("obs lineage check ml_training bo", ["board_report"]),
        ("obs lineage impact lab.fr", ["lab.fresh"]),
        ("obs lineage impact stg_st", ["stg_stale"]),
        ("obs freshness push --target d", ["dev"]),
    ],
)
def test_names_of_the_project_are_offered(project: Path, line: str, names: list[str]) -> None:
    assert offered(line) == names


def test_without_a_manifest_nothing_is_offered_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert offered("obs lineage impact x") == []
    assert offered("obs freshness push --target x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_obs(shell: str) -> None:
    result = CliRunner().invoke(root, ["completion", shell])

    assert result.exit_code == 0
    assert f"_OBS_COMPLETE={shell}_complete" in result.stdout


def test_bash_itself_completes_an_exposure(project: Path) -> None:
    script = CliRunner().invoke(root, ["completion", "bash"]).stdout
    asked = (
        "COMP_WORDS=(obs lineage graph ml); COMP_CWORD=3; _obs_completion obs; "
        'echo "${COMPREPLY[*]}"'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout.strip() == "ml_training", done.stderr
