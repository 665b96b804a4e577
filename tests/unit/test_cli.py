"""The whole command line, in front of a dbt that replays what real ones wrote."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ledgermind_obs import metrics
from ledgermind_obs.cli import root
from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.freshness import State
from ledgermind_obs.metrics import LOADED_AT, RUN_SUCCESS, STATUS
from ledgermind_obs.sinks.exposition import parse_exposition
from tests.replay import multiplied, recorded
from tests.unit.recorded import scenario
from tests.unit.servers import Answer, web

Obs = Callable[..., Result]
LABELS = {"project": "lab", "target": "dev"}


@pytest.fixture
def obs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Obs:
    """Run ``obs`` in a project whose dbt replays a recorded run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBS_DBT", str(tmp_path / "dbt"))
    monkeypatch.setenv("OBS_TEXTFILE", str(tmp_path / "dbt.prom"))
    return lambda *argv: CliRunner().invoke(root, argv)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    return multiplied(tmp_path, 3).parent


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return recorded(tmp_path, scenario("1.11", "whole")).parent


def exported(directory: Path) -> dict[metrics.Metric, dict[tuple[str, ...], float]]:
    content = (directory / "dbt.prom").read_bytes()
    found: dict[metrics.Metric, dict[tuple[str, ...], float]] = {}
    for series in parse_exposition(content, LABELS):
        found.setdefault(series.metric, {})[series.label_values] = series.value
    return found


def commands() -> Iterator[tuple[str, click.Command]]:
    def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from walk(found, f"{path} {name}".strip())
        else:
            yield path, command

    yield from walk(root, "")


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_every_option_has_an_environment_variable_and_a_help_text(
    path: str, command: click.Command
) -> None:
    options = [p for p in command.params if isinstance(p, click.Option)]

    assert options or path == "completion"
    for option in options:
        assert option.envvar, f"{path} {option.opts}"
        assert option.help, f"{path} {option.opts}"


# Named otherwise where another option of the command has the short name.
_SAME = {"--builds-job": "--job", "--grafana": "--url", "--grafana-ca-file": "--ca-file"}


def test_an_environment_variable_means_one_thing() -> None:
    meanings: dict[str, set[tuple[object, ...]]] = {}
    for _, command in commands():
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.envvar, str):
                choices = tuple(getattr(option.type, "choices", ()))
                name = _SAME.get(option.opts[0], option.opts[0])
                told = (name, option.type.name, choices, option.multiple)
                meanings.setdefault(option.envvar, set()).add(told)

    assert not {name: told for name, told in meanings.items() if len(told) > 1}
    # Of these every command has its own: a mistaken one would change what a job does.
    for name in ("FORMAT", "FAIL_ON", "ARTIFACT"):
        assert f"OBS_{name}" not in meanings


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_no_option_takes_a_secret_as_its_value(path: str, command: click.Command) -> None:
    for option in command.params:
        if re.search("password|token|api-key", option.opts[0]):
            assert option.opts[0].endswith("-file"), f"{path} {option.opts}"


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("nonsense", 2)])
def test_a_run_is_over_once_everything_is_written(argument: str, code: int) -> None:
    program = "import atexit; from ledgermind_obs.__main__ import main\n"
    program += "atexit.register(print, 'late'); main()"
    argv = [sys.executable, "-c", program, argument]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert ended.returncode == code
    assert "Usage: obs" in ended.stdout + ended.stderr
    assert "late" not in ended.stdout


def test_help_loads_nothing_heavy() -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "ledgermind_obs", "--help"]
    timing = subprocess.run(argv, capture_output=True, text=True, check=True).stderr

    loaded = {line.split("|")[-1].strip().split(".")[0] for line in timing.splitlines()}
    assert "click" in loaded
    heavy = {
        "dbt",
        "psycopg2",
        "requests",
        "rich",
        "prometheus_client",
        "msgspec",
        "yaml",
        "jinja2",
    }
    assert not loaded & heavy


def test_a_success_without_a_terminal_says_nothing(obs: Obs, fresh: Path) -> None:
    result = obs("freshness", "push")

    assert (result.exit_code, result.output) == (0, "")
    assert exported(fresh)[RUN_SUCCESS] == {(): 1.0}


