"""Which dbt there is: the one that was named, or PATH's, and what is installed with it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ledgermind_obs.errors import DbtError

_DISTRIBUTION = ".dist-info"
# Distributions that are neither dbt nor an adapter.
_PARTS_OF_DBT = frozenset(
    {"dbt-adapters", "dbt-common", "dbt-extractor", "dbt-protos", "dbt-semantic-interfaces"}
    | {"dbt-core-experimental-parser"}
)


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
        f"there is no {given} to run" if given else f"there is no dbt on PATH or in {_beside()}",
        "name dbt's path with --dbt"
        if given
        else "pip install dbt-core and your adapter (for PostgreSQL: pip install "
        "'ledgermind-obs[postgres]'), or name another environment's dbt with --dbt",
    )


def installation(executable: str) -> str:
    """Return the path of a dbt with the versions of dbt and its adapters, as far as they are seen.

    They are read from the names of the directories that pip keeps beside a virtual environment's
    ``bin``: dbt itself needs two seconds to say its version.
    """
    return " ".join([os.path.realpath(executable), *_distributions(executable)])


def versions(executable: str) -> dict[str, str]:
    """Return the versions of a dbt and its adapters by their names, as far as they are seen."""
    named = (name.rpartition("-") for name in _distributions(executable))
    found = {name.replace("_", "-"): version for name, _, version in named}
    return {
        name: version
        for name, version in found.items()
        if name.startswith("dbt-") and name not in _PARTS_OF_DBT
    }


def _distributions(executable: str) -> list[str]:
    libraries = Path(os.path.realpath(executable)).parent.parent / "lib"
    found = libraries.glob(f"python*/site-packages/dbt_*{_DISTRIBUTION}")
    return sorted(path.name.removesuffix(_DISTRIBUTION) for path in found)


def _beside() -> str:
    return str(Path(sys.executable).parent)
