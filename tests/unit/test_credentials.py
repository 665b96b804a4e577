"""Secrets from files and variables: what is taken, what is refused, and that it is never shown."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs import secrets
from ledgermind_obs.cli import root
from ledgermind_obs.cli.credentials import MAX_BYTES, secret
from ledgermind_obs.errors import ConfigurationError
from tests.replay import multiplied
from tests.unit.servers import Answer, web

VARIABLE = "OBS_PUSHGATEWAY_TOKEN"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "token"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_line_end_is_taken_off_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    file.write_bytes(b" swordfish " + end)
    monkeypatch.setenv(VARIABLE, f" swordfish {end.decode()}")

    assert secret(VARIABLE, file) == secret(VARIABLE, None) == " swordfish "


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("swordfish\n\n", "a second line"),
        ("swordfish\r", "a carriage return"),
        ("sword\r\nfish", "a carriage return"),
        ("sword\nX-Other: fish", "a second line"),
        ("sword\tfish", "a tab"),
        ("sword\x07fish", "the control character U+0007"),
        ("sword\x85fish", "the control character U+0085"),
        ("sword\u2028fish", "the control character U+2028"),
        ("swordfish🦆", "a character that an HTTP header cannot carry"),
        ("\ufeffswordfish", "a character that an HTTP header cannot carry"),
    ],
)
def test_what_no_header_can_carry_is_refused_by_name(
    file: Path, monkeypatch: pytest.MonkeyPatch, content: str, words: str
) -> None:
    file.write_bytes(content.encode())
    monkeypatch.setenv(VARIABLE, content)

    for place, name in ((file, str(file)), (None, VARIABLE)):
        with pytest.raises(ConfigurationError) as raised:
            secret(VARIABLE, place)
        assert str(raised.value) == f"{name} holds {words}"
        assert "sword" not in raised.value.next_step


def test_a_password_may_be_in_any_language_since_it_is_encoded(file: Path) -> None:
    file.write_text("schwertfisch🦆\n")

    assert secret(VARIABLE, file, encoded=True) == "schwertfisch🦆"


def test_a_nul_is_refused(file: Path) -> None:
    file.write_bytes(b"sword\0fish")

    with pytest.raises(ConfigurationError, match="holds a NUL"):
        secret(VARIABLE, file)


def test_a_file_that_was_named_holds_something(file: Path) -> None:
    for content in (b"", b"\n"):
        file.write_bytes(content)
        with pytest.raises(ConfigurationError, match="token is empty"):
            secret(VARIABLE, file)


def test_a_variable_that_is_empty_is_as_one_that_is_not_set(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")

    assert secret(VARIABLE, None) == ""


def not_there(path: Path) -> None:
    path.unlink(missing_ok=True)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def too_large(path: Path) -> None:
    path.write_bytes(b"x" * (MAX_BYTES + 1))


def no_text(path: Path) -> None:
    path.write_bytes(b"sword\xff")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (not_there, "cannot read .*token: No such file or directory"),
        (Path.mkdir, "cannot read .*token: Is a directory"),
        (a_pipe, "token is not a regular file"),
        (too_large, "token is larger than 64 KiB"),
        (no_text, "token is not UTF-8 text"),
    ],
)
def test_what_is_no_secrets_file_is_refused_by_name_at_once(
    file: Path, make: Callable[[Path], None], words: str
) -> None:
    make(file)
    found: list[BaseException] = []

    def read() -> None:
        try:
            secret(VARIABLE, file)
        except ConfigurationError as error:
            found.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5.0)

    assert [type(error) for error in found] == [ConfigurationError]
    with pytest.raises(ConfigurationError, match=words):
        raise found[0]


Obs = Callable[..., Result]


@pytest.fixture
def obs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Obs:
    """Run ``obs`` in a project whose dbt replays three fresh sources."""
    multiplied(tmp_path, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBS_DBT", str(tmp_path / "dbt"))
    return lambda *argv: CliRunner().invoke(root, argv)


@pytest.mark.parametrize(
    ("variable", "argv"),
    [
        ("OBS_PUSHGATEWAY_TOKEN", ["freshness", "push"]),
        ("OBS_PUSHGATEWAY_PASSWORD", ["freshness", "push", "--pushgateway-username", "me"]),
        ("GRAFANA_API_KEY", ["dashboard", "diff", "dbt_project.yml"]),
        (
            "OBS_PROMETHEUS_TOKEN",
            ["freshness", "check", "--exposure", "x", "--prometheus", "http://127.0.0.1:1"],
        ),
    ],
)
def test_a_token_of_two_lines_is_refused_by_name_and_never_shown(
    obs: Obs, monkeypatch: pytest.MonkeyPatch, variable: str, argv: list[str]
) -> None:
    monkeypatch.setenv(variable, "swordfish-1\nswordfish-2")

    result = obs("--debug", *argv)

    assert result.exit_code == 2
    assert f"obs: {variable} holds a second line\n" in result.stderr
    assert "swordfish" not in result.output


def test_a_users_name_with_a_colon_is_refused(obs: Obs) -> None:
    result = obs("freshness", "push", "--pushgateway-username", "me:too")

    assert result.exit_code == 2
    assert "--pushgateway-username holds a colon" in result.stderr


def test_variables_that_repeat_a_secret_do_not_become_a_command_line(
    obs: Obs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DBT_ENV_SECRET_KEY", "swordfish")
    (tmp_path / "dbt").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")

    result = obs("freshness", "report", "--vars", "{key: swordfish}")

    assert result.exit_code == 2
    assert "obs: --vars holds a secret" in result.stderr
    assert "swordfish" not in result.output
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("status", [400, 401, 500])
@pytest.mark.parametrize("output", ["table", "json"])
def test_an_error_that_repeats_the_request_does_not_show_its_secrets(
    obs: Obs, monkeypatch: pytest.MonkeyPatch, status: int, output: str
) -> None:
    monkeypatch.setenv("OBS_PUSHGATEWAY_PASSWORD", "swordfish  of-two-blanks")
    authorization = "Basic bWU6c3dvcmRmaXNoICBvZi10d28tYmxhbmtz"
    echo = f"headers: Authorization: {authorization} " + "x" * 415 + " swordfish  of-two-blanks"
    with web(Answer(status, echo.encode())) as server:
        argv = ["freshness", "push", "--pushgateway", server.url, "--format", output]
        result = obs("--debug", *argv, "--pushgateway-username", "me", "--push-timeout", "1s")

    assert server.asked[0].headers["Authorization"] == authorization
    assert result.exit_code == 5
    assert "headers: Authorization: Basic ***" in result.output
    for part in ("dfis", "blanks", "c3dvcmR", "bWU6"):
        assert part not in result.output


def test_nothing_is_kept_from_one_run_to_the_next(obs: Obs, file: Path) -> None:
    secrets.register("lab")

    result = obs("freshness", "report")

    assert "lab.table_00000" in result.stdout
