"""The gate judges what is between sources and exposure, and its verdict can be had again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from ledgermind_obs.sinks.history import Observation, Record
from ledgermind_obs.sinks.record import write_record
from tests.unit.gated import (
    DAY,
    HOUR,
    declare,
    result,
    write_artifact,
    write_gated,
    write_run_results,
)
from tests.unit.manifests import RAW, Named, exposure, model, source

OPEN, SHUT = "ML training may run", "DO NOT RUN ML TRAINING"
STG, FCT, MART = "model.shop.stg", "model.shop.fct", "model.shop.mart"
TEST = "test.shop.not_null_fct"
TABLE = {"materialized": "table"}
SOURCE = source("raw")
NODES: tuple[Named, ...] = (
    SOURCE,
    model("stg", RAW),
    model("fct", STG, config=TABLE),
    model("mart", FCT, config=TABLE),
    model("not_null_fct", FCT, kind="test", attached_node=FCT),
    exposure("training", MART),
)
ALL = {STG: "success", FCT: "success", MART: "success", TEST: "pass"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two tables, measured two hours and built one hour ago."""
    monkeypatch.chdir(tmp_path)
    for name, value in write_gated(tmp_path).items():
        monkeypatch.setenv(name, value)
    declare(tmp_path, *NODES)
    remember_look(tmp_path, 2 * HOUR, newest=3 * HOUR)
    write_run_results(tmp_path, ALL)
    return tmp_path


def remember_look(place: Path, ago: timedelta, newest: timedelta) -> None:
    now = datetime.now(UTC)
    at = (now - ago).timestamp()
    look = Observation(at, at + 1, (now - newest).timestamp())
    directory = place / "target/obs/prod"
    directory.mkdir(parents=True, exist_ok=True)
    write_record(directory, Record("shop", "prod", {RAW: [look]}), pytest.fail)


def check(*argv: str) -> Result:
    return CliRunner().invoke(root, ["freshness", "check", "--exposure", "training", *argv])


def lines(*argv: str, code: int = 1) -> list[str]:
    found = check(*argv)
    assert found.exit_code == code, found.output
    assert found.stdout.startswith(SHUT if code else OPEN)
    return found.stdout.splitlines()


def next_steps(found: list[str]) -> list[str]:
    return [line.removeprefix("  next: ") for line in found if line.startswith("  next: ")]


def document(*argv: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check("--format", "json", *argv).stdout)
    return found


def test_what_was_built_and_tested_opens(place: Path) -> None:
    assert lines(code=0)[0] == (
        f"{OPEN}: 1 source upstream of training measured, 2 tables built, "
        "the oldest data 3 h old (app.raw)"
    )


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        ({FCT: "error", MART: "skipped"}, "fct failed to build"),
        ({FCT: "error", MART: "error"}, "2 tables failed to build"),
        ({MART: "skipped"}, "mart was skipped"),
        ({STG: "error"}, "stg failed to build"),
        ({TEST: "fail"}, "1 test failed"),
        ({TEST: "error"}, "1 test failed"),
        ({FCT: "partial success"}, "fct was built in part"),
    ],
)
def test_what_went_wrong_is_the_first_thing_that_is_said(
    place: Path, statuses: dict[str, str], reason: str
) -> None:
    write_run_results(place, {**ALL, **statuses})

    assert lines()[0].startswith(f"{SHUT}: {reason}")


def test_a_table_that_is_not_on_record_blocks_and_a_view_does_not(place: Path) -> None:
    write_run_results(place, {FCT: "success"})

    assert lines()[:5] == [
        f"{SHUT}: mart has no build on record",
        "",
        "mart  no build known",
        "  mart → training",
        "  next: dbt build --select mart, then obs builds push; or name what dbt wrote: "
        "--run-results",
    ]


def test_a_build_that_failed_says_when_the_table_was_last_whole(place: Path) -> None:
    write_run_results(place, {**ALL, FCT: "error", MART: "skipped"})

    found = lines()

    assert "fct  build failed  never built on record" in found
    assert next_steps(found)[0].startswith("see dbt's log, mend it, then dbt build --select fct+")
    assert not [line for line in found if "unknown age" in line], "that follows from the failure"


