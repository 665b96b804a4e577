import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.dbt.artifacts import read_artifact
from ledgermind_obs.errors import ArtifactError, NothingSelectedError
from ledgermind_obs.freshness import FUTURE_TOLERANCE, FreshnessReport, SourceFreshness, State
from tests.unit.recorded import VERSIONS, report_of, scenario

NEWEST = scenario("1.11", "whole")

STATES = {
    "lab.fresh": State.PASS,
    "lab.stale": State.WARN,
    "lab.very_stale": State.ERROR,
    "lab.missing_table": State.QUERY_ERROR,
    "lab.missing_column": State.QUERY_ERROR,
    "lab.empty": State.EMPTY,
    "lab.only_nulls": State.EMPTY,
    "lab.emptied_by_filter": State.EMPTY,
    "lab.filtered": State.WARN,
    "lab.future": State.FUTURE,
    "lab.slightly_future": State.PASS,
    "lab.naive": State.PASS,
    "lab.date_column": State.QUERY_ERROR,
    "lab.text_column": State.QUERY_ERROR,
    "lab.warn_only": State.WARN,
    "lab.error_only": State.ERROR,
    "lab.expression": State.PASS,
    "lab.mixed_case": State.PASS,
    "lab.denied": State.QUERY_ERROR,
    "other.fresh": State.WARN,
    "other.without_column": State.QUERY_ERROR,
}


