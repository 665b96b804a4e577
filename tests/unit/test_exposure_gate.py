"""``obs freshness check --exposure``: every way to a false pass blocks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from ledgermind_obs.cli.instruments import instruments
from ledgermind_obs.dbt.manifest_file import ManifestChoice
from ledgermind_obs.dbt.project import Dbt, open_project
from ledgermind_obs.freshness import State
from ledgermind_obs.gate.evidence import Request, gather
from ledgermind_obs.gate.judge import judge
from ledgermind_obs.gate.policy import Policy
from ledgermind_obs.metrics import (
    CHECKED_AT,
    LAST_SUCCESS,
    LOADED_AT,
    RUN_DURATION,
    RUN_SUCCESS,
    RUN_TIMESTAMP,
    STATUS,
)
from tests.unit.manifests import (
    FCT,
    RAW,
    STG,
    TRAINING,
    Named,
    content,
    document,
    exposure,
    model,
    sound,
    source,
)
from tests.unit.reports import report
from tests.unit.reports import source as measured
from tests.unit.servers import Answer, web

BLOCKED, OPEN = "DO NOT RUN ML TRAINING", "ML training may run"
OTHER = "source.shop.app.other"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# Writes what it finds prepared beside itself, as dbt would write it of its own run.
FAKE_DBT = """\
#!{python}
import json, pathlib, shutil, sys
place = pathlib.Path({place!r})
target = pathlib.Path(sys.argv[sys.argv.index("--target-path") + 1])
target.mkdir(parents=True, exist_ok=True)
with (place / "asked").open("a") as asked:
    asked.write(json.dumps(sys.argv[1:]) + "\\n")
shutil.copy(place / "prepared_manifest.json", target / "manifest.json")
if sys.argv[1] == "source":
    print(json.dumps({{"info": {{"name": "Found", "invocation_id": "of-this-run"}}}}))
    shutil.copy(place / "prepared_sources.json", target / "sources.json")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project whose manifest is sound and newer than its files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    (tmp_path / "profiles.yml").write_text("shop: {target: prod, outputs: {prod: {}}}\n")
    os.utime(tmp_path / "dbt_project.yml", (0, 0))
    (tmp_path / "target").mkdir()
    dbt = tmp_path / "dbt"
    dbt.write_text(FAKE_DBT.format(python=sys.executable, place=str(tmp_path)))
    dbt.chmod(0o755)
    monkeypatch.setenv("OBS_DBT", str(dbt))
    declare(tmp_path, *sound())
    return tmp_path


def declare(place: Path, *nodes: Named, **keys: Any) -> None:
    (place / "target/manifest.json").write_bytes(content(*nodes, **keys))
    (place / "prepared_manifest.json").write_bytes(content(*nodes, **keys))


def gate(*argv: str) -> Result:
    return CliRunner().invoke(root, ["freshness", "check", "--exposure", "training", *argv])


def result(uid: str, age: timedelta = HOUR, status: str = "pass", **fields: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    times = {"max_loaded_at": (now - age).isoformat(), "snapshotted_at": now.isoformat()}
    return {"unique_id": uid, "status": status, **times, **fields}


def artifact(
    place: Path, *results: dict[str, Any], age: timedelta = timedelta(), **meta: Any
) -> str:
    metadata = {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/sources/v3.json",
        "generated_at": (datetime.now(UTC) - age).isoformat(),
        **meta,
    }
    path = place / "prepared_sources.json"
    path.write_text(json.dumps({"metadata": metadata, "results": results, "elapsed_time": 1.0}))
    return str(path)


def judged(place: Path, *results: dict[str, Any], argv: tuple[str, ...] = (), **how: Any) -> Result:
    return gate("--artifact", artifact(place, *results, **how), *argv)


def test_a_fresh_source_lets_training_run(place: Path) -> None:
    found = judged(place, result(RAW))

    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        f"{OPEN}: 1 source upstream of training measured",
        "",
        f"evidence: {place}/prepared_sources.json, written 0 s ago",
    ]


def test_a_source_beside_the_exposure_does_not_count(place: Path) -> None:
    declare(place, *sound(), source("other"))

    assert judged(place, result(RAW), result(OTHER, 9 * DAY, "error")).exit_code == 0


def test_a_blocker_comes_with_path_owner_url_and_what_to_do(place: Path) -> None:
    found = judged(place, result(RAW, 6 * DAY, "error"))

    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        f"{BLOCKED}: 1 of 1 source upstream of training is too old or unknown",
        "",
        "app.raw  error  6 d  limit 5 d (error_after)",
        "  app.raw → stg → fct → training",
        "  next: see whether the job that loads it ran, and what it logged",
        "",
        f"evidence: {place}/prepared_sources.json, written 0 s ago",
        "training is owned by ML <ml@example.org>  https://example.org/ml",
    ]


