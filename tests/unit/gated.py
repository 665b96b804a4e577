"""A project in front of which there is a gate, with a dbt that does as it is told."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.unit.manifests import RAW, Named, content, sound

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# Does what is in `does` beside it. `manifest()` and `sources()` write what is prepared there.
_DBT = """\
#!{python}
import json, os, pathlib, shutil, signal, sys, time
place = pathlib.Path(__file__).parent
target = pathlib.Path(sys.argv[sys.argv.index("--target-path") + 1])
target.mkdir(parents=True, exist_ok=True)
def manifest():
    shutil.copy(place / "prepared_manifest.json", target / "manifest.json")
def sources():
    if sys.argv[1] == "source":
        shutil.copy(place / "prepared_sources.json", target / "sources.json")
def says(name, **data):
    print(json.dumps({{"info": {{"name": name, "invocation_id": "i"}}, "data": data}}), flush=True)
says("Found")
exec((place / "does").read_text())
"""
WELL = "manifest(); sources()"


def write_gated(place: Path) -> dict[str, str]:
    """Write a project whose one source is fresh; return the environment that ``obs`` needs."""
    (place / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    (place / "profiles.yml").write_text("shop: {target: prod, outputs: {prod: {}}}\n")
    os.utime(place / "dbt_project.yml", (0, 0))
    (place / "target").mkdir()
    dbt = place / "dbt"
    dbt.write_text(_DBT.format(python=sys.executable))
    dbt.chmod(0o755)
    (place / "does").write_text(WELL)
    declare(place, *sound())
    write_artifact(place, result(RAW))
    return {"OBS_DBT": str(dbt)}


def declare(place: Path, *nodes: Named, **keys: Any) -> None:
    """Let dbt have parsed these nodes, and parse them again when it is asked to."""
    for path in (place / "target/manifest.json", place / "prepared_manifest.json"):
        path.write_bytes(content(*nodes, **keys))


def result(uid: str, age: timedelta = HOUR, status: str = "pass", **fields: Any) -> dict[str, Any]:
    """Return the entry of a source that was checked just now."""
    now = datetime.now(UTC)
    times = {"max_loaded_at": (now - age).isoformat(), "snapshotted_at": now.isoformat()}
    return {"unique_id": uid, "status": status, **times, **fields}


def write_artifact(
    place: Path, *results: dict[str, Any], age: timedelta = timedelta(), **meta: Any
) -> None:
    """Prepare what dbt writes into sources.json."""
    metadata = {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/sources/v3.json",
        "generated_at": (datetime.now(UTC) - age).isoformat(),
        **meta,
    }
    document = {"metadata": metadata, "results": results, "elapsed_time": 1.0}
    (place / "prepared_sources.json").write_text(json.dumps(document))


def write_run_results(
    place: Path,
    statuses: dict[str, str],
    began: timedelta = HOUR,
    command: str = "build",
    **args: Any,
) -> Path:
    """Write what a run of dbt writes that began so long ago, a node after the other; return where.

    Each takes ten seconds.
    """
    start = datetime.now(UTC) - began
    moments = [start + timedelta(seconds=10 * number) for number in range(len(statuses) + 1)]
    document = {
        "metadata": {
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
            "generated_at": moments[-1].isoformat(),
            "invocation_id": f"run of {start}",
        },
        "results": [
            {"unique_id": uid, "status": status, "timing": [_phase(*moments[at : at + 2])]}
            for at, (uid, status) in enumerate(statuses.items())
        ],
        "args": {"which": command, **args},
    }
    path = place / "target/run_results.json"
    path.write_text(json.dumps(document))
    return path


def _phase(began: datetime, ended: datetime) -> dict[str, str]:
    return {
        "name": "execute",
        "started_at": began.isoformat(),
        "completed_at": ended.isoformat(),
    }