def test_verbosely_a_success_says_on_stderr_what_was_done(obs: Obs, fresh: Path) -> None:
    result = obs("freshness", "push", "-v")

    assert (result.exit_code, result.stdout) == (0, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("obs: 3 sources of lab (target dev) in ")
    assert "; pushed " in line
    assert " series to " in line
    assert str(fresh / "dbt.prom") in line


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": ""}, False),
    ],
)
def test_colour_is_forced_and_forbidden_by_the_usual_variables(
    obs: Obs,
    fresh: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    coloured: bool,
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    result = obs("freshness", "check")

    assert ("\x1b[" in result.stdout) is coloured


def test_every_fault_is_one_line_on_stderr(obs: Obs, mixed: Path) -> None:
    result = obs("freshness", "push")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert (
        'obs: lab.missing_table could not be measured: relation "lab.missing_table" does not exist '
        "(it was never measured before)" in result.stderr.splitlines()
    )
    assert len(result.stderr.splitlines()) == 6


def test_a_last_known_time_is_kept_and_its_age_is_told(obs: Obs, tmp_path: Path) -> None:
    multiplied(tmp_path, 2)
    obs("freshness", "push")
    before = exported(tmp_path)
    events = (tmp_path / "events.jsonl").read_text()
    sources = json.loads((tmp_path / "sources.json").read_text())
    sources["results"] = sources["results"][:1]
    (tmp_path / "sources.json").write_text(json.dumps(sources))
    (tmp_path / "events.jsonl").write_text(events)

    result = obs("freshness", "push")

    assert re.search(r"lab\.table_00001 .*\(its last known time is kept, .* old\)", result.stderr)
    after = exported(tmp_path)
    assert after[LOADED_AT] == before[LOADED_AT]
    assert [of[:3] for of, value in after[STATUS].items() if value and of[-1] == "missing"] == [
        ("lab", "lab", "table_00001")
    ]


def test_the_table_has_a_line_a_source_with_the_worst_last(obs: Obs, mixed: Path) -> None:
    result = obs("freshness", "push", "--format", "table")

    lines = result.stdout.splitlines()
    assert lines[0].split()[1:] == ["pass", "1", "h", "warn", "1", "d", "error", "2", "d"]
    assert any(re.match(r"lab\.denied +query error +– +permission denied", line) for line in lines)
    assert lines[-2].endswith(", 6 query error")
    assert lines[-1].startswith("pushed ")


def test_json_is_the_whole_report_and_what_was_delivered(obs: Obs, mixed: Path) -> None:
    result = obs("freshness", "push", "--format", "json")

    document = json.loads(result.stdout)
    assert document["project"] == "lab"
    states = {source["unique_id"]: source["state"] for source in document["sources"]}
    assert states["source.lab.lab.missing_table"] == "query_error"
    assert document["delivery"]["destination"].endswith("dbt.prom")
    assert document["delivery"]["series"] == sum(len(v) for v in exported(mixed).values())


def test_a_dry_run_prints_the_metrics_and_sends_nothing(
    obs: Obs, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web() as server:
        monkeypatch.delenv("OBS_TEXTFILE")
        result = obs("freshness", "push", "--dry-run", "--pushgateway", server.url)

    assert result.exit_code == 0
    assert len(parse_exposition(result.stdout_bytes, {})) == 3 * (5 + len(State)) + 5
    assert not server.asked


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("database_down", 3, "dbt could not reach the database: connection to server"),
        ("wrong_password", 3, "password authentication failed"),
        ("parse_error", 3, "dbt ended with exit code 2 and gave no result: Parsing Error"),
        ("unknown_option", 3, "No such option '--nope'"),
        ("nothing_selected", 2, "nothing to measure: no source matches source:nope"),
    ],
)
def test_a_run_without_a_result_says_why_and_that_nothing_was_erased(
    obs: Obs, tmp_path: Path, name: str, code: int, words: str
) -> None:
    multiplied(tmp_path, 2)
    obs("freshness", "push")
    before = exported(tmp_path)
    (tmp_path / "sources.json").unlink()
    recorded(tmp_path, scenario("1.11", name))

    result = obs("freshness", "push", "--select", "source:nope")

    assert result.exit_code == code
    assert words in result.stderr
    assert "the last known values are kept; alerts see a failed run" in result.stderr
    assert "Traceback" not in result.output
    assert exported(tmp_path)[RUN_SUCCESS] == {(): 0.0}
    assert exported(tmp_path)[LOADED_AT] == before[LOADED_AT]
    assert exported(tmp_path)[STATUS] == before[STATUS]


def test_a_result_that_cannot_be_used_is_exit_code_4(obs: Obs, fresh: Path) -> None:
    content = (fresh / "sources.json").read_bytes()
    (fresh / "sources.json").write_bytes(content[:-40])

    result = obs("freshness", "push")

    assert result.exit_code == 4
    assert result.stderr.startswith("obs: sources.json cannot be read: ")