@pytest.mark.parametrize("status", ["Pass", "PASS", "pass"])
def test_statuses_are_compared_without_case(place: Path, status: str) -> None:
    assert judged(place, result(RAW, status=status)).exit_code == 0


def test_a_warning_passes_and_blocks_on_demand(place: Path) -> None:
    stale = result(RAW, 3 * DAY, "Warn")

    warned = f"{OPEN}: 1 source upstream of training measured, 1 with a warning\n"
    assert judged(place, stale).stdout.startswith(warned)
    assert judged(place, stale, argv=("--fail-on", "warn")).exit_code == 1


def test_the_age_is_taken_at_now_and_not_when_it_was_measured(place: Path) -> None:
    then = datetime.now(UTC) - 2 * DAY
    loaded = (then - 4 * DAY).isoformat()
    old = {**result(RAW), "max_loaded_at": loaded, "snapshotted_at": then.isoformat()}

    found = judged(place, old, age=2 * DAY, argv=("--artifact-max-age", "3d"))

    assert found.exit_code == 1
    assert "app.raw  error  6 d" in found.stdout


def test_a_max_age_blocks_what_dbt_lets_pass(place: Path) -> None:
    assert judged(place, result(RAW, 3 * HOUR), argv=("--max-age", "4h")).exit_code == 0
    assert judged(place, result(RAW, 3 * HOUR), argv=("--max-age", "2h")).exit_code == 1


def test_the_manifests_limits_count_and_not_the_artifacts(place: Path) -> None:
    lax = {"error_after": {"count": 99, "period": "day"}}

    assert judged(place, result(RAW, 6 * DAY, criteria=lax)).exit_code == 1


YEAR_1 = "0001-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        (None, "missing"),
        ({"unique_id": RAW, "status": "runtime error", "error": "boom"}, "query error"),
        (result(RAW, max_loaded_at=YEAR_1), "empty"),
        (result(RAW, -DAY), "future"),
        (result(RAW, status="splendid"), "query error"),
        (result(RAW, snapshotted_at=None), "query error"),
    ],
)
def test_every_state_that_is_not_pass_or_warn_blocks(
    place: Path, entry: dict[str, Any] | None, state: str
) -> None:
    declare(place, *sound(), source("other"))
    found = judged(place, result(OTHER), *([entry] if entry else []))

    assert found.exit_code == 1
    assert f"app.raw  {state}" in found.stdout


@pytest.mark.parametrize(
    ("nodes", "words", "flag"),
    [
        (
            [source("raw"), source("other", freshness=None), model("fct", RAW, OTHER)],
            "app.other  has no freshness",
            ("--allow-no-freshness", "app.other"),
        ),
        (
            [source("raw"), source("other", loaded_at_field=None), model("fct", RAW, OTHER)],
            "app.other  has freshness, and neither",
            ("--allow-no-freshness", "app.*"),
        ),
        (
            [source("raw"), model("s", kind="seed"), model("fct", RAW, "seed.shop.s")],
            "s  is a seed",
            ("--allow-seed", "s"),
        ),
        (
            [source("raw"), model("stg"), model("fct", RAW, STG)],
            "stg  has no parents",
            ("--allow-unseen", "stg"),
        ),
        (
            [source("raw"), model("fct", RAW, "model.far.x")],
            "x  belongs to project far",
            ("--allow-unseen", "model.far.*"),
        ),
        (
            [source("raw"), model("m", RAW, kind="metric"), model("fct", "metric.shop.m")],
            "m  is a metric",
            ("--allow-unseen", "m"),
        ),
    ],
)
def test_what_cannot_be_seen_blocks_until_it_is_let_through_by_name(
    place: Path, nodes: list[Named], words: str, flag: tuple[str, str]
) -> None:
    declare(place, *nodes, exposure("training", FCT))
    found = judged(place, result(RAW))

    assert found.exit_code == 1
    assert words in found.stdout
    assert judged(place, result(RAW), argv=flag).exit_code == 0
    assert judged(place, result(RAW), argv=(flag[0], "another")).exit_code == 1


ALL_FLAGS = (
    *("--allow-no-freshness", "*", "--allow-seed", "*", "--allow-unseen", "*"),
    *("--allow-error", "--allow-empty", "--allow-future", "--allow-query-error"),
    "--allow-missing",
)


