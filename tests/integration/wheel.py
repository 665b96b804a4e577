"""The wheel, and environments that hold nothing but it and what pip installs with it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
BUILD_SECONDS = 300


def run(*argv: object, **env: str) -> str:
    """Run a command and return its output; fail with all that it printed if it does."""
    done = subprocess.run(
        [str(arg) for arg in argv],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
        env=os.environ | env,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path) -> dict[str, Path]:
    """Build wheel and sdist into ``folder``; return them by their suffix."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return {path.suffix: path for path in folder.iterdir()}


def install(
    environment: Path, *packages: object, constraints: Sequence[Path] = (CONSTRAINTS,)
) -> Path:
    """Make an environment that has these packages and what they need; return its Python."""
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    add(python, *packages, constraints=constraints)
    return python


def add(python: Path, *packages: object, constraints: Sequence[Path] = (CONSTRAINTS,)) -> None:
    """Install packages into an environment that exists."""
    pins = [word for pin in constraints for word in ("-c", pin)]
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *pins, *packages)


def installed(python: Path) -> set[str]:
    """Return the packages of an environment with their versions, once pip has found no fault."""
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "check")
    return set(run(*pip, "freeze").splitlines())
