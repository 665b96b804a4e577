"""The engine that measures nothing: it reads what a run of dbt elsewhere has left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ledgermind_obs.dbt.artifacts import check_age, open_artifact
from ledgermind_obs.dbt.manifest import Manifest, read_manifest
from ledgermind_obs.dbt.manifest_file import manifest_of
from ledgermind_obs.dbt.reconcile import report_of_file
from ledgermind_obs.engines.settings import Recorded
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.freshness import FreshnessReport


def read_recorded(
    engine: Recorded,
    select: Sequence[str],
    exclude: Sequence[str],
    meanwhile: Callable[[], None] = lambda: None,
) -> FreshnessReport:
    """Return what the artifact says of the sources that it holds.

    It is of a whole run only if it holds every source with freshness. Raises ConfigurationError if
    it cannot be read or is to be narrowed, ArtifactError if it cannot be used.
    """
    if select or exclude:
        raise ConfigurationError(
            "--artifact publishes what is in the file", "drop --select, --exclude and --exposure"
        )
    artifact, name = open_artifact(engine.artifact), str(engine.artifact)
    check_age(artifact, name, engine.max_age, datetime.now(UTC))
    manifest = manifest_of(engine.dbt, engine.manifest, _read).manifest
    meanwhile()
    return report_of_file(artifact, manifest, target=engine.project.target, name=name)


def _read(content: bytes, name: str) -> Manifest:
    return read_manifest(content, name)
