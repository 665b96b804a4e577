import json

import pytest

from ledgermind_obs.dbt.log import RunLog, database_message, is_connection_failure
from tests.unit.recorded import VERSIONS, log_of, scenario


@pytest.mark.parametrize("version", VERSIONS)
def test_the_log_says_who_ran_and_what_was_started(version: str) -> None:
    log = log_of(scenario(version, "whole"))

    assert log.dbt_version.startswith(version + ".")
    assert log.invocation_id
    assert log.target
    assert log.total == len(log.started) == len(log.finished)
    assert "source.lab.lab.missing_table" in log.started


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failed_query_is_told_in_the_databases_own_words(version: str) -> None:
    errors = log_of(scenario(version, "whole")).errors

    assert errors["source.lab.lab.missing_table"] == 'relation "lab.missing_table" does not exist'
    assert errors["source.lab.lab.missing_column"] == 'column "loaded_at" does not exist'
    assert errors["source.lab.lab.denied"] == "permission denied for table denied"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_that_is_down_is_told_from_other_failures(version: str) -> None:
    down = log_of(scenario(version, "database_down"))
    broken = log_of(scenario(version, "parse_error"))

    assert "Connection refused" in down.fatal
    assert is_connection_failure(down.fatal)
    assert broken.fatal
    assert not is_connection_failure(broken.fatal)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_criterion_that_matches_nothing_is_remembered(version: str) -> None:
    assert log_of(scenario(version, "nothing_selected")).unmatched == ["source:nope"]


def test_plain_text_of_a_dying_dbt_is_kept_as_its_last_words() -> None:
    log = RunLog()

    assert log.read(b"\x1b[31mModuleNotFoundError: No module named 'dbt'\x1b[0m\n") is None
    assert list(log.tail) == ["ModuleNotFoundError: No module named 'dbt'"]


@pytest.mark.parametrize("line", [b"", b"\xff\xfe", b"[1, 2]", b"{}", b'{"info": 3}', b"[" * 5000])
def test_no_line_of_output_is_too_odd(line: bytes) -> None:
    assert RunLog().read(line) is None


def test_an_event_that_does_not_matter_may_have_any_shape() -> None:
    log = RunLog()
    event = {"info": {"name": "Other", "invocation_id": "i"}, "data": {"version": 3, "total": None}}

    assert log.read(json.dumps(event).encode()) is None
    assert log.invocation_id == "i"
    assert not log.tail


def test_a_hint_stays_in_the_message_and_the_position_does_not() -> None:
    text = (
        "Database Error in source t (models/sources.yml)\n"
        '  column "updated" does not exist\n  LINE 3:   max(updated)\n               ^\n'
        '  HINT:  Perhaps you meant to reference the column "t.updated_at".\n'
        "  compiled code at target/run/x.sql"
    )

    assert database_message(text) == (
        'column "updated" does not exist '
        'HINT:  Perhaps you meant to reference the column "t.updated_at".'
    )


def test_a_dbt_of_another_kind_has_its_loudest_line_kept_as_its_last_words() -> None:
    log = log_of(scenario("2.0", "whole"))

    assert any("Unhandled command: Source" in line for line in log.tail)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_usage_error_is_plain_text_and_its_last_line_says_it(version: str) -> None:
    log = log_of(scenario(version, "unknown_option"))

    assert not log.fatal
    assert log.tail[-1].startswith("Error: No such option '--nope'")
