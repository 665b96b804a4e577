"""Time whole commands side by side: A B A B …, so that a machine's drift meets both."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.005
# pip compiles what it installs; a checkout must be allowed to keep its bytecode, too.
_NOT_AS_INSTALLED = frozenset({"PYTHONDONTWRITEBYTECODE"})


@dataclass(frozen=True)
class Run:
    """One finished command: wall seconds, and the peak memory of its own process in MiB."""

    seconds: float
    peak_mib: float


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], codes: Sequence[int] = (0,)
) -> Run:
    """Run a command to its end; its children's memory does not count as its own.

    Raises RuntimeError with what it printed where it ends with another code than ``codes``.
    """
    env = {name: value for name, value in env.items() if name not in _NOT_AS_INSTALLED}
    # Not a pipe: one that nobody reads is full after 64 KiB, and the command stands still.
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        child = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT)
        peak = _peak_until_end(child)
        seconds = time.perf_counter() - began
        if child.wait() not in codes:
            output.seek(0)
            told = output.read().decode(errors="replace")
            raise RuntimeError(f"{command} ended with {child.returncode}: {told}")
    return Run(seconds, peak / 1024)


def _peak_until_end(child: subprocess.Popen[bytes]) -> int:
    """Return the largest resident size seen, in KiB; the kernel keeps the high-water mark."""
    peak = 0
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak = max(peak, _high_water_mark(child.pid))
        time.sleep(POLL_SECONDS)
    return peak


def _high_water_mark(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) if lines else 0


@dataclass(frozen=True)
class Command:
    """What to run, where, and with which exit codes it counts as run."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    codes: Sequence[int] = (0,)

    def __call__(self) -> Run:
        """Run it once."""
        return run(self.argv, cwd=self.cwd, env=self.env, codes=self.codes)


def side_by_side(first: Command, second: Command, runs: int) -> tuple[list[Run], list[Run]]:
    """Run both in turn ``runs`` times, after one run of each that does not count."""
    first(), second()
    pairs = [(first(), second()) for _ in range(runs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def median_ratio(first: Sequence[Run], second: Sequence[Run]) -> float:
    """Return the median of first/second, pair by pair."""
    return statistics.median(a.seconds / b.seconds for a, b in zip(first, second, strict=True))


def median_seconds(runs: Sequence[Run]) -> float:
    """Return the median wall time in seconds."""
    return statistics.median(run.seconds for run in runs)


def report(name: str, ratio: float, limit: float, detail: str) -> bool:
    """Print one line, and return whether the ratio is within its limit."""
    verdict = "ok" if ratio <= limit else "OVER"
    print(f"{name:<44} {ratio:6.3f}  at most {limit:<5g} {verdict:<5} {detail}")
    return ratio <= limit
