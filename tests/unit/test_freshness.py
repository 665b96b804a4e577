import json
import os
import re
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.dbt.artifacts import check_of_run, open_artifact, read_artifact
from ledgermind_obs.dbt.log import RunLog
from ledgermind_obs.dbt.manifest import read_manifest
from ledgermind_obs.dbt.reconcile import build_report, check_as_asked, report_of_artifact
from ledgermind_obs.errors import ArtifactError, NothingSelectedError
from ledgermind_obs.freshness import FUTURE_TOLERANCE, FreshnessReport, SourceFreshness, State
from ledgermind_obs.gate.judge import judge
from ledgermind_obs.gate.policy import Policy
from tests.unit.recorded import RUN, VERSIONS, ended_at, log_of, report_of, scenario
from tests.unit.reports import evidence

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

    with pytest.raises(ArtifactError, match="come from different runs"):
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
def test_any_time_and_zone_gives_an_age_or_costs_the_source_its_answer(
    moment: Any, offset: timedelta
) -> None:
    text = moment.isoformat() + _zone(offset)

    report = report_of(NEWEST, sources=changed_entry(max_loaded_at=text, status="error"))

    source = by_name(report)["lab.fresh"]
    assert (source.age_seconds is None) == (source.state in {State.EMPTY, State.QUERY_ERROR})
    assert source.state is not State.QUERY_ERROR or moment.year in {1, 9999}


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


def with_log(*lines: bytes, whole: bool = True, drop: str = "") -> FreshnessReport:
    """Report on the newest recorded run, with an entry left out and more lines in the log."""
    artifact = json.loads((NEWEST / "sources.json").read_bytes())
    artifact["results"] = [r for r in artifact["results"] if r["unique_id"] != drop]
    log = log_of(NEWEST)
    for line in lines:
        log.read(line)
    return build_report(
        read_artifact(json.dumps(artifact).encode()),
        read_manifest((NEWEST / "manifest.json").read_bytes()),
        log,
        whole=whole,
        target="dev",
        started_at=ended_at(NEWEST) - RUN,
        duration_seconds=RUN.total_seconds(),
    )


FRESH = "source.lab.lab.fresh"


def said(name: str, **data: Any) -> bytes:
    invocation = log_of(NEWEST).invocation_id
    return json.dumps({"info": {"name": name, "invocation_id": invocation}, "data": data}).encode()


def test_a_warning_that_dbt_made_an_error_of_is_a_warning_without_a_time() -> None:
    raised = said(
        "GenericExceptionOnRun",
        node_info={"unique_id": FRESH, "node_status": "warn"},
        exc="Compilation Error\n  1 of 3 WARN freshness of lab.fresh ... [WARN in 0.05s]",
    )
    error = said("RunResultError", node_info={"unique_id": FRESH})
    report = with_log(raised, error, drop=FRESH)

    source = by_name(report)["lab.fresh"]
    assert (source.state, source.loaded_at, source.checked_at) == (State.WARN, None, None)
    assert "require_all_warnings_handled_by_warn_error" in source.message
    assert source in report.unmeasured
    for limit, opens in ((None, True), (86_400.0 * 9, False)):
        only = msgspec.structs.replace(report, sources=(source,))
        judged = evidence(only)
        [judgement] = judge(judged, Policy(max_age_seconds=limit), report.started_at).judgements
        assert judgement.blocks is not opens


def test_a_source_that_only_the_log_knows_is_refused_by_name() -> None:
    started = said("LogStartLine", node_info={"unique_id": "source.lab.app.gone"}, total=3)

    with pytest.raises(ArtifactError, match=r"dbt's log has source\.lab\.app\.gone"):
        with_log(started)


def test_a_log_of_two_runs_is_refused() -> None:
    line = {"info": {"name": "LogStartLine", "invocation_id": "another"}, "data": {}}

    with pytest.raises(ArtifactError, match="the log, further on another"):
        with_log(json.dumps(line).encode())


def test_a_source_that_dbt_selected_and_nobody_accounts_for_is_refused() -> None:
    with pytest.raises(ArtifactError, match="dbt selected 400 sources and accounts for"):
        with_log(said("LogStartLine", node_info={"unique_id": FRESH}, total=400))


@pytest.mark.parametrize(
    ("project", "target", "whole", "log", "refusal"),
    [
        ("lab", "production", True, log_of(NEWEST), ""),
        ("lab", "production", False, log_of(NEWEST), ""),
        ("lab", "dev", True, log_of(NEWEST), "worked on target production, not on dev"),
        ("shop", "production", True, log_of(NEWEST), "worked on project lab, not on shop"),
        ("lab", "production", True, RunLog(), ""),
        ("lab", "production", False, RunLog(), "does not say which sources it selected"),
    ],
)
def test_dbt_must_have_done_what_was_asked_and_say_on_what(
    project: str, target: str, whole: bool, log: RunLog, refusal: str
) -> None:
    manifest = read_manifest((NEWEST / "manifest.json").read_bytes())
    refused = pytest.raises(ArtifactError, match=refusal) if refusal else nullcontext()

    with refused:
        check_as_asked(manifest, log, project, target, whole=whole)


