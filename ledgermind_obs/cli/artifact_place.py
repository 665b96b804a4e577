"""What a freshness artifact belongs to, if there is less around it than a dbt project with profile.

A folder with ``sources.json`` and ``manifest.json`` is enough. If a project with its profile is
there, its own manifest counts: the one beside the artifact does not say which target it is of.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ledgermind_obs.dbt.inputs import MANIFEST_FILE
from ledgermind_obs.dbt.manifest import read_manifest
from ledgermind_obs.dbt.manifest_file import open_manifest
from ledgermind_obs.dbt.project import (
    PROFILES_FILE,
    PROJECT_FILE,
    Project,
    find_project_dir,
    open_project,
    profiles_directory,
    project_without_profile,
)
from ledgermind_obs.errors import ConfigurationError


def artifact_place(
    artifact: Path,
    manifest: Path | None,
    project_dir: Path | None,
    *,
    profiles_dir: Path | None,
    profile: str | None,
    target: str | None,
    target_path: Path | None,
) -> tuple[Project, Path | None]:
    """Return the project that an artifact is of, and the manifest to read it by.

    No manifest means the project's own. Raises ConfigurationError if there is neither.
    """
    beside = artifact.parent / MANIFEST_FILE
    named = manifest or (beside if beside.is_file() else None)
    directory = _project_here(project_dir)
    if directory is None:
        if named is None:
            raise ConfigurationError(
                f"there is no {MANIFEST_FILE} in {artifact.parent.resolve()}, and no dbt project",
                "name it with --manifest, or name the project with --project-dir",
            )
        return _project_of(named, artifact, target or ""), named
    if named and not (profiles_directory(directory, profiles_dir) / PROFILES_FILE).is_file():
        project = project_without_profile(directory, target_path)
        return msgspec.structs.replace(project, target=target or ""), named
    project = open_project(
        directory,
        profiles_dir=profiles_dir,
        profile=profile,
        target=target,
        target_path=target_path,
    )
    return project, manifest


def _project_here(given: Path | None) -> Path | None:
    if given or any((place / PROJECT_FILE).is_file() for place in (Path(), Path("warehouse"))):
        return find_project_dir(given)
    return None


def _project_of(path: Path, artifact: Path, target: str) -> Project:
    """Return what a manifest alone says of its project; what dbt wrote is beside the artifact."""
    folder = artifact.parent.resolve()
    found = open_manifest(path, read_manifest).manifest.metadata.project_name
    return Project(
        directory=folder,
        name=found or "",
        profiles_dir=folder,
        profile="",
        target=target,
        target_path=folder,
    )