@pytest.mark.parametrize(
    ("nodes", "keys"),
    [
        ([source("raw"), exposure("training")], {}),
        ([source("raw"), exposure("training", RAW, "model.shop.gone")], {}),
        ([source("raw"), exposure("training", RAW, STG)], {"disabled": {STG: [{}]}}),
        ([source("raw"), exposure("training", RAW, refs=[{"name": "gone"}])], {}),
        ([source("raw"), model("s", kind="seed"), exposure("training", "seed.shop.s")], {}),
        ([source("raw"), source("other", freshness=None), exposure("training", OTHER)], {}),
    ],
)
def test_a_broken_exposure_blocks_whatever_is_let_through(
    place: Path, nodes: list[Named], keys: dict[str, Any]
) -> None:
    declare(place, *nodes, **keys)
    found = judged(place, result(RAW), argv=ALL_FLAGS)

    assert found.exit_code == 1
    assert found.stdout.startswith(BLOCKED)


@pytest.mark.parametrize(
    ("results", "how", "code", "words"),
    [
        ([], {}, 4, "has not one source of project shop"),
        ([result("source.renamed.app.raw")], {}, 4, "has not one source of project shop"),
        ([result(RAW)], {"age": 2 * HOUR}, 4, "is 2 h old, limit 1 h"),
        ([result(RAW)], {"age": -DAY}, 4, "in the future: check the clocks"),
        ([result(RAW)], {"generated_at": ""}, 4, "does not say when it was written"),
        ([result(RAW)], {"dbt_schema_version": "run-results"}, 4, "is not a freshness result"),
    ],
)
def test_an_artifact_that_cannot_be_used_blocks(
    place: Path, results: list[dict[str, Any]], how: dict[str, Any], code: int, words: str
) -> None:
    found = judged(place, *results, **how)

    assert found.exit_code == code
    assert found.stdout.startswith(BLOCKED)
    assert words in found.stderr


@pytest.mark.parametrize(
    ("bad", "code"), [(b"", 4), (b"{", 4), (b"[]", 4), (b"\xff", 4), (None, 2)]
)
def test_an_artifact_that_cannot_be_read_blocks(place: Path, bad: bytes | None, code: int) -> None:
    if bad is not None:
        (place / "bad.json").write_bytes(bad)
    found = gate("--artifact", "bad.json")

    assert found.exit_code == code
    assert found.stdout.startswith(BLOCKED)
    assert "bad.json" in found.stderr


def test_a_manifest_of_another_project_blocks(place: Path) -> None:
    (place / "dbt_project.yml").write_text("name: other\nprofile: shop\n")
    found = judged(place, result(RAW), argv=("--manifest", "target/manifest.json"))

    assert found.exit_code == 4
    assert "is of project shop, not of other" in found.stderr


def test_an_exposure_that_is_not_there_blocks(place: Path) -> None:
    declare(place, source("raw"))
    found = judged(place, result(RAW))

    assert (found.exit_code, found.stdout.split(":")[0]) == (2, BLOCKED)


def test_the_freshness_json_of_dbt_v2_is_judged(place: Path) -> None:
    schema = "https://schemas.getdbt.com/dbt/freshness/v0.json"
    entries = [
        result(RAW, status="Pass", resource_type="source"),
        result(FCT, status="Pass", resource_type="model"),
    ]

    assert judged(place, *entries, dbt_schema_version=schema).exit_code == 0


def test_json_has_verdict_paths_and_blind_spots(place: Path) -> None:
    declare(place, *sound()[:-1], source("other", freshness=None), exposure("training", FCT, OTHER))
    found = json.loads(judged(place, result(RAW), argv=("--format", "json")).stdout)

    assert found["verdict"] == "block"
    assert found["exposure"]["unique_id"] == TRAINING
    assert found["sources"][0]["path"] == ["app.raw", "stg", "fct", "training"]
    assert found["blind_spots"][0]["unique_id"] == OTHER


def test_json_says_block_where_there_is_nothing_to_judge_by(place: Path) -> None:
    found = gate("--artifact", "nope.json", "--format", "json")

    assert json.loads(found.stdout)["verdict"] == "block"


@pytest.mark.parametrize(
    "argv",
    [
        ["--exposure", "training", "--artifact", "x", "--prometheus", "http://localhost"],
        ["--exposure", "training", "--select", "source:app"],
    ],
)
def test_options_that_contradict_each_other_are_refused(place: Path, argv: list[str]) -> None:
    assert CliRunner().invoke(root, ["freshness", "check", *argv]).exit_code == 2


# --- measured now


