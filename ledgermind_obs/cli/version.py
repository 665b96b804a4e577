"""What ``obs --version`` says: this program, its Python, and the dbt that it would run."""

from __future__ import annotations

import os
import platform

from ledgermind_obs import __version__
from ledgermind_obs.dbt.executable import search_executable, versions


def version_lines() -> list[str]:
    """Return the versions, one per line; dbt's as far as its environment shows them."""
    return [f"obs {__version__}", f"Python {platform.python_version()}", _dbt_line()]


def _dbt_line() -> str:
    executable = search_executable(os.environ.get("OBS_DBT"))
    if executable is None:
        return "dbt not found on PATH"
    found = versions(executable)
    core = found.pop("dbt-core", None)
    if core is None:
        return f"dbt of an unknown version ({executable})"
    adapters = ", ".join(f"{name} {version}" for name, version in found.items())
    return f"dbt {core} with {adapters or 'no adapter'} ({executable})"
