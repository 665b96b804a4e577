"""Which manifest a command works with: the options that say so, and what they lead to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.help import PROJECT, Command, in_group
from ledgermind_obs.cli.options import option
from ledgermind_obs.dbt.manifest import LineageManifest, read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import ManifestFile, newest_manifest, open_manifest
from ledgermind_obs.errors import ConfigurationError

_FILE = click.Path(path_type=Path, dir_okay=False)


class ManifestChoice(msgspec.Struct, frozen=True):
    """What ``--manifest`` and ``--no-parse`` say."""

    path: Path | None = None
    no_parse: bool = False


def current_manifest(
    choice: ManifestChoice,
    project_dir: Path | None,
    targets: Sequence[Path],
    parse: Callable[[], Path],
) -> ManifestFile[LineageManifest]:
    """Return the manifest that was named, the newest of the project, or a new one by ``parse``.

    One that is older than the project's files is used only where parsing is forbidden, and then
    stderr says so. Raises ConfigurationError where there is none.
    """
    path = choice.path or newest_manifest(targets)
    found = open_manifest(path, read_lineage_manifest, project_dir) if path else None
    if choice.path is None and not choice.no_parse and (found is None or found.newer):
        found = open_manifest(parse(), read_lineage_manifest, project_dir)
    if found is None:
        raise ConfigurationError(
            f"there is no manifest.json in {targets[0]}", "run dbt parse, or drop --no-parse"
        )
    if staleness := found.staleness(datetime.now(UTC)):
        warn(staleness)
    return found


def manifest_options(command: Command) -> Command:
    """Give a command ``--manifest`` and ``--no-parse``, made into ``choice``."""

    @in_group(
        PROJECT,
        option("--manifest", type=_FILE, help="Use this manifest.json.  [default: the project's]"),
        option("--no-parse", is_flag=True, help="Never run dbt parse, however old the manifest."),
    )
    @functools.wraps(command)
    def wrapper(manifest: Path | None, no_parse: bool, **others: Any) -> Any:
        return command(choice=ManifestChoice(manifest, no_parse), **others)

    return wrapper
