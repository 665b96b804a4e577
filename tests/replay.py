"""A dbt that replays a recorded run, as it was or multiplied to any number of sources."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
NEWEST = DATA / "dbt-1.11" / "whole"

# Stands in for dbt: leaves what was recorded where --target-path points, as of now and of the
# target that is asked for, says what dbt said, and ends as dbt ended.
_SCRIPT = r"""#!/bin/sh
here=$(dirname "$0")
while [ $# -gt 0 ]; do
  if [ "$1" = --target-path ]; then path=$2; fi
  if [ "$1" = --target ]; then target=$2; fi
  shift
done
mkdir -p "$path"
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
for artifact in sources.json manifest.json; do
  if [ -f "$here/$artifact" ]; then sed "s/@NOW@/$now/g" "$here/$artifact" >"$path/$artifact"; fi
done
sed "s/\"target_name\": \"production\"/\"target_name\": \"$target\"/" "$here/events.jsonl"
exit "$(cat "$here/exit_code")"
"""


def recorded(directory: Path, scenario: Path) -> Path:
    """Write a project and an executable that replays ``scenario``; return the executable."""
    for file in scenario.iterdir():
        shutil.copy(file, directory)
    artifact = directory / "sources.json"
    if artifact.is_file():
        artifact.write_text(json.dumps(_of_now(json.loads(artifact.read_bytes()))))
    return _write_project(directory)


def multiplied(directory: Path, sources: int) -> Path:
    """Write a project and an executable that answers for ``sources`` sources; return the latter."""
    artifact = _of_now(json.loads((NEWEST / "sources.json").read_bytes()))
    manifest = json.loads((NEWEST / "manifest.json").read_bytes())
    template = next(r for r in artifact["results"] if r["unique_id"] == "source.lab.lab.fresh")
    declared = manifest["sources"][template["unique_id"]]
    names = [f"table_{number:05}" for number in range(sources)]
    ids = [f"source.lab.lab.{name}" for name in names]
    artifact["results"] = [{**template, "unique_id": uid} for uid in ids]
    manifest["sources"] = {
        uid: {**declared, "unique_id": uid, "name": name, "identifier": name}
        for uid, name in zip(ids, names, strict=True)
    }
    (directory / "sources.json").write_text(json.dumps(artifact))
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (directory / "events.jsonl").write_text("\n".join(_events(template["unique_id"], ids)))
    (directory / "exit_code").write_text("0")
    return _write_project(directory)


def _of_now(artifact: dict[str, Any]) -> dict[str, Any]:
    """Return the artifact with ages as they were, in a run that takes place when it is replayed."""
    passed = datetime.now(UTC) - datetime.fromisoformat(artifact["metadata"]["generated_at"])
    artifact["metadata"]["generated_at"] = "@NOW@"
    for entry in artifact["results"]:
        loaded_at = datetime.fromisoformat(entry["max_loaded_at"])
        entry["snapshotted_at"] = "@NOW@"
        if loaded_at.year > 1:
            entry["max_loaded_at"] = (loaded_at + passed).isoformat()
    return artifact


def _events(recorded_id: str, ids: list[str]) -> list[str]:
    """Return the recorded log with the events of one source repeated for each of ``ids``."""
    lines = (NEWEST / "events.jsonl").read_text().splitlines()
    of_sources = [line for line in lines if '"unique_id"' in line]
    of_one = [line for line in of_sources if f'"{recorded_id}"' in line]
    others = [line for line in lines if line not in of_sources]
    repeated = [_of(line, recorded_id, uid, len(ids)) for uid in ids for line in of_one]
    return others[:-1] + repeated + others[-1:]


def _of(line: str, recorded_id: str, uid: str, total: int) -> str:
    event = json.loads(line.replace(f'"{recorded_id}"', f'"{uid}"'))
    event["data"]["total"] = total
    return json.dumps(event)


def _write_project(directory: Path) -> Path:
    (directory / "dbt_project.yml").write_text("name: lab\nprofile: lab\n")
    (directory / "profiles.yml").write_text("lab: {target: dev, outputs: {dev: {}}}\n")
    executable = directory / "dbt"
    executable.write_text(_SCRIPT)
    executable.chmod(0o755)
    return executable