def by_name(report: FreshnessReport) -> dict[str, SourceFreshness]:
    return {source.name: source for source in report.sources if source.package == "lab"}


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The newest recorded artifact after a change by hand."""
    artifact = json.loads((NEWEST / "sources.json").read_bytes())
    change(artifact)
    return json.dumps(artifact).encode()


def changed_entry(**fields: Any) -> bytes:
    """The newest recorded artifact with the entry of ``lab.fresh`` changed."""

    def change(artifact: dict[str, Any]) -> None:
        entry = next(r for r in artifact["results"] if r["unique_id"] == "source.lab.lab.fresh")
        entry.update(fields)

    return changed(change)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", STATES)
def test_every_source_that_should_be_measured_has_its_state(version: str, name: str) -> None:
    assert by_name(report_of(scenario(version, "whole")))[name].state is STATES[name]


@pytest.mark.parametrize("version", VERSIONS)
def test_sources_without_freshness_and_disabled_ones_are_not_expected(version: str) -> None:
    names = by_name(report_of(scenario(version, "whole")))

    assert not {"lab.null_criteria", "other.unset", "lab.disabled"} & names.keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_sources_of_one_name_in_two_packages_stay_two(version: str) -> None:
    report = report_of(scenario(version, "whole"))

    keys = {s.key for s in report.sources if s.name == "lab.fresh"}
    assert {key.package for key in keys} == {"lab", "vendor"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_naive_timestamp_counts_as_utc(version: str) -> None:
    sources = by_name(report_of(scenario(version, "whole")))

    gap = sources["lab.naive"].age_seconds - sources["lab.fresh"].age_seconds  # type: ignore[operator]
    assert abs(gap) < 5


@pytest.mark.parametrize("version", VERSIONS)
def test_a_selected_run_reports_the_selection_with_the_source_that_dbt_left_out(
    version: str,
) -> None:
    report = report_of(scenario(version, "selected"), whole=False)

    states = {source.name: source.state for source in report.sources}
    assert states == {"other.fresh": State.WARN, "lab.missing_table": State.QUERY_ERROR}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_selection_is_an_error_that_names_the_criterion(version: str) -> None:
    with pytest.raises(NothingSelectedError, match="no source matches source:nope"):
        report_of(scenario(version, "nothing_selected"), whole=False)


def test_thresholds_are_seconds_and_one_side_may_be_absent() -> None:
    sources = by_name(report_of(NEWEST))

    assert sources["lab.fresh"].warn_after_seconds == 24 * 3600
    assert sources["lab.fresh"].error_after_seconds == 2 * 86400
    assert sources["lab.warn_only"].warn_after_seconds == 90 * 60
    assert sources["lab.warn_only"].error_after_seconds is None
    assert sources["lab.missing_table"].error_after_seconds == 2 * 86400


def test_where_the_table_is_comes_from_the_manifest() -> None:
    source = by_name(report_of(NEWEST))["lab.empty"]

    assert (source.schema, source.identifier, source.table) == ("lab", "no_rows", "empty")


def test_an_empty_table_has_no_newest_row_and_is_known_to_have_been_looked_at() -> None:
    source = by_name(report_of(NEWEST))["lab.empty"]

    assert source.loaded_at is None
    assert source.checked_at is not None


def test_the_tolerance_for_clocks_ends_at_five_minutes() -> None:
    looked = by_name(report_of(NEWEST))["lab.fresh"].checked_at
    assert looked is not None

    for ahead, state in ((FUTURE_TOLERANCE, State.PASS), (timedelta(minutes=5.1), State.FUTURE)):
        moment = (looked + ahead).isoformat()
        report = report_of(NEWEST, sources=changed_entry(max_loaded_at=moment))
        assert by_name(report)["lab.fresh"].state is state


@pytest.mark.parametrize("status", ["Pass", "PASS", "pass"])
def test_the_case_of_a_status_does_not_matter(status: str) -> None:
    report = report_of(NEWEST, sources=changed_entry(status=status))

    assert by_name(report)["lab.fresh"].state is State.PASS


def test_a_status_nobody_knows_is_never_taken_for_fresh() -> None:
    source = by_name(report_of(NEWEST, sources=changed_entry(status="splendid")))["lab.fresh"]

    assert source.state is State.QUERY_ERROR
    assert "'splendid'" in source.message


def test_a_runtime_error_entry_of_an_older_dbt_is_a_failed_query() -> None:
    def replace(artifact: dict[str, Any]) -> None:
        entry = {
            "unique_id": "source.lab.lab.fresh",
            "error": 'Database Error in source fresh (models/sources.yml)\n  relation "x" is gone',
            "status": "runtime error",
        }
        others = [r for r in artifact["results"] if r["unique_id"] != entry["unique_id"]]
        artifact["results"] = [*others, entry]

    source = by_name(report_of(NEWEST, sources=changed(replace)))["lab.fresh"]

    assert source.state is State.QUERY_ERROR
    assert source.message == 'relation "x" is gone'


def test_a_source_that_was_started_and_has_no_result_is_missing() -> None:
    def drop(artifact: dict[str, Any]) -> None:
        artifact["results"] = [
            r for r in artifact["results"] if ".lab.lab.fresh" not in r["unique_id"]
        ]

    source = by_name(report_of(NEWEST, sources=changed(drop)))["lab.fresh"]

    assert source.state is State.MISSING
    assert source.message


@pytest.mark.parametrize("field", ["max_loaded_at", "snapshotted_at"])
def test_a_time_that_dbt_left_out_is_never_taken_for_fresh(field: str) -> None:
    source = by_name(report_of(NEWEST, sources=changed_entry(**{field: None})))["lab.fresh"]

    assert source.state in {State.EMPTY, State.QUERY_ERROR}


def test_a_file_of_another_run_is_refused() -> None:
    other = changed(lambda artifact: artifact["metadata"].update(invocation_id="an-older-run"))

    with pytest.raises(ArtifactError, match="not of one run"):
        report_of(NEWEST, sources=other)


def test_a_file_cut_short_is_refused() -> None:
    content = (NEWEST / "sources.json").read_bytes()

    with pytest.raises(ArtifactError, match=r"sources\.json cannot be read"):
        report_of(NEWEST, sources=content[: len(content) // 2])


def test_a_file_of_another_kind_is_refused_by_its_schema() -> None:
    schema = "https://schemas.getdbt.com/dbt/run-results/v6.json"
    other = changed(lambda artifact: artifact["metadata"].update(dbt_schema_version=schema))

    with pytest.raises(ArtifactError, match="run-results"):
        report_of(NEWEST, sources=other)


def test_a_source_the_manifest_does_not_know_is_refused() -> None:
    def rename(artifact: dict[str, Any]) -> None:
        artifact["results"][0]["unique_id"] = "source.renamed.app.orders"

    with pytest.raises(ArtifactError, match=r"source\.renamed\.app\.orders"):
        report_of(NEWEST, sources=changed(rename))


@given(st.binary(max_size=400))
def test_any_bytes_give_an_artifact_or_one_clear_error(content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"sources\.json"):
        read_artifact(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    field=st.sampled_from(["unique_id", "status", "max_loaded_at", "snapshotted_at", "criteria"]),
    value=json_values,
)
def test_any_value_in_a_field_gives_a_report_or_one_clear_error(field: str, value: Any) -> None:
    with suppress(ArtifactError):
        report = report_of(NEWEST, sources=changed_entry(**{field: value}))
        assert "lab.fresh" in by_name(report)


@given(st.datetimes(), st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
def test_any_time_and_zone_gives_an_age(moment: Any, offset: timedelta) -> None:
    text = moment.isoformat() + _zone(offset)

    report = report_of(NEWEST, sources=changed_entry(max_loaded_at=text))

    source = by_name(report)["lab.fresh"]
    assert (source.age_seconds is None) == (source.state is State.EMPTY)


def _zone(offset: timedelta) -> str:
    minutes = int(offset.total_seconds() // 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_lost_in_the_middle_costs_only_what_was_not_measured_yet(version: str) -> None:
    report = report_of(scenario(version, "database_lost"))

    whole = report_of(scenario(version, "whole"))
    assert {s.unique_id for s in report.sources} == {s.unique_id for s in whole.sources}
    assert report.in_state([State.PASS])
    assert [s for s in report.unmeasured if "connection to server" in s.message]
