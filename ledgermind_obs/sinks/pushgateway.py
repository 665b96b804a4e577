"""The Pushgateway: one group of series, read back, replaced or added to.

``PUT`` replaces the whole group, ``POST`` only the metrics it names (README of
prometheus/pushgateway); both can be sent again without harm.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.metrics import Metric, Series
from ledgermind_obs.sinks.exposition import exposition, labels_of, parse_exposition
from ledgermind_obs.sinks.known import Destination
from ledgermind_obs.sinks.proof import check_series

if TYPE_CHECKING:
    from ledgermind_obs.http.client import Response

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# 202 comes from a gateway that was started without its consistency check.
_OK, _ACCEPTED = 200, 202
# The gateway's own: one series for each group, with exactly the labels of its key.
_PUSHED = "push_time_seconds"
POLL_SECONDS = 0.1
_OWN_METRIC = b"\npushgateway_build_info{"
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

    @property
    def destination(self) -> Destination:
        """Where this is, for the memory."""
        return Destination(self.endpoint.url, self.grouping)

    def within(self, seconds: float) -> Pushgateway:
        """Return the same group, with so many seconds for a call."""
        endpoint = msgspec.structs.replace(self.endpoint, timeout=seconds)
        return msgspec.structs.replace(self, endpoint=endpoint)

    def of_job(self, job: str) -> Pushgateway:
        """Return the group of another job with the same project, target and other labels."""
        return msgspec.structs.replace(self, grouping={**self.grouping, "job": job})

    def prepare(self) -> None:
        """Load the HTTP client, which takes as long as a small push."""
        import ledgermind_obs.http.client  # noqa: F401

    def known(self, wanted: Iterable[Metric]) -> list[Series]:
        """Return the series of the ``wanted`` metrics in the group now.

        Raises DestinationError where the answer is not provably a Pushgateway's, whole and true.
        """
        content = self._read()
        try:
            series = parse_exposition(content, self.grouping, wanted)
            check_series(series, datetime.now(UTC))
        except ValueError as error:
            raise self._unproven(f"cannot be believed: {error}") from error
        return series

    def put(self, series: Iterable[Series]) -> None:
        """Replace the whole group by ``series``; raises DestinationError."""
        self._send("PUT", series)

    def post(self, series: Iterable[Series]) -> None:
        """Replace only the metrics that ``series`` names; raises DestinationError."""
        self._send("POST", series)

    def delete(self) -> None:
        """Ask for the whole group to be taken away; raises DestinationError.

        The gateway only queues the wish. A group that is not there is gone as well.
        """
        response = self._call("DELETE", self._group_path())
        if response.status != _ACCEPTED or response.body:
            raise DestinationError(
                f"{self.endpoint.url} answered the DELETE with {response.status}, not with 202",
                _ask(self.endpoint.url),
            )

    def groups(self) -> list[dict[str, str]]:
        """Return the grouping key of every group that was pushed; raises DestinationError."""
        try:
            return labels_of(self._read(), _PUSHED)
        except ValueError as error:
            raise self._unproven(f"cannot be believed: {error}") from error

    def forget(self) -> None:
        """Delete the group, and return when it is gone; raises DestinationError."""
        self.delete()
        deadline = time.monotonic() + self.endpoint.timeout
        while dict(self.grouping) in self.groups():
            if time.monotonic() >= deadline:
                raise DestinationError(
                    f"{self.endpoint.url} took the wish to delete, and still holds the group",
                    "does something push it again? See the gateway's log",
                )
            time.sleep(POLL_SECONDS)

    def _read(self) -> bytes:
        """Return all metrics of the gateway; raises DestinationError where they are not proven.

        A real one answers so, whatever it holds (seen on 1.5 and 1.11).
        """
        response = self._call("GET", "/metrics")
        if response.status != _OK:
            raise self._unproven(f"answers with {response.status}, not with 200")
        if not _is_exposition(response.headers.get("Content-Type", "")):
            raise self._unproven("is not in Prometheus' text format by its Content-Type")
        if response.headers.get("Content-Encoding"):
            raise self._unproven("is encoded, which was not asked for")
        if not response.framed:
            raise self._unproven("does not tell its length, so that it may have been cut")
        if _OWN_METRIC not in response.body or not response.body.endswith(b"\n"):
            raise self._unproven("is not a Pushgateway's: pushgateway_build_info is missing")
        return response.body

    def _send(self, method: str, series: Iterable[Series]) -> None:
        response = self._call(method, self._group_path(), exposition(series))
        if response.status not in {_OK, _ACCEPTED} or response.body:
            raise DestinationError(
                f"{self.endpoint.url} answered the {method} with {response.status} and "
                f"{len(response.body)} bytes; a Pushgateway answers with 200 and nothing more",
                "is this a Pushgateway? Nothing is known to be delivered",
            )
        if not response.framed:
            raise DestinationError(
                f"{self.endpoint.url} answered the {method} without a length: it may have been cut",
                "see what stands between; nothing is known to be delivered",
            )

    def _call(self, method: str, path: str, body: bytes | None = None) -> Response:
        from ledgermind_obs.http.client import request

        response = request(self.endpoint, method, path, body, CONTENT_TYPE if body else "")
        if not response.ok:
            raise _refused(self.endpoint.url, method, response)
        if response.is_html:
            raise DestinationError(
                f"{self.endpoint.url} answers with a web page", _ask(self.endpoint.url)
            )
        return response

    def _unproven(self, words: str) -> DestinationError:
        return DestinationError(
            f"{self.endpoint.url}/metrics {words}",
            f"nothing was sent, so that nothing is lost; see what answers there: "
            f"curl -i {self.endpoint.url}/metrics",
        )

    def _group_path(self) -> str:
        return "/metrics" + "".join(_segment(*label) for label in self.grouping.items())


def _is_exposition(content_type: str) -> bool:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    versions = {text for text in parameters if text.startswith("version=")}
    return media_type == "text/plain" and versions <= {"version=0.0.4"}


def _segment(name: str, value: str) -> str:
    """Return one label of a grouping key as the gateway's URL wants it.

    Of a path with ``.`` or ``..`` in it, or an empty part, servers make another path.
    """
    if value and "/" not in value and value not in {".", ".."}:
        return f"/{name}/{quote(value, safe='')}"
    encoded = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=") or "="
    return f"/{name}@base64/{encoded}"


def _ask(url: str) -> str:
    """Return the next step where something else may answer."""
    return (
        "is this a Pushgateway, and is the path in its URL right? "
        f"One answers to: curl {url}/api/v1/status"
    )


def _refused(url: str, method: str, response: Response) -> DestinationError:
    next_steps = {
        400: "the gateway names the series it refuses; nothing of this push was stored",
        401: "give --pushgateway-username with a password, or a token",
        403: "these credentials may not push to this group",
        404: _ask(url),
        405: _ask(url),
    }
    words = "a web page" if response.is_html else response.words or "no words"
    return DestinationError(
        f"{url} refused the {method} with {response.status}: {words}",
        next_steps.get(response.status, "see the gateway's log"),
    )
