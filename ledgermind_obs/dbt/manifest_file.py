"""The manifest to work with, and what of the project has changed since dbt wrote it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from ledgermind_obs.dbt.manifest import Manifest
from ledgermind_obs.dbt.project import resource_paths
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ConfigurationError

_READ_BY_DBT = (".sql", ".yml", ".yaml", ".py", ".csv", ".md")
_SETTINGS = ("dbt_project.yml", "packages.yml", "dependencies.yml", "package-lock.yml")

M = TypeVar("M", bound=Manifest)


class ManifestFile(msgspec.Struct, Generic[M], frozen=True):
    """A manifest, where it was found, and the project's files that are newer than it."""

    path: Path
    manifest: M
    newer: tuple[str, ...] = ()

    @property
    def written_at(self) -> datetime:
        """When dbt wrote the manifest: what it says itself, else the file's time."""
        try:
            moment = datetime.fromisoformat(self.manifest.metadata.generated_at)
        except ValueError:
            return datetime.fromtimestamp(_modified(str(self.path)), UTC)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def staleness(self, now: datetime) -> str:
        """Return how old the manifest is and what changed since; empty where nothing did."""
        if not self.newer:
            return ""
        age = format_age((now - self.written_at).total_seconds())
        others = f" and {len(self.newer) - 1} more" if len(self.newer) > 1 else ""
        return f"{self.path} is {age} old, and {self.newer[0]}{others} changed since"


def open_manifest(
    path: Path, read: Callable[[bytes, str], M], project_dir: Path | None = None
) -> ManifestFile[M]:
    """Return the manifest at ``path``, compared with the files of a project if one is given.

    ``read`` decodes the part of it that is needed.
    Raises ConfigurationError where it cannot be read, ArtifactError where it cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", "write it with: dbt parse"
        ) from error
    opened = ManifestFile(path, read(content, str(path)))
    gc.freeze()  # it stays until the process ends: the collector need not look at it again
    if project_dir is None:
        return opened
    changed = _changed_since(opened.written_at.timestamp(), project_dir)
    return msgspec.structs.replace(opened, newer=tuple(sorted(changed)))


def newest_manifest(directories: Iterable[Path]) -> Path | None:
    """Return the manifest that was written last in dbt's target directories, if there is one."""
    paths = [directory / "manifest.json" for directory in directories]
    existing = [path for path in paths if os.path.isfile(path)]  # not another user's
    return max(existing, key=lambda path: _modified(str(path)), default=None)


def _changed_since(moment: float, project_dir: Path) -> Iterator[str]:
    """Yield what changed of a project: its settings, and its resources' files and directories.

    A directory's own time tells of a file that was taken away.
    """
    pending = [str(project_dir / place) for place in resource_paths(project_dir)]
    pending = [place for place in pending if os.path.isdir(place)]
    settings = [str(project_dir / name) for name in _SETTINGS]
    yield from (path for path in settings if os.path.exists(path) and _modified(path) > moment)
    yield from (path for path in pending if _modified(path) > moment)
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                is_directory = entry.is_dir()
                if is_directory:
                    pending.append(entry.path)
                counts = is_directory or entry.name.endswith(_READ_BY_DBT)
                if counts and entry.stat().st_mtime > moment:
                    yield entry.path


def _modified(path: str) -> float:
    return os.stat(path).st_mtime
