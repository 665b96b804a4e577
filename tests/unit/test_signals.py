"""A process that is told to end does so, wherever the signal finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# What a module in C does that fails to import something while it loads, and goes on.
DROPPING = """
try:
    import told
except BaseException:
    pass
"""
IN_AN_IMPORT = {
    "told.py": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "dropping.py": DROPPING,
}
IN_A_CALLBACK = {
    "dropping.py": """
import os, signal
class Callback:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
"""
}
RUN = """
import signal
from ledgermind_obs.__main__ import _ending_when_told
with _ending_when_told():
    import dropping
    if hasattr(dropping, "Callback"):
        dropping.Callback()
    signal.sigtimedwait([], 20)
    print("nobody was told")
"""
# Python no longer handles signals when it takes modules apart, which may take long.
ENDING = """
import signal
from ledgermind_obs.__main__ import _ending_when_told
class Slow:
    def __del__(self, wait=signal.sigtimedwait):
        wait([], 0.1)
slow = Slow()
with _ending_when_told():
    import told
"""


@pytest.mark.parametrize("modules", [IN_AN_IMPORT, IN_A_CALLBACK], ids=["import", "callback"])
def test_a_signal_ends_the_run_also_where_python_drops_what_is_raised(
    tmp_path: Path, modules: dict[str, str]
) -> None:
    ended = run(tmp_path, {"run.py": RUN} | modules)

    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "")


def test_a_run_that_is_done_when_it_is_told_to_end_does_not_end_well(tmp_path: Path) -> None:
    ended = run(tmp_path, {"run.py": ENDING} | IN_AN_IMPORT)

    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "")


def run(place: Path, modules: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in modules.items():
        (place / name).write_text(text)
    return subprocess.run(
        [sys.executable, place / "run.py"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