def test_a_gateway_that_is_down_is_exit_code_5(
    obs: Obs, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OBS_TEXTFILE")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    result = obs("freshness", "push", "--pushgateway", url, "--push-timeout", "0.2s")

    assert result.exit_code == 5
    assert result.stderr.startswith(f"obs: {url} cannot be reached: Connection refused")


def test_a_second_run_at_the_same_time_is_exit_code_6(obs: Obs, fresh: Path) -> None:
    with locked(fresh / "target" / "obs" / "dev"):
        result = obs("freshness", "push")

    assert result.exit_code == 6
    assert "another obs run (process " in result.stderr


def test_a_wrong_option_is_exit_code_2(obs: Obs, fresh: Path) -> None:
    assert obs("freshness", "push", "--timeout", "soon").exit_code == 2
    assert obs("freshness", "push", "--grouping-key", "table=x").exit_code == 2
    assert obs("freshness", "push", "--project-dir", str(fresh / "target")).exit_code == 2


@pytest.mark.parametrize(
    ("scenario_name", "fail_on", "code"),
    [
        ("fresh", "warn", 0),
        ("mixed", "warn", 1),
        ("mixed", "error", 1),
        ("mixed", "query-error", 1),
    ],
)
def test_fail_on_makes_a_delivered_push_fail(
    obs: Obs, request: pytest.FixtureRequest, scenario_name: str, fail_on: str, code: int
) -> None:
    directory = request.getfixturevalue(scenario_name)

    result = obs("freshness", "push", "--fail-on", fail_on)

    assert result.exit_code == code
    assert exported(directory)[RUN_SUCCESS] == {(): 1.0}


def test_a_flag_beats_its_environment_variable(
    obs: Obs, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBS_GATE_FORMAT", "json")

    by_env = obs("freshness", "check")
    by_flag = obs("freshness", "check", "--format", "table")

    assert json.loads(by_env.stdout)["verdict"] == "pass"
    assert by_flag.stdout.startswith("ML training may run")


def test_select_takes_several_values_as_dbts_does(obs: Obs, fresh: Path) -> None:
    (fresh / "dbt").write_text('#!/bin/sh\nfor word; do echo "$word"; done\nexit 2\n')

    result = obs(
        "freshness", "push", "--select", "source:a", "tag:b", "-s", "c", "--exclude", "d", "e"
    )

    assert result.exit_code == 3
    assert "it said nothing" not in result.stderr
    (fresh / "dbt").write_text(f'#!/bin/sh\necho "$@" > {fresh}/argv\nexit 2\n')
    obs("freshness", "push", "--select", "source:a", "tag:b", "-s", "c", "--exclude", "d", "e")
    assert "--select source:a tag:b c --exclude d e" in (fresh / "argv").read_text()


def test_a_part_of_the_selection_that_matches_nothing_is_told(obs: Obs, fresh: Path) -> None:
    unmatched = scenario("1.11", "nothing_selected") / "events.jsonl"
    line = next(x for x in unmatched.read_text().splitlines() if "NoNodesForSelection" in x)
    run = json.loads((fresh / "sources.json").read_text())["metadata"]["invocation_id"]
    event = json.loads(line)
    event["info"]["invocation_id"] = run
    events = (fresh / "events.jsonl").read_text()
    (fresh / "events.jsonl").write_text(f"{json.dumps(event)}\n{events}")

    result = obs("freshness", "push", "--select", "source:lab", "source:nope")

    assert result.exit_code == 0
    assert result.stderr == "obs: 'source:nope' in the selection matches no source\n"


def test_the_gate_opens_on_fresh_sources_and_counts_them(obs: Obs, fresh: Path) -> None:
    result = obs("freshness", "check")

    assert result.exit_code == 0
    assert result.stdout == "ML training may run: 3 sources of lab (target dev)\n"


def test_the_gate_names_what_blocks_with_age_limit_and_next_step(obs: Obs, mixed: Path) -> None:
    result = obs("freshness", "check")

    assert result.exit_code == 1
    assert result.stdout.startswith("DO NOT RUN ML TRAINING: ")
    lines = result.stdout.splitlines()
    assert any(
        re.match(r"blocks  lab\.very_stale +error .*limit 2 d \(error_after\)$", x) for x in lines
    )
    assert any(re.match(r"passes  lab\.stale +warn .*limit 1 d \(warn_after\)$", x) for x in lines)
    assert any(x.startswith("next, ") and "lab.missing_table" in x for x in lines)


def test_the_gate_takes_a_limit_of_the_users_own(obs: Obs, fresh: Path) -> None:
    blocked = obs("freshness", "check", "--max-age", "30m")

    assert blocked.exit_code == 1
    assert "limit 30 min (--max-age)" in blocked.stdout
    assert obs("freshness", "check", "--max-age", "5d").exit_code == 0


def test_the_gate_lets_through_what_its_flags_allow(obs: Obs, mixed: Path) -> None:
    flags = [f"--allow-{s.value.replace('_', '-')}" for s in State if s not in ("pass", "warn")]
    flags.append("--allow-no-freshness=*")

    assert obs("freshness", "check", *flags).exit_code == 0
    needed = ("--allow-error", "--allow-empty", "--allow-future", "--allow-query-error")
    for flag in (*needed, "--allow-no-freshness=*"):
        others = [other for other in flags if other != flag]
        assert obs("freshness", "check", *others).exit_code == 1, flag


def test_the_gate_stays_shut_when_nothing_could_be_measured(obs: Obs, tmp_path: Path) -> None:
    recorded(tmp_path, scenario("1.11", "database_down"))

    result = obs("freshness", "check")

    assert result.exit_code == 3
    assert result.stdout.startswith(
        "DO NOT RUN ML TRAINING: dbt could not reach the database: connection to server"
    )


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("text", "lab.missing_table"),
        ("markdown", "🔴 **lab.missing\\_table** query error"),
        ("html", "<h3>lab.<wbr>missing_<wbr>table</h3>"),
        ("json", '"name": "lab.missing_table"'),
    ],
)
def test_a_report_is_written_whatever_it_says(
    obs: Obs, mixed: Path, output: str, words: str
) -> None:
    result = obs("freshness", "report", "--format", output)

    assert result.exit_code == 0
    assert words in result.stdout
    assert not (mixed / "dbt.prom").exists()


