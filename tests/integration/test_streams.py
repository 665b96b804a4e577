"""What becomes of a run's streams, exit code and signals, in processes of their own."""

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replay import multiplied

Run = Callable[..., subprocess.CompletedProcess[str]]
SECONDS = 30.0


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A project whose dbt replays three fresh sources; metrics go to a file."""
    multiplied(tmp_path, 3)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OBS": f"{sys.executable} -m ledgermind_obs",
        "OBS_DBT": str(tmp_path / "dbt"),
        "OBS_TEXTFILE": str(tmp_path / "dbt.prom"),
    }


@pytest.fixture
def shell(tmp_path: Path, env: dict[str, str]) -> Run:
    """Run a line of shell in the project; a pipe's code is that of what failed in it."""

    def run(line: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            cwd=tmp_path,
            env={**env, **more},
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


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_push_is_delivered_whatever_stream_is_closed(
    shell: Run, tmp_path: Path, closed: str
) -> None:
    result = shell(f"$OBS freshness push --format json {closed}")

    assert result.returncode == 0
    assert re.search(
        r"^dbt_freshness_run_success\{.*\} 1(\.0)?$",
        (tmp_path / "dbt.prom").read_text(),
        re.MULTILINE,
    )


def test_what_is_printed_to_a_closed_stream_lands_in_no_file(shell: Run, tmp_path: Path) -> None:
    shell("$OBS freshness push --format json <&- >&- 2>&-")
    shell("$OBS freshness report --format json >&-")

    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    for path in written:
        assert '"name": "lab.table_00000"' not in path.read_text(errors="replace"), path


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("freshness push --format json --fail-on warn", 0),
        ("freshness report", 141),
        ("freshness push --dry-run", 141),
        ("freshness check --max-age 1s", 1),
        ("--help", 141),
    ],
)
def test_a_reader_that_leaves_does_not_change_what_was_decided(
    shell: Run, command: str, code: int
) -> None:
    result = shell(f"$OBS {command} | head -c 0")

    assert (result.returncode, result.stderr) == (code, "")


@pytest.fixture
def faulty(tmp_path: Path, env: dict[str, str]) -> None:
    """Something that each of the checks finds fault with."""
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    sources = list(manifest["sources"])
    exposure = {"unique_id": "exposure.lab.x", "name": "x", "type": "ml", "owner": {"name": "me"}}
    manifest["exposures"] = {"exposure.lab.x": {**exposure, "depends_on": {"nodes": sources}}}
    manifest["parent_map"]["exposure.lab.x"] = sources
    manifest["sources"][sources[0]]["freshness"] = None
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    panel = {"type": "stat", "targets": [{"expr": "dbt_no_such_metric"}]}
    (tmp_path / "board.json").write_text(json.dumps({"title": "x", "uid": "x", "panels": [panel]}))
    rule = "  - alert: X\n    expr: dbt_no_such_metric > 1\n"
    (tmp_path / "rules.yml").write_text(f"groups:\n- name: x\n  rules:\n{rule}")


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize(
    "command",
    [
        "lineage check x --manifest manifest.json",
        "lineage impact lab.table_00001 --fail-on low --manifest manifest.json",
        "rules check rules.yml --runbooks . --manifest manifest.json",
        "dashboard check board.json --manifest manifest.json",
        "freshness check --max-age 1s",
        "freshness push --fail-on warn --format json --dbt ./stale",
    ],
)
def test_a_finding_fails_a_pipeline_whoever_reads_it(
    shell: Run, tmp_path: Path, full: Path, command: str
) -> None:
    sources = json.loads((tmp_path / "sources.json").read_text())
    if "stale" in command:
        for result in sources["results"]:
            result["status"] = "error"
        (tmp_path / "sources.json").write_text(json.dumps(sources))
    shutil.copy(tmp_path / "dbt", tmp_path / "stale")

    codes = [
        shell(f"$OBS {command} {rest}").returncode
        for rest in ("", "| head -c 0", ">&-", f"> {full}", f"> {full} 2>&1", ">&- 2>&-")
    ]

    assert codes == [1] * 6


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("freshness push", 0),
        ("freshness push --format json", 5),
        ("freshness push --format json --fail-on warn", 0),
        ("freshness report", 5),
        ("freshness check --max-age 1s", 1),
        ("--version", 5),
    ],
)
def test_a_full_disk_behind_stdout_is_said_and_changes_no_decision(
    shell: Run, full: Path, command: str, code: int
) -> None:
    result = shell(f"$OBS {command} > {full}")

    said = (
        ""
        if command == "freshness push"
        else "obs: cannot write to stdout: No space left on device\n"
    )
    assert (result.returncode, result.stderr) == (code, said)


def test_an_output_that_was_asked_for_and_goes_nowhere_is_said(shell: Run) -> None:
    result = shell("$OBS freshness report >&-")

    assert (result.returncode, result.stderr) == (5, "obs: cannot write to stdout: it is closed\n")


