"""What was pushed opens a gate only by an answer of Prometheus that is proven."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs import metrics
from ledgermind_obs.cli import root
from ledgermind_obs.freshness import State
from tests.unit.gated import declare, write_gated
from tests.unit.manifests import FCT, RAW, exposure, model, sound, source
from tests.unit.servers import Answer, web

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
JSON = {"Content-Type": "application/json"}

Samples = list[dict[str, Any]]
Change = Callable[[Samples], object]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in write_gated(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def now() -> float:
    return datetime.now(UTC).timestamp()


def sample(metric: metrics.Metric, value: object, **labels: str) -> dict[str, Any]:
    group = {"job": "dbt-freshness", "project": "shop", "target": "prod"}
    return {"metric": {"__name__": metric.name, **group, **labels}, "value": [now(), str(value)]}


def of_source(table: str, checked: float = 5 * MINUTE, loaded: float = HOUR) -> Samples:
    key = {"package": "shop", "source": "app", "table": table}
    return [
        sample(metrics.CHECKED_AT, now() - checked, **key),
        sample(metrics.LOADED_AT, now() - loaded, **key),
        *(sample(metrics.STATUS, int(s is State.PASS), status=s.value, **key) for s in State),
    ]


def of_run(started: float = 5 * MINUTE, success: int = 1, last: float | None = None) -> Samples:
    return [
        sample(metrics.RUN_SUCCESS, success),
        sample(metrics.RUN_TIMESTAMP, now() - started),
        sample(metrics.RUN_DURATION, 4.5),
        sample(metrics.LAST_SUCCESS, now() - (started if last is None else last)),
    ]


def exact(samples: Samples) -> Samples:
    """Return the samples with one moment of the run in both its series, as a push has it."""
    at = {s["metric"]["__name__"]: s for s in samples}
    at[metrics.LAST_SUCCESS.name]["value"][1] = at[metrics.RUN_TIMESTAMP.name]["value"][1]
    return samples


def pushed() -> Samples:
    return [*exact(of_run()), *of_source("raw")]


def envelope(samples: Samples, **fields: Any) -> dict[str, Any]:
    data = {"resultType": "vector", "result": samples}
    return {"status": "success", "data": data, **fields}


def asked(answer: Answer, *argv: str) -> Result:
    with web(answer) as server:
        where = ("--exposure", "training", "--prometheus", server.url)
        return CliRunner().invoke(root, ["freshness", "check", *where, *argv])


def by(samples: Samples, *argv: str, **fields: Any) -> Result:
    body = json.dumps(envelope(samples, **fields)).encode()
    return asked(Answer(body=body, headers=JSON), *argv)


def the(samples: Samples, metric: metrics.Metric, **labels: str) -> dict[str, Any]:
    (found,) = [
        s
        for s in samples
        if s["metric"]["__name__"] == metric.name and labels.items() <= s["metric"].items()
    ]
    return found


def valued(metric: metrics.Metric, value: Callable[[], object], **labels: str) -> Change:
    def change(samples: Samples) -> None:
        the(samples, metric, **labels)["value"][1] = str(value())

    return change


def labelled(metric: metrics.Metric, **labels: str) -> Change:
    return lambda samples: the(samples, metric)["metric"].update(labels)


def without(metric: metrics.Metric) -> Change:
    return lambda samples: samples.remove(the(samples, metric))


def all_labelled(**labels: str) -> Change:
    return lambda samples: [s["metric"].update(labels) for s in samples]


def all_at(moment: Callable[[], float]) -> Change:
    return lambda samples: [s["value"].__setitem__(0, moment()) for s in samples]


def replaced(others: Callable[[], Samples]) -> Change:
    """Return the change to other samples, which are made when the test runs."""
    return lambda samples: samples.__setitem__(slice(None), others())


AHEAD = 6 * MINUTE
PASS, WARN = {"status": "pass"}, {"status": "warn"}

UNPROVEN: dict[str, tuple[Change, int, str]] = {
    # numbers
    "a time that is NaN": (valued(metrics.LOADED_AT, lambda: "NaN"), 4, "is 'NaN'"),
    "a time that is infinite": (valued(metrics.LOADED_AT, lambda: "+Inf"), 4, "is '+Inf'"),
    "a time before all time": (valued(metrics.CHECKED_AT, lambda: "-Inf"), 4, "is '-Inf'"),
    "a time after all time": (valued(metrics.LOADED_AT, lambda: 1e300), 4, "no time"),
    "a number that is none": (valued(metrics.LOADED_AT, lambda: "soon"), 4, "is 'soon'"),
    "a check of the future": (
        valued(metrics.CHECKED_AT, lambda: now() + AHEAD),
        4,
        "after the run that checked it",
    ),
    "a row of the future": (valued(metrics.LOADED_AT, lambda: now() + AHEAD), 1, "future"),
    "a success of the future": (valued(metrics.LAST_SUCCESS, lambda: now() + AHEAD), 4, "ahead"),
    "a run of the future": (valued(metrics.RUN_TIMESTAMP, lambda: now() + AHEAD), 4, "ahead"),
    "a status of two": (valued(metrics.STATUS, lambda: 2, **PASS), 4, "neither 0 nor 1"),
    "half a status": (valued(metrics.STATUS, lambda: 0.5, **WARN), 4, "neither 0 nor 1"),
    "a status that is NaN": (valued(metrics.STATUS, lambda: "NaN", **PASS), 4, "is 'NaN'"),
    "two states": (valued(metrics.STATUS, lambda: 1, **WARN), 4, "pass and warn at once"),
    "no state": (valued(metrics.STATUS, lambda: 0, **PASS), 1, "no state of it is 1"),
    "half a success": (valued(metrics.RUN_SUCCESS, lambda: 0.5), 4, "neither 0 nor 1"),
    "a duration below nothing": (valued(metrics.RUN_DURATION, lambda: -1), 4, "is -1"),
    "an old answer": (all_at(lambda: now() - AHEAD), 4, "answer is 6 min old"),
    "an answer of the future": (all_at(lambda: now() + AHEAD), 4, "min ahead"),
    # labels
    "another project": (all_labelled(project="other"), 4, "project='other'"),
    "one series of another project": (
        labelled(metrics.LOADED_AT, project="other"),
        4,
        "asked for 'shop'",
    ),
    "another target": (all_labelled(target="dev"), 4, "target='dev'"),
    "no target": (lambda s: [x["metric"].pop("target") for x in s], 4, "target=''"),
    "a metric that nobody asked for": (
        lambda s: s.append({"metric": {"__name__": "up"}, "value": [now(), "1"]}),
        4,
        "nobody asked for",
    ),
    "two series alike": (lambda s: s.append(s[-1]), 4, "answers twice"),
    "two jobs": (labelled(metrics.LOADED_AT, job="laptop"), 4, "job='laptop'"),
    "two replicas": (
        lambda s: s.extend([{**x, "metric": {**x["metric"], "replica": "b"}} for x in list(s)]),
        4,
        "2 groups of series",
    ),
    # the run
    "no run": (lambda s: s.__delitem__(slice(0, 4)), 4, "no successful push"),
    "no success": (without(metrics.LAST_SUCCESS), 4, "no successful push"),
    "part of a run": (without(metrics.RUN_TIMESTAMP), 4, "has no dbt_freshness_run_timestamp"),
    "another part of a run": (without(metrics.RUN_SUCCESS), 4, "has no dbt_freshness_run_success"),
    "an old run": (replaced(lambda: [*exact(of_run(HOUR)), *of_source("raw")]), 4, "limit 45 min"),
    "a success that is older than its run": (
        replaced(lambda: [*of_run(5 * MINUTE, 1, 20 * MINUTE), *of_source("raw")]),
        4,
        "contradict each other",
    ),
    "a success after the last run": (
        replaced(lambda: [*of_run(20 * MINUTE, 0, 5 * MINUTE), *of_source("raw")]),
        4,
        "contradict each other",
    ),
    "a check long after the run": (
        replaced(lambda: [*exact(of_run(20 * MINUTE)), *of_source("raw", MINUTE)]),
        4,
        "after the run that checked it",
    ),
    # the source
    "nothing": (replaced(list), 4, "no successful push"),
    "no source": (replaced(lambda: [*exact(of_run())]), 1, "has no series of it"),
    "another source": (
        replaced(lambda: [*exact(of_run()), *of_source("other")]),
        1,
        "has no series of it",
    ),
    "a source without a time": (without(metrics.LOADED_AT), 1, "does not have its last time"),
    "a source without a check": (without(metrics.CHECKED_AT), 1, "without a check"),
    "an old check": (
        replaced(lambda: [*exact(of_run()), *of_source("raw", HOUR, 2 * HOUR)]),
        1,
        "last checked 1 h ago, limit 45 min",
    ),
    "an old row": (
        replaced(lambda: [*exact(of_run()), *of_source("raw", MINUTE, 6 * DAY)]),
        1,
        "error  6 d",
    ),
    "a state of another version": (
        lambda s: the(s, metrics.STATUS, **PASS)["metric"].update(status="fine"),
        1,
        "'fine', a state that this obs does not know",
    ),
}


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("way", UNPROVEN)
def test_an_answer_that_is_not_proven_does_not_open(place: Path, way: str, form: str) -> None:
    change, code, words = UNPROVEN[way]
    samples = pushed()
    change(samples)
    found = by(samples, "--format", form)

    assert found.exit_code == code, found.output
    if form == "json":
        assert json.loads(found.stdout)["verdict"] == "block"
    else:
        assert found.stdout.startswith("DO NOT RUN ML TRAINING: ")
        assert words in found.stdout


def test_the_same_answer_unchanged_opens(place: Path) -> None:
    found = by(pushed())

    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines()[-1].endswith(", as pushed 5 min ago")


def test_a_clock_that_differs_by_less_than_five_minutes_is_no_fault(place: Path) -> None:
    samples = [*exact(of_run(-4 * MINUTE)), *of_source("raw", -4 * MINUTE, HOUR)]

    assert by(samples).exit_code == 0


def body(**fields: Any) -> bytes:
    return json.dumps(envelope(pushed(), **fields)).encode()


def wrong(**fields: Any) -> Callable[[], Answer]:
    return lambda: Answer(body=body(**fields), headers=JSON)


NO_ANSWERS: dict[str, tuple[Callable[[], Answer], str]] = {
    "an error with data": (wrong(status="error", error="query timed out"), "query timed out"),
    "no status": (wrong(status=""), "could not run the query"),
    "a warning": (wrong(warnings=["store-2 is down"]), "in part only: store-2 is down"),
    "a storage node that is down": (wrong(isPartial=True), "in part only: isPartial is true"),
    "a matrix": (wrong(data={"resultType": "matrix", "result": []}), "with a vector"),
    "no data": (wrong(data=None), "with a vector"),
    "no kind of data": (wrong(data={"result": pushed()}), "with a vector"),
    "a web page": (lambda: Answer(body=body(), headers={"Content-Type": "text/html"}), "text/html"),
    "no type": (lambda: Answer(body=body(), headers={}), "type none"),
    "an encoding": (
        lambda: Answer(body=body(), headers={**JSON, "Content-Encoding": "gzip"}),
        "in an encoding that was not asked for",
    ),
    "202": (lambda: Answer(202, body(), JSON), "with 202"),
    "206": (lambda: Answer(206, body(), JSON), "with 206"),
    "204": (lambda: Answer(204, b"", JSON), "with 204"),
    "401": (lambda: Answer(401, b"who are you?", JSON), "with 401: who are you?"),
    "500": (lambda: Answer(500, b"", JSON), "with 500"),
    "cut short": (lambda: Answer(body=body()[:-9], headers=JSON), "does not answer as Prometheus"),
    "no JSON": (lambda: Answer(body=b"OK", headers=JSON), "does not answer as Prometheus"),
    "a list": (lambda: Answer(body=b"[]", headers=JSON), "does not answer as Prometheus"),
    "nothing": (lambda: Answer(body=b"", headers=JSON), "does not answer as Prometheus"),
    "deep": (lambda: Answer(body=b"[" * 100_000, headers=JSON), "does not answer as Prometheus"),
}


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("way", NO_ANSWERS)
def test_what_is_no_whole_answer_of_prometheus_does_not_open(
    place: Path, way: str, form: str
) -> None:
    answer, words = NO_ANSWERS[way]
    found = asked(answer(), "--format", form)

    assert found.exit_code == 5, found.output
    assert words in found.stdout
    if form == "json":
        assert json.loads(found.stdout)["verdict"] == "block"
    else:
        assert found.stdout.startswith("DO NOT RUN ML TRAINING: ")


def test_infos_say_nothing_against_the_data(place: Path) -> None:
    assert by(pushed(), infos=["PromQL info: metric might not be a counter"]).exit_code == 0


def test_a_label_that_was_asked_for_must_be_on_every_series(place: Path) -> None:
    team = [{**s, "metric": {**s["metric"], "team": "a"}} for s in pushed()]

    assert by(team, "--prometheus-label", "team=a").exit_code == 0
    assert by(team, "--prometheus-label", "team=b").exit_code == 4
    assert by(pushed(), "--prometheus-label", "team=a").exit_code == 4


def test_a_last_run_that_failed_is_told_and_the_run_before_counts(place: Path) -> None:
    samples = [*of_run(5 * MINUTE, 0, 20 * MINUTE), *of_source("raw", 20 * MINUTE)]
    found, document = by(samples), json.loads(by(samples, "--format", "json").stdout)

    note = "the last run of shop (target prod), 5 min ago, failed: see its own log"
    assert found.exit_code == 0, found.output
    assert f"note: {note}" in found.stdout.splitlines()
    assert document["evidence"]["notes"] == [note]


def test_each_source_is_judged_at_its_own_check(place: Path) -> None:
    other = "source.shop.app.other"
    declare(
        place, *sound()[:-2], source("other"), model("fct", RAW, other), exposure("training", FCT)
    )
    samples = [
        *exact(of_run()),
        *of_source("raw", 1 * MINUTE, 31 * MINUTE),
        *of_source("other", 40 * MINUTE, 2 * HOUR),
    ]
    found = json.loads(by(samples, "--format", "json").stdout)

    ages = {s["name"]: round(s["age_seconds"] / MINUTE) for s in found["sources"]}
    assert ages == {"app.raw": 31, "app.other": 120}


def test_without_an_exposure_every_source_must_have_been_pushed(place: Path) -> None:
    declare(place, *sound(), source("other"), source("events", freshness=None))

    def check(samples: Samples, *argv: str) -> Result:
        answer = Answer(body=json.dumps(envelope(samples)).encode(), headers=JSON)
        with web(answer) as server:
            where = ("--prometheus", server.url)
            return CliRunner().invoke(root, ["freshness", "check", *where, *argv])

    both = [*pushed(), *of_source("other")]
    allowed = ("--allow-no-freshness", "app.events")
    assert check(both, *allowed).exit_code == 0
    assert "app.events  has no freshness" in check(both).stdout
    assert "Prometheus has no series of it" in check(pushed(), *allowed).stdout
    assert check(pushed(), "--select", "source:app.raw").exit_code == 0
