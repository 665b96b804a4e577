"""An artifact of somebody else's run: judged and published with what is beside it, and no more."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from ledgermind_obs.metrics import LOADED_AT, STATUS
from ledgermind_obs.sinks.exposition import parse_exposition
from tests.replay import multiplied

LABELS = {"project": "lab", "target": "prod"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with sources.json and manifest.json and nothing else; there is no dbt."""
    (tmp_path / "made").mkdir()
    multiplied(tmp_path / "made", 3)
    found = tmp_path / "artifacts"
    found.mkdir()
    now = datetime.now(UTC).isoformat()
    text = (tmp_path / "made/sources.json").read_text().replace("@NOW@", now)
    (found / "sources.json").write_text(text)
    (tmp_path / "made/manifest.json").rename(found / "manifest.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OBS_DBT", "no-such-dbt")
    return found


def check(*argv: str) -> Result:
    return CliRunner().invoke(
        root, ["freshness", "check", "--artifact", "artifacts/sources.json", *argv]
    )


def push(*argv: str) -> Result:
    options = ("--artifact", "artifacts/sources.json", "--textfile", "dbt.prom")
    return CliRunner().invoke(root, ["freshness", "push", *options, *argv])


def changed(path: Path, **parts: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


def results(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "sources.json").read_text())["results"]
    return found


def published(directory: Path) -> dict[str, dict[str, float]]:
    series = parse_exposition((directory / "dbt.prom").read_bytes(), LABELS)
    kept = [s for s in series if s.source and s.metric in {LOADED_AT, STATUS} and s.value]
    found: dict[str, dict[str, float]] = {}
    for each in kept:
        found.setdefault(each.label_values[2], {})[each.label_values[-1]] = each.value
    return found


def test_two_files_are_judged_without_a_project_a_profile_or_dbt(folder: Path) -> None:
    result = check()

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ML training may run: 3 sources of lab\n")


def test_what_the_file_leaves_out_blocks_by_the_manifest_beside_it(folder: Path) -> None:
    changed(folder / "sources.json", results=results(folder)[:2])

    result = check()

    assert result.exit_code == 1
    assert "blocks  lab.table_00002  missing" in result.stdout


def test_without_a_manifest_it_says_where_one_was_looked_for(folder: Path) -> None:
    (folder / "manifest.json").unlink()

    result = check()

    assert result.exit_code == 2
    assert result.stdout.startswith("DO NOT RUN ML TRAINING: there is no manifest.json in ")
    assert "name it with --manifest" in result.stderr


def test_a_profile_that_is_there_is_held_to(folder: Path) -> None:
    project = folder.parent
    (project / "dbt_project.yml").write_text("name: lab\nprofile: lab\n")
    (project / "profiles.yml").write_text("lab: {target: dev, outputs: {dev: {}}}")

    result = check("--target", "bogus")

    assert result.exit_code == 2
    assert "has no target 'bogus'" in result.stdout


def test_where_a_project_with_its_profile_is_its_own_manifest_counts(folder: Path) -> None:
    project = folder.parent
    (project / "dbt_project.yml").write_text("name: lab\nprofile: lab\n")
    (project / "profiles.yml").write_text("lab: {target: dev, outputs: {dev: {}}}")
    (project / "models").mkdir()
    new = "sources: [{name: lab, tables: [{name: added_since}]}]"
    (project / "models/new.yml").write_text(new)

    result = check()

    assert result.exit_code == 2  # dbt would have to parse it, and there is none
    assert result.stdout.startswith("DO NOT RUN ML TRAINING: there is no up-to-date manifest.json")


def test_a_run_of_somebody_else_is_published_as_it_was(folder: Path) -> None:
    result = push("--target", "prod")

    assert (result.exit_code, result.output) == (0, "")
    assert set(published(folder.parent)) == {"table_00000", "table_00001", "table_00002"}


def test_a_partial_file_leaves_what_was_pushed_of_the_others(folder: Path) -> None:
    push("--target", "prod")
    before = published(folder.parent)
    changed(folder / "sources.json", results=results(folder)[:1])

    result = push("--target", "prod")

    assert result.exit_code == 0
    assert "leaves out lab.table_00001, lab.table_00002; what was pushed of them" in result.stderr
    assert published(folder.parent) == before


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ((), 2, "does not say its target: pass --target NAME"),
        (("--target", "prod", "--select", "source:lab"), 2, "publishes what is in the file"),
        (("--target", "prod", "--engine", "postgres"), 2, "drop them"),
        (("--target", "prod", "--exposure", "x"), 2, "drop them"),
        (("--target", "prod", "--artifact-max-age", "0s"), 4, "limit 0 s"),
    ],
)
def test_what_cannot_be_meant_publishes_nothing(
    folder: Path, argv: tuple[str, ...], code: int, words: str
) -> None:
    result = push(*argv)

    assert result.exit_code == code
    assert words in result.stderr
    assert not (folder.parent / "dbt.prom").exists()


def test_an_entry_that_the_manifest_does_not_have_is_refused(folder: Path) -> None:
    found = results(folder)
    found[0]["unique_id"] = "source.lab.lab.unknown"
    changed(folder / "sources.json", results=found)

    result = push("--target", "prod")

    assert result.exit_code == 4
    assert "has source.lab.lab.unknown, which manifest.json does not have" in result.stderr


def test_an_older_run_does_not_replace_a_later_one(folder: Path) -> None:
    push("--target", "prod")
    before = (folder.parent / "dbt.prom").read_bytes()
    document = json.loads((folder / "sources.json").read_text())
    metadata = document["metadata"] | {"generated_at": "2026-01-01T00:00:00Z"}
    changed(folder / "sources.json", metadata=metadata)

    result = push("--target", "prod", "--artifact-max-age", "9999d")

    assert result.exit_code == 4
    assert "holds a later run" in result.stderr
    assert (folder.parent / "dbt.prom").read_bytes() == before
