"""``obs builds push`` on a run that real dbt recorded, into a file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs import metrics
from ledgermind_obs.cli import root
from ledgermind_obs.sinks.exposition import parse_exposition
from tests.unit.recorded import DATA

RECORDED = DATA / "dbt-1.11/builds"
LABELS = {"project": "builds", "target": "production"}
Push = Callable[..., Result]


@pytest.fixture
def push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Push:
    """Run ``obs builds push`` in a project of that name, of which there is a recorded run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbt_project.yml").write_text("name: builds\nprofile: builds\n")
    outputs = "{target: production, outputs: {production: {}}}"
    (tmp_path / "profiles.yml").write_text(f"builds: {outputs}\n")
    monkeypatch.setenv("OBS_MANIFEST", str(RECORDED / "manifest.json"))
    monkeypatch.setenv("OBS_RUN_RESULTS", str(RECORDED / "build.json"))
    monkeypatch.setenv("OBS_BUILDS_TEXTFILE", str(tmp_path / "builds.prom"))
    return lambda *argv: CliRunner().invoke(root, ["builds", "push", *argv])


def statuses(content: bytes) -> dict[str, str]:
    series = parse_exposition(content, LABELS, [metrics.BUILD_STATUS])
    return {one.label_values[1]: one.label_values[2] for one in series if one.value == 1.0}


def test_what_was_built_is_in_the_file_and_nothing_is_printed(push: Push, tmp_path: Path) -> None:
    result = push()

    assert (result.exit_code, result.stdout) == (0, "")
    assert "manifest.json differs from the project" in result.stderr  # it has no models here
    found = statuses((tmp_path / "builds.prom").read_bytes())
    assert found["fct_orders"] == "success"
    assert found["broken"] == "error"
    assert found["after_broken"] == "skipped"


def test_a_dry_run_prints_the_same_and_leaves_nothing_behind(push: Push, tmp_path: Path) -> None:
    dry = push("--dry-run")
    assert not (tmp_path / "builds.prom").exists()
    assert not list(tmp_path.rglob("history*.json"))

    push()

    written = (tmp_path / "builds.prom").read_bytes()
    of_dry = parse_exposition(dry.stdout_bytes, {}, metrics.BUILD_METRICS)
    assert set(of_dry) == set(parse_exposition(written, LABELS, metrics.BUILD_METRICS))


def test_the_table_has_a_line_a_model_and_says_where_it_went(push: Push) -> None:
    lines = push("--format", "table").stdout.splitlines()

    assert [line.split()[1] for line in lines if line.startswith("fct_orders")] == ["success"]
    assert lines[-1].startswith("pushed to ")
    assert lines[-1].endswith("builds.prom")


def test_the_document_names_each_model_with_its_status(push: Push) -> None:
    document = json.loads(push("--format", "json").stdout)

    models = {model["name"]: model["status"] for model in document["models"]}
    assert models["broken"] == "error"
    assert document["delivery"]["destination"].endswith("builds.prom")


def test_a_project_of_which_nothing_was_built_is_told_what_to_run_first(
    push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBS_RUN_RESULTS", "none.json")

    result = push()

    assert result.exit_code == 2
    assert "none.json" in result.stderr


def test_a_run_that_is_pushed_twice_is_known_once(push: Push, tmp_path: Path) -> None:
    push()
    first = (tmp_path / "builds.prom").read_bytes()

    push()

    assert (tmp_path / "builds.prom").read_bytes() == first
