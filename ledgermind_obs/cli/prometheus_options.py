"""How a Prometheus is asked: for which series, with which token, and as which tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledgermind_obs.cli.credentials import secret
from ledgermind_obs.cli.help import in_order
from ledgermind_obs.cli.options import Duration, Label, option

if TYPE_CHECKING:  # a push without a Prometheus pays for none of it
    from ledgermind_obs.http.endpoint import Endpoint

TIMEOUT_SECONDS = 30.0

push_max_age = option(
    "--push-max-age",
    type=Duration(),
    default="45m",
    help="Maximum age of the last push and of each source's last check.",
)
prometheus_label = option(
    "--prometheus-label",
    type=Label(),
    multiple=True,
    help="Another label of the pushed series, in addition to project and target.",
)
prometheus_access = in_order(
    option(
        "--prometheus-token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File that holds a bearer token; or set OBS_PROMETHEUS_TOKEN.",
    ),
    option(
        "--prometheus-tenant",
        metavar="ID",
        default="",
        show_default=False,
        help="The tenant of a Mimir or Cortex, for the header X-Scope-OrgID.",
    ),
)


def prometheus_token(file: Path | None) -> str:
    """Return the token; raises ConfigurationError if it cannot be read or sent."""
    return secret("OBS_PROMETHEUS_TOKEN", file)


def prometheus_endpoint(url: str, token: str, tenant: str) -> Endpoint:
    """Return where and how Prometheus is asked; raises ConfigurationError."""
    from ledgermind_obs.http.endpoint import Endpoint, Tls, bearer_auth

    return Endpoint.parse(
        url,
        authorization=bearer_auth(token) if token else "",
        tls=Tls(),
        timeout=TIMEOUT_SECONDS,
        tenant=tenant,
    )
