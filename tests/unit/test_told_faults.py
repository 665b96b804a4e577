"""What is said of what nobody expected, and how errors look."""

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledgermind_obs import secrets
from ledgermind_obs.cli import root
from tests.replay import multiplied
from tests.unit.servers import Answer, web


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Let a command raise, and return what is said on stderr; the exit code is 70."""
    multiplied(tmp_path, 3)
    monkeypatch.chdir(tmp_path)

    def run(error: BaseException, *argv: str) -> str:
        def broken(*_: object, **__: object) -> None:
            secrets.register("hunter2-hunter2")
            raise error

        monkeypatch.setattr("ledgermind_obs.cli.options.open_project", broken)
        result = CliRunner().invoke(root, [*argv, "freshness", "report"])
        assert result.exit_code == 70
        assert "hunter2" not in result.output
        return result.stderr

    return run


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("hunter2-hunter2")


class PanicError(BaseException):
    """As those of libraries in Rust, which are no Exception."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("b'Bearer hunter2-hunter2\\n' is no header"),
        KeyError("row: hunter2-hunter2"),
        RecursionError("hunter2-hunter2"),
        MemoryError(),
        SilentError(),
        PanicError("hunter2-hunter2"),
    ],
)
def test_a_fault_of_obs_is_one_line_with_its_place_and_without_its_words(
    failing: Callable[..., str], error: BaseException
) -> None:
    said = failing(error)

    assert re.fullmatch(
        rf"obs: internal error: {type(error).__name__} at ledgermind_obs/cli/options\.py:\d+ "
        r"\(--debug shows more; please report it\)\n",
        said,
    )


def test_the_system_may_say_what_it_could_not_do(failing: Callable[..., str]) -> None:
    said = failing(PermissionError(13, "Permission denied", "/etc/hunter2-hunter2"))

    assert ": Permission denied (--debug" in said


def test_a_traceback_shows_places_and_no_values(failing: Callable[..., str]) -> None:
    said = failing(ValueError("a row: 4711, hunter2-hunter2"), "--debug")

    assert "Traceback (most recent call last):" in said
    assert "open_project(" in said
    assert "4711" not in said


def test_an_endless_recursion_is_told_in_a_screen(failing: Callable[..., str]) -> None:
    def endless() -> None:
        endless()

    try:
        endless()
    except RecursionError as error:
        said = failing(error, "--debug")

    assert "internal error: RecursionError at " in said
    assert len(said.splitlines()) < 100


def test_an_error_of_several_lines_and_colours_is_one_plain_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiplied(tmp_path, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBS_DBT", str(tmp_path / "dbt"))
    with web(Answer(500, b"one\x1b[31m\ntwo\r\nthree\x07")) as server:
        argv = ["freshness", "push", "--pushgateway", server.url]
        result = CliRunner().invoke(root, argv)

    first = result.stderr.splitlines()[0]
    assert first.endswith("500: one [31m two three")
    assert "\x1b" not in result.stderr


def test_the_streams_are_as_before_when_a_run_is_over() -> None:
    before = sys.stdout, sys.stderr, threading.excepthook

    CliRunner().invoke(root, ["--version"])

    assert (sys.stdout, sys.stderr, threading.excepthook) == before
