"""``obs freshness``: each command is loaded when it is called, so that none pays for another."""

from __future__ import annotations

import click

from ledgermind_obs.cli.groups import LateGroup

_COMMANDS = {
    "push": (
        "ledgermind_obs.cli.push",
        "Measure the sources, then push their freshness to the Pushgateway.",
    ),
    "check": (
        "ledgermind_obs.cli.check",
        "Measure the sources, then decide whether ML training may run.",
    ),
    "report": (
        "ledgermind_obs.cli.report",
        "Measure the sources, then write a report for people, or send it.",
    ),
    "forget": (
        "ledgermind_obs.cli.forget",
        "Delete the pushed metrics of a project and target.",
    ),
}


@click.group(cls=LateGroup, late=_COMMANDS)
def freshness() -> None:
    """Measure how fresh the sources are."""
