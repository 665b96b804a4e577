"""The targets of ``make`` work from the warehouse as well, as a mail's pipe needs them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A copy of the makefiles, with an ``obs`` that says what it is called with."""
    for name in ("Makefile", "warehouse/Makefile", "ops/lineage.mk", "ops/targets.mk"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "venv.sh").write_text("")
    obs = tmp_path / ".venv" / "bin" / "obs"
    obs.parent.mkdir(parents=True)
    obs.write_text('#!/bin/sh\necho "$@"\nexit ${CODE:-0}\n')
    obs.chmod(0o755)
    return tmp_path


def run(place: Path, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=place,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("place", [".", "warehouse"])
def test_a_pipe_gets_the_report_and_nothing_else(app: Path, place: str) -> None:
    result = run(app / place, "make dbt-freshness | cat")

    assert result.stdout == "freshness report --project-dir warehouse\n"
    assert (result.stderr, result.returncode) == ("", 0)


def test_a_failure_fails_the_pipe(app: Path) -> None:
    assert run(app / "warehouse", "CODE=3 make dbt-freshness | cat").returncode != 0


def test_every_target_of_the_warehouse_is_one_of_the_root() -> None:
    targets = re.findall(r"^([a-z-]+): ##", (ROOT / "warehouse/Makefile").read_text(), re.MULTILINE)
    files = [ROOT / "Makefile", *ROOT.glob("ops/*.mk")]
    known = re.findall(r"^([a-z-]+):", "\n".join(f.read_text() for f in files), re.MULTILINE)

    assert "dbt-freshness" in targets
    assert set(targets) <= set(known)