def asked(place: Path) -> list[list[str]]:
    return [json.loads(line) for line in (place / "asked").read_text().splitlines()]


def test_exactly_the_sources_above_are_measured(place: Path) -> None:
    declare(place, *sound(), source("other"))
    artifact(place, result(RAW))

    assert gate().exit_code == 0
    _, argv = asked(place)
    assert argv[argv.index("--select") + 1 :][:1] == ["source:shop.app.raw"]


def test_dbt_parses_once_and_again_if_the_project_changed(place: Path) -> None:
    artifact(place, result(RAW))
    assert gate().exit_code == 0
    os.utime(place / "dbt_project.yml")
    assert gate().exit_code == 0
    assert [argv[0] for argv in asked(place)] == ["parse", "source", "source"]

    (place / "models").mkdir()
    (place / "models/new.sql").write_text("select 1")
    assert gate().exit_code == 0
    assert [argv[0] for argv in asked(place)][3:] == ["parse", "source"]


def test_parsing_can_be_forbidden_and_what_changed_is_told(place: Path) -> None:
    artifact(place, result(RAW))
    assert gate().exit_code == 0
    with (place / "dbt_project.yml").open("a") as file:
        file.write("# more\n")
    found = gate("--no-parse")

    assert found.exit_code == 0
    assert [argv[0] for argv in asked(place)] == ["parse", "source", "source"]
    assert "dbt_project.yml changed since dbt parsed it" in found.stderr


def test_a_manifest_of_dbts_own_proves_nothing_where_parsing_is_forbidden(place: Path) -> None:
    artifact(place, result(RAW))

    assert gate("--no-parse").exit_code == 2
    assert not (place / "asked").exists()
    assert gate("--no-parse", "--manifest", "target/manifest.json").exit_code == 0


def test_a_source_that_dbt_leaves_out_blocks(place: Path) -> None:
    declare(place, *sound()[:-1], source("other"), exposure("training", FCT, OTHER))
    artifact(place, result(OTHER))
    found = gate()

    assert found.exit_code == 1
    assert "app.raw  missing" in found.stdout


def test_what_the_runs_own_manifest_adds_above_the_exposure_blocks(place: Path) -> None:
    artifact(place, result(RAW))
    grown = content(*sound()[:-1], source("other"), exposure("training", FCT, OTHER))
    (place / "prepared_manifest.json").write_bytes(grown)
    found = gate()

    assert found.exit_code == 1
    assert "app.other  missing" in found.stdout


def test_an_older_manifest_of_an_earlier_run_does_not_hide_a_source(place: Path) -> None:
    earlier = place / "target/obs/prod/manifest.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(content(*sound()))
    os.utime(earlier, (1, 1))
    declare(place, *sound()[:-1], source("other"), exposure("training", FCT, OTHER))
    beside_dbt = report(measured("raw", unique_id=RAW, database="", schema=""))
    dbt = Dbt(open_project(place), str(place / "dbt"))

    found = gather(
        Request(project=dbt.project, exposure="training"),
        instruments(dbt, ManifestChoice(), lambda _, __: beside_dbt),
    )

    assert [(s.name, s.state) for s in found.report.sources] == [
        ("app.other", State.MISSING),
        ("app.raw", State.PASS),
    ]
    assert not judge(found, Policy(), found.gathered_at).lets_through


# --- as it was last pushed


def sample(name: str, value: object, **labels: str) -> dict[str, Any]:
    group = {"job": "dbt-freshness", "project": "shop", "target": "prod"}
    return {
        "metric": {"__name__": name, **group, **labels},
        "value": [datetime.now(UTC).timestamp(), str(value)],
    }


def pushed(
    loaded: timedelta = HOUR,
    looked: timedelta = timedelta(minutes=5),
    push: timedelta = timedelta(minutes=5),
    state: str = "pass",
) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    key = {"package": "shop", "source": "app", "table": "raw"}
    return [
        sample(LAST_SUCCESS.name, (now - push).timestamp()),
        sample(RUN_SUCCESS.name, 1),
        sample(RUN_TIMESTAMP.name, (now - push).timestamp()),
        sample(RUN_DURATION.name, 4.5),
        sample(CHECKED_AT.name, (now - looked).timestamp(), **key),
        sample(LOADED_AT.name, (now - loaded).timestamp(), **key),
        *(sample(STATUS.name, float(s == state), status=s, **key) for s in State),
    ]


JSON = {"Content-Type": "application/json"}


def answer(body: object, **how: Any) -> Answer:
    return Answer(body=json.dumps(body).encode(), **{"headers": JSON, **how})


