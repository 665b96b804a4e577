"""Record the manifests that real dbt versions make of a project with every kind of node.

Run by hand, from the repository root: ``python -m tests.record_manifests --cache DIR``. Each dbt
gets an environment of its own below the cache directory, which the next run finds again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.record_artifacts import REQUIREMENTS, environment, reduced

DATA = Path(__file__).parent / "data"
VERSIONS = ("1.8", "1.9", "1.10", "1.11")

# Most of a manifest's size, and nothing of its graph.
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
    """Write ``dbt-VERSION/kinds/manifest.json``."""
    with tempfile.TemporaryDirectory() as directory:
        project = _copy(Path(directory).resolve() / "kinds", version)
        env = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "PATH": os.defpath, "HOME": directory}
        subprocess.run([dbt, "parse", "--profiles-dir", "."], cwd=project, env=env, check=True)
        text = (project / "target/manifest.json").read_text().replace(str(project), "/kinds")
    into = DATA / f"dbt-{version}/kinds"
    into.mkdir(parents=True, exist_ok=True)
    manifest = reduced(json.loads(text), _EMPTIED, _DROPPED)
    (into / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")) + "\n")


def _copy(project: Path, version: str) -> Path:
    shutil.copytree(DATA / "kinds", project)
    newer = project / "from-1.11"
    if version == "1.11":
        shutil.copytree(newer, project, dirs_exist_ok=True)
    shutil.rmtree(newer)
    return project


if __name__ == "__main__":
    main()
