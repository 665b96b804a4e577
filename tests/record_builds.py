"""Record the ``run_results.json`` that real dbt versions write of builds that go in every way.

Run by hand, from the repository root: ``python -m tests.record_builds --cache DIR``. Each dbt gets
an environment of its own below the cache directory, which the next run finds again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from services.postgres import postgres
from tests.record_artifacts import (
    DATA,
    REQUIREMENTS,
    Lab,
    _anonymous,
    _environment,
    environment,
    reduced,
)

VERSIONS = ("1.8", "1.9", "1.10", "1.11")
_BATCHES = ("--event-time-start", "2026-01-01", "--event-time-end", "2026-01-04")
SCENARIOS = {
    "build": ("build", "--exclude", "daily"),
    "test": ("test", "--exclude", "daily"),
    "empty": ("build", "--empty", "--exclude", "daily"),
    "one_model": ("run", "--select", "fct_orders"),
    "seed": ("seed",),
    "snapshot": ("snapshot",),
    "batches": ("run", "--select", "daily", *_BATCHES),
    "sample": ("run", "--select", "stg_orders", "fct_orders", "--sample", "3 days"),
    "freshness": ("source", "freshness"),
    "compile": ("compile", "--select", "fct_orders"),
}
_SINCE = {"batches": "1.9", "sample": "1.10"}
_EMPTIED = ("macros", "docs", "selectors", "child_map", "group_map")
_DROPPED = frozenset({"raw_code", "compiled_code", "docs", "created_at", "root_path", "doc_blocks"})


def main() -> None:
    """Record the versions that were asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="directory for dbt environments")
    parser.add_argument(
        "--python", default=sys.executable, help="3.9 to 3.12, for old dbt versions"
    )
    parser.add_argument("versions", nargs="*", default=VERSIONS)
    options = parser.parse_args()
    for version in options.versions:
        dbt = environment(options.cache.resolve() / version, REQUIREMENTS[version], options.python)
        record(version, dbt)


def record(version: str, dbt: Path) -> None:
    """Write ``dbt-VERSION/builds/``: the scenarios one after the other, on one database."""
    into = DATA / f"dbt-{version}/builds"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="obs-record-") as directory:
        place = Path(directory).resolve()
        with postgres(place / "server") as server:
            database = server.create_database("lab")
            with database.connect() as session, session.cursor() as cursor:
                cursor.execute((DATA / "builds/tables.sql").read_text())
            session.close()
            lab = Lab(dbt, _project(place / "lab", version), database.env())
            for name in _scenarios(version):
                _record(lab, name, into)


def _scenarios(version: str) -> list[str]:
    number = VERSIONS.index(version)
    return [name for name in SCENARIOS if VERSIONS.index(_SINCE.get(name, "1.8")) <= number]


def _project(place: Path, version: str) -> Path:
    shutil.copytree(DATA / "builds", place)
    newer = place / "from-1.9"
    if version != "1.8":
        shutil.copytree(newer, place, dirs_exist_ok=True)
    shutil.rmtree(newer)
    return place


def _record(lab: Lab, name: str, into: Path) -> None:
    command = [str(lab.dbt), *SCENARIOS[name], "--profiles-dir", "."]
    done = subprocess.run(
        command, cwd=lab.project, env=_environment(lab), check=False, stdout=subprocess.DEVNULL
    )
    written = lab.project / "target/run_results.json"
    results = json.loads(_anonymous(written.read_text(), lab)) if written.exists() else None
    if results:
        for result in results["results"]:
            result.pop("compiled_code", None)
        (into / f"{name}.json").write_text(json.dumps(results, separators=(",", ":")) + "\n")
        written.unlink()
    sys.stderr.write(f"{into.name} {lab.dbt.parts[-3]} {name}: exit {done.returncode}\n")
    if name == "build":
        text = _anonymous((lab.project / "target/manifest.json").read_text(), lab)
        manifest = reduced(json.loads(text), _EMPTIED, _DROPPED)
        (into / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
