"""The gate in a real shell: whoever reads, whatever ends it, training never starts by mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.gated import DAY, WELL, result, write_artifact, write_gated
from tests.unit.manifests import RAW

SECONDS = 30.0
CHECK = "$OBS freshness check"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OBS": f"{sys.executable} -m ledgermind_obs",
        **write_gated(tmp_path),
    }


@pytest.fixture
def shell(tmp_path: Path, env: dict[str, str]) -> Run:
    """Run a line of shell in the project; a pipe's code is that of what failed in it."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A file on a disk that is full."""
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    return link


def let_grow_stale(place: Path) -> None:
    write_artifact(place, result(RAW, 6 * DAY, "error"))


def break_dbt(place: Path) -> None:
    (place / "does").write_text("sys.exit(2)")


def take_profiles(place: Path) -> None:
    (place / "profiles.yml").unlink()


SHUT: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "a stale source": (let_grow_stale, "", 1),
    "a dbt that fails": (break_dbt, "", 3),
    "no profiles.yml": (take_profiles, "", 2),
    "an unknown option": (lambda _: None, "--bogus", 2),
}
UNREAD = {
    "a reader that leaves": "| head -c 0",
    "a reader of no line": "| head -0",
    "a closed stdout": ">&-",
    "no stream at all": "<&- >&- 2>&-",
    "a full disk": "> full",
    "a full disk for both": "> full 2>&1",
    "nowhere": "> /dev/null",
}


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("unread", UNREAD)
@pytest.mark.parametrize("way", SHUT)
def test_a_refusal_keeps_its_code_whoever_reads(
    shell: Run, tmp_path: Path, full: Path, way: str, unread: str, form: str
) -> None:
    prepare, argv, code = SHUT[way]
    prepare(tmp_path)

    done = shell(f"{CHECK} --format {form} {argv} {UNREAD[unread]} && touch trained")

    assert done.returncode == code
    assert not (tmp_path / "trained").exists()


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize(
    ("unread", "code"),
    [
        ("| head -c 0", 141),
        ("| head -0", 141),
        (">&-", 5),
        ("<&- >&- 2>&-", 5),
        ("> full", 5),
        ("> full 2>&1", 5),
    ],
)
def test_an_open_verdict_that_nobody_can_read_does_not_open(
    shell: Run, tmp_path: Path, full: Path, unread: str, code: int, form: str
) -> None:
    done = shell(f"{CHECK} --format {form} {unread} && touch trained")

    assert done.returncode == code
    assert not (tmp_path / "trained").exists()


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("read", ["", "| cat", "> verdict", "> /dev/null", "2>&-", "2> full"])
def test_an_open_verdict_that_is_read_opens(
    shell: Run, tmp_path: Path, full: Path, read: str, form: str
) -> None:
    done = shell(f"{CHECK} --format {form} {read} && touch trained")

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "trained").exists()


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("way", SHUT)
def test_a_refusal_is_on_stdout_in_the_form_that_was_asked_for(
    shell: Run, tmp_path: Path, way: str, form: str
) -> None:
    prepare, argv, code = SHUT[way]
    prepare(tmp_path)

    done = shell(f"{CHECK} --format {form} {argv}")

    assert done.returncode == code
    if form == "table":
        assert done.stdout.startswith("DO NOT RUN ML TRAINING: ")
    else:
        assert json.loads(done.stdout)["verdict"] == "block"


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_in_a_refusal(
    tmp_path: Path, env: dict[str, str], number: signal.Signals, form: str
) -> None:
    (tmp_path / "does").write_text('(place / "runs").touch(); time.sleep(60)')
    argv = [sys.executable, "-m", "ledgermind_obs", "freshness", "check", "--format", form]
    with subprocess.Popen(
        argv, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as gate:
        _await(tmp_path / "runs")
        gate.send_signal(number)
        told, _ = gate.communicate(timeout=SECONDS)

    assert gate.returncode == 128 + number
    if form == "table":
        assert told.startswith("DO NOT RUN ML TRAINING: ")
    else:
        assert json.loads(told)["verdict"] == "block"


def test_a_reader_that_leaves_while_dbt_runs_changes_no_refusal(shell: Run, tmp_path: Path) -> None:
    let_grow_stale(tmp_path)
    (tmp_path / "does").write_text(f"print('x' * 300_000); {WELL}")

    done = shell(f"{CHECK} | head -0 && touch trained")

    assert done.returncode == 1
    assert not (tmp_path / "trained").exists()


def _await(path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.05)
