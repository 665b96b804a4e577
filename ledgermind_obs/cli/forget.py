"""``obs freshness forget``: delete a project's and target's group from the Pushgateway."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.help import HelpfulCommand
from ledgermind_obs.cli.options import gateway_options, option, place_options
from ledgermind_obs.dbt.project import (
    find_project_dir,
    open_project,
    private_path,
    project_without_profile,
)
from ledgermind_obs.errors import ConfigurationError

if TYPE_CHECKING:  # loaded when there is something to ask
    from ledgermind_obs.sinks.pushgateway import Pushgateway

_SHOWN = 8

FORGET_EXAMPLES = """
# a target that was misspelt once, and whose alerts nobody can answer
obs freshness forget --target prd
# what obs builds push left
obs freshness forget --target prd --job dbt-builds --yes
"""


@click.command(cls=HelpfulCommand, examples=FORGET_EXAMPLES)
@place_options
@gateway_options
@option("--yes", is_flag=True, help="Delete without asking.")
def forget(
    project_dir: Path | None,
    target_path: Path | None,
    target: str | None,
    gateway: Callable[[str, str], Pushgateway],
    yes: bool,
    **profile: Any,
) -> None:
    """Delete the pushed metrics of a project and target.

    What this host remembers of them goes too. It first says what the group holds. The target need
    not be in profiles.yml, so that a misspelt one can be forgotten as well. A project that is still
    measured comes back with its next push.
    """
    project = project_without_profile(find_project_dir(project_dir), target_path)
    target = target or open_project(project_dir, **profile).target
    group = gateway(project.name, target)
    for line in _contents(group, project.name, target):
        click.echo(line)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is nobody to ask: add --yes to delete it")
        click.confirm("Delete it?", abort=True, err=True)
    group.forget()
    _forget_here(private_path(project.target_path, target), group)
    click.echo(f"deleted from {group}")


def _contents(group: Pushgateway, project: str, target: str) -> list[str]:
    """Return what the group holds, in words; raises ConfigurationError if there is no group."""
    from ledgermind_obs.metrics import METRICS, RUN_TIMESTAMP

    groups = group.groups()
    if dict(group.grouping) not in groups:
        raise ConfigurationError(f"there is no {group}", _meant(groups, project, target))
    series = group.known(METRICS)
    sources = sorted({f"{s.source.source}.{s.source.table}" for s in series if s.source})
    ran = [item.value for item in series if item.metric is RUN_TIMESTAMP]
    return [f"{group}", f"  {_listed(sources)}, {len(series)} series", *map(_last_run, ran)]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = f": {', '.join(names[:_SHOWN])}{more}" if names else ""
    return f"{len(names)} source{'' if len(names) == 1 else 's'}{shown}"


def _last_run(seconds: float) -> str:
    import time

    from ledgermind_obs.durations import format_age

    return f"  last run {format_age(max(0.0, time.time() - seconds))} ago"


def _meant(groups: list[dict[str, str]], project: str, target: str) -> str:
    """Return the target that was probably meant, of those that the project has pushed."""
    from ledgermind_obs.errors import nearest

    targets = {group.get("target", "") for group in groups if group.get("project") == project}
    return f"targets of {project} on this gateway: {nearest(target, targets - {''})}"


def _forget_here(directory: Path, group: Pushgateway) -> None:
    from ledgermind_obs.sinks.memory import FileMemory

    FileMemory(directory, group.destination, warn).forget()
