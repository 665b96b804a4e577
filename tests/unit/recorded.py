"""What real dbt versions wrote, read the way ``obs`` reads it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from ledgermind_obs.dbt.artifacts import generated_at, read_artifact
from ledgermind_obs.dbt.log import RunLog
from ledgermind_obs.dbt.manifest import read_manifest
from ledgermind_obs.dbt.reconcile import build_report
from ledgermind_obs.freshness import FreshnessReport

DATA = Path(__file__).parents[1] / "data"
VERSIONS = ("1.8", "1.9", "1.10", "1.11")
RUN = timedelta(minutes=1)


def scenario(version: str, name: str) -> Path:
    return DATA / f"dbt-{version}" / name


def log_of(folder: Path) -> RunLog:
    log = RunLog()
    for line in (folder / "events.jsonl").read_bytes().splitlines(keepends=True):
        log.read(line)
    return log


def ended_at(folder: Path) -> datetime:
    """Return when a recorded run wrote its result."""
    artifact = read_artifact((folder / "sources.json").read_bytes())
    return generated_at(artifact.metadata, "sources.json")


def report_of(folder: Path, *, whole: bool = True, sources: bytes | None = None) -> FreshnessReport:
    content = (folder / "sources.json").read_bytes() if sources is None else sources
    return build_report(
        read_artifact(content),
        read_manifest((folder / "manifest.json").read_bytes()),
        log_of(folder),
        whole=whole,
        target="dev",
        started_at=ended_at(folder) - RUN,
        duration_seconds=RUN.total_seconds(),
    )
