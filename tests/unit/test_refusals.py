"""Every way that does not open ends as a refusal: in words, in JSON, and by its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from ledgermind_obs.dbt.lock import locked
from tests.unit.gated import DAY, HOUR, declare, result, write_artifact, write_gated
from tests.unit.manifests import FCT, RAW, content, exposure, model, sound, source

TYPO = 'says("NoNodesForSelectionCriteria", spec_raw="source:typo"); '


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in write_gated(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def check(*argv: str) -> Result:
    return CliRunner().invoke(root, ["freshness", "check", *argv])


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda place: (place / name).write_text(content)


def removed(name: str) -> Callable[[Path], object]:
    return lambda place: (place / name).unlink()


def does(behaviour: str) -> Callable[[Path], object]:
    return text("does", behaviour)


def sources(*results: Callable[[], dict[str, Any]], **how: Any) -> Callable[[Path], object]:
    """Return what prepares the result of a run; its entries are made when the test runs."""
    return lambda place: write_artifact(place, *(result() for result in results), **how)


def nothing(_: Path) -> None:
    pass


def unwatched(place: Path) -> None:
    declare(place, *sound(), source("events", freshness=None))


def over_nothing(place: Path) -> None:
    write_artifact(place)
    declare(place, source("raw", freshness=None))


Prepare = Callable[[Path], object]
BY_ARTIFACT = ("--artifact", "prepared_sources.json")
TRAINING = ("--exposure", "training")

WAYS: dict[str, tuple[Prepare, tuple[str, ...], int]] = {
    # options
    "an unknown option": (nothing, ("--bogus",), 2),
    "a stray word": (nothing, ("training",), 2),
    "a value is missing": (nothing, ("--max-age",), 2),
    "no duration": (nothing, ("--max-age", "soon"), 2),
    "an unknown engine": (nothing, ("--engine", "oracle"), 2),
    "no threads": (nothing, ("--threads", "0"), 2),
    "an unknown verdict": (nothing, ("--fail-on", "never"), 2),
    "a label without a value": (nothing, ("--prometheus-label", "team"), 2),
    "an exposure and a selection": (nothing, (*TRAINING, "--select", "source:app"), 2),
    "two evidences": (nothing, (*BY_ARTIFACT, "--prometheus", "http://localhost"), 2),
    "an explanation by dbt": (nothing, ("--explain",), 2),
    "no URL": (nothing, ("--prometheus", "localhost:9090"), 2),
    "a token that is not there": (
        nothing,
        ("--prometheus", "http://localhost", "--prometheus-token-file", "none"),
        2,
    ),
    "vars without dbt": (nothing, ("--engine", "postgres", "--vars", "{a: 1}"), 2),
    # files
    "no project": (removed("dbt_project.yml"), (), 2),
    "a project that is no mapping": (text("dbt_project.yml", "- shop"), (), 2),
    "a project that cannot be read": (text("dbt_project.yml", "{"), (), 2),
    "a project without a name": (text("dbt_project.yml", "profile: shop"), (), 2),
    "no profiles.yml": (removed("profiles.yml"), (), 2),
    "profiles.yml that cannot be read": (text("profiles.yml", "{"), (), 2),
    "no such profile": (text("profiles.yml", "other: {}"), (), 2),
    "a directory that cannot be written": (
        text("target/obs", ""),
        (),
        2,
    ),
    # dbt
    "no dbt": (nothing, ("--dbt", "no-such-dbt"), 3),
    "a dbt that cannot run": (text("dbt", "\x00"), (), 3),
    "a dbt that fails": (does("sys.exit(2)"), (), 3),
    "a dbt that is killed": (does("os.kill(os.getpid(), signal.SIGKILL)"), (), 3),
    "a dbt that hangs": (does("time.sleep(60)"), ("--timeout", "1s"), 3),
    "a dbt without a result": (does("manifest()"), (), 3),
    "a dbt without a manifest": (does("sources()"), (), 4),
    "half a result": (
        does('manifest(); (target / "sources.json").write_text("{")'),
        (),
        4,
    ),
    "half a manifest": (
        does('sources(); (target / "manifest.json").write_text("{")'),
        (),
        4,
    ),
    "files of two runs": (sources(lambda: result(RAW), invocation_id="another"), (), 4),
    "a result over nothing": (
        over_nothing,
        (),
        2,
    ),
    "a source that is left out": (sources(), (), 1),
    "a source that is too old": (sources(lambda: result(RAW, 6 * DAY, "error")), (), 1),
    "a source that has grown too old": (sources(lambda: result(RAW, 6 * DAY)), (), 1),
    "a source that is empty": (
        sources(lambda: result(RAW, max_loaded_at="0001-01-01T00:00:00Z")),
        (),
        1,
    ),
    "a source of the future": (sources(lambda: result(RAW, -HOUR)), (), 1),
    "a source that failed": (sources(lambda: {"unique_id": RAW, "status": "runtime error"}), (), 1),
    "a status that nobody knows": (sources(lambda: result(RAW, status="splendid")), (), 1),
    "a source that nobody knows": (
        sources(lambda: result(RAW), lambda: result("source.shop.app.x")),
        (),
        4,
    ),
    # selections
    "a typo": (does(TYPO + "manifest(); sources()"), ("--select", "source:app", "source:typo"), 1),
    "a model's name": (nothing, ("--select", "source:app.raw", "stg"), 1),
    "a source without freshness": (unwatched, (), 1),
    "a selected source without freshness": (
        unwatched,
        ("--select", "source:app.raw", "source:app.events"),
        1,
    ),
    "a selection that only dbt can follow": (unwatched, ("--select", "tag:nightly"), 1),
    # artifacts
    "no artifact": (nothing, ("--artifact", "none.json"), 2),
    "an artifact that is a directory": (nothing, ("--artifact", "target"), 2),
    "half an artifact": (text("prepared_sources.json", "{"), BY_ARTIFACT, 4),
    "an old artifact": (sources(lambda: result(RAW), age=2 * HOUR), BY_ARTIFACT, 4),
    "an artifact of the future": (sources(lambda: result(RAW), age=-HOUR), BY_ARTIFACT, 4),
    "an artifact of another project": (sources(lambda: result("source.x.app.raw")), BY_ARTIFACT, 4),
    "an artifact of no time": (sources(lambda: result(RAW), generated_at="noon"), BY_ARTIFACT, 4),
    "an artifact of another kind": (
        sources(lambda: result(RAW), dbt_schema_version="x"),
        BY_ARTIFACT,
        4,
    ),
    "an artifact without a source": (
        lambda place: declare(place, *sound(), source("other")),
        BY_ARTIFACT,
        1,
    ),
    "a target that nobody has": (nothing, (*BY_ARTIFACT, "--target", "bogus"), 2),
    "an artifact, and a source without freshness": (unwatched, BY_ARTIFACT, 1),
    "an artifact, and a typo": (nothing, (*BY_ARTIFACT, "--select", "source:app", "source:no"), 1),
    "an artifact, and a tag": (nothing, (*BY_ARTIFACT, "--select", "tag:nightly"), 2),
    # exposures
    "no such exposure": (nothing, ("--exposure", "training_2"), 2),
    "an exposure without parents": (
        lambda place: declare(place, source("raw"), exposure("training")),
        TRAINING,
        1,
    ),
    "an exposure above which nothing is measured": (
        lambda place: declare(place, source("raw", freshness=None), exposure("training", RAW)),
        TRAINING,
        1,
    ),
    "a manifest of another project": (
        lambda place: (place / "other.json").write_bytes(
            content(*sound()).replace(b'"project_name":"shop"', b'"project_name":"other"')
        ),
        (*TRAINING, "--manifest", "other.json"),
        4,
    ),
    "a Prometheus that is not there": (
        nothing,
        (*TRAINING, "--prometheus", "http://127.0.0.1:1"),
        5,
    ),
}


@pytest.mark.parametrize("asked", ["text", "flag", "environment"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_that_does_not_open_is_a_refusal(
    place: Path, monkeypatch: pytest.MonkeyPatch, way: str, asked: str
) -> None:
    prepare, argv, code = WAYS[way]
    prepare(place)
    monkeypatch.setattr("ledgermind_obs.http.client.MAX_ATTEMPTS", 1, raising=False)
    if asked == "environment":
        monkeypatch.setenv("OBS_GATE_FORMAT", "json")
    found = check(*(["--format", "json"] if asked == "flag" else []), *argv)

    assert found.exit_code == code, found.output
    if asked == "text":
        assert found.stdout.startswith("DO NOT RUN ML TRAINING: ")
    else:
        document = json.loads(found.stdout)
        assert document["verdict"] == "block"
        assert document["sentence"].startswith("DO NOT RUN ML TRAINING: ")


def test_without_a_fault_the_same_project_opens(place: Path) -> None:
    assert check().exit_code == 0
    assert check(*BY_ARTIFACT).exit_code == 0
    assert check(*TRAINING).exit_code == 0
    assert json.loads(check("--format", "json").stdout)["verdict"] == "pass"


def test_a_lock_that_another_run_holds_is_a_refusal(place: Path) -> None:
    assert check().exit_code == 0  # makes the lock
    directory = next(place.glob("target/**/obs.lock")).parent
    with locked(directory):
        found = check("--lock-timeout", "0s", "--format", "json")

    assert found.exit_code == 6
    assert json.loads(found.stdout)["verdict"] == "block"


ENDS = [
    KeyError("x"),
    MemoryError(),
    RecursionError(),
    OSError(28, "No space left on device"),
    SystemExit(0),
    SystemExit(143),
    click.exceptions.Exit(0),
    KeyboardInterrupt(),
    click.Abort(),
]


@pytest.mark.parametrize("error", ENDS, ids=repr)
@pytest.mark.parametrize("form", ["table", "json"])
def test_whatever_ends_the_decision_is_a_refusal(
    place: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, form: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ledgermind_obs.cli.measuring.measure", fail)
    found = check("--format", form)

    assert found.exit_code != 0
    if form == "table":
        assert found.stdout.startswith("DO NOT RUN ML TRAINING: ")
    else:
        assert json.loads(found.stdout)["verdict"] == "block"


def test_a_fault_while_the_verdict_is_put_into_words_is_a_refusal(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledgermind_obs.cli.check.in_words", lambda *_: 1 / 0)

    found = check()

    assert found.exit_code != 0
    assert found.stdout == "DO NOT RUN ML TRAINING: obs failed (ZeroDivisionError)\n"


def test_json_is_printed_once_and_alone(place: Path) -> None:
    write_artifact(place, result(RAW, 6 * DAY, "error"))

    assert json.loads(check("--format", "json").stdout)["verdict"] == "block"
    assert json.loads(check("--format=json", "--bogus").stdout)["verdict"] == "block"
    assert json.loads(check("--bogus", "--format", "json").stdout)["verdict"] == "block"


def test_the_last_format_counts_and_a_flag_beats_the_environment(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check("--format", "json", "--format", "table", "--bogus").stdout.startswith("DO NOT")
    monkeypatch.setenv("OBS_GATE_FORMAT", "json")
    assert check("--format", "table", "--bogus").stdout.startswith("DO NOT")


def test_help_is_no_verdict(place: Path) -> None:
    found = check("--help")

    assert found.exit_code == 0
    assert "DO NOT" not in found.stdout


# --- the sentence says what the gate is in front of

SUBJECTS = [
    ("dashboard", "weekly", "DO NOT USE THE DASHBOARD", "the dashboard may be used"),
    ("notebook", "weekly", "DO NOT RUN THE NOTEBOOK", "the notebook may run"),
    ("analysis", "weekly", "DO NOT RUN THE ANALYSIS", "the analysis may run"),
    ("application", "weekly", "DO NOT RUN THE APPLICATION", "the application may run"),
    ("application", "ml_scores", "DO NOT RUN ML TRAINING", "ML training may run"),
    ("ml", "weekly", "DO NOT RUN ML TRAINING", "ML training may run"),
    ("pipeline", "weekly", "DO NOT USE weekly", "weekly may be used"),
    (None, "weekly", "DO NOT USE weekly", "weekly may be used"),
]


@pytest.mark.parametrize(("kind", "name", "refusal", "permission"), SUBJECTS)
def test_the_sentence_follows_the_exposures_type(
    place: Path, kind: str | None, name: str, refusal: str, permission: str
) -> None:
    declare(place, *sound()[:-1], exposure(name, FCT, type=kind))
    opened = check("--exposure", name)
    (place / "does").write_text("sys.exit(2) if sys.argv[1] == 'source' else manifest()")
    failed = check("--exposure", name)

    assert opened.stdout.startswith(f"{permission}: 1 source upstream of {name} measured")
    assert failed.stdout.startswith(f"{refusal}: dbt ended with exit code 2")


def test_a_tag_tells_of_ml_as_well(place: Path) -> None:
    declare(place, *sound()[:-1], exposure("weekly", FCT, config={"tags": ["ml"]}))

    assert check("--exposure", "weekly").stdout.startswith("ML training may run")


def test_an_exposure_that_is_not_known_yet_is_called_by_its_name(place: Path) -> None:
    assert check("--exposure", "weekly", "--bogus").stdout.startswith("DO NOT USE weekly: ")
    assert check("--exposure=weekly").stdout.startswith("DO NOT USE weekly: there is no exposure")


# --- what was named or is declared and was not measured


def test_a_criterion_that_selects_nothing_is_named(place: Path) -> None:
    (place / "does").write_text(TYPO + "manifest(); sources()")
    found = check("--select", "source:app", "source:typo")

    assert found.stdout.splitlines() == [
        "DO NOT RUN ML TRAINING: nothing is selected by 'source:typo'",
        "",
        "'source:typo' in the selection selects no source",
        "  next: correct it, or leave it out; see what there is: dbt ls --resource-type source",
    ]


def test_what_excludes_nothing_only_leaves_more_to_measure(place: Path) -> None:
    (place / "does").write_text(TYPO + "manifest(); sources()")

    assert check("--exclude", "source:typo").exit_code == 0


def test_a_source_without_freshness_is_named_and_let_through_by_name(place: Path) -> None:
    unwatched(place)
    blocked, opened = check(), check("--allow-no-freshness", "app.ev*")

    assert blocked.stdout.splitlines() == [
        "DO NOT RUN ML TRAINING: 1 source without freshness",
        "",
        "app.events  has no freshness",
        "  next: give it freshness and a loaded_at_field, or a reason in "
        "meta.obs.no_freshness, or let it through: "
        "--allow-no-freshness app.events",
    ]
    assert opened.stdout.splitlines() == [
        "ML training may run: 1 source of shop (target prod)",
        "",
        "let through by --allow-no-freshness app.ev*: app.events has no freshness",
    ]
    assert check("--allow-no-freshness", "app.other").exit_code == 1


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("--select", "source:app.raw"), 0),
        (("--exclude", "source:app.events"), 0),
        (("--exclude", "source:app.e*"), 0),
        (("--exclude", "tag:nightly"), 1),
        (("--select", "source:app"), 1),
        (("--select", "source:shop.app.*"), 1),
        (("--select", "source:app", "--exclude", "source:app.events"), 0),
        (("--select", "+exposure:training"), 1),
        (("--select", "path:models/sources.yml"), 1),
        (("--select", "source:app.raw,tag:nightly"), 1),
    ],
)
def test_only_a_source_that_the_selection_leaves_out_for_certain_does_not_block(
    place: Path, argv: tuple[str, ...], code: int
) -> None:
    unwatched(place)

    assert check(*argv).exit_code == code


def test_a_selection_that_only_dbt_follows_says_what_is_not_known(place: Path) -> None:
    unwatched(place)
    found = check("--select", "tag:nightly")

    assert (
        "app.events  has no freshness, and only dbt knows whether the selection holds it"
        in found.stdout.splitlines()
    )


def test_a_source_without_a_way_to_measure_it_blocks_though_dbt_calls_it_fresh(
    place: Path,
) -> None:
    view = "source.shop.app.view"
    declare(place, *sound(), source("view", loaded_at_field=None))
    write_artifact(place, result(RAW), result(view))

    assert check().exit_code == 1
    assert check("--allow-no-freshness", "app.view").exit_code == 0


def test_a_project_that_changes_during_the_run_is_refused(place: Path) -> None:
    week = {"warn_after": None, "error_after": {"count": 7, "period": "day"}}
    days = {
        "warn_after": {"count": 2, "period": "day"},
        "error_after": {"count": 9, "period": "day"},
    }
    write_artifact(place, result(RAW, criteria=days))
    declare(place, source("raw", freshness=week), model("fct", RAW), exposure("training", FCT))

    found = check(*TRAINING)

    assert found.exit_code == 4
    assert "app.raw was measured by a table or by limits that it does not have now" in found.stdout


def test_the_evidence_is_told_and_is_in_the_document(place: Path) -> None:
    write_artifact(place, result(RAW), age=timedelta(minutes=12))
    found = json.loads(check(*BY_ARTIFACT, "--format", "json").stdout)

    assert found["evidence"]["kind"] == "artifact"
    assert found["evidence"]["origin"] == "prepared_sources.json, written 12 min ago"
    assert check(*BY_ARTIFACT).stdout.splitlines()[-1] == f"evidence: {found['evidence']['origin']}"


def test_the_module_of_the_gate_is_not_loaded_for_a_push(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They come back after the test: a second copy would have states of its own.
    for name in [name for name in sys.modules if name.startswith("ledgermind_obs.gate")]:
        monkeypatch.delitem(sys.modules, name)

    found = CliRunner().invoke(root, ["freshness", "push", "--dry-run"])

    assert found.exit_code == 0, found.output
    assert not [name for name in sys.modules if name.startswith("ledgermind_obs.gate")]