def moved(**shift: float) -> bytes:
    """The newest recorded artifact with the look at ``lab.fresh`` so many seconds off."""
    looked = by_name(report_of(NEWEST))["lab.fresh"].checked_at
    assert looked is not None
    moment = (looked + timedelta(**shift)).isoformat()
    return changed_entry(snapshotted_at=moment, max_loaded_at=moment)


@pytest.mark.parametrize(
    ("shift", "refusal"),
    [
        ({"days": -365}, "dated 364 d 23 h before the run: check the clocks"),
        ({"days": 365}, "dated 364 d 23 h after the run: check the clocks"),
        ({"minutes": 4}, ""),
        ({"minutes": -4}, ""),
        ({"minutes": 10}, "after the run"),
        ({"minutes": -10}, "before the run"),
    ],
)
def test_an_answer_of_another_time_than_the_runs_costs_that_source_its_answer(
    shift: dict[str, float], refusal: str
) -> None:
    sources = by_name(report_of(NEWEST, sources=moved(**shift)))

    assert sources["lab.fresh"].state is (State.QUERY_ERROR if refusal else State.PASS)
    assert refusal in sources["lab.fresh"].message
    assert sources["lab.naive"].state is State.PASS


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("2026-01-01", "'2026-01-01', a date without a time"),
        ("infinity", "'infinity'"),
        ("2016-12-31T23:59:60Z", "'2016-12-31T23:59:60Z'"),
        ("10000-01-01T00:00:00+00:00", "'10000-01-01T00:00:00+00:00'"),
        ("0001-01-02T00:00:00+23:00", None),
        ("9999-12-31T23:59:59-14:00", "'9999-12-31T23:59:59-14:00'"),
        ("a customer's name", "a text that is no time"),
        (1_700_000_000, "a number"),
        (1e300, "a number"),
        (True, "true or false"),
        (["2026-01-01T00:00:00Z"], "a list"),
        ({"a": 1}, "a mapping"),
        (None, "nothing"),
    ],
)
def test_a_time_that_cannot_be_read_costs_that_source_its_answer_and_its_kind_is_told(
    value: object, told: str | None
) -> None:
    sources = by_name(report_of(NEWEST, sources=changed_entry(max_loaded_at=value)))

    assert sources["lab.fresh"].state is State.QUERY_ERROR
    if told:
        expected = f"the newest row's time cannot be read: dbt wrote {told}"
        assert sources["lab.fresh"].message == expected
    assert sources["lab.naive"].state is State.PASS


@pytest.mark.parametrize("value", ["2026-01-01", None, 3, "then"])
def test_a_look_at_no_time_costs_that_source_its_answer(value: object) -> None:
    source = by_name(report_of(NEWEST, sources=changed_entry(snapshotted_at=value)))["lab.fresh"]

    assert source.state is State.QUERY_ERROR
    assert "does not say when it looked" in source.message


@pytest.mark.parametrize(
    ("name", "status", "state"),
    [
        ("lab.very_stale", "pass", State.QUERY_ERROR),
        ("lab.very_stale", "warn", State.QUERY_ERROR),
        ("lab.stale", "pass", State.QUERY_ERROR),
        ("lab.fresh", "error", State.ERROR),
        ("lab.stale", "error", State.ERROR),
    ],
)
def test_a_verdict_better_than_its_own_times_is_not_believed(
    name: str, status: str, state: State
) -> None:
    def change(artifact: dict[str, Any]) -> None:
        uid = f"source.lab.{name}"
        next(r for r in artifact["results"] if r["unique_id"] == uid)["status"] = status

    assert by_name(report_of(NEWEST, sources=changed(change)))[name].state is state


def repeat(artifact: dict[str, Any], **fields: Any) -> None:
    artifact["results"].append({**artifact["results"][0], **fields})


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (repeat, "more than one entry of source"),
        (lambda artifact: repeat(artifact, status="pass"), "more than one entry of source"),
        (lambda artifact: artifact.update(elapsed_time=1e300), "its run took 1e"),
        (lambda artifact: artifact.update(elapsed_time=-1.0), "its run took -1"),
        (lambda artifact: artifact.update(elapsed_time=2 * 86_400.0), "its run took 172800 s"),
        (
            lambda artifact: artifact["metadata"].update(
                dbt_schema_version="https://schemas.getdbt.com/dbt/sources/v99.json"
            ),
            "has schema sources v99",
        ),
        (lambda artifact: artifact["metadata"].pop("dbt_schema_version"), "not given"),
    ],
)
def test_a_file_that_is_ambiguous_or_impossible_is_refused_whole(
    change: Callable[[dict[str, Any]], object], refusal: str
) -> None:
    with pytest.raises(ArtifactError, match=re.escape(refusal)):
        read_artifact(changed(change))


