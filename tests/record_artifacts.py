"""Record what real dbt versions write and say, into ``tests/data/dbt-VERSION/SCENARIO/``.

Run by hand, from the repository root: ``python -m tests.record_artifacts --cache DIR``. Each dbt
gets an environment of its own below the cache directory, which the next run finds again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.postgres import Postgres, postgres
from services.server import free_port

DATA = Path(__file__).parent / "data"
REQUIREMENTS = {
    "1.8": ["dbt-core==1.8.*", "dbt-postgres==1.8.*"],
    "1.9": ["dbt-core==1.9.*", "dbt-postgres==1.9.*"],
    "1.10": ["dbt-core==1.10.*", "dbt-postgres==1.10.*"],
    "1.11": ["dbt-core==1.11.*", "dbt-postgres==1.11.*"],
    "2.0": ["dbt-core==2.0.0a4"],
}
FRESHNESS = ("source", "freshness")
ARTIFACTS = ("sources.json", "manifest.json")
LOSING = [f"source:lab.{table}" for table in ("expression", "filtered", "fresh", "very_stale")]

# Of no use to a reader of freshness or lineage, and most of a manifest's size. Without a result
# (``artifacts=()``) the manifest would tell nothing either.
_EMPTIED = ("macros", "docs", "selectors")
_DROPPED = frozenset(
    {
        *("build_path", "checksum", "compiled_code", "compiled_path", "created_at", "doc_blocks"),
        *("docs", "external", "language", "nodes_with_ref_location", "patch_path", "persist_docs"),
        *("post-hook", "pre-hook", "raw_code", "root_path", "source_description", "source_meta"),
        *("static_analysis", "unrendered_config", "unrendered_database", "unrendered_schema"),
    }
)
_SECONDS = 180


@dataclass(frozen=True)
class Lab:
    """One dbt version, its copy of the project and the database it reads."""

    dbt: Path
    project: Path
    env: dict[str, str]
    postgres: Postgres | None = None

    def port_is(self, port: int) -> Lab:
        """Return the same lab with its database expected on another port."""
        return replace(self, env={**self.env, "PGPORT": str(port)})


@dataclass(frozen=True)
class Scenario:
    """One run of dbt and the circumstances it is run in."""

    args: Sequence[str] = FRESHNESS
    prepare: Callable[[Lab], Lab] = lambda lab: lab
    lose_database_at: str = ""
    artifacts: Sequence[str] = ARTIFACTS


def _break_yaml(lab: Lab) -> Lab:
    (lab.project / "models/broken.yml").write_text("version: 2\nsources:\n  - name: [unclosed\n")
    return lab


SCENARIOS = {
    "whole": Scenario(),
    "selected": Scenario(
        (*FRESHNESS, "--select", "source:other.fresh", "source:lab.missing_table")
    ),
    "nothing_selected": Scenario((*FRESHNESS, "--select", "source:nope")),
    "database_down": Scenario(prepare=lambda lab: lab.port_is(free_port()), artifacts=()),
    "database_lost": Scenario(
        (*FRESHNESS, "--threads", "1", "--select", *LOSING), lose_database_at="lab.filtered"
    ),
    "wrong_password": Scenario(
        prepare=lambda lab: replace(lab, env={**lab.env, "PGPASSWORD": "wrong"}), artifacts=()
    ),
    "parse_error": Scenario(prepare=_break_yaml),
    "unknown_target": Scenario((*FRESHNESS, "--target", "nope")),
    "unknown_option": Scenario((*FRESHNESS, "--nope")),
}
SCENARIOS_V2 = {"parse": Scenario(("parse",)), "whole": Scenario()}


def main() -> None:
    """Record the versions that were asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="directory for dbt environments")
    parser.add_argument(
        "--python", default=sys.executable, help="3.9 to 3.12, for old dbt versions"
    )
    parser.add_argument("versions", nargs="*", default=list(REQUIREMENTS))
    options = parser.parse_args()
    for version in options.versions:
        dbt = environment(options.cache.resolve() / version, REQUIREMENTS[version], options.python)
        record = record_v2 if version.startswith("2.") else record_v1
        record(version, dbt)


def environment(home: Path, requirements: Sequence[str], python: str) -> Path:
    """Return the dbt program of a virtual environment, which is made where it is not there."""
    dbt = home / "bin/dbt"
    if not dbt.exists():
        subprocess.run([python, "-m", "venv", home], check=True)
        pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *requirements], check=True)
    return dbt


def record_v1(version: str, dbt: Path) -> None:
    """Record every scenario of a dbt 1.x on PostgreSQL."""
    for name, scenario in SCENARIOS.items():
        with _workplace() as place, postgres(place / "server") as server:
            project = _copy_lab(place, version)
            database = _loaded_database(server)
            env = {**database.env(), "PGUSER": "reader", "PGPASSWORD": "reader"}
            lab = scenario.prepare(Lab(dbt, project, env, server))
            _record(lab, scenario, DATA / f"dbt-{version}" / name)


