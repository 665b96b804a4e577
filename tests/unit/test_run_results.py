"""What real dbt versions write of their runs, and what is made of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledgermind_obs.dbt.run_results import (
    NodeBuild,
    RunResults,
    Status,
    read_run_results,
    results_of_tests,
    written_at,
)
from ledgermind_obs.errors import ArtifactError
from tests.unit.recorded import DATA, VERSIONS

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def content(version: str, name: str) -> bytes:
    return (DATA / f"dbt-{version}/builds/{name}.json").read_bytes()


def recorded(version: str, name: str) -> RunResults:
    return read_run_results(content(version, name), NOW)


def builds(version: str, name: str) -> dict[str, NodeBuild]:
    found = recorded(version, name).builds
    return {build.unique_id.rsplit(".", 1)[-1]: build for build in found}


def statuses(version: str, name: str) -> dict[str, str]:
    return {name: build.status.value for name, build in builds(version, name).items()}


def changed(version: str = "1.11", name: str = "build", **changes: Any) -> bytes:
    document = json.loads(content(version, name))
    for key, value in changes.items():
        document[key].update(value) if isinstance(value, dict) else document.update({key: value})
    return json.dumps(document).encode()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_build_says_what_was_built_what_failed_and_what_was_left_out(version: str) -> None:
    assert statuses(version, "build") == {
        "orders_seen": "success",
        "stg_orders": "success",
        "fct_orders": "success",
        "history": "success",
        "broken": "error",
        "after_broken": "skipped",
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_build_began_before_it_was_complete_and_within_the_run(version: str) -> None:
    build = builds(version, "build")["fct_orders"]

    assert build.started_at
    assert build.started_at < build.completed_at < written_at(recorded(version, "build"))
    assert builds(version, "build")["after_broken"].started_at is None


@pytest.mark.parametrize("version", VERSIONS)
def test_tests_are_told_from_builds(version: str) -> None:
    found = results_of_tests(recorded(version, "test"))

    assert statuses(version, "test") == {}
    assert sorted(found.values()) == ["fail", "pass", "pass", "warn"]
    assert found.keys() == results_of_tests(recorded(version, "build")).keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_compiled_is_not_built_though_dbt_calls_it_a_success(version: str) -> None:
    assert {result.status for result in recorded(version, "compile").results} == {"success"}
    assert statuses(version, "compile") == {}
    assert results_of_tests(recorded(version, "compile")) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_with_empty_nothing_is_built_whole(version: str) -> None:
    assert set(statuses(version, "empty").values()) == {"partial"}


@pytest.mark.parametrize("version", ["1.10", "1.11"])
def test_a_sample_is_not_the_whole(version: str) -> None:
    assert set(statuses(version, "sample").values()) == {"partial"}


@pytest.mark.parametrize("version", ["1.9", "1.10", "1.11"])
def test_a_microbatch_of_which_a_batch_failed_is_not_the_whole(version: str) -> None:
    assert statuses(version, "batches") == {"daily": "partial"}


def test_a_microbatch_over_given_batches_is_not_the_whole() -> None:
    results = json.loads(content("1.11", "batches"))["results"]

    found = read_run_results(
        changed(name="batches", results=[{**results[0], "status": "success"}]), NOW
    )

    assert [build.status for build in found.builds] == [Status.PARTIAL]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_over_one_model_speaks_of_that_alone(version: str) -> None:
    assert statuses(version, "one_model") == {"fct_orders": "success"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_snapshot_is_a_build_and_a_seed_is_none(version: str) -> None:
    assert statuses(version, "snapshot") == {"orders_seen": "success"}
    assert statuses(version, "seed") == {}


@pytest.mark.parametrize("option", [{"defer": True}, {"which": "clone"}])
def test_what_may_have_read_other_tables_is_not_the_whole(option: dict[str, object]) -> None:
    found = read_run_results(changed(args=option), NOW)

    assert {b.status for b in found.builds} == {Status.PARTIAL, Status.SKIPPED}


def test_dbt_2_writes_statuses_with_a_capital() -> None:
    results = json.loads(content("1.11", "build"))["results"]
    for result in results:
        result["status"] = result["status"].capitalize()

    found = read_run_results(changed(results=results), NOW)

    assert found.builds == recorded("1.11", "build").builds
    assert results_of_tests(found) == results_of_tests(recorded("1.11", "build"))


def test_without_times_of_its_own_a_build_began_when_the_run_did() -> None:
    results = [{"unique_id": "model.builds.fct_orders", "status": "success", "timing": []}]
    began = {"invocation_started_at": "2026-11-01T10:00:00Z"}
    silent = {"invocation_started_at": None}

    told = read_run_results(changed(results=results, metadata=began), NOW)
    untold = read_run_results(changed(results=results, metadata=silent), NOW)

    assert [b.started_at for b in told.builds] == [datetime(2026, 11, 1, 10, tzinfo=UTC)]
    assert [b.started_at for b in untold.builds] == [None]


def test_half_a_file_is_refused() -> None:
    whole = content("1.11", "build")

    with pytest.raises(ArtifactError, match="cannot be read"):
        read_run_results(whole[: len(whole) // 2], NOW)


@pytest.mark.parametrize("schema", ["", "https://schemas.getdbt.com/dbt/run-results/v4.json"])
def test_another_schema_is_refused_by_name(schema: str) -> None:
    with pytest.raises(ArtifactError, match=schema or "no schema version"):
        read_run_results(changed(metadata={"dbt_schema_version": schema}), NOW)


def test_a_result_of_the_future_is_refused() -> None:
    written = written_at(recorded("1.11", "build"))

    read_run_results(content("1.11", "build"), written - timedelta(minutes=4))
    with pytest.raises(ArtifactError, match="in the future"):
        read_run_results(content("1.11", "build"), written - timedelta(minutes=6))


def test_a_node_that_is_there_twice_is_refused() -> None:
    results = json.loads(content("1.11", "build"))["results"]

    with pytest.raises(ArtifactError, match="twice"):
        read_run_results(changed(results=[*results, results[0]]), NOW)


def test_a_file_that_does_not_say_when_it_was_written_is_refused() -> None:
    with pytest.raises(ArtifactError, match="when it was written"):
        read_run_results(changed(metadata={"generated_at": ""}), NOW)