def test_data_that_is_too_old_is_told_where_it_is_lost_and_not_downstream(place: Path) -> None:
    remember_look(place, 2 * HOUR, newest=6 * DAY)

    found = lines()

    assert found[0] == f"{SHUT}: fct holds data that is too old"
    assert "  holds app.raw as of 6 d ago, limit 5 d (error_after)" in found
    assert next_steps(found) == [
        "build it from data of now: dbt build --select +fct, then obs builds push"
    ]
    assert not [line for line in found if line.startswith("mart")]


def test_a_stale_source_explains_the_tables_upon_it(place: Path) -> None:
    write_artifact(place, result(RAW, 6 * DAY, "error"))
    remember_look(place, 2 * HOUR, newest=6 * DAY)

    assert lines()[0] == f"{SHUT}: 1 of 1 source upstream of training is too old or unknown"


@pytest.mark.parametrize("by", ["option", "exposure"])
def test_an_age_for_all_sources_replaces_their_own_limits_in_tables(place: Path, by: str) -> None:
    said = {"meta": {"obs": {"max_age": "2h"}}} if by == "exposure" else {}
    declare(place, *NODES[:-1], exposure("training", MART, **said))
    name = "meta.obs.max_age" if by == "exposure" else "--max-age"

    found = lines(*(["--max-age", "2h"] if by == "option" else []))

    assert f"  holds app.raw as of 3 h ago, limit 2 h ({name})" in found
    assert lines("--max-age", "4h", code=0)


def test_an_exposure_may_ask_for_no_warnings(place: Path) -> None:
    write_artifact(place, result(RAW, 3 * DAY, "warn"))
    declare(place, *NODES[:-1], exposure("training", MART, meta={"obs": {"fail_on": "warn"}}))

    assert lines()
    assert lines("--fail-on", "error", code=0)


def test_a_build_before_the_first_look_is_of_unknown_age(place: Path) -> None:
    remember_look(place, timedelta(minutes=30), newest=3 * HOUR)

    found = lines()

    assert found[0] == f"{SHUT}: fct holds data of unknown age"
    assert next_steps(found) == [
        "measure before you build: obs freshness push, dbt build, obs builds push"
    ]
    names = ("fct", "*.mart", "exposure.*")
    let = lines(*(f"--allow-unknown-age={name}" for name in names), code=0)
    assert "let through by --allow-unknown-age fct: fct holds data of unknown age (app.raw)" in let
    assert lines("--allow-unknown-age", "app.raw", code=0)


@pytest.mark.parametrize(
    ("statuses", "flag"),
    [
        ({FCT: "error"}, "--allow-unbuilt=fct"),
        ({FCT: "error"}, "--allow-unbuilt=model.shop.f*"),
        ({TEST: "fail"}, "--allow-failed-test=not_null_fct"),
        ({TEST: "fail"}, "--allow-failed-test=fct"),
    ],
)
def test_what_is_let_through_by_name_is_told(
    place: Path, statuses: dict[str, str], flag: str
) -> None:
    write_run_results(place, {**ALL, **statuses})
    unknown = "--allow-unknown-age=app.raw"

    found = lines(flag, unknown, code=0)

    told = f"let through by {flag.replace('=', ' ')}: fct"
    assert [line for line in found if line.startswith(told)]
    assert document(flag, unknown)["tables"][1]["let_through"]
    lines("--allow-unbuilt=mart", "--allow-failed-test=mart", unknown)


def test_without_the_tables_the_verdict_says_so(place: Path) -> None:
    write_run_results(place, {FCT: "error"})

    assert lines("--sources-only", code=0)[0].endswith(
        "1 source upstream of training measured; tables were not judged (--sources-only)"
    )
    assert document("--sources-only")["tables"] is None


def test_run_results_that_were_named_are_proven_or_refused(place: Path) -> None:
    path = write_run_results(place, ALL, target="dev")

    named, own = check("--run-results", str(path)), check()

    assert (named.exit_code, named.stdout.split(":")[0]) == (4, SHUT)
    assert own.exit_code == 1
    assert "note: the project's own last run is not used: " in own.stdout


def test_several_runs_count_and_of_one_table_the_last(place: Path) -> None:
    first = shutil.copy(write_run_results(place, ALL), place / "first.json")
    last = write_run_results(place, {FCT: "error"}, timedelta(minutes=30))

    named = ["--run-results", str(first), "--run-results", str(last)]
    assert lines(*named)[0].startswith(f"{SHUT}: fct failed to build")
    swapped = ["--run-results", str(last), "--run-results", str(first)]
    assert lines(*swapped)[:6] == lines(*named)[:6]


