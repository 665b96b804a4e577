"""What lineage costs: its decoding beside a bare one, its whole process, and beside ``dbt ls``."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from bench.big_manifest import write
from bench.measure import Command, median_seconds, report
from ledgermind_obs.dbt.manifest import read_lineage_manifest
from tests.generated import write_project

BIN = Path(sys.executable).parent
OBS, DBT = str(BIN / "obs"), str(BIN / "dbt")
LIMIT_SECONDS, LIMIT_MIB = 0.5, 150.0


class _Edges(msgspec.Struct):
    nodes: list[str] | None = None


class _Node(msgspec.Struct):
    name: str
    resource_type: str
    original_file_path: str
    depends_on: _Edges | None = None


class _Bare(msgspec.Struct):
    """The least a lineage needs."""

    nodes: dict[str, _Node]
    sources: dict[str, _Node]
    exposures: dict[str, _Node]
    parent_map: dict[str, list[str]]


@click.command()
@click.option("--runs", default=9, show_default=True, help="Counted runs of each.")
@click.option("--models", default=5_000, show_default=True, help="Models beside dbt ls.")
def main(runs: int, models: int) -> None:
    """Print each number with its limit; end with 1 where one is over."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        manifest = write(directory / "big", 10_000, 20_000, 1_000, 20)
        results = [decode_ratio(manifest, runs), *whole_process(manifest, runs)]
        results.append(beside_dbt_ls(directory / "project", models))
    sys.exit(0 if all(results) else 1)


def decode_ratio(manifest: Path, runs: int) -> bool:
    """Compare reading the manifest with a bare typed decode of the same bytes."""
    content = manifest.read_bytes()
    pairs = [
        (_seconds(lambda: read_lineage_manifest(content)), _seconds(lambda: _bare(content)))
        for _ in range(runs)
    ]
    ratio = statistics.median(ours / bare for ours, bare in pairs)
    size = len(content) / 1e6
    return report("decode of a manifest / bare typed decode", ratio, 1.2, f"{size:.0f} MB")


def _bare(content: bytes) -> _Bare:
    return msgspec.json.decode(content, type=_Bare)


def _seconds(work: Callable[[], Any]) -> float:
    """Return the processor's seconds: a decode waits for nothing, and neighbours do not count."""
    began = time.process_time()
    kept = work()
    seconds = time.process_time() - began
    del kept
    return seconds


def whole_process(manifest: Path, runs: int) -> list[bool]:
    """Measure ``obs lineage check``, from its start to its end."""
    directory = manifest.parent
    argv = [OBS, "lineage", "check", "--manifest", str(manifest)]
    command = Command(argv, directory, dict(os.environ))
    command()
    measured = [command() for _ in range(runs)]
    seconds, peak = median_seconds(measured), max(run.peak_mib for run in measured)
    return [
        report("obs lineage check, whole process, seconds", seconds, LIMIT_SECONDS, ""),
        report("obs lineage check, whole process, MiB", peak, LIMIT_MIB, ""),
    ]


def beside_dbt_ls(directory: Path, models: int) -> bool:
    """Compare the sources above an exposure, by ``obs`` and by a warm ``dbt ls``."""
    write_project(directory, seed=1, models=models, sources=500)
    env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    _output([DBT, "parse", "--profiles-dir", "."], directory, env)
    ls = [DBT, "--quiet", "ls", "--profiles-dir", ".", "--select", "+exposure:use0"]
    ls += ["--resource-type", "source", "--output", "json", "--output-keys", "unique_id"]
    graph = [OBS, "lineage", "graph", "use0", "--only-sources", "--format", "json"]
    _output(graph, directory, env)  # obs parses once
    by_dbt, dbt_seconds = _timed(ls, directory, env)
    by_obs, obs_seconds = min((_timed(graph, directory, env) for _ in range(5)), key=lambda t: t[1])
    selected = {json.loads(line)["unique_id"] for line in by_dbt.splitlines()}
    found = {node["unique_id"] for node in json.loads(by_obs)["nodes"]} - {
        "exposure.generated.use0"
    }
    if selected != found:
        raise RuntimeError(f"dbt and obs disagree on {sorted(selected ^ found)[:5]}")
    detail = f"{obs_seconds:.2f} s / {dbt_seconds:.1f} s, the same {len(found)} sources"
    return report("obs lineage graph / dbt ls", obs_seconds / dbt_seconds, 1 / 60, detail)


def _timed(argv: list[str], directory: Path, env: dict[str, str]) -> tuple[str, float]:
    began = time.perf_counter()
    output = _output(argv, directory, env)
    return output, time.perf_counter() - began


def _output(argv: list[str], directory: Path, env: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
