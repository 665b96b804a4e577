"""What Prometheus, Alertmanager and the Pushgateway say of themselves, by their HTTP APIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import quote

import msgspec

from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.http.client import Response, request
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.http.prometheus import vector

T = TypeVar("T")

_STEPS = {
    401: "give a token that is valid there",
    403: "give a token that may read there",
    404: "see whether the URL is right, with its sub-path",
}


class Target(msgspec.Struct, frozen=True, rename="camel"):
    """What Prometheus scrapes, and how that went."""

    scrape_url: str = ""
    health: str = ""
    last_error: str = ""
    labels: Mapping[str, str] = {}
    scrape_pool: str = ""


class LoadedRule(msgspec.Struct, frozen=True, rename="camel"):
    """A rule that Prometheus runs; ``duration`` is its ``for`` in seconds."""

    name: str = ""
    query: str = ""
    type: str = ""
    health: str = ""
    last_error: str = ""
    duration: float = 0.0
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class RuleGroup(msgspec.Struct, frozen=True):
    """A group of rules that Prometheus runs."""

    name: str = ""
    file: str = ""
    rules: Sequence[LoadedRule] = ()


class Alert(msgspec.Struct, frozen=True):
    """An alert of Prometheus; ``state`` is pending or firing."""

    labels: Mapping[str, str] = {}
    state: str = ""

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels.get("alertname", "")


class AlertStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Why Alertmanager tells nobody of an alert, by the ids of what keeps it quiet."""

    state: str = ""
    silenced_by: Sequence[str] = ()
    muted_by: Sequence[str] = ()


class ReceivedAlert(msgspec.Struct, frozen=True):
    """An alert as Alertmanager has it."""

    labels: Mapping[str, str] = {}
    status: AlertStatus = AlertStatus()


class SilenceMatcher(msgspec.Struct, frozen=True, rename="camel"):
    """One condition of a silence."""

    name: str = ""
    value: str = ""
    is_regex: bool = False
    is_equal: bool = True


class SilenceStatus(msgspec.Struct, frozen=True):
    """Whether a silence is active, pending or expired."""

    state: str = ""


class Silence(msgspec.Struct, frozen=True, rename="camel"):
    """What somebody wants to hear nothing of."""

    id: str = ""
    comment: str = ""
    created_by: str = ""
    ends_at: str = ""
    matchers: Sequence[SilenceMatcher] = ()
    status: SilenceStatus = SilenceStatus()


class Group(msgspec.Struct, frozen=True):
    """A group of the Pushgateway: its labels, and when it was last pushed, and refused."""

    labels: Mapping[str, str]
    pushed_at: float
    refused_at: float


class _Envelope(msgspec.Struct, frozen=True):
    status: str = ""
    error: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Active(msgspec.Struct, frozen=True, rename="camel"):
    active_targets: list[Target] = []
    active_alertmanagers: list[Mapping[str, str]] = []


class _Groups(msgspec.Struct, frozen=True):
    groups: list[RuleGroup] = []


class _Alerts(msgspec.Struct, frozen=True):
    alerts: list[Alert] = []


class _Yaml(msgspec.Struct, frozen=True):
    yaml: str = ""


class _Runtime(msgspec.Struct, frozen=True, rename="camel"):
    storage_retention: str = ""


class _Config(msgspec.Struct, frozen=True):
    original: str = ""


class _Status(msgspec.Struct, frozen=True):
    config: _Config = _Config()


class _Flags(msgspec.Struct, frozen=True):
    flags: Mapping[str, str] = {}


class _Sample(msgspec.Struct, frozen=True):
    metric: Mapping[str, str] = {}
    value: tuple[float, str] = (0.0, "NaN")


def targets(endpoint: Endpoint) -> list[Target]:
    """Return what Prometheus scrapes; raises DestinationError."""
    return _data(endpoint, "/api/v1/targets?state=active", _Active).active_targets


def alertmanagers(endpoint: Endpoint) -> list[str]:
    """Return the URLs to which Prometheus sends alerts; raises DestinationError."""
    found = _data(endpoint, "/api/v1/alertmanagers", _Active).active_alertmanagers
    return [each.get("url", "") for each in found]


def rule_groups(endpoint: Endpoint) -> list[RuleGroup]:
    """Return the rules that Prometheus runs; raises DestinationError."""
    return _data(endpoint, "/api/v1/rules", _Groups).groups


