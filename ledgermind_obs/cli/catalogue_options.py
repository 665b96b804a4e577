"""What the checks of rules and dashboards compare queries with: the project and its metrics."""

from __future__ import annotations

import functools
from typing import Any

from ledgermind_obs.cli.help import Command
from ledgermind_obs.cli.options import option
from ledgermind_obs.cli.project_options import Workplace, workplace_options
from ledgermind_obs.monitoring.expressions import Catalogue

_allow_metric = option(
    "--allow-metric",
    multiple=True,
    metavar="PATTERN",
    help="Accept a metric that obs does not export, such as node_*.",
)


def catalogue_options(command: Command) -> Command:
    """Give a command the options that say what there is to query: ``place`` and ``catalogue``."""

    @functools.wraps(command)
    def wrapper(place: Workplace, allow_metric: tuple[str, ...], **others: Any) -> Any:
        manifest = place.opened.manifest
        sources = tuple(manifest.sources[uid] for uid in manifest.with_freshness())
        return command(place=place, catalogue=Catalogue(sources, allow_metric), **others)

    return _allow_metric(workplace_options(wrapper))


def source_names(catalogue: Catalogue) -> list[str]:
    """Return the sources of the project that have freshness, by name."""
    return sorted(source.label for source in catalogue.sources or ())
