"""What a report is made from, and what it tells beyond the freshness of now."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ledgermind_obs.cli.help import OTHER, OUTPUT, SELECTION, Command, in_group, in_order
from ledgermind_obs.cli.manifest_options import manifest_options
from ledgermind_obs.cli.options import Duration, option
from ledgermind_obs.cli.prometheus_options import (
    prometheus_access,
    prometheus_endpoint,
    prometheus_label,
    prometheus_token,
)
from ledgermind_obs.dbt.manifest_file import ManifestChoice

if TYPE_CHECKING:  # a report without a history needs neither
    from ledgermind_obs.http.endpoint import Endpoint

_FILE = click.Path(path_type=Path, dir_okay=False)
_FORMATS = ("text", "markdown", "html", "json")
_BY_SUFFIX = {".md": "markdown", ".markdown": "markdown", ".html": "html", ".json": "json"}
_DAY_SECONDS = 86_400.0


class Making(msgspec.Struct, frozen=True):
    """From what a report is made: ``since`` and the artifact's age are in seconds."""

    exposure: str | None
    manifest: ManifestChoice
    artifact: Path | None
    artifact_max_age: float
    prometheus: Endpoint | None
    labels: Mapping[str, str]
    since: float
    runbook: str | None


_EVIDENCE = in_group(
    OTHER,
    option(
        "--artifact",
        env="OBS_REPORT_ARTIFACT",
        type=_FILE,
        help="Report what is in this sources.json, or dbt v2's freshness.json, and measure "
        "nothing.",
    ),
    option("--artifact-max-age", type=Duration(), default="1h", help="Maximum age of it."),
    option(
        "--prometheus",
        env="PROMETHEUS_URL",
        metavar="URL",
        help="Add the history that this Prometheus has: days within the limit, what was missed.",
    ),
    prometheus_label,
    prometheus_access,
    option(
        "--since",
        type=Duration(),
        help="How far back to list missed limits; needs --prometheus.  [default: 24h]",
    ),
    option("--runbook", metavar="URL", help="The page whose sections the next steps link to."),
)
_SELECTION = in_group(
    SELECTION,
    option("--exposure", metavar="NAME", help="Only the sources upstream of this exposure."),
)
_FORM = in_group(
    OUTPUT,
    option(
        "--format",
        "output",
        env="OBS_REPORT_FORMAT",
        type=click.Choice(_FORMATS),
        help="Output format.  [default: by the name of --output, else text]",
    ),
    option(
        "--output",
        "file",
        type=_FILE,
        help="Write the report to this file, whole or not at all, instead of stdout.",
    ),
)


def report_options(command: Command) -> Command:
    """Give a command what a report is made from, as ``making``, and its ``output`` and ``file``."""

    @functools.wraps(command)
    def wrapper(
        exposure: str | None,
        choice: ManifestChoice,
        artifact: Path | None,
        artifact_max_age: float,
        prometheus: str | None,
        prometheus_label: tuple[tuple[str, str], ...],
        prometheus_token_file: Path | None,
        prometheus_tenant: str,
        since: float | None,
        runbook: str | None,
        output: str | None,
        file: Path | None,
        **others: Any,
    ) -> Any:
        if exposure and (others.get("select") or others.get("exclude")):
            raise click.UsageError("--exposure selects by itself: drop --select and --exclude")
        if since and not prometheus:
            raise click.UsageError("--since looks back in Prometheus: add --prometheus URL")
        token = prometheus_token(prometheus_token_file) if prometheus else ""
        endpoint = prometheus and prometheus_endpoint(prometheus, token, prometheus_tenant)
        making = Making(
            exposure=exposure,
            manifest=choice,
            artifact=artifact,
            artifact_max_age=artifact_max_age,
            prometheus=endpoint or None,
            labels=dict(prometheus_label),
            since=since or _DAY_SECONDS,
            runbook=runbook,
        )
        form = output or (_BY_SUFFIX.get(file.suffix.lower(), "text") if file else "text")
        return command(making=making, output=form, file=file, **others)

    return manifest_options(in_order(_EVIDENCE, _SELECTION, _FORM)(wrapper))