def alerts(endpoint: Endpoint) -> list[Alert]:
    """Return the alerts of Prometheus, pending ones too; raises DestinationError."""
    return _data(endpoint, "/api/v1/alerts", _Alerts).alerts


def configuration(endpoint: Endpoint) -> str:
    """Return Prometheus' configuration, which has no secrets in it; raises DestinationError."""
    return _data(endpoint, "/api/v1/status/config", _Yaml).yaml


def retention(endpoint: Endpoint) -> str:
    """Return how long Prometheus keeps samples, as it says; raises DestinationError."""
    return _data(endpoint, "/api/v1/status/runtimeinfo", _Runtime).storage_retention


def query(endpoint: Endpoint, expression: str) -> list[tuple[Mapping[str, str], float]]:
    """Return the labels and the number of each series of a query; raises DestinationError."""
    found = vector(endpoint, {"query": expression}, _Sample)
    return [(sample.metric, float(sample.value[1])) for sample in found]


def routing(endpoint: Endpoint) -> str:
    """Return Alertmanager's configuration, its secrets left out; raises DestinationError."""
    return _fetched(endpoint, "/api/v2/status", _Status).config.original


def silences(endpoint: Endpoint) -> list[Silence]:
    """Return Alertmanager's silences, expired ones too; raises DestinationError."""
    return _fetched(endpoint, "/api/v2/silences", list[Silence])


def received(endpoint: Endpoint, matcher: str = "") -> list[ReceivedAlert]:
    """Return the alerts that Alertmanager has; raises DestinationError."""
    chosen = f"?filter={quote(matcher)}" if matcher else ""
    return _fetched(endpoint, f"/api/v2/alerts{chosen}", list[ReceivedAlert])


def flags(endpoint: Endpoint) -> Mapping[str, str]:
    """Return the flags that the Pushgateway was started with; raises DestinationError."""
    return _data(endpoint, "/api/v1/status", _Flags).flags


def groups(endpoint: Endpoint) -> list[Group]:
    """Return the groups that the Pushgateway has; raises DestinationError."""
    found = _data(endpoint, "/api/v1/metrics", list[dict[str, msgspec.Raw]])
    return [
        Group(
            labels=decode(group["labels"], dict[str, str]),
            pushed_at=_number(group, "push_time_seconds"),
            refused_at=_number(group, "push_failure_time_seconds"),
        )
        for group in found
    ]


class _Family(msgspec.Struct, frozen=True):
    metrics: list[Mapping[str, object]] = []


def _number(group: Mapping[str, msgspec.Raw], name: str) -> float:
    """Return the value of a metric that the gateway itself adds to a group, 0 without it."""
    family = decode(group.get(name, b"{}"), _Family)
    return float(str(family.metrics[0].get("value", 0))) if family.metrics else 0.0


def seconds_ahead(response: Response, now: float) -> float | None:
    """Return how far a server's clock is ahead of ``now``, None if it does not say its time."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).timestamp() - now
    except (TypeError, ValueError):
        return None


def _data(endpoint: Endpoint, path: str, kind: type[T]) -> T:
    """Return the data in an answer of Prometheus' form."""
    envelope = _fetched(endpoint, path, _Envelope)
    if envelope.status != "success":
        raise DestinationError(f"{endpoint.url} answers {path}: {envelope.error or 'no reason'}")
    content = bytes(envelope.data)
    # Of nothing at all, the Pushgateway's list is null.
    return kind() if content == b"null" else _decoded(endpoint, path, content, kind)


def _fetched(endpoint: Endpoint, path: str, kind: type[T]) -> T:
    response = request(endpoint, "GET", path)
    if not response.ok:
        words = "a web page" if response.is_html else response.words or "no words"
        raise DestinationError(
            f"{endpoint.url} refused {path} with {response.status}: {words}",
            _STEPS.get(response.status, "see its log"),
        )
    return _decoded(endpoint, path, response.body, kind)


def _decoded(endpoint: Endpoint, path: str, content: bytes, kind: type[T]) -> T:
    try:
        return decode(content, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DestinationError(
            f"{endpoint.url} answers {path} with something else than is expected",
            "see whether the URL is right",
        ) from error