@pytest.mark.parametrize("option", ["--run-results=x", "--sources-only", "--allow-unbuilt=x"])
def test_options_of_tables_need_an_exposure(place: Path, option: str) -> None:
    found = CliRunner().invoke(root, ["freshness", "check", option])

    assert found.exit_code == 2
    assert "is about what is upstream of an --exposure" in found.output


Change = Callable[[dict[str, Any]], None]


def kept(place: Path, *argv: str) -> Path:
    path = place / "evidence.json"
    check("--evidence", str(path), *argv)
    return path


def replay(path: Path, *argv: str) -> Result:
    return CliRunner().invoke(root, ["freshness", "check", "--replay", str(path), *argv])


@pytest.mark.parametrize("statuses", [{}, {FCT: "error", MART: "skipped"}, {TEST: "fail"}])
def test_a_verdict_is_the_same_when_it_is_replayed_elsewhere(
    place: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    statuses: dict[str, str],
) -> None:
    write_run_results(place, {**ALL, **statuses})
    path = kept(place)
    told = json.loads(path.read_bytes())["verdict"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("OBS_DBT")

    found = replay(path, "--format", "json")

    assert json.loads(found.stdout) == told
    assert found.exit_code == (1 if statuses else 0)
    words = replay(path)
    assert words.stdout.startswith(told["sentence"])
    assert f"replayed from {path}: decided at " in words.stdout


def test_the_evidence_says_by_what_limits_and_what_was_let_through(place: Path) -> None:
    found = json.loads(kept(place, "--max-age", "9h", "--allow-unbuilt", "x*").read_bytes())

    assert found["policy"]["max_age_seconds"] == 9 * 3600
    assert found["policy"]["allow_unbuilt"] == ["x*"]
    assert len(found["manifest_sha256"]) == 64
    assert found["manifest"]["nodes"].keys() == {STG, FCT, MART}


def _verdict(found: dict[str, Any]) -> None:
    found["verdict"]["verdict"] = "pass"


def _source(found: dict[str, Any]) -> None:
    found["report"]["sources"][0]["error_after_seconds"] = 60


@pytest.mark.parametrize("change", [_verdict, _source, dict.clear])
def test_evidence_that_was_changed_is_refused(place: Path, change: Change) -> None:
    path = kept(place, "--max-age", "1h")
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))

    found = replay(path)

    assert (found.exit_code, found.stdout.split(":")[0]) == (4, SHUT)


def test_evidence_that_cannot_be_written_opens_nothing(place: Path) -> None:
    (place / "there").mkdir()

    found = check("--evidence", str(place / "there/none/evidence.json"))

    assert (found.exit_code, found.stdout.split(":")[0]) == (5, SHUT)


def test_a_replay_takes_nothing_else(place: Path) -> None:
    found = replay(kept(place), "--max-age", "1h")

    assert found.exit_code == 2
    assert "drop --max-age" in found.output


def graph(*argv: str) -> str:
    found = CliRunner().invoke(root, ["lineage", "graph", "training", "--freshness", *argv])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_the_graph_shows_when_each_table_was_built_and_of_when_its_data_is(place: Path) -> None:
    shutil.copy(place / "prepared_sources.json", place / "target/sources.json")

    drawn = graph().splitlines()

    assert drawn[1].endswith("mart  table  pass  built 59 min ago  as of 3 h ago")
    assert drawn[2].endswith("fct  table  pass  built 59 min ago  as of 3 h ago")
    assert drawn[3].endswith("stg  view  pass")


def test_the_graph_shows_below_which_table_all_is_lost(place: Path) -> None:
    shutil.copy(place / "prepared_sources.json", place / "target/sources.json")
    write_run_results(place, {**ALL, FCT: "error", MART: "skipped"})

    drawn = graph().splitlines()

    assert drawn[0].endswith("exposure · application  build failed")
    assert drawn[2].endswith("fct  table  build failed  as of unknown")
    assert drawn[3].endswith("stg  view  pass")
    assert 'fct (table · build failed · as of unknown)"' in graph("--format", "mermaid")
    nodes = {node["name"]: node for node in json.loads(graph("--format", "json"))["nodes"]}
    assert nodes["fct"]["contents"]["build"] == "build failed"
