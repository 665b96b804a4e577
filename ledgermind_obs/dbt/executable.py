"""Which dbt there is: the one that was named, or PATH's, and what is installed with it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ledgermind_obs.errors import DbtError

_DISTRIBUTION = ".dist-info"


def search_executable(given: str | None) -> str | None:
    """Return the path of the given dbt, PATH's, or the one beside ``obs`` itself, if any."""
    found = (
        shutil.which(given) if given else shutil.which("dbt") or shutil.which("dbt", path=_beside())
    )
    return str(Path(found).absolute()) if found else None


def find_executable(given: str | None) -> str:
    """Return dbt's path as ``search_executable`` does; raises DbtError if there is none."""
    if found := search_executable(given):
        return found
    raise DbtError(
        f"there is no executable {given or 'dbt'} on PATH"
        + ("" if given else f" or in {_beside()}"),
        "install dbt-core and an adapter, or name it with --dbt",
    )


def installation(executable: str) -> str:
    """Return the path of a dbt with the versions of dbt and its adapters, as far as they are seen.

    They are read from the names of the directories that pip keeps beside a virtual environment's
    ``bin``: dbt itself needs two seconds to say its version.
    """
    real = os.path.realpath(executable)
    libraries = Path(real).parent.parent / "lib"
    names = (
        path.name.removesuffix(_DISTRIBUTION)
        for path in libraries.glob(f"python*/site-packages/dbt_*{_DISTRIBUTION}")
    )
    return " ".join([real, *sorted(names)])


def _beside() -> str:
    return str(Path(sys.executable).parent)