def test_the_code_stands_though_nobody_can_be_told(shell: Run, full: Path) -> None:
    assert shell(f"$OBS freshness push --timeout soon > {full} 2> {full}").returncode == 2
    assert shell("$OBS freshness push --timeout soon >&- 2>&-").returncode == 2


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
@pytest.mark.parametrize("output", ["json", "text", "html"])
def test_no_locale_makes_a_report_fail(shell: Run, locale: dict[str, str], output: str) -> None:
    result = shell(f"$OBS freshness report --format {output}", **locale)

    assert (result.returncode, result.stderr) == (0, "")
    assert "lab.table_00000" in (seen(result.stdout) if output == "html" else result.stdout)
    if output == "html":
        assert result.stdout.isascii()
        assert "dbt source freshness · lab" in seen(result.stdout)


def seen(page: str) -> str:
    """Return what a reader sees of a page."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.replace("<wbr>", "")))


def test_what_an_encoding_does_not_have_is_escaped_as_in_json(tmp_path: Path) -> None:
    script = "import sys; from ledgermind_obs.cli.streams import guarded\n"
    script += "with guarded():\n    print('é → 🦆 \\udce9')"

    result = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == "\\u00e9 \\u2192 \\ud83e\\udd86 \\udce9\n"


@pytest.mark.parametrize("value", ["garbage", "maybe"])
def test_a_wrong_debug_switch_is_a_usage_error(shell: Run, value: str) -> None:
    result = shell("$OBS freshness report", OBS_DEBUG=value)

    assert result.returncode == 2
    assert "OBS_DEBUG" in result.stderr or "--debug" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def hanging(tmp_path: Path, env: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start a push whose dbt hangs, and return when dbt has begun."""
    begun = tmp_path / "begun"
    (tmp_path / "dbt").write_text(f"#!/bin/sh\ntouch {begun}\nexec sleep 60\n")

    def start(*wrapper: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [*wrapper, *env["OBS"].split(), "freshness", "push"],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + SECONDS
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return child

    return start


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGINT, "obs: interrupted\n"), (signal.SIGTERM, ""), (signal.SIGHUP, "")],
)
def test_a_signal_ends_a_run_with_its_own_code(
    hanging: Callable[..., subprocess.Popen[str]], number: signal.Signals, said: str
) -> None:
    child = hanging()

    child.send_signal(number)

    assert child.communicate(timeout=SECONDS) == ("", said)
    assert child.returncode == 128 + number


IGNORING = """
import os, signal, sys
signal.signal(int(sys.argv[1]), signal.SIG_IGN)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def test_a_job_in_the_background_can_be_interrupted(
    hanging: Callable[..., subprocess.Popen[str]],
) -> None:
    child = hanging(sys.executable, "-c", IGNORING, str(int(signal.SIGINT)))

    child.send_signal(signal.SIGINT)

    assert child.communicate(timeout=SECONDS) == ("", "obs: interrupted\n")
    assert child.returncode == 130


def test_nohup_is_kept(hanging: Callable[..., subprocess.Popen[str]]) -> None:
    child = hanging(sys.executable, "-c", IGNORING, str(int(signal.SIGHUP)))

    child.send_signal(signal.SIGHUP)
    child.send_signal(signal.SIGTERM)

    child.communicate(timeout=SECONDS)
    assert child.returncode == 143


def test_a_second_signal_ends_a_run_at_once(
    tmp_path: Path, hanging: Callable[..., subprocess.Popen[str]]
) -> None:
    dbt = f"#!{sys.executable}\nimport signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    dbt += f"open({str(tmp_path / 'begun')!r}, 'w').close()\ntime.sleep(60)\n"
    (tmp_path / "dbt").write_text(dbt)
    child = hanging()
    child.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        child.communicate(timeout=1.0)

    child.send_signal(signal.SIGTERM)

    child.communicate(timeout=3.0)  # dbt would have two more seconds
    assert child.returncode == 143


# Sends itself a signal, so long after its handler was set.
SIGNALLED = """
import os, signal, sys, threading
from ledgermind_obs.__main__ import main
wanted, delay, set_handler = int(sys.argv[1]), float(sys.argv[2]), signal.signal
def setting(number, handler):
    before = set_handler(number, handler)
    if number == wanted:
        signal.signal = set_handler
        threading.Timer(delay, os.kill, (os.getpid(), wanted)).start()
    return before
signal.signal = setting
sys.argv = ["obs", "freshness", "report"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_signal_at_any_moment_of_the_start_prints_no_traceback(
    env: dict[str, str], tmp_path: Path, number: signal.Signals, delay: float
) -> None:
    (tmp_path / "dbt").write_text("#!/bin/sh\nexec sleep 60\n")

    result = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(int(number)), str(delay)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert result.returncode == 128 + number, result.stderr
    assert result.stderr in {"", "obs: interrupted\n"}


def test_a_fault_in_a_thread_is_one_line_too(tmp_path: Path) -> None:
    script = "import threading\nimport ledgermind_obs.cli as cli\n"
    script += "def broken(): raise ValueError('hunter2')\n"
    script += "cli.root.main = lambda **_: threading.Thread(target=broken).start()\ncli.main()"

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stderr.startswith("obs: internal error: ValueError at ")
    assert "hunter2" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
