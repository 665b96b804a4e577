"""What a command that reads the manifest needs: the project, and the manifest itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.credentials import check_vars
from ledgermind_obs.cli.help import Command
from ledgermind_obs.cli.manifest_options import manifest_options
from ledgermind_obs.cli.options import lock_timeout_option, project_options
from ledgermind_obs.dbt.manifest import LineageManifest, read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import ManifestChoice, ManifestFile, manifest_of
from ledgermind_obs.dbt.project import (
    PROJECT_FILE,
    Dbt,
    Project,
    find_project_dir,
    open_project,
    project_without_profile,
)
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.lineage.graph import Lineage


class Workplace(msgspec.Struct, frozen=True, dict=True):
    """The manifest a command works with, and the project it belongs to, where that is known.

    ``targets`` are the directories that dbt writes to, the one of ``obs`` last.
    """

    opened: ManifestFile[LineageManifest]
    project: Project | None
    targets: tuple[Path, ...]

    @property
    def project_dir(self) -> Path | None:
        """The directory of the project, where that is known."""
        return self.project.directory if self.project else None

    @property
    def project_name(self) -> str:
        """The project's name, as the manifest says it; empty if nobody does."""
        named = self.opened.manifest.metadata.project_name
        return named or (self.project.name if self.project else "")

    @functools.cached_property
    def lineage(self) -> Lineage:
        """The manifest's graph."""
        return Lineage(self.opened.manifest)


def workplace_options(command: Command) -> Command:
    """Give a command the project's options, made into ``place``."""

    @functools.wraps(command)
    def wrapper(
        choice: ManifestChoice,
        project_dir: Path | None,
        target_path: Path | None,
        lock_timeout: float,
        profiles_dir: Path | None,
        profile: str | None,
        target: str | None,
        executable: str | None,
        project_vars: str | None,
        timeout: float,
        **others: Any,
    ) -> Any:
        def project() -> Project:
            return open_project(
                project_dir,
                profiles_dir=profiles_dir,
                profile=profile,
                target=target,
                target_path=target_path,
            )

        if choice.path:
            place = _by_its_name(choice.path, project, project_dir, target_path)
        else:
            check_vars(project_vars)
            dbt = Dbt(_with_profile(project), executable, None, project_vars, timeout)
            place = _by_dbt(dbt, choice, lock_timeout)
        for note in place.opened.notes:
            warn(note)
        return command(place=place, **others)

    return manifest_options(project_options(lock_timeout_option("1m")(wrapper)))


def _by_dbt(dbt: Dbt, choice: ManifestChoice, lock_timeout: float) -> Workplace:
    def lock() -> AbstractContextManager[None]:
        from ledgermind_obs.dbt.lock import locked

        return locked(dbt.project.private_target_path, lock_timeout)

    opened = manifest_of(dbt, choice, read_lineage_manifest, lock)
    return Workplace(opened, dbt.project, _targets(dbt.project))


def _by_its_name(
    path: Path,
    open_it: Callable[[], Project],
    project_dir: Path | None,
    target_path: Path | None,
) -> Workplace:
    """Return the place of a manifest that was named, which can do without profile and project."""
    from ledgermind_obs.dbt.named_manifest import named_manifest

    if project_dir is None and not _is_beside_a_project():
        targets = (target_path or Path("target"),)
        return Workplace(named_manifest(path, read_lineage_manifest, None), None, targets)
    try:
        project = open_it()
    except ConfigurationError:
        project = project_without_profile(find_project_dir(project_dir), target_path)
    return Workplace(
        named_manifest(path, read_lineage_manifest, project), project, _targets(project)
    )


def _with_profile(open_it: Callable[[], Project]) -> Project:
    try:
        return open_it()
    except ConfigurationError as error:
        error.next_step += "; or name a manifest with --manifest, which needs no profile"
        raise


def _targets(project: Project) -> tuple[Path, ...]:
    """Return where dbt writes: its own directory, and that of ``obs`` if the target is known."""
    private = (project.private_target_path,) if project.target else ()
    return (project.target_path, *private)


def _is_beside_a_project() -> bool:
    return any((place / PROJECT_FILE).is_file() for place in (Path(), Path("warehouse")))
