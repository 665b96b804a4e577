"""``make stack``, as somebody runs it who has no Docker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from services.monitoring import ROOT
from tests.integration.chain import until


@contextmanager
def started(scratch: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "demo.stack", "--quick", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as stack:
        try:
            yield stack
        finally:
            stack.kill()  # the servers end with it; without a failure all have ended by now


def running(scratch: Path) -> list[str]:
    """The command lines of the stack and of all that it started, whoever they run as."""
    found = psutil.process_iter(["cmdline", "environ"])
    mine = [p.info for p in found if (p.info["environ"] or {}).get("TMPDIR") == str(scratch)]
    return [" ".join(info["cmdline"] or ()) for info in mine]


def assert_nothing_left(scratch: Path) -> None:
    assert list(scratch.iterdir()) == []
    until(lambda: not running(scratch), "all that it started has ended")


@pytest.mark.parametrize("moment", ["-m demo.data", "dbt source freshness"])
def test_a_stack_that_is_told_to_end_leaves_nothing_behind(moment: str, tmp_path: Path) -> None:
    with started(tmp_path) as stack:
        until(lambda: any(moment in line for line in running(tmp_path)), moment)
        stack.terminate()
        shown, said = stack.communicate(timeout=60)
    assert (stack.returncode, said) == (0, "")
    assert shown.endswith("stopped; nothing is left behind\n")
    assert_nothing_left(tmp_path)


def test_the_stack_ends_at_its_first_alert_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with started(tmp_path, "--once") as stack:
        shown, said = stack.communicate(timeout=120)
    assert stack.returncode == 0, said
    assert "firing   SourceStaleTransactionLabels  transaction_labels" in shown
    assert_nothing_left(tmp_path)
