"""What the checks of rules and dashboards compare queries with, and how they answer."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import click

from ledgermind_obs.cli.help import Command
from ledgermind_obs.cli.options import option
from ledgermind_obs.cli.project_options import Workplace, workplace_options
from ledgermind_obs.monitoring.expressions import Catalogue, Fault
from ledgermind_obs.render.documents import to_json

FORMATS = click.Choice(["table", "json"])

_allow_metric = option(
    "--allow-metric",
    multiple=True,
    metavar="PATTERN",
    help="Take this metric as it is, though obs does not export it.",
)


def catalogue_options(command: Command) -> Command:
    """Give a command the options that say what there is to query, made into ``catalogue``."""

    @functools.wraps(command)
    def wrapper(place: Workplace, allow_metric: tuple[str, ...], **others: Any) -> Any:
        manifest = place.opened.manifest
        sources = tuple(manifest.sources[uid] for uid in manifest.with_freshness())
        return command(catalogue=Catalogue(sources, allow_metric), **others)

    return _allow_metric(workplace_options(wrapper))


def tell(faults: Sequence[Fault], checked: str, output: str, failed: int = 0) -> None:
    """Print the faults, each with what to do about it; exit 1 where there is one, else 0.

    ``failed`` is the exit code of what could not be checked, and comes first.
    """
    if output == "json":
        click.echo(to_json({"checked": checked, "faults": [fault._asdict() for fault in faults]}))
    else:
        for fault in faults:
            click.echo(f"{fault.place}\n    {fault.message}\n    {fault.next_step}\n")
        count = {0: "no fault", 1: "1 fault"}.get(len(faults), f"{len(faults)} faults")
        click.secho(f"{checked}: {count}", fg="red" if faults or failed else "green")
    sys.exit(failed or (1 if faults else 0))
