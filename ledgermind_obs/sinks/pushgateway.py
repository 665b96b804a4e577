"""The Pushgateway: one group of series, read back, replaced or added to.

``PUT`` replaces the whole group, ``POST`` only the metrics it names (README of
prometheus/pushgateway); both can be sent again without harm.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.metrics import Metric, Series
from ledgermind_obs.sinks.exposition import exposition, parse_exposition

if TYPE_CHECKING:
    from ledgermind_obs.http.client import Response

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_LABELS = frozenset(label for metric in metrics.METRICS for label in metric.labels)


def check_grouping_key(grouping: Mapping[str, str]) -> None:
    """Raise ConfigurationError where a label of the grouping key would spoil the series."""
    for name in grouping:
        if not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
            raise ConfigurationError(f"grouping key {name!r} is not a Prometheus label name")
        if name in _OWN_LABELS:
            raise ConfigurationError(
                f"grouping key {name!r} would overwrite the series' own label of that name"
            )


class Pushgateway(msgspec.Struct, frozen=True):
    """One group of a Pushgateway: the sink of ``obs freshness push``."""

    endpoint: Endpoint
    grouping: Mapping[str, str]

    def __str__(self) -> str:
        """Return the address and the group, as the user would look for them."""
        group = ", ".join(f"{name} {value}" for name, value in self.grouping.items())
        return f"{self.endpoint.url}  ({group})"

    def prepare(self) -> None:
        """Load the HTTP client, which takes as long as a small push."""
        import ledgermind_obs.http.client  # noqa: F401

    def known(self, wanted: Iterable[Metric]) -> list[Series]:
        """Return the series of the ``wanted`` metrics in the group now; raises DestinationError."""
        if not wanted:
            return []
        response = self._call("GET", "/metrics")
        try:
            return parse_exposition(response.body, self.grouping, wanted)
        except ValueError as error:
            raise DestinationError(
                f"{self.endpoint.url}/metrics is not in Prometheus' format: {error}",
                "is this a Pushgateway?",
            ) from error

    def put(self, series: Iterable[Series]) -> None:
        """Replace the whole group by ``series``; raises DestinationError."""
        self._call("PUT", self._group_path(), exposition(series))

    def post(self, series: Iterable[Series]) -> None:
        """Replace only the metrics that ``series`` names; raises DestinationError."""
        self._call("POST", self._group_path(), exposition(series))

    def _call(self, method: str, path: str, body: bytes | None = None) -> Response:
        from ledgermind_obs.http.client import request

        response = request(self.endpoint, method, path, body, CONTENT_TYPE if body else "")
        if not response.ok:
            raise _refused(self.endpoint.url, method, response)
        if response.is_html:
            raise DestinationError(
                f"{self.endpoint.url} answers with a web page", "is this a Pushgateway?"
            )
        return response

    def _group_path(self) -> str:
        return "/metrics" + "".join(_segment(*label) for label in self.grouping.items())


def _segment(name: str, value: str) -> str:
    """Return one label of a grouping key as the gateway's URL wants it."""
    if value and "/" not in value:
        return f"/{name}/{quote(value, safe='')}"
    encoded = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=") or "="
    return f"/{name}@base64/{encoded}"


def _refused(url: str, method: str, response: Response) -> DestinationError:
    next_steps = {
        400: "the gateway names the series it refuses; nothing of this push was stored",
        401: "give --pushgateway-username with a password, or a token",
        403: "these credentials may not push to this group",
        404: "is this a Pushgateway, and is the path in its URL right?",
        405: "is this a Pushgateway, and is the path in its URL right?",
    }
    words = "a web page" if response.is_html else response.words or "no words"
    return DestinationError(
        f"{url} refused the {method} with {response.status}: {words}",
        next_steps.get(response.status, "see the gateway's log"),
    )