WHOLE = (NEWEST / "sources.json").read_bytes().rstrip()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        WHOLE[:-1],
        WHOLE + b"}",
        WHOLE + WHOLE,
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE.decode().encode("utf-16"),
        WHOLE.replace(b'"env":{}', b'"env":{"a":"\xff"}'),
        WHOLE.replace(b'"env":{}', b'"env":' + b"[" * 200_000),
        WHOLE.replace(b'"env":{}', b'"env":{"a":1,"a":2}'),
        WHOLE.replace(b'"env":{}', b'"env":NaN'),
        WHOLE[:-1] + b',"results":[]}',
        b"null",
        b"[]",
    ],
)
def test_a_file_that_is_not_one_whole_document_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"sources\.json cannot be read"):
        read_artifact(content)


def earlier(now: datetime, *, content: bytes = WHOLE) -> FreshnessReport:
    manifest = read_manifest((NEWEST / "manifest.json").read_bytes())
    artifact = read_artifact(content)
    return report_of_artifact(artifact, manifest, [FRESH], target="dev", now=now)


def test_an_earlier_result_is_dated_before_now_and_its_answers_within_its_run() -> None:
    written = ended_at(NEWEST)
    assert earlier(written + timedelta(days=1)).sources[0].state is State.PASS
    assert earlier(written - timedelta(minutes=4)).sources[0].state is State.PASS
    with pytest.raises(ArtifactError, match="is dated 6 min in the future"):
        earlier(written - timedelta(minutes=6))
    old = earlier(written, content=moved(days=-365)).sources[0]
    assert (old.state, "before the run" in old.message) == (State.QUERY_ERROR, True)


@pytest.mark.parametrize("said_time", ["", "yesterday", "0001-01-01T00:00:00+14:00", None])
def test_an_earlier_result_that_does_not_say_when_it_was_written_is_refused(
    said_time: str | None,
) -> None:
    content = changed(lambda artifact: artifact["metadata"].update(generated_at=said_time))

    with pytest.raises(ArtifactError):
        earlier(ended_at(NEWEST), content=content)


def test_a_result_that_is_dated_before_its_run_began_is_not_of_the_run() -> None:
    artifact, written = read_artifact(WHOLE), ended_at(NEWEST)
    check_of_run(artifact, written - RUN, written + RUN)
    with pytest.raises(ArtifactError, match="dated 10 min before it began"):
        check_of_run(artifact, written + timedelta(minutes=10), written + timedelta(hours=1))
    with pytest.raises(ArtifactError, match="in the future"):
        check_of_run(artifact, written - timedelta(hours=1), written - timedelta(minutes=10))


def test_two_sources_of_one_name_are_refused_since_their_series_would_be_one() -> None:
    manifest = json.loads((NEWEST / "manifest.json").read_bytes())
    twin = "source.lab.lab.fresh_twin"
    manifest["sources"][twin] = {**manifest["sources"][FRESH], "unique_id": twin}
    content = changed(lambda artifact: repeat_as(artifact, twin))
    twins = read_manifest(json.dumps(manifest).encode())

    with pytest.raises(ArtifactError, match=f"{FRESH} and {twin} have one package"):
        report_of_artifact(
            read_artifact(content), twins, [FRESH, twin], target="dev", now=ended_at(NEWEST)
        )


def repeat_as(artifact: dict[str, Any], uid: str) -> None:
    entry = next(r for r in artifact["results"] if r["unique_id"] == FRESH)
    artifact["results"].append({**entry, "unique_id": uid})


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "a FIFO"), (Path.mkdir, "a directory")])
def test_an_artifact_that_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object], kind: str
) -> None:
    make(tmp_path / "sources.json")

    with pytest.raises(ArtifactError, match=kind):
        open_artifact(tmp_path / "sources.json")


@pytest.mark.parametrize("then", [WHOLE + b" ", WHOLE[:-1], WHOLE.replace(b"pass", b"warn")])
def test_an_artifact_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: bytes
) -> None:
    path = tmp_path / "sources.json"
    path.write_bytes(WHOLE)
    os.utime(path, (0, 0))
    fstat, seen = os.fstat, list[int]()

    def changing(descriptor: int) -> os.stat_result:
        seen.append(descriptor)
        if len(seen) == 2:
            path.write_bytes(then)
        return fstat(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", changing)
        with pytest.raises(ArtifactError, match="changed while it was read"):
            open_artifact(path)
