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
import signal, sys
from ledgermind_obs.__main__ import _end_on_signals
_end_on_signals()
import dropping
if hasattr(dropping, "Callback"):
    dropping.Callback()
signal.sigtimedwait([], 20)
print("nobody was told")
"""


@pytest.mark.parametrize("modules", [IN_AN_IMPORT, IN_A_CALLBACK], ids=["import", "callback"])
def test_a_signal_ends_the_run_also_where_python_drops_what_is_raised(
    tmp_path: Path, modules: dict[str, str]
) -> None:
    for name, text in modules.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "run.py").write_text(RUN)

    ended = subprocess.run(
        [sys.executable, tmp_path / "run.py"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "")