def record_v2(version: str, dbt: Path) -> None:
    """Record what a dbt 2 does with a DuckDB project, whose driver it has to do without."""
    for name, scenario in SCENARIOS_V2.items():
        with _workplace() as place:
            project = shutil.copytree(DATA / "lab-v2", place / "lab")
            _record(Lab(dbt, project, {}), scenario, DATA / f"dbt-{version}" / name)


@contextmanager
def _workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="obs-record-") as directory:
        yield Path(directory).resolve()


def _copy_lab(place: Path, version: str) -> Path:
    project = shutil.copytree(DATA / "lab", place / "lab")
    newer = project / "from-1.10"
    if version not in {"1.8", "1.9"}:
        shutil.copytree(newer, project, dirs_exist_ok=True)
    shutil.rmtree(newer)
    return project


def _loaded_database(server: Postgres) -> Postgres:
    database = server.create_database("lab")
    session = database.connect()
    with session, session.cursor() as cursor:
        cursor.execute((DATA / "lab/tables.sql").read_text())
    session.close()
    return database


def _record(lab: Lab, scenario: Scenario, into: Path) -> None:
    target = lab.project / "target"
    exit_code, output = _run(lab, scenario, target)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    (into / "exit_code").write_text(f"{exit_code}\n")
    (into / "events.jsonl").write_text(_anonymous(output, lab))
    for name in filter(lambda name: (target / name).exists(), scenario.artifacts):
        content = json.loads(_anonymous((target / name).read_text(), lab))
        if name == "manifest.json":
            content = reduced(content, _EMPTIED, _DROPPED)
        (into / name).write_text(json.dumps(content, separators=(",", ":")) + "\n")
    found = ", ".join(sorted(file.name for file in into.iterdir()))
    sys.stderr.write(f"{into.relative_to(DATA)}: exit {exit_code}; {found}\n")


def _run(lab: Lab, scenario: Scenario, target: Path) -> tuple[int, str]:
    """Run dbt to its end; return its exit code and what it printed."""
    logged = [str(lab.dbt), "--log-format", "json", "--no-use-colors"]
    command = [*logged, *scenario.args, "--target-path", str(target)]
    with (
        _locked_table(lab, scenario.lose_database_at),
        subprocess.Popen(
            command,
            cwd=lab.project,
            env=_environment(lab),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        deadline = threading.Timer(_SECONDS, process.kill)
        deadline.start()
        try:
            output = "".join(_lines(process, lab, scenario))
            return process.wait(), output
        finally:
            deadline.cancel()
            process.kill()


def _environment(lab: Lab) -> dict[str, str]:
    return {
        **lab.env,
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "HOME": str(lab.project),
        "PATH": os.defpath,
    }


def _lines(process: subprocess.Popen[str], lab: Lab, scenario: Scenario) -> Iterator[str]:
    """Yield what dbt prints, and end the database when dbt starts on a certain table."""
    assert process.stdout is not None
    start = f"START freshness of {scenario.lose_database_at} "
    for line in process.stdout:
        yield line
        if scenario.lose_database_at and start in line and lab.postgres:
            lab.postgres.stop()


@contextmanager
def _locked_table(lab: Lab, table: str) -> Iterator[None]:
    """Keep dbt waiting on ``table``, so that the database is lost while it looks."""
    if not table or lab.postgres is None:
        yield
        return
    session = replace(lab.postgres, dbname="lab").connect()
    session.cursor().execute(f"lock table {table} in access exclusive mode")
    yield
    session.close()


def _anonymous(text: str, lab: Lab) -> str:
    """Return dbt's text with nothing in it that is this machine's."""
    for path, name in ((lab.project, "/lab"), (lab.dbt.parent.parent, "/venv")):
        text = text.replace(str(path), name)
    if port := lab.env.get("PGPORT"):
        text = re.sub(rf"\b{port}\b", "5432", text)
    return re.sub(r'("pid": ?)\d+', r"\g<1>1", text)


def reduced(
    manifest: dict[str, Any], emptied: Collection[str], dropped: Collection[str]
) -> dict[str, Any]:
    """Return a manifest with every key a reader of sources and lineage may want, and no bulk.

    Of the ``emptied`` keys at the top only the key stays; the ``dropped`` ones go at any depth.
    """
    empty: dict[str, Any] = {key: {} for key in emptied if key in manifest}
    return {**_without(manifest, dropped), **empty}


def _without(value: Any, dropped: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, dropped) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        return [_without(item, dropped) for item in value]
    return value


if __name__ == "__main__":
    main()
