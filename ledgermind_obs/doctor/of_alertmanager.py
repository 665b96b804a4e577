"""Alertmanager: known to Prometheus, and leads each alert to somebody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ledgermind_obs.dbt import yaml_files
from ledgermind_obs.doctor import routes
from ledgermind_obs.doctor.answers import Silence, alertmanagers, received, silences
from ledgermind_obs.doctor.check import Area, Check, Seen, failed, warning
from ledgermind_obs.doctor.of_rules import WATCHDOG, our_alerts, require_watchdog
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.monitoring.promql import Matcher

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# An alert of this severity is there to be seen by programs.
_FOR_NOBODY = "none"


def _answers(patient: Patient) -> Seen:
    endpoint = patient.alertmanager_api
    if not patient.routes:
        return warning(f"{endpoint.url} answers and shows no configuration", "see its version")
    return Seen(f"{endpoint.url} answers")


def _known(patient: Patient) -> Seen:
    known = alertmanagers(patient.prometheus_api)
    if not known:
        return failed(
            "Prometheus sends its alerts to nobody",
            "name the Alertmanager under alerting: in prometheus.yml, and reload it",
        )
    places = ", ".join(sorted(url.removesuffix("/api/v2/alerts") for url in known))
    wanted = patient.alertmanager()
    if wanted and not any(_port(url) == _port(wanted.url) for url in known):
        return warning(
            f"Prometheus sends its alerts to {places}, and --alertmanager is {wanted.url}",
            "see whether the two addresses are those of one Alertmanager",
        )
    return Seen(f"Prometheus sends its alerts to {places}")


def _port(url: str) -> tuple[str, int | None]:
    """Return what tells two addresses apart; by name, a host may have another inside a cluster."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return ("localhost" if host in _LOOPBACK else host), parts.port


def _receivers(patient: Patient) -> Seen:
    settings, ends = _settings(patient), set[str]()
    for labels in _label_sets(patient):
        for receiver in routes.receivers_of(settings, labels):
            if not receiver.integrations and labels.get("severity") != _FOR_NOBODY:
                return failed(
                    f"{labels['alertname']} ({labels.get('severity', 'no severity')}) ends at the "
                    f"receiver {receiver.name}, which tells nobody",
                    f"give {receiver.name} an integration, or route the alert elsewhere",
                )
            ends.add(receiver.name)
    return Seen(f"each alert ends at one of: {', '.join(sorted(ends))}")


def _settings(patient: Patient) -> object:
    try:
        return yaml_files.load(patient.routes.encode())
    except yaml_files.FaultyYamlError as error:
        raise ArtifactError(f"Alertmanager's configuration cannot be read: {error}") from error


def _label_sets(patient: Patient) -> Iterator[Mapping[str, str]]:
    """Yield what is known of the labels of each of our alerts."""
    project = patient.dbt().project
    for rule in our_alerts(patient):
        of = {"alertname": rule.name, "project": project.name, "target": project.target}
        # What a template makes of a label is not known before the alert fires.
        fixed = {name: text for name, text in rule.labels.items() if "{{" not in text}
        yield {**of, **fixed}


def _silences(patient: Patient) -> Seen:
    active = [each for each in silences(patient.alertmanager_api) if each.status.state == "active"]
    for silence in active:
        quiet = [labels["alertname"] for labels in _label_sets(patient) if _hides(silence, labels)]
        if quiet:
            return warning(
                f"a silence of {silence.created_by or 'nobody'} until {silence.ends_at[:16]} can "
                f"hide {quiet[0]}: {silence.comment}",
                "see whether it is still wanted, and end it in Alertmanager",
            )
    muted = [alert for alert in received(patient.alertmanager_api) if alert.status.muted_by]
    for alert in muted:
        if alert.labels.get("alertname") in {rule.name for rule in our_alerts(patient)}:
            by = ", ".join(alert.status.muted_by)
            return warning(
                f"{alert.labels['alertname']} is muted by {by}",
                "see the time intervals of the routes in alertmanager.yml",
            )
    return Seen("no silence and no mute time hides an alert on these metrics")


def _hides(silence: Silence, labels: Mapping[str, str]) -> bool:
    matchers = [
        Matcher(
            m.name,
            ("=~" if m.is_equal else "!~") if m.is_regex else ("=" if m.is_equal else "!="),
            m.value,
        )
        for m in silence.matchers
    ]
    return routes.all_match(matchers, labels)


def _watchdog(patient: Patient) -> Seen:
    require_watchdog(patient)
    if not received(patient.alertmanager_api, f'alertname="{WATCHDOG}"'):
        return failed(
            f"Prometheus runs {WATCHDOG}, and Alertmanager does not have it",
            "see the log of Prometheus for what it cannot send",
        )
    return Seen(f"Alertmanager has the alert {WATCHDOG}")


CHECKS = (
    Check(
        name="alertmanager-answers",
        area=Area.ALERTMANAGER,
        sentence="Alertmanager answers",
        look=_answers,
        hint="see whether Alertmanager runs, and whether --alertmanager is its URL",
    ),
    Check(
        name="alertmanager-known",
        area=Area.ALERTMANAGER,
        sentence="Prometheus sends its alerts to Alertmanager",
        look=_known,
        needs=("prometheus-answers",),
        hint="name the Alertmanager under alerting: in prometheus.yml",
    ),
    Check(
        name="alertmanager-receivers",
        area=Area.ALERTMANAGER,
        sentence="each alert ends at a receiver that tells somebody",
        look=_receivers,
        needs=("alertmanager-answers", "rules-loaded"),
        hint="see the routes in alertmanager.yml",
    ),
    Check(
        name="alertmanager-silences",
        area=Area.ALERTMANAGER,
        sentence="nothing hides an alert on these metrics",
        look=_silences,
        needs=("alertmanager-answers", "rules-loaded"),
        hint="see the silences in Alertmanager",
    ),
    Check(
        name="watchdog",
        area=Area.ALERTMANAGER,
        sentence="the alert that always fires arrives",
        look=_watchdog,
        needs=("alertmanager-answers", "rules-loaded"),
        after=("alertmanager-known",),
        hint="see the log of Prometheus",
    ),
)
