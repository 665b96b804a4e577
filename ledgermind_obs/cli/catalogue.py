"""What the checks of rules and dashboards compare queries with, and how they answer."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ledgermind_obs.cli.document import to_json
from ledgermind_obs.cli.options import Command, in_order, option
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.manifest import Source, read_manifest
from ledgermind_obs.project import find_project_dir
from ledgermind_obs.queries import Catalogue, Fault

FORMATS = click.Choice(["table", "json"])

_MANIFESTS = ("target/obs/manifest.json", "target/manifest.json")


_catalogue_options = in_order(
    option(
        "--project-dir",
        env="DBT_PROJECT_DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="The dbt project.  [default: this directory, else ./warehouse]",
    ),
    option(
        "--manifest",
        type=click.Path(path_type=Path, dir_okay=False),
        help="dbt's manifest.json.  [default: the newest in the project's target/]",
    ),
    option(
        "--allow-metric",
        multiple=True,
        metavar="PATTERN",
        help="Take this metric as it is, though obs does not export it.",
    ),
)


def catalogue_options(command: Command) -> Command:
    """Give a command the options that say what there is to query, made into ``catalogue``."""

    @functools.wraps(command)
    def wrapper(
        manifest: Path | None,
        project_dir: Path | None,
        allow_metric: tuple[str, ...],
        **others: Any,
    ) -> Any:
        path = manifest or _newest_manifest(project_dir)
        return command(catalogue=Catalogue(_sources(path), allow_metric), **others)

    return _catalogue_options(wrapper)


def tell(faults: Sequence[Fault], checked: str, output: str) -> None:
    """Print the faults, each with what to do about it; exit 1 where there is one."""
    if output == "json":
        click.echo(to_json({"checked": checked, "faults": [fault._asdict() for fault in faults]}))
    else:
        for fault in faults:
            click.echo(f"{fault.place}\n    {fault.message}\n    {fault.next_step}\n")
        count = {0: "no fault", 1: "1 fault"}.get(len(faults), f"{len(faults)} faults")
        click.secho(f"{checked}: {count}", fg="red" if faults else "green")
    if faults:
        sys.exit(1)


def _newest_manifest(project_dir: Path | None) -> Path:
    directory = find_project_dir(project_dir)
    found = [path for name in _MANIFESTS if (path := directory / name).is_file()]
    if not found:
        raise ConfigurationError(
            f"dbt has not parsed {directory} yet: there is no target/manifest.json",
            f"run: dbt parse --project-dir {directory}, or name one with --manifest",
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def _sources(path: Path) -> tuple[Source, ...]:
    try:
        manifest = read_manifest(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    return tuple(manifest.sources[uid] for uid in manifest.with_freshness())