def test_debug_adds_the_traceback_of_an_error(obs: Obs, tmp_path: Path) -> None:
    recorded(tmp_path, scenario("1.11", "database_down"))

    result = obs("--debug", "freshness", "push")

    assert result.exit_code == 3
    assert "Traceback (most recent call last)" in result.stderr


def test_a_fault_of_obs_itself_is_one_line_too(
    obs: Obs, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of cheese")

    monkeypatch.setattr("ledgermind_obs.cli.push.deliver", broken)

    result = obs("freshness", "push")

    assert result.exit_code == 70
    told, error = result.stderr.splitlines()
    assert told == "obs: the last known values are kept; alerts see a failed run"
    assert re.fullmatch(
        r"obs: internal error: RuntimeError at ledgermind_obs/cli/(push|measuring)\.py:\d+ "
        r"\(--debug shows more; please report it\)",
        error,
    )
    assert exported(fresh)[metrics.RUN_SUCCESS] == {(): 0.0}


def test_a_fault_while_measuring_is_told_to_the_destination_too(
    obs: Obs, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert obs("freshness", "push").exit_code == 0
    before = exported(fresh)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of cheese")

    monkeypatch.setattr("ledgermind_obs.cli.measuring.measure", broken)
    result = obs("freshness", "push")

    after = exported(fresh)
    assert result.exit_code == 70
    assert after[metrics.RUN_SUCCESS] == {(): 0.0}
    assert after[metrics.LOADED_AT] == before[metrics.LOADED_AT]


def test_a_fault_that_cannot_be_told_is_said_all_the_same(
    obs: Obs, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of cheese")

    monkeypatch.setattr("ledgermind_obs.cli.measuring.measure", broken)
    monkeypatch.setattr("ledgermind_obs.cli.push.deliver_failure", broken)
    result = obs("freshness", "push")

    assert result.exit_code == 70
    assert result.stderr.splitlines()[:2] == [
        "obs: the failure cannot be told: RuntimeError",
        "obs: the last known values are kept, and nothing could be sent",
    ]


@pytest.mark.parametrize("kind", ["password", "token"])
def test_a_secret_comes_from_a_file_and_is_never_shown(
    obs: Obs, fresh: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("OBS_TEXTFILE")
    (fresh / "secret").write_text("s3cret\n")
    user = ["--pushgateway-username", "me"] if kind == "password" else []
    argv = [*user, f"--pushgateway-{kind}-file", str(fresh / "secret")]
    with web(Answer(401, b"no")) as server:
        result = obs("--debug", "freshness", "push", "--pushgateway", server.url, *argv)

    assert result.exit_code == 5
    assert "s3cret" not in result.output
    scheme = "Basic" if kind == "password" else "Bearer s3cret"
    assert server.asked[0].headers["Authorization"].startswith(scheme)
