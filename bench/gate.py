"""What a verdict over tables costs, beside ``obs lineage check`` on the same manifest."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from bench.big_manifest import PROJECT, manifest
from bench.measure import Command, median_ratio, median_seconds, report, side_by_side
from ledgermind_obs.sinks.history import Observation, Record
from ledgermind_obs.sinks.record import write_record

OBS = str(Path(sys.executable).parent / "obs")
MODELS, TESTS, SOURCES, EXPOSURES = 10_000, 20_000, 1_000, 20
LIMIT = 1.3


@click.command()
@click.option("--runs", default=9, show_default=True, help="Counted runs of each.")
def main(runs: int) -> None:
    """Print the ratio with its limit; end with 1 if it is over."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        write_project(directory)
        env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
        named = ["--manifest", "big.json"]
        lineage = Command([OBS, "lineage", "check", *named], directory, env, (0, 1))
        artifact = ["--artifact", "sources.json", "--artifact-max-age", "1d"]
        check = [OBS, "freshness", "check", "--exposure", "exposure_0", *named, *artifact]
        gate = Command([*check, "--allow-unknown-age", "*"], directory, env)
        ours, theirs = side_by_side(gate, lineage, runs)
        detail = f"{median_seconds(ours):.2f} s / {median_seconds(theirs):.2f} s"
        found = report(
            "verdict over tables / lineage check", median_ratio(ours, theirs), LIMIT, detail
        )
    sys.exit(0 if found else 1)


def write_project(directory: Path) -> None:
    """Write a project of tables that were all measured and then built, without its SQL."""
    (directory / "dbt_project.yml").write_text(f"name: {PROJECT}\nprofile: big\n")
    (directory / "profiles.yml").write_text("big: {target: prod, outputs: {prod: {}}}\n")
    found = manifest(MODELS, TESTS, SOURCES, EXPOSURES)
    for node in found["nodes"].values():
        if node["resource_type"] == "model":
            node["config"]["materialized"] = "table"
    (directory / "big.json").write_bytes(msgspec.json.encode(found))
    now = datetime.now(UTC)
    (directory / "sources.json").write_bytes(msgspec.json.encode(_sources(found, now)))
    results = msgspec.json.encode(_run_results(found, now))
    (directory / "target/obs/prod").mkdir(parents=True)
    (directory / "target/run_results.json").write_bytes(results)
    seen = (now - timedelta(hours=4)).timestamp()
    looks = {uid: [Observation(seen, seen + 1, seen - 60)] for uid in found["sources"]}
    write_record(directory / "target/obs/prod", Record(PROJECT, "prod", looks), print)


def _sources(found: dict[str, Any], now: datetime) -> dict[str, Any]:
    loaded = (now - timedelta(hours=1)).isoformat()
    results = [
        {"unique_id": uid, "status": "pass", "max_loaded_at": loaded, "snapshotted_at": now}
        for uid in found["sources"]
    ]
    schema = "https://schemas.getdbt.com/dbt/sources/v3.json"
    metadata = {"dbt_schema_version": schema, "generated_at": now}
    return {"metadata": metadata, "results": results, "elapsed_time": 1.0}


def _run_results(found: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return a run of all models, each a second after its parents by the order of the layers."""
    start = now - timedelta(hours=3)
    models = [uid for uid in found["nodes"] if uid.startswith("model.")]
    results = []
    for number, uid in enumerate(models):
        began = start + timedelta(milliseconds=number)
        ended = began + timedelta(microseconds=500)
        timing = {"name": "execute", "started_at": began, "completed_at": ended}
        results.append({"unique_id": uid, "status": "success", "timing": [timing]})
    schema = "https://schemas.getdbt.com/dbt/run-results/v6.json"
    metadata = {"dbt_schema_version": schema, "generated_at": start + timedelta(minutes=1)}
    args = {"which": "build", "target": "prod"}
    return {"metadata": {**metadata, "invocation_id": "i"}, "results": results, "args": args}


if __name__ == "__main__":
    main()
