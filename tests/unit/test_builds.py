"""From a run's results to the record, and from the record to series and a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.dbt.run_results import RunResults, read_run_results, written_at
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import State
from ledgermind_obs.gate.builds import (
    build_series,
    check_of_project,
    exposures_as_of,
    failed_tests,
    kept_series,
    recorded,
)
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.metrics import Metric, Series
from ledgermind_obs.sinks.history import (
    MOST_LOOKS,
    Build,
    LastRun,
    Observation,
    Outcome,
    Record,
    looks_of,
    with_looks,
    with_tests,
)
from ledgermind_obs.sinks.record import read_record, record_path, write_record
from tests.unit import reports
from tests.unit.manifests import FCT, RAW, exposure, lineage, model, source
from tests.unit.recorded import DATA, VERSIONS

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ORDERS = "source.builds.app.orders"
HISTORY = "model.builds.history"
NOTHING = Record("builds", "production")


def results(version: str, name: str) -> RunResults:
    return read_run_results((DATA / f"dbt-{version}/builds/{name}.json").read_bytes(), NOW)


def project(version: str = "1.11") -> Lineage:
    content = (DATA / f"dbt-{version}/builds/manifest.json").read_bytes()
    return Lineage(read_lineage_manifest(content))


def values(series: list[Series], metric: Metric) -> dict[tuple[str, ...], float]:
    return {one.label_values: one.value for one in series if one.metric is metric}


def seen(record: Record, at: datetime, newest: float) -> Record:
    moment = at.timestamp()
    return with_looks(record, {ORDERS: Observation(moment, moment, newest)})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_build_is_on_record_by_what_it_did(version: str) -> None:
    record = recorded(NOTHING, results(version, "build"), skew=0.0)

    outcomes = {uid.rsplit(".", 1)[-1]: built[0].outcome for uid, built in record.builds.items()}
    assert outcomes["fct_orders"] is Outcome.WRITTEN
    assert outcomes["broken"] is Outcome.FAILED
    assert "after_broken" not in outcomes
    assert record.last["model.builds.after_broken"].status == "skipped"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_exposure_reads_through_a_skipped_table_is_of_unknown_age(version: str) -> None:
    before = datetime(2026, 11, 1, tzinfo=UTC)
    record = recorded(seen(NOTHING, before, 5.0), results(version, "build"), skew=0.0)

    series = list(build_series(project(version), record, exposures_as_of(project(version), record)))

    assert values(series, metrics.EXPOSURE_AS_OF) == {}
    status = values(series, metrics.BUILD_STATUS)
    assert status["builds", "after_broken", "skipped"] == 1.0
    assert status["builds", "after_broken", "success"] == 0.0
    assert ("builds", "after_broken") not in values(series, metrics.BUILT_AT)
    assert ("builds", "history") in values(series, metrics.BUILT_AT)
    assert not [labels for labels in status if "orders_seen" in labels]


def test_every_metric_of_builds_is_exported_once_all_is_built() -> None:
    about = model("t", FCT, kind="test", attached_node=FCT)
    graph = lineage(source("raw"), model("fct", RAW), about, exposure("training", FCT))
    build = Build(started_at=20, completed_at=21, outcome=Outcome.WRITTEN)
    record = Record(
        "shop",
        "prod",
        {RAW: [Observation(1, 2, 0.5)]},
        {FCT: [build]},
        {FCT: LastRun("success", 22)},
        {"test.shop.t": LastRun("fail", 22)},
    )

    series = list(build_series(graph, record, exposures_as_of(graph, record)))

    assert {one.metric for one in series} == set(metrics.BUILD_METRICS)
    assert values(series, metrics.BUILT_AT) == {("shop", "fct"): 20}
    assert values(series, metrics.FAILED_TESTS) == {("shop", "fct"): 1}
    assert values(series, metrics.EXPOSURE_AS_OF) == {("training", "shop", "app", "raw"): 0.5}


def test_a_run_that_is_read_twice_is_on_record_once() -> None:
    once = recorded(NOTHING, results("1.11", "build"), skew=0.0)

    assert recorded(once, results("1.11", "build"), skew=0.0) == once


def test_a_run_that_builds_nothing_does_not_hide_the_builds() -> None:
    record = recorded(NOTHING, results("1.11", "build"), skew=0.0)

    for name in ("compile", "seed"):
        assert recorded(record, results("1.11", name), skew=0.0) == record
    tested = recorded(record, results("1.11", "test"), skew=0.0)
    assert (tested.builds, tested.last) == (record.builds, record.last)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_test_that_failed_is_on_record_until_it_is_green(version: str) -> None:
    tested = recorded(NOTHING, results(version, "test"), skew=0.0)
    failing = failed_tests(project(version), tested)
    green = {uid: LastRun("pass", run.at + 1) for uid, run in tested.tests.items()}

    assert [len(tests) for tests in failing.values() if tests] == [1]
    assert not any(failed_tests(project(version), with_tests(tested, green)).values())
    assert not any(failed_tests(lineage(source("raw")), tested).values())


def test_an_older_run_that_is_read_later_does_not_become_the_last() -> None:
    newer = recorded(NOTHING, results("1.11", "empty"), skew=0.0)

    record = recorded(newer, results("1.11", "build"), skew=0.0)

    assert record.last[HISTORY].status == "partial"
    assert len(record.builds[HISTORY]) == 2


def test_what_a_sink_knows_of_nodes_that_are_not_on_record_stays() -> None:
    record = recorded(NOTHING, results("1.11", "one_model"), skew=0.0)
    known = [
        Series(metrics.BUILT_AT, ("builds", "fct_orders"), 1.0),
        Series(metrics.BUILT_AT, ("builds", "history"), 2.0),
        Series(metrics.BUILT_AT, ("builds", "left_the_project"), 3.0),
        Series(metrics.EXPOSURE_AS_OF, ("training", "builds", "app", "orders"), 4.0),
    ]

    assert list(kept_series(project(), record, known)) == [known[1]]


def test_a_run_of_another_project_is_refused() -> None:
    other = lineage(model("fct"), exposure("training", FCT))

    with pytest.raises(ArtifactError, match="no model of project shop"):
        check_of_project(results("1.11", "build"), other, "production", "run_results.json")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_in_another_place_is_refused(version: str) -> None:
    found, graph = results(version, "build"), project(version)
    check_of_project(found, graph, "production", "run_results.json")
    moved = [
        {**vars_of(result), "relation_name": '"lab"."dev"."fct_orders"'}
        if result.unique_id == "model.builds.fct_orders"
        else vars_of(result)
        for result in found.results
    ]

    with pytest.raises(ArtifactError, match="built elsewhere"):
        check_of_project(with_results(found, moved), graph, "production", "run_results.json")


def vars_of(result: object) -> dict[str, object]:
    import msgspec

    return dict(msgspec.structs.asdict(result))  # type: ignore[arg-type]


def with_results(found: RunResults, entries: list[dict[str, object]]) -> RunResults:
    import msgspec

    from ledgermind_obs.dbt.run_results import Result

    return msgspec.structs.replace(found, results=[Result(**entry) for entry in entries])  # type: ignore[arg-type]


def test_a_look_that_finds_nothing_new_is_not_kept() -> None:
    first, second = Observation(1, 2, 0.5), Observation(3, 4, 0.5)
    record = with_looks(with_looks(NOTHING, {ORDERS: first}), {ORDERS: second})

    assert record.observations == {ORDERS: [first]}


def test_of_each_source_a_bounded_number_of_looks_is_kept() -> None:
    record = NOTHING
    for number in range(MOST_LOOKS + 10):
        record = with_looks(record, {ORDERS: Observation(number, number, number)})

    assert len(record.observations[ORDERS]) == MOST_LOOKS
    assert record.observations[ORDERS][-1].newest == MOST_LOOKS + 9


def test_what_could_not_be_measured_was_not_seen_and_the_future_is_not_believed() -> None:
    report = reports.report(
        reports.source("fresh"),
        reports.source("ahead", State.FUTURE, -reports.HOUR),
        reports.source("empty", State.EMPTY, None),
        reports.unmeasured("broken"),
    )

    looks = looks_of(report, 10.0, 20.0)

    newest = {uid.rsplit(".", 1)[-1]: look.newest for uid, look in looks.items()}
    fresh = (reports.NOW.timestamp()) - reports.HOUR
    assert newest == {"fresh": fresh, "ahead": None, "empty": None}


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    told: list[str] = []
    record = recorded(seen(NOTHING, NOW, 5.0), results("1.11", "build"), skew=300.0)

    write_record(tmp_path, record, told.append)

    assert read_record(tmp_path, "builds", "production", told.append) == record
    assert told == []
    assert [path.name for path in tmp_path.iterdir()] == ["history.builds.json"]


@pytest.mark.parametrize("damage", [b"", b"x", b'{"project": "builds"}', b"\xff\n{}"])
def test_a_damaged_record_is_told_and_not_used(tmp_path: Path, damage: bytes) -> None:
    told: list[str] = []
    record_path(tmp_path, "builds").write_bytes(damage)

    assert read_record(tmp_path, "builds", "production", told.append) == NOTHING
    assert len(told) == 1


def test_half_a_record_and_one_of_another_target_are_not_used(tmp_path: Path) -> None:
    told: list[str] = []
    write_record(tmp_path, seen(NOTHING, NOW, 5.0), told.append)
    content = record_path(tmp_path, "builds").read_bytes()

    assert read_record(tmp_path, "builds", "dev", told.append) == Record("builds", "dev")
    record_path(tmp_path, "builds").write_bytes(content[:-10])
    assert read_record(tmp_path, "builds", "production", told.append) == NOTHING
    assert len(told) == 2


def test_a_record_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    told: list[str] = []

    write_record(tmp_path / "absent", NOTHING, told.append)

    assert len(told) == 1


def test_run_results_say_when_they_were_written() -> None:
    assert written_at(results("1.11", "build")) < written_at(results("1.11", "test"))
