"""dbt's ``sources.json`` and ``freshness.json``: what a run measured."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ledgermind_obs.dbt.manifest import Freshness, Metadata
from ledgermind_obs.errors import ArtifactError, ConfigurationError

# sources.json, and the freshness.json of dbt v2's own ``dbt freshness``.
_SCHEMAS = ("/dbt/sources/", "/dbt/freshness/")


class Result(msgspec.Struct, frozen=True):
    """One entry of ``sources.json``."""

    unique_id: str
    status: str
    max_loaded_at: datetime | None = None
    snapshotted_at: datetime | None = None
    criteria: Freshness | None = None
    error: str | None = None


class Artifact(msgspec.Struct, frozen=True):
    """``sources.json`` (schema v1 to v3), or dbt v2's ``freshness.json``, as dbt writes it."""

    metadata: Metadata
    results: list[Result]
    elapsed_time: float | None = None


def read_artifact(content: bytes, name: str = "sources.json") -> Artifact:
    """Return the freshness artifact in ``content``; ``name`` is what errors call it.

    Raises ArtifactError where it is cut short, not JSON, of another shape or of another schema.
    """
    try:
        artifact = msgspec.json.decode(content, type=Artifact)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{name} cannot be read: {error}") from error
    if not any(schema in artifact.metadata.dbt_schema_version for schema in _SCHEMAS):
        schema = artifact.metadata.dbt_schema_version or "no schema at all"
        raise ArtifactError(f"{name} is not a freshness result of dbt: it names {schema}")
    return artifact


def generated_at(metadata: Metadata, name: str) -> datetime:
    """Return when dbt wrote an artifact; raises ArtifactError where it does not say."""
    try:
        moment = datetime.fromisoformat(metadata.generated_at)
    except ValueError as error:
        raise ArtifactError(f"{name} does not say when it was written") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _aware(moment: datetime | None) -> datetime | None:
    """Return the moment with a zone: dbt takes a time without one as UTC."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def last_artifact(given: Path | None, target_path: Path | None) -> tuple[Path, Artifact] | None:
    """Return the newest freshness artifact of the project, or the one that was named.

    Raises ConfigurationError where that cannot be read, ArtifactError where it cannot be used.
    """
    names = (
        [target_path / "obs" / "sources.json", target_path / "sources.json"] if target_path else []
    )
    existing = [path for path in names if path.is_file()]
    path = given or max(existing, key=lambda path: path.stat().st_mtime, default=None)
    if path is None:
        return None
    return path, open_artifact(path)


def open_artifact(path: Path) -> Artifact:
    """Return the freshness artifact at ``path``.

    Raises ConfigurationError where it cannot be read, ArtifactError where it cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", "write it with: dbt source freshness"
        ) from error
    return read_artifact(content, str(path))


def last_run(given: Path | None, target_path: Path | None) -> frozenset[str] | None:
    """Return the ids of the sources that the last freshness run holds; None without a run."""
    found = last_artifact(given, target_path)
    return frozenset(result.unique_id for result in found[1].results) if found else None
