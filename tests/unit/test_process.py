"""dbt as a child: whatever it, or what it started, does with its output, its end and its files."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ledgermind_obs.dbt import output, process
from ledgermind_obs.dbt.log import RunLog
from ledgermind_obs.dbt.project import Dbt, Project
from ledgermind_obs.errors import ArtifactError, ConfigurationError, DbtError, ObsError

SOON = 5.0
WRITE = 'echo "{}" > "$target/sources.json"; echo "{}" > "$target/manifest.json"'
# In a session of its own, so that no signal to dbt's group reaches it.
STRAGGLER = """{python} - <<'END' &
import os, sys, time
os.setsid()
open({place!r}, "w").write(str(os.getpid()))
{work}
END
while [ ! -s {place} ]; do sleep 0.01; done
"""


class FakeDbt:
    """A shell script in dbt's place; ``$target`` in it is the directory for dbt's files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.target = directory / "target" / "obs"
        self.straggler = directory / "straggler"
        self.target.mkdir(parents=True)

    def dbt(self, script: str, timeout: float = 30.0) -> Dbt:
        executable = self.directory / "dbt"
        executable.write_text(f"#!/bin/sh\ntarget={self.target}\n{script}\n")
        executable.chmod(0o755)
        where = self.directory
        project = Project(where, "shop", where, "shop", "prod", self.target.parent)
        return Dbt(project, str(executable), timeout=timeout)

    def run(self, script: str, timeout: float = 30.0) -> process.FreshnessRun:
        return process.source_freshness(self.dbt(script, timeout))

    def leaving(self, work: str) -> str:
        """Return a script that starts a process which keeps dbt's output open and does ``work``."""
        return STRAGGLER.format(python=sys.executable, place=str(self.straggler), work=work)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDbt]:
    monkeypatch.setattr(process, "GRACE_SECONDS", 1.0)
    found = FakeDbt(tmp_path)
    monkeypatch.setattr(Project, "private_target_path", found.target)
    yield found
    if found.straggler.exists():
        os.kill(int(found.straggler.read_text()), signal.SIGKILL)


def seconds(run: Callable[[], object]) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


def assert_unfinished(fake: FakeDbt, script: str, within: float) -> None:
    def run() -> None:
        with pytest.raises(DbtError, match="did not finish within"):
            fake.run(script, timeout=0.5)

    assert seconds(run) < within


@pytest.mark.parametrize(
    "work",
    [
        "time.sleep(60)",
        "while True: os.write(1, b'x' * 65536)",
        "os.write(1, b'{'); os.kill(os.getpid(), 19)",
    ],
)
def test_a_run_that_finished_is_not_held_by_whoever_keeps_its_output_open(
    fake: FakeDbt, work: str
) -> None:
    assert seconds(lambda: fake.run(fake.leaving(work) + WRITE)) < SOON


def test_a_pipe_that_is_filled_again_and_again_is_drained_once() -> None:
    reading, writing = os.pipe()
    line, handed = b"x" * 60_000 + b"\n", list[bytes]()

    def fill(line_read: bytes) -> None:
        handed.append(line_read)
        assert len(handed) < 100
        os.write(writing, line)

    try:
        os.write(writing, line)
        output.Output(reading, fill).drain()
    finally:
        os.close(reading)
        os.close(writing)
    assert handed[0] == line[:-1]


def test_what_dbt_said_last_is_read_although_its_output_stays_open(fake: FakeDbt) -> None:
    script = fake.leaving("time.sleep(60)") + "echo once more; printf 'the last words'; exit 1"

    with pytest.raises(DbtError, match="the last words"):
        fake.run(script)


def test_the_deadline_holds_although_dbts_output_stays_open(fake: FakeDbt) -> None:
    assert_unfinished(fake, fake.leaving("time.sleep(60)") + "sleep 60", within=SOON)


def test_a_dbt_that_ignores_an_interrupt_is_ended_by_force(fake: FakeDbt) -> None:
    script = "trap '' INT; echo $$ > \"$target/pid\"; while :; do sleep 0.05; done"
    assert_unfinished(fake, script, within=SOON)
    assert not psutil.pid_exists(int((fake.target / "pid").read_text()))


def test_a_dbt_that_talks_on_after_the_interrupt_is_heard_out_and_ends(fake: FakeDbt) -> None:
    much = "i=0; while [ $i -lt 4000 ]; do echo much longer than a pipe holds; i=$((i+1)); done"
    script = f"trap '{much}; touch $target/said; exit 1' INT; while :; do sleep 0.02; done"
    assert_unfinished(fake, script, within=SOON)
    assert (fake.target / "said").exists()


def test_a_dbt_that_closes_its_output_is_awaited(fake: FakeDbt) -> None:
    fake.run("exec >&- 2>&-; sleep 0.3; " + WRITE)


