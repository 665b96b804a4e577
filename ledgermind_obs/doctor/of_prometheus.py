"""Prometheus: scrapes the gateway, and has what was pushed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ledgermind_obs.dbt import yaml_files
from ledgermind_obs.doctor.answers import Target, configuration, query, retention, targets
from ledgermind_obs.doctor.check import Area, Check, Seen, SkippedError, failed, warning
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.freshness import State
from ledgermind_obs.gate.prometheus import pushed

# The rules look a week back, so that a silence of days is noticed.
WEEK_SECONDS = 7 * 86400.0

_GATEWAY_INFO = "pushgateway_build_info"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_TERM = re.compile(r"(\d+)(ms|[smhdwy])")
_NAMED = 3


def _answers(patient: Patient) -> Seen:
    endpoint = patient.prometheus_api
    if endpoint.exposes_credentials:
        return warning(f"the token goes to {endpoint.url} unencrypted", "use https://")
    query(endpoint, "vector(1)")
    return Seen(f"{endpoint.url} answers")


def _scrapes(patient: Patient) -> Seen:
    target = _gateway_target(patient)
    job = target.labels.get("job", target.scrape_pool)
    if target.health != "up":
        return failed(
            f"job {job} cannot scrape {target.scrape_url}: {target.last_error or target.health}",
            "see whether Prometheus reaches the gateway at this address",
        )
    return Seen(f"job {job} scrapes {target.scrape_url}")


def _gateway_target(patient: Patient) -> Target:
    """Return the target that is our gateway, by its address or else by what it says it is.

    Raises DestinationError if there is none.
    """
    found, ours = targets(patient.prometheus_api), _place(patient.gateway.endpoint.url)
    same = [target for target in found if _place(target.scrape_url) == ours]
    if same:
        return same[0]
    # In Docker or Kubernetes it has another address for Prometheus than it has here.
    gateways = [labels for labels, _ in query(patient.prometheus_api, _GATEWAY_INFO)]
    named = [
        target for target in found if any(_agree(target.labels, labels) for labels in gateways)
    ]
    if named:
        return named[0]
    raise DestinationError(
        f"Prometheus scrapes no Pushgateway (targets: {len(found)})",
        "add the gateway to the scrape_configs, as prometheus/prometheus.yml does",
    )


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return ("localhost" if host in _LOOPBACK else host), parts.port


def _agree(target: Mapping[str, str], series: Mapping[str, str]) -> bool:
    return all(target.get(label) == series.get(label) for label in ("job", "instance"))


def _labels(patient: Patient) -> Seen:
    job = _gateway_target(patient).scrape_pool
    try:
        settings = yaml_files.load(configuration(patient.prometheus_api).encode())
    except (DestinationError, yaml_files.FaultyYamlError) as error:
        raise SkippedError("Prometheus does not show its configuration") from error
    for scraped in _jobs(settings):
        if scraped.get("job_name") == job and scraped.get("honor_labels") is not True:
            return failed(
                f"job {job} has no honor_labels: what was pushed loses its own labels job and "
                "instance",
                f"add honor_labels: true to the job {job} in prometheus.yml, and reload it",
            )
    return Seen(f"job {job} has honor_labels")


def _jobs(settings: object) -> Iterator[Mapping[str, object]]:
    jobs = settings.get("scrape_configs") if isinstance(settings, Mapping) else None
    yield from (job for job in jobs or () if isinstance(job, Mapping))


def _metrics(patient: Patient) -> Seen:
    project = patient.dbt().project
    labels = {"project": project.name, "target": project.target, **patient.prometheus_labels}
    found = pushed(
        patient.prometheus_api,
        labels,
        patient.sources,
        lambda: datetime.now(UTC),
        patient.push_max_age,
    )
    missing = found.report.in_state([State.MISSING])
    if missing:
        names = ", ".join(source.name for source in missing[:_NAMED])
        return failed(f"{names}: {missing[0].message}", "push: obs freshness push")
    return Seen(f"sources: {len(found.report.sources)}, from {found.origin}")


def _retention(patient: Patient) -> Seen:
    told = retention(patient.prometheus_api)
    seconds = seconds_of(told.split(" ")[0])
    if not seconds:
        raise SkippedError(f"Prometheus says {told or 'nothing'}, which is no time")
    if seconds < WEEK_SECONDS:
        return warning(
            f"it keeps {told}, and the rules look back {format_age(WEEK_SECONDS)}",
            "start it with --storage.tsdb.retention.time=15d",
        )
    return Seen(f"it keeps {told}")


def seconds_of(duration: str) -> float:
    """Return the seconds of a duration as Prometheus writes it, such as ``1h30m``; 0 for none."""
    return sum(int(count) * _UNITS[unit] for count, unit in _TERM.findall(duration))


CHECKS = (
    Check(
        name="prometheus-answers",
        area=Area.PROMETHEUS,
        sentence="Prometheus answers a query",
        look=_answers,
        hint="see whether Prometheus runs, and whether --prometheus is its URL",
    ),
    Check(
        name="prometheus-scrapes",
        area=Area.PROMETHEUS,
        sentence="Prometheus scrapes the gateway",
        look=_scrapes,
        needs=("prometheus-answers", "gateway-settings"),
        after=("gateway-answers",),
        hint="add the gateway to the scrape_configs",
    ),
    Check(
        name="prometheus-labels",
        area=Area.PROMETHEUS,
        sentence="what was pushed keeps its own labels",
        look=_labels,
        needs=("prometheus-scrapes",),
        hint="add honor_labels: true to the job, and reload Prometheus",
    ),
    Check(
        name="prometheus-metrics",
        area=Area.PROMETHEUS,
        sentence="Prometheus has the last push of each source",
        look=_metrics,
        needs=("prometheus-answers", "dbt-parses"),
        after=("prometheus-scrapes", "prometheus-labels", "gateway-group", "schedule-recent"),
        hint="push: obs freshness push",
    ),
    Check(
        name="prometheus-retention",
        area=Area.PROMETHEUS,
        sentence="Prometheus keeps samples for as long as the rules look back",
        look=_retention,
        needs=("prometheus-answers",),
        hint="start it with --storage.tsdb.retention.time=15d",
    ),
)
