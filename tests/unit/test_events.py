import json
from typing import Any

import pytest

from ledgermind_obs.dbt.log import MOST_NODES, RunLog, database_message, is_connection_failure
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            'invalid input syntax for type timestamp: "row \'of\' "a" secret"\nLINE 1: select x',
            'invalid input syntax for type timestamp: "…"',
        ),
        (
            'date/time field value out of range: "2026-13-01"\n'
            'HINT:  Perhaps you need a different "datestyle" setting.',
            'date/time field value out of range: "…"',
        ),
        (
            'invalid input syntax for type date: "an open\nend',
            'invalid input syntax for type date: "…"',
        ),
        (
            'value "99999" is out of range for type integer',
            'value "…" is out of range for type integer',
        ),
        ("Timestamp '2026-99 secret' is not recognized", 'Timestamp "…" is not recognized'),
        ("Could not convert string 'secret' to INT32", 'Could not convert string "…" to INT32'),
        (
            "division by zero\nDETAIL:  Failing row contains (1, secret).\nCONTEXT:  SQL function "
            '"f"\nand secret\nHINT:  Look at it.',
            "division by zero HINT:  Look at it.",
        ),
        (
            "Got an invalid result from \"collect_freshness\" macro: [(1, 'secret')]",
            'Got an invalid result from "collect_freshness" macro (the row is not shown)',
        ),
        ('relation "lab.orders" does not exist', 'relation "lab.orders" does not exist'),
        ('permission denied for table "it\'s"', 'permission denied for table "it\'s"'),
    ],
)
def test_what_a_message_quotes_from_a_row_is_not_shown(text: str, shown: str) -> None:
    assert database_message(f"Database Error in source t (models/s.yml)\n  {text}") == shown


def event(name: str, **data: Any) -> bytes:
    return json.dumps({"info": {"name": name, "invocation_id": "i"}, "data": data}).encode()


def test_last_words_and_a_fatal_error_show_no_value_either() -> None:
    log = RunLog()
    log.read(b'psycopg2.errors.DatetimeFieldOverflow: value out of range: "a secret"')
    log.read(
        event("MainEncounteredError", exc='Database Error\n  invalid input syntax: "a secret"')
    )

    assert "secret" not in f"{log.tail} {log.fatal}"


@pytest.mark.parametrize(
    "data",
    [
        {"total": 10**30},
        {"total": "3"},
        {"total": -5},
        {"node_info": {"unique_id": ["a"]}},
        {"node_info": "source.a.b.c"},
        {"node_info": {"unique_id": None}},
        {},
    ],
)
def test_an_event_of_another_shape_starts_nothing(data: dict[str, Any]) -> None:
    log = RunLog()
    log.read(event("LogStartLine", **data))

    assert not log.started


def test_what_is_kept_of_a_log_is_bounded() -> None:
    log = RunLog()
    for number in range(MOST_NODES + 10):
        log.read(event("LogStartLine", node_info={"unique_id": f"source.{number}"}, total=1))
    log.read(event("MainEncounteredError", exc="x" * 1_000_000))
    log.read(event("ConcurrencyLine", target_name="x" * 1_000_000))

    assert len(log.started) == MOST_NODES
    assert len(log.fatal) + len(log.target) < 5_000


def test_lines_of_a_second_invocation_are_noted() -> None:
    assert not log_of(scenario("1.11", "whole")).other_invocation_id
    log = log_of(scenario("1.11", "whole"))
    log.read(event("LogStartLine", node_info={"unique_id": "source.a.b.c"}))

    assert log.other_invocation_id == "i"


def exception(status: str | None, text: str) -> bytes:
    node = {"unique_id": "source.lab.lab.fresh", "node_status": status}
    return event("GenericExceptionOnRun", node_info=node, exc=text)


RAISED = "Compilation Error\n  2 of 3 WARN freshness of lab.fresh ........ [WARN in 0.05s]"


@pytest.mark.parametrize(
    ("status", "text", "warned"),
    [
        ("warn", RAISED, True),
        ("executing", RAISED, False),
        (None, RAISED, False),
        ("warn", "Runtime Error\n  something else", False),
    ],
)
def test_a_warning_that_dbt_made_an_error_of_is_known_by_two_signs(
    status: str | None, text: str, warned: bool
) -> None:
    log = RunLog()
    log.read(exception(status, text))

    assert log.warned == ({"source.lab.lab.fresh"} if warned else set())