def test_a_dbt_that_closes_its_output_and_hangs_is_ended(fake: FakeDbt) -> None:
    assert_unfinished(fake, "exec >&- 2>&-; sleep 60", within=SOON)


def test_more_time_than_a_thread_can_wait_is_a_time_like_any_other(fake: FakeDbt) -> None:
    assert fake.run(WRITE, timeout=300_000 * 86_400.0).sources == b"{}\n"
    assert threading.TIMEOUT_MAX < 300_000 * 86_400.0
    assert fake.run(WRITE, timeout=float("inf")).sources == b"{}\n"


def test_a_line_without_an_end_takes_a_megabyte_and_no_more() -> None:
    lines = output.Lines()
    for _ in range(200):
        assert not list(lines.feed(b"x" * 65_536))
    [line] = lines.rest()

    assert len(line) == output.MAX_LINE_BYTES
    assert list(lines.feed(b"a\n\nb\nc")) == [b"a", b"b"]


def test_gigabytes_of_log_leave_a_few_lines() -> None:
    log = RunLog()
    for number in range(300):
        log.read(b"%d " % number + b"x" * 100_000)

    assert len(log.tail) == 20
    assert sum(map(len, log.tail)) < 100_000


def test_a_dbt_ended_by_a_real_time_signal_is_told_by_its_number(fake: FakeDbt) -> None:
    number = signal.SIGRTMIN + 3

    with pytest.raises(DbtError, match=f"dbt was ended by signal {number:d}"):
        fake.run(f"kill -{number:d} $$")


def in_the_background(code: str) -> str:
    """Return what Python code prints where SIGINT is ignored, as in a shell's background job."""
    script = 'trap "" INT; exec "$0" -c "$1"'
    argv = ["/bin/sh", "-c", script, sys.executable, code]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout


CALL = """
import signal, sys
from pathlib import Path
from ledgermind_obs.dbt import process
child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
process._call([sys.executable, "-c", child], Path("."), 20.0, lambda line: print(line.decode()))
print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
"""


def test_a_dbt_started_in_the_background_can_be_interrupted_as_any_other() -> None:
    assert in_the_background(CALL).splitlines() == ["True", "True"]


def test_a_handler_of_this_process_stays_as_it_was(fake: FakeDbt) -> None:
    before = signal.getsignal(signal.SIGINT)
    fake.run(WRITE)

    assert signal.getsignal(signal.SIGINT) is before


def test_dbt_can_be_run_from_a_thread_which_may_set_no_handler(fake: FakeDbt) -> None:
    ran: list[bytes] = []
    thread = threading.Thread(target=lambda: ran.append(fake.run(WRITE).sources))
    thread.start()
    thread.join()

    assert ran == [b"{}\n"]


@pytest.mark.parametrize(
    ("leave", "refusal"),
    [
        ('mkdir "$target/sources.json"', r"sources\.json is a directory"),
        ('mkfifo "$target/sources.json"', r"sources\.json is a FIFO"),
        ('truncate -s 65M "$target/sources.json"', r"sources\.json is larger than 64 MiB"),
        (f'{WRITE}; rm "$target/manifest.json"', "no manifest.json"),
        (f'{WRITE}; rm "$target/manifest.json"; mkfifo "$target/manifest.json"', "is a FIFO"),
    ],
)
def test_what_is_no_file_in_the_place_of_a_result_is_refused_by_name(
    fake: FakeDbt, leave: str, refusal: str
) -> None:
    with pytest.raises(ArtifactError, match=refusal):
        fake.run(leave)


def test_an_old_result_that_cannot_be_removed_is_named_before_dbt_runs(fake: FakeDbt) -> None:
    (fake.target / "sources.json").mkdir()

    with pytest.raises(ConfigurationError, match=r"cannot remove .*sources\.json") as raised:
        fake.run('touch "$target/ran"')
    assert "--target-path" in raised.value.next_step
    assert not (fake.target / "ran").exists()


def test_a_link_to_nowhere_is_no_result(fake: FakeDbt) -> None:
    with pytest.raises(DbtError, match="gave no result"):
        fake.run('ln -s nowhere "$target/sources.json"')


def test_a_watchdog_that_cannot_be_started_is_a_named_error_and_leaves_no_dbt(
    fake: FakeDbt, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen = subprocess.Popen

    def scarce(argv: list[str], **settings: object) -> object:
        if argv[0] == "/bin/sh":
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return popen(argv, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", scarce)
    with pytest.raises(ObsError, match="watch over dbt: Resource temporarily unavailable"):
        fake.run("sleep 60")
    running = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [argv for argv in running if str(fake.directory / "dbt") in argv]
