"""Our own dashboard is the one that any project of its kind would get."""

import shlex
import subprocess
from pathlib import Path

from tests.integration.shop import OBS

ROOT = Path(__file__).parents[2]


def test_our_own_dashboard_is_what_the_generator_writes_for_our_project(tmp_path: Path) -> None:
    makefile = (ROOT / "ops/targets.mk").read_text().replace("\\\n", " ")
    (line,) = [each for each in makefile.splitlines() if each.startswith("DASHBOARD := $(OBS) ")]
    argv = [OBS, *shlex.split(line)[3:], "--check", "--target-path", str(tmp_path)]
    assert argv[1:3] == ["dashboard", "generate"]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
