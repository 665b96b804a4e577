"""``obs lineage`` as a whole, on manifests made by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from ledgermind_obs.cli.lineage import SEEN_SECONDS
from ledgermind_obs.sinks.history import Observation, Record
from ledgermind_obs.sinks.record import write_record
from tests.unit.manifests import (
    FCT,
    RAW,
    STG,
    TRAINING,
    Named,
    content,
    exposure,
    model,
    sound,
    source,
    write_files,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    (tmp_path / "target").mkdir()
    declare(tmp_path, *sound())
    monkeypatch.setenv("OBS_MANIFEST", "target/manifest.json")
    return tmp_path


def declare(place: Path, *nodes: Named, **keys: object) -> None:
    (place / "target/manifest.json").write_bytes(content(*nodes, **keys))
    write_files(place, *nodes)


def obs(*argv: str) -> Result:
    return CliRunner().invoke(root, ["lineage", *argv])


def codes(result: Result) -> list[str]:
    return [finding["code"] for finding in json.loads(result.stdout)["findings"]]


def test_a_sound_project_passes(place: Path) -> None:
    found = obs("check")

    assert found.exit_code == 0
    assert found.stdout == "1 exposure, 3 nodes upstream, 1 source: no finding\n"


def test_a_finding_fails_with_file_and_line(place: Path) -> None:
    declare(place, source("raw", freshness=None), *sound()[1:])
    found = obs("check")

    assert found.exit_code == 1
    assert found.stdout.startswith("models/sources.yml:4  L203 error  app.raw has no freshness")


def test_a_warning_fails_on_demand(place: Path) -> None:
    declare(place, *[node for node in sound() if node[0] != "test.shop.test_fct"])

    assert obs("check").exit_code == 0
    assert obs("check", "--fail-on", "warning").exit_code == 1


def test_an_ignored_finding_does_not_fail_and_an_idle_entry_is_told(place: Path) -> None:
    declare(place, source("raw", freshness=None), *sound()[1:])
    found = obs("check", "--ignore", "L203:app.raw", "--ignore", "L104")

    assert found.exit_code == 0
    assert found.stderr == "obs: --ignore L104:* ignores nothing\n"


def test_an_unknown_code_is_refused(place: Path) -> None:
    assert obs("check", "--ignore", "L999").exit_code == 2


def test_without_a_name_every_exposure_is_checked_the_disabled_too(place: Path) -> None:
    declare(place, *sound(), exposure("bare"), disabled={"exposure.shop.off": [{}]})

    assert codes(obs("check", "--format", "json")) == ["L102", "L104"]


def test_a_tag_chooses_among_the_exposures(place: Path) -> None:
    declare(place, *sound(), exposure("bare"), exposure("ml", FCT, config={"tags": ["ml"]}))

    assert codes(obs("check", "--tag", "ml", "--format", "json")) == []


@pytest.mark.parametrize("argv", [["--tag", "nope"], []])
def test_nothing_to_check_is_no_success(place: Path, argv: list[str]) -> None:
    declare(place, source("raw"))

    assert obs("check", *argv).exit_code == 2


def test_rules_and_dashboards_beside_the_project_are_read(place: Path) -> None:
    rules = place / "prometheus/rules"
    boards = place / "ops/grafana/dashboards"
    rules.mkdir(parents=True)
    boards.mkdir(parents=True)
    assert codes(obs("check", "--format", "json")) == ["L301", "L302"]

    rule = "{alert: A, expr: 'dbt_source_loaded_at_seconds{table=\"raw\"} < 1'}"
    (rules / "a.yml").write_text(f"groups: [{{rules: [{rule}]}}]")
    (boards / "b.json").write_text(
        '{"panels": [{"targets": [{"expr": "dbt_source_loaded_at_seconds"}]}]}'
    )
    assert codes(obs("check", "--format", "json")) == []


@pytest.mark.parametrize(("option", "text"), [("--rules", "a: ["), ("--dashboards", "{")])
def test_rules_or_dashboards_that_cannot_be_read_are_an_error(
    place: Path, option: str, text: str
) -> None:
    (place / "bad").write_text(text)

    assert obs("check", option, "bad").exit_code == 2
    assert obs("check", option, "absent").exit_code == 2


def _last_run(place: Path, *uids: str) -> None:
    now = datetime.now(UTC).isoformat()
    times = {"max_loaded_at": now, "snapshotted_at": now, "status": "pass"}
    schema = "https://schemas.getdbt.com/dbt/sources/v3.json"
    metadata = {"dbt_schema_version": schema, "generated_at": now}
    results = [{"unique_id": uid, **times} for uid in uids]
    path = place / "target/sources.json"
    path.write_text(json.dumps({"metadata": metadata, "results": results}))


def test_a_source_that_the_last_run_left_out_is_found(place: Path) -> None:
    _last_run(place, RAW)
    assert codes(obs("check", "--format", "json")) == []

    _last_run(place, "source.shop.app.another")
    assert codes(obs("check", "--format", "json")) == ["L303"]


def test_a_run_that_selected_nothing_says_nothing_of_what_is_measured(place: Path) -> None:
    _last_run(place)

    assert codes(obs("check", "--format", "json")) == []
    assert obs("graph", "training", "--freshness").exit_code == 2  # there was no run


def test_a_run_over_a_selection_does_not_undo_the_run_before_it(place: Path) -> None:
    (place / "profiles.yml").write_text("shop: {target: prod, outputs: {prod: {}}}\n")
    _last_run(place, "source.shop.app.another")
    now = time.time()
    for age, found in ((3600.0, []), (2 * SEEN_SECONDS, ["L303"])):
        seen = Record("shop", "prod", {RAW: [Observation(now - age, now - age, None)]})
        (place / "target/obs/prod").mkdir(parents=True, exist_ok=True)
        write_record(place / "target/obs/prod", seen, pytest.fail)

        assert codes(obs("check", "--format", "json")) == found


def test_files_that_are_newer_and_the_same_are_no_difference(place: Path) -> None:
    for path in (place / "models").iterdir():
        os.utime(path)
    found = obs("check", "--format", "json")

    assert (codes(found), found.stderr) == ([], "")


def test_a_named_manifest_that_differs_from_the_project_is_told_and_found(place: Path) -> None:
    (place / "models/stg.sql").write_text("select 2 as stg")
    os.utime(place / "models/stg.sql", (0, 0))
    found = obs("check", "--format", "json")

    assert codes(found) == ["L402"]
    assert found.stderr == (
        "obs: target/manifest.json differs from the project: "
        "models/stg.sql changed since dbt wrote it\n"
    )


def test_a_file_that_was_taken_away_differs_from_the_manifest(place: Path) -> None:
    (place / "models/stg.sql").unlink()

    assert codes(obs("check", "--format", "json")) == ["L402"]


@pytest.mark.parametrize("tables", [(), ("raw", "other")])
def test_a_source_that_yaml_declares_no_more_or_anew_differs_from_the_manifest(
    place: Path, tables: tuple[str, ...]
) -> None:
    write_files(place, *(source(table) for table in tables), *sound()[1:])

    assert codes(obs("check", "--format", "json")) == ["L402"]


def test_a_manifest_of_another_project_is_told(place: Path) -> None:
    (place / "dbt_project.yml").write_text("name: other\n")
    found = obs("check", "--format", "json")

    assert codes(found) == ["L401"]
    assert "it is of project shop, not of other" in found.stderr


def test_without_a_profile_only_a_named_manifest_can_be_used(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OBS_MANIFEST")
    monkeypatch.setenv("HOME", str(place))
    found = obs("check")

    assert found.exit_code == 2
    assert "no profiles.yml" in found.stderr
    assert "name a manifest with --manifest" in found.stderr


def test_what_yaml_takes_from_the_time_of_parsing_is_found_with_file_and_line(
    place: Path,
) -> None:
    with (place / "models/sources.yml").open("a") as file:
        file.write(
            "  freshness: {warn_after: {count: '{{ modules.datetime.date.today().day }}'}}\n"
        )
    lines = (place / "models/sources.yml").read_text().splitlines()
    (found,) = json.loads(obs("check", "--format", "json").stdout)["findings"]

    assert (found["code"], found["severity"]) == ("L208", "warning")
    assert (found["file"], found["line"]) == ("models/sources.yml", len(lines))


def test_a_manifest_that_was_named_needs_no_project(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    assert obs("check", "--manifest", "../target/manifest.json").exit_code == 0
    assert obs("check").exit_code == 2


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b'{"metadata": {}, "sources": {}}', b"\xff"])
def test_a_bad_manifest_is_one_clear_error(place: Path, bad: bytes) -> None:
    (place / "target/manifest.json").write_bytes(bad)
    found = obs("check")

    assert found.exit_code == 4
    assert len(found.stderr.splitlines()) <= 2
    assert "target/manifest.json" in found.stderr


def test_a_tree_shows_the_parents_of_a_shared_node_once(place: Path) -> None:
    declare(
        place, source("raw"), model("stg", RAW), model("fct", STG), exposure("training", FCT, STG)
    )
    found = obs("graph", "training")

    assert found.stdout.count("app.raw") == 1
    assert found.stdout.count("(above)") == 1


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"maturity": "high"}, "training  exposure · application · high"),
        ({}, "training  exposure · application"),
        ({"type": None, "maturity": "low"}, "training  exposure · low"),
    ],
)
def test_a_graph_begins_with_what_the_exposure_is(
    place: Path, fields: dict[str, str | None], line: str
) -> None:
    declare(place, *sound()[:-1], exposure("training", FCT, **fields))

    assert obs("graph", "training").stdout.splitlines()[0] == line


def test_a_graph_is_coloured_by_the_last_run(place: Path) -> None:
    _last_run(place, RAW)
    nodes = json.loads(obs("graph", "training", "--freshness", "--format", "json").stdout)["nodes"]

    assert {node["state"] for node in nodes} == {"pass"}


def test_a_graph_cannot_be_coloured_without_a_run(place: Path) -> None:
    assert obs("graph", "training", "--freshness").exit_code == 2


def test_search_finds_and_says_when_it_does_not(place: Path) -> None:
    found = obs("search", "--name", "fct", "--format", "json")

    assert [node["unique_id"] for node in json.loads(found.stdout)["nodes"]] == [
        FCT,
        "test.shop.test_fct",
    ]
    assert obs("search", "--tag", "nope").exit_code == 1
    assert obs("search").exit_code == 2


def test_impact_of_a_node_names_the_exposure(place: Path) -> None:
    found = obs("impact", "app.raw")

    assert found.exit_code == 0
    assert "app.raw → stg → fct → training" in found.stdout


def test_impact_of_a_state_fails_on_demand(place: Path) -> None:
    state = place / "state"
    state.mkdir()
    (state / "manifest.json").write_bytes(content(*sound(), model("gone", FCT)))
    assert obs("impact", "--state", "state", "--fail-on", "critical").exit_code == 0

    declare(place, *[node for node in sound() if node[0] != FCT])
    found = obs("impact", "--state", "state", "--fail-on", "critical", "--format", "json")
    assert found.exit_code == 1
    assert TRAINING in json.loads(found.stdout)["impacts"][0]["reach"]["exposures"]


@pytest.mark.parametrize("argv", [[], ["app.raw", "--state", "target"], ["nope"]])
def test_impact_of_nothing_or_of_both_is_refused(place: Path, argv: list[str]) -> None:
    assert obs("impact", *argv).exit_code == 2


def test_lineage_loads_neither_dbt_nor_http_nor_rich(place: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from ledgermind_obs.cli import root; "
        "assert CliRunner().invoke(root, ['lineage', 'check']).exit_code == 0; "
        "print([m for m in ('dbt', 'rich', 'urllib.request', 'subprocess') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
