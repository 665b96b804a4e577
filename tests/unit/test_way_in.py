"""The first contact: what somebody sees whose first command cannot work, and what to type next."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from ledgermind_obs.cli.groups import LateGroup
from ledgermind_obs.http import client
from ledgermind_obs.metrics import RUN_SUCCESS
from ledgermind_obs.sinks.exposition import parse_exposition
from tests.replay import multiplied, recorded
from tests.unit.recorded import scenario
from tests.unit.servers import Answer, web

Prepare = Callable[[Path], None]

DEPS = (
    "Compilation Error dbt found 1 package(s) specified in packages.yml, but only 0 package(s) "
    'installed in dbt_packages. Run "dbt deps" to install package dependencies.'
)
GATEWAY = Answer(body=b'# x\npushgateway_build_info{version="1.5.1"} 1\n')


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBS_DBT", str(multiplied(tmp_path, 1)))
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.001)
    return tmp_path


def push(*argv: str) -> Result:
    return CliRunner().invoke(root, ["freshness", "push", *argv])


def no_project(directory: Path) -> None:
    (directory / "dbt_project.yml").unlink()


def no_name(directory: Path) -> None:
    (directory / "dbt_project.yml").write_text("profile: lab\n")


def no_profile_named(directory: Path) -> None:
    (directory / "dbt_project.yml").write_text("name: lab\n")


def name_from_nowhere(directory: Path) -> None:
    (directory / "dbt_project.yml").write_text("name: lab\nprofile: \"{{ env_var('NOT_SET') }}\"\n")


def no_profiles(directory: Path) -> None:
    (directory / "profiles.yml").unlink()


def no_dbt(directory: Path) -> None:
    (directory / "dbt").unlink()


def dbt_1_7(directory: Path) -> None:
    words = "Error: No such option '--log-format'. (Did you mean one of: '--log-path'?)"
    (directory / "dbt").write_text(f'#!/bin/sh\necho "{words}"\nexit 2\n')


def no_packages(directory: Path) -> None:
    event = '{"info":{"name":"MainEncounteredError","level":"error"},"data":{"exc":"WORDS"}}'
    words = event.replace("WORDS", DEPS.replace('"', '\\"'))
    (directory / "dbt").write_text(f"#!/bin/sh\ncat <<'END'\n{words}\nEND\nexit 2\n")


def no_freshness(directory: Path) -> None:
    for file in (directory / "sources.json", directory / "manifest.json"):
        file.write_text(file.read_text().replace('"freshness": {', '"other": {'))
    (directory / "sources.json").write_text(
        (directory / "sources.json").read_text().split('"results"')[0]
        + '"results": [], "elapsed_time": 0.1}'
    )
    lines = (directory / "events.jsonl").read_text().splitlines()
    kept = [line for line in lines if '"unique_id"' not in line]
    (directory / "events.jsonl").write_text("\n".join(kept))


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "argv", "code", "sentence", "step"),
    [
        (no_project, (), 2, "no dbt_project.yml in ", "pass --project-dir DIR"),
        (no_name, (), 2, "dbt_project.yml has no name", "add `name: my_project` to it"),
        (no_profile_named, (), 2, "dbt_project.yml has no profile", "pass --profile NAME"),
        (name_from_nowhere, (), 2, "NOT_SET is not set, but profile in ", "export NOT_SET="),
        (no_profiles, (), 2, "no profiles.yml in ", "pass the folder that has it: --profiles-dir"),
        (nothing, ("--profile", "lba"), 2, "has no profile 'lba'", "did you mean lab?"),
        (nothing, ("--target", "dve"), 2, "has no target 'dve'", "did you mean dev?"),
        (no_dbt, (), 3, "there is no ", "name dbt's path with --dbt"),
        (dbt_1_7, (), 3, "is too old: obs needs dbt 1.8 or newer", "pip install --upgrade"),
        (no_packages, (), 3, "the project's packages are not installed", "run: dbt deps --project"),
        (no_freshness, (), 2, "no source of this project has freshness", "loaded_at_field"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_one_sentence_says_what_is_and_one_what_to_type(
    project: Path, prepare: Prepare, argv: tuple[str, ...], code: int, sentence: str, step: str
) -> None:
    prepare(project)

    result = push("--dry-run", *argv)

    said, next_step = result.stderr.splitlines()
    assert result.exit_code == code, result.stderr
    assert said.startswith("obs: ")
    assert sentence in said
    assert step in next_step
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("url", "sentence", "step"),
    [
        ("http://127.0.0.1:1", "cannot be reached: Connection refused", "nothing listens there"),
        ("https://HOST", "there is no TLS on that port", "write http:// for https://"),
        ("HOST", "is not an http:// or https:// URL", "write it as http://127.0.0.1:"),
        ("http://HOST", "answers with a web page", "curl http://127.0.0.1:"),
    ],
)
def test_a_wrong_gateway_is_named_with_what_to_correct(
    project: Path, url: str, sentence: str, step: str
) -> None:
    with web(Answer(body=b"<html>", headers={"Content-Type": "text/html"})) as server:
        found = push("--pushgateway", url.replace("HOST", server.url.removeprefix("http://")))

    said, next_step = found.stderr.splitlines()
    assert found.exit_code in {2, 5}
    assert sentence in said
    assert step in next_step


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (("freshnes", "push"), "did you mean freshness?"),
        (("freshness", "psh"), "did you mean push?"),
        (("lineage", "chek"), "did you mean check?"),
        (("freshness", "push", "--pushgatway", "x"), "--pushgateway"),
        (
            ("lineage", "impact", "lab.table_0000", "--manifest", "manifest.json"),
            "lab.table_00000?",
        ),
    ],
)
def test_a_misspelt_word_is_answered_with_the_one_that_was_meant(
    project: Path, argv: tuple[str, ...], meant: str
) -> None:
    result = CliRunner().invoke(root, argv)

    assert result.exit_code == 2
    assert meant in result.stderr


def test_a_command_that_is_loaded_late_is_listed_with_its_own_words() -> None:
    group = root.get_command(click.Context(root), "freshness")
    assert isinstance(group, LateGroup)
    listed = CliRunner().invoke(root, ["freshness", "--help"]).stdout

    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command
        assert command.help
        assert command.help.splitlines()[0] in listed


def test_a_misspelt_exposure_is_answered_with_the_one_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path, scenario("1.11", "whole"))
    monkeypatch.chdir(tmp_path)

    result = push("--exposure", "ml_trainign", "--manifest", "manifest.json", "--dry-run")

    assert result.exit_code == 2
    assert "did you mean ml_training?" in result.stderr


def misspelt_selection(directory: Path) -> None:
    no_freshness(directory)
    event = (
        '{"info":{"name":"NoNodesForSelectionCriteria","invocation_id":"ID"},'
        '"data":{"spec_raw":"source:lab.tabel_00000"}}'
    )
    manifest = multiplied_manifest(directory)
    (directory / "manifest.json").write_text(manifest)
    events = (directory / "events.jsonl").read_text()
    invocation = events.partition('"invocation_id": "')[2].partition('"')[0]
    (directory / "events.jsonl").write_text(f"{events}\n{event.replace('ID', invocation)}\n")


def multiplied_manifest(directory: Path) -> str:
    other = directory / "other"
    other.mkdir()
    multiplied(other, 1)
    return (other / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("prepare", "argv"),
    [
        (nothing, ("--target", "dve")),
        (nothing, ("--profile", "lba")),
        (nothing, ("--profile", "lba", "--target", "dev")),
        (misspelt_selection, ("--select", "source:lab.tabel_00000")),
    ],
)
def test_a_typo_leaves_no_group_on_the_gateway(
    project: Path, prepare: Prepare, argv: tuple[str, ...]
) -> None:
    prepare(project)
    with web(GATEWAY) as server:
        result = push("--pushgateway", server.url, *argv)

    assert result.exit_code == 2
    assert "did you mean" in result.stderr
    assert {asked.method for asked in server.asked} <= {"GET"}


def test_where_a_group_is_already_there_a_selection_that_went_wrong_is_told(project: Path) -> None:
    assert push("--textfile", "dbt.prom").exit_code == 0
    misspelt_selection(project)

    result = push("--textfile", "dbt.prom", "--select", "source:lab.tabel_00000")

    assert result.exit_code == 2
    labels = {"project": "lab", "target": "dev"}
    found = parse_exposition((project / "dbt.prom").read_bytes(), labels)
    assert [series.value for series in found if series.metric is RUN_SUCCESS] == [0.0]
