"""dbt as a child process: its arguments, its environment, its end, and what that end means."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ledgermind_obs.dbt.artifacts import MOST_BYTES
from ledgermind_obs.dbt.endings import no_result
from ledgermind_obs.dbt.executable import find_executable
from ledgermind_obs.dbt.inputs import Reading
from ledgermind_obs.dbt.log import Event, RunLog
from ledgermind_obs.dbt.manifest import MOST_MANIFEST_BYTES
from ledgermind_obs.dbt.output import Output
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.dbt.regular_file import read_regular
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError, ConfigurationError, DbtError

GRACE_SECONDS = 5.0
# How soon the end of a dbt is noticed whose pipe somebody else holds open.
POLL_SECONDS = 0.05

# When obs ends without a word, its end of the pipe closes, and the whole group is ended.
_WATCHDOG = 'read -r _ || kill -s KILL -- "-$1"'


class FreshnessRun(msgspec.Struct):
    """What a finished ``dbt source freshness`` left behind."""

    log: RunLog
    sources: bytes
    manifest: bytes


def source_freshness(
    dbt: Dbt,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda _: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> FreshnessRun:
    """Run ``dbt source freshness`` and return its log and its artifacts, all of this run.

    The file decides, not the exit code: 0 and 1 come with one, 2 mostly without, but where the
    database is lost in the middle dbt 1.9 to 1.11 write what they measured and then end with 2.
    ``on_event`` is called with each event while dbt runs, ``meanwhile`` once when it has started.
    Raises DbtError where dbt gave no result.
    """
    log, artifact = RunLog(), dbt.project.private_target_path / "sources.json"
    _remove(artifact)

    def on_line(line: bytes) -> None:
        if event := log.read(line):
            on_event(event)

    reading = Reading(dbt)

    def on_start() -> None:
        meanwhile()
        reading.read_files()

    argv = _argv(dbt, "source", "freshness", *reading.options, *_selection(dbt, select, exclude))
    code = _call(argv, dbt.project.directory, dbt.timeout, on_line, on_start)
    if code >= 0:
        reading.finish()
    sources = _read(artifact, MOST_BYTES)
    if sources is None:
        raise no_result(dbt, code, log)
    manifest = _read(artifact.with_name("manifest.json"), MOST_MANIFEST_BYTES)
    if manifest is None:
        raise ArtifactError(
            "dbt wrote sources.json and no manifest.json",
            "without it nobody knows which sources there should be",
        )
    return FreshnessRun(log, sources, manifest)


def parse(dbt: Dbt) -> Path:
    """Run ``dbt parse``, which needs no database, and return the manifest it wrote.

    Raises DbtError where dbt could not parse the project.
    """
    log, reading = RunLog(), Reading(dbt)
    argv = _argv(dbt, "parse", *reading.options)
    code = _call(argv, dbt.project.directory, dbt.timeout, log.read, reading.read_files)
    if code >= 0:
        reading.finish()
    manifest = dbt.project.private_target_path / "manifest.json"
    if code != 0 or not manifest.is_file():
        raise no_result(dbt, code, log)
    return manifest


def _argv(dbt: Dbt, *command: str) -> list[str]:
    project = dbt.project
    argv = [find_executable(dbt.executable), *command]
    argv += ["--log-format", "json", "--log-level", "info", "--no-quiet", "--no-use-colors"]
    argv += ["--write-json", "--no-fail-fast"]
    argv += ["--project-dir", str(project.directory), "--profiles-dir", str(project.profiles_dir)]
    argv += ["--profile", project.profile, "--target", project.target]
    argv += ["--target-path", str(project.private_target_path)]
    argv += ["--log-path", str(project.private_target_path)]
    argv += ["--vars", dbt.vars] if dbt.vars else []
    return argv


def _selection(dbt: Dbt, select: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Return the options of ``dbt source freshness`` that ``dbt parse`` does not need."""
    argv = ["--threads", str(dbt.threads)] if dbt.threads else []
    argv += ["--select", *select] if select else []
    argv += ["--exclude", *exclude] if exclude else []
    return argv


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return dbt's environment: telemetry is off unless the user turned it on."""
    return {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **environ}


def _call(
    argv: Sequence[str],
    cwd: Path,
    timeout: float,
    on_line: Callable[[bytes], object],
    meanwhile: Callable[[], None] = lambda: None,
) -> int:
    """Return the exit code of a command that runs in a process group of its own.

    The whole group is ended at the deadline, when this process is ended, and when it is killed.
    Once the command has ended, nobody who still holds its output is waited for.
    """
    deadline = time.monotonic() + timeout
    with _process_group(argv, cwd) as child:
        assert child.stdout is not None  # noqa: S101 - it was opened as a pipe
        output = Output(child.stdout.fileno(), on_line)
        try:
            meanwhile()
            if _follow(child, output, deadline):
                return child.returncode
        finally:
            _interrupt(child, output)
    raise DbtError(
        f"dbt did not finish within {format_age(timeout)} and was ended",
        "look for locks and slow queries in the database, or give a longer --timeout",
    )


def _follow(child: subprocess.Popen[bytes], output: Output, deadline: float) -> bool:
    """Hand over the output until the child ends; return whether it did before the deadline."""
    while True:
        ended = child.poll() is not None
        left = deadline - time.monotonic()
        if ended or left <= 0:
            output.drain()
            return ended
        if output.ended:
            with suppress(subprocess.TimeoutExpired):
                child.wait(min(left, POLL_SECONDS))
        else:
            output.take(min(left, POLL_SECONDS))


@contextmanager
def _process_group(argv: Sequence[str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    try:
        with _interruptible_children():
            child = subprocess.Popen(
                argv,
                cwd=cwd,
                env=_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise DbtError(f"cannot run {argv[0]}: {error.strerror}", "name dbt with --dbt") from error
    try:
        with _watchdog(child.pid):
            yield child
    finally:
        _kill(child)


@contextmanager
def _interruptible_children() -> Iterator[None]:
    """Let a child start with SIGINT as it is by default, also where this process ignores it.

    What started ``obs`` in the background may have let it ignore SIGINT, and a child inherits that;
    a handler is reset in a child. A dbt that cannot be interrupted leaves its queries running.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _watchdog(group: int) -> Iterator[None]:
    try:
        watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "obs-watchdog", str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise DbtError(f"cannot run /bin/sh to watch over dbt: {error.strerror}") from error
    try:
        yield
    finally:
        watchdog.communicate(b"done\n")


def _interrupt(child: subprocess.Popen[bytes], output: Output) -> None:
    """Interrupt the group as Ctrl-C would, so that dbt cancels its queries, and give it time."""
    if child.poll() is None:
        _signal(child, signal.SIGINT)
        output.on_line = lambda _: None
        _follow(child, output, time.monotonic() + GRACE_SECONDS)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End what is left of the group by force; a process that even so does not end is left."""
    _signal(child, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)
    if child.stdout:
        child.stdout.close()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _remove(artifact: Path) -> None:
    """Remove the result of an earlier run; raises ConfigurationError if that cannot be done."""
    try:
        artifact.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot remove {artifact}, an earlier result: {error.strerror}",
            "remove it yourself, or choose a directory for dbt's files with --target-path",
        ) from error


def _read(path: Path, most_bytes: int) -> bytes | None:
    """Return what dbt wrote, None if it is not there; raises ArtifactError if it cannot be read."""
    try:
        return read_regular(path, most_bytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}", "run it again") from error
