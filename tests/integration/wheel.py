"""The wheel, and environments that hold nothing but it and what pip installs with it."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
BUILD_SECONDS = 300


def run(*argv: object) -> None:
    """Run a command; fail with all that it printed if it does."""
    done = subprocess.run(
        [str(arg) for arg in argv],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def build(folder: Path) -> dict[str, Path]:
    """Build wheel and sdist into ``folder``; return them by their suffix."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return {path.suffix: path for path in folder.iterdir()}


def install(environment: Path, *packages: object, constraints: tuple[Path, ...] = ()) -> Path:
    """Make an environment that has these packages and what they need; return its Python."""
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pins = [word for pin in (CONSTRAINTS, *constraints) for word in ("-c", pin)]
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    run(*pip, *pins, *packages)
    return python
