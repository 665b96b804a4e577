"""What the gate judges by: measured now, an artifact, or what was pushed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ledgermind_obs.dbt.artifacts import last_artifact
from ledgermind_obs.dbt.reconcile import report_of_artifact
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.freshness import FreshnessReport
from ledgermind_obs.lineage.upstream import Upstream


def last_report(
    given: Path | None, directories: Iterable[Path], upstream: Upstream
) -> FreshnessReport:
    """Return what the last freshness run says of the sources above an exposure.

    Raises ConfigurationError where there was no run, ArtifactError where it cannot be used.
    """
    found = last_artifact(given, directories)
    if found is None:
        raise ConfigurationError(
            "there is no sources.json of this project",
            "measure first: obs freshness check, or name one with --artifact",
        )
    path, artifact = found
    manifest = upstream.lineage.manifest
    return report_of_artifact(artifact, manifest, upstream.measured, target="", name=str(path))
