"""The manifest to work with: the one that is there, or a new one where the project has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ledgermind_obs.ages import format_age
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.manifest import LineageManifest, read_lineage_manifest

_READ_BY_DBT = (".sql", ".yml", ".yaml", ".py", ".csv", ".md")


@dataclass(frozen=True)
class ManifestFile:
    """A manifest, where it was found, and the project's files that are newer than it."""

    path: Path
    manifest: LineageManifest
    newer: tuple[str, ...] = ()

    def staleness(self, now: datetime) -> str:
        """Return how old the manifest is and what changed since; empty where nothing did."""
        if not self.newer:
            return ""
        age = format_age((now - written_at(self.path, self.manifest)).total_seconds())
        others = f" and {len(self.newer) - 1} more" if len(self.newer) > 1 else ""
        return f"{self.path} is {age} old, and {self.newer[0]}{others} changed since"


def open_manifest(path: Path, project_files: Iterator[Path] | None = None) -> ManifestFile:
    """Return the manifest at ``path``, compared with the project's files where they are given.

    Raises ConfigurationError where it cannot be read, ArtifactError where it cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", "write it with: dbt parse"
        ) from error
    manifest = read_lineage_manifest(content, str(path))
    moment = written_at(path, manifest).timestamp()
    return ManifestFile(path, manifest, tuple(_changed_since(moment, project_files or iter(()))))


def newest_manifest(*directories: Path) -> Path | None:
    """Return the manifest that was written last below dbt's target directories, if there is one."""
    paths = [directory / "manifest.json" for directory in directories]
    return max((path for path in paths if path.is_file()), key=_modified, default=None)


def project_files(directory: Path, resource_paths: Iterator[str]) -> Iterator[Path]:
    """Yield what dbt reads of a project: its settings, and files and directories of its resources.

    A directory's own time tells of a file that was taken away.
    """
    for name in ("dbt_project.yml", "packages.yml", "dependencies.yml", "package-lock.yml"):
        yield directory / name
    for resource_path in resource_paths:
        for found, _, names in os.walk(directory / resource_path):
            yield Path(found)
            yield from (Path(found, name) for name in names if name.endswith(_READ_BY_DBT))


def written_at(path: Path, manifest: LineageManifest) -> datetime:
    """Return when dbt wrote the manifest: what it says itself, else the file's time."""
    try:
        moment = datetime.fromisoformat(manifest.metadata.generated_at)
    except ValueError:
        return datetime.fromtimestamp(_modified(path), UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _changed_since(moment: float, files: Iterator[Path]) -> Iterator[str]:
    return (str(file) for file in files if file.exists() and _modified(file) > moment)


def _modified(path: Path) -> float:
    return path.stat().st_mtime
