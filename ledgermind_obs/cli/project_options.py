"""What a command stands on that reads the manifest: the project, and the manifest itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ledgermind_obs.cli.credentials import check_vars
from ledgermind_obs.cli.help import Command
from ledgermind_obs.cli.manifest_options import ManifestChoice, current_manifest, manifest_options
from ledgermind_obs.cli.options import lock_timeout_option, project_options
from ledgermind_obs.dbt.manifest import LineageManifest
from ledgermind_obs.dbt.manifest_file import ManifestFile
from ledgermind_obs.dbt.project import PROJECT_FILE, Dbt, Project, find_project_dir, open_project
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.lineage.graph import Lineage


class Workplace(msgspec.Struct, frozen=True, dict=True):
    """The manifest a command works with, and the project it belongs to, where that is known."""

    opened: ManifestFile[LineageManifest]
    project_dir: Path | None
    targets: tuple[Path, ...]

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
        directory = _project_dir(project_dir, choice)
        files = target_path or (directory / "target" if directory else Path("target"))

        def project_now() -> Project:
            return open_project(
                directory,
                profiles_dir=profiles_dir,
                profile=profile,
                target=target,
                target_path=target_path,
            )

        def parse() -> Path:
            from ledgermind_obs.dbt.lock import locked
            from ledgermind_obs.dbt.process import parse

            project = project_now()
            check_vars(project_vars)
            with locked(project.private_target_path, lock_timeout):
                return parse(Dbt(project, executable, None, project_vars, timeout))

        targets = _targets(files, project_now)
        opened = current_manifest(choice, directory, targets, parse)
        return command(place=Workplace(opened, directory, targets), **others)

    return manifest_options(project_options(lock_timeout_option("1m")(wrapper)))


def _targets(files: Path, project_now: Callable[[], Project]) -> tuple[Path, ...]:
    """Return where dbt writes: its own directory, and that of ``obs`` if the target is known."""
    try:
        return files, project_now().private_target_path
    except ConfigurationError:
        return (files,)


def _project_dir(given: Path | None, choice: ManifestChoice) -> Path | None:
    """Return the project's directory; a manifest that was named can do without one."""
    if given is None and choice.path:
        beside = [Path(), Path("warehouse")]
        if not any((candidate / PROJECT_FILE).is_file() for candidate in beside):
            return None
    return find_project_dir(given)
