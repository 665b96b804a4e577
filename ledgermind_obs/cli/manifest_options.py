"""Which manifest a command works with: the options that say so."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from ledgermind_obs.cli.help import PROJECT, Command, in_group
from ledgermind_obs.cli.options import option
from ledgermind_obs.dbt.manifest_file import ManifestChoice

_FILE = click.Path(path_type=Path, dir_okay=False)


def manifest_options(command: Command) -> Command:
    """Give a command ``--manifest`` and ``--no-parse``, made into ``choice``."""

    @in_group(
        PROJECT,
        option(
            "--manifest",
            type=_FILE,
            help="Use this manifest.json, even if it belongs to another project or target.  "
            "[default: the project's]",
        ),
        option(
            "--no-parse",
            is_flag=True,
            help="Never run dbt parse: use what dbt last parsed for obs.",
        ),
    )
    @functools.wraps(command)
    def wrapper(manifest: Path | None, no_parse: bool, **others: Any) -> Any:
        return command(choice=ManifestChoice(manifest, no_parse), **others)

    return wrapper