def by_prometheus(*samples: dict[str, Any], argv: tuple[str, ...] = ()) -> Result:
    body = {"status": "success", "data": {"resultType": "vector", "result": samples}}
    with web(answer(body)) as server:
        return gate("--prometheus", server.url, *argv)


def test_a_fresh_push_lets_training_run_without_dbt(place: Path) -> None:
    found = by_prometheus(*pushed())

    assert (found.exit_code, found.stdout.split(":")[0]) == (0, OPEN)
    assert [argv[0] for argv in asked(place)] == ["parse"]


def test_prometheus_is_asked_for_this_project_and_target(place: Path) -> None:
    with web(answer({})) as server:
        gate("--prometheus", server.url, "--prometheus-label", 'team=a"b')
    query = parse_qs(urlsplit(server.asked[0].path).query)["query"][0]

    assert query.endswith(',project="shop",target="prod",team="a\\"b"}')


@pytest.mark.parametrize(
    ("samples", "code", "words"),
    [
        (list, 4, "has no successful push"),
        (lambda: pushed(push=HOUR), 4, "is 1 h old, limit 45 min"),
        (lambda: pushed() + pushed()[:1], 4, "answers twice"),
        (lambda: pushed(looked=HOUR), 1, "missing"),
        (lambda: pushed(loaded=6 * DAY), 1, "error  6 d"),
        (lambda: pushed(state="query_error"), 1, "query error"),
        (lambda: pushed(state="empty"), 1, "empty"),
        (lambda: pushed(state="future"), 1, "future"),
        (lambda: pushed(state="none"), 1, "missing"),
        (lambda: pushed()[:4], 1, "missing"),
        (lambda: [s for s in pushed() if s["metric"]["__name__"] != LOADED_AT.name], 1, "missing"),
        (lambda: [s for s in pushed() if s["metric"]["__name__"] != CHECKED_AT.name], 1, "missing"),
    ],
)
def test_a_push_that_does_not_prove_freshness_blocks(
    place: Path, samples: Callable[[], list[dict[str, Any]]], code: int, words: str
) -> None:
    found = by_prometheus(*samples())

    assert found.exit_code == code
    assert found.stdout.startswith(BLOCKED)
    assert words in found.output


@pytest.mark.parametrize(
    "answer",
    [Answer(status=500), Answer(body=b"<html>"), Answer(body=b"{}"), Answer(status=401)],
)
def test_a_prometheus_that_does_not_answer_blocks(place: Path, answer: Answer) -> None:
    with web(answer) as server:
        found = gate("--prometheus", server.url)

    assert (found.exit_code, found.stdout.split(":")[0]) == (5, BLOCKED)


def test_a_prometheus_url_in_the_environment_does_not_replace_the_measurement(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_URL", "http://localhost:1")
    artifact(place, result(RAW))

    assert gate().exit_code == 0
    assert asked(place)


# --- push


def test_a_push_of_an_exposure_measures_what_is_above_it(place: Path) -> None:
    declare(place, *sound(), source("other"))
    artifact(place, result(RAW))
    argv = ["freshness", "push", "--exposure", "training", "--dry-run"]
    found = CliRunner().invoke(root, argv)

    assert found.exit_code == 0
    assert 'table="raw"' in found.stdout
    assert 'table="other"' not in found.stdout
    assert "source:shop.app.raw" in asked(place)[1]


def test_where_all_was_measured_for_an_exposure_the_others_series_stay(place: Path) -> None:
    declare(place, *sound()[:-1], source("odd.name"), exposure("training", FCT))
    everything = report(
        measured("raw", unique_id=RAW, database="", schema=""), measured("odd.name")
    )
    assert everything.whole
    dbt = Dbt(open_project(place), str(place / "dbt"))

    found = gather(
        Request(project=dbt.project, exposure="training"),
        instruments(dbt, ManifestChoice(), lambda _, __: everything),
    )

    assert [s.name for s in found.report.sources] == ["app.raw"]
    assert not found.report.whole


def test_a_push_of_an_exposure_without_measured_sources_is_an_error(place: Path) -> None:
    declare(place, source("raw", freshness=None), exposure("training", RAW))
    argv = ["freshness", "push", "--exposure", "training", "--dry-run"]

    assert CliRunner().invoke(root, argv).exit_code == 2


def test_a_manifest_that_is_no_manifest_blocks(place: Path) -> None:
    for bad in (b"", b"[]", json.dumps(document()).encode()[:-5]):
        (place / "target/manifest.json").write_bytes(bad)
        named = ("--manifest", "target/manifest.json")

        assert judged(place, result(RAW), argv=named).exit_code == 4
