"""The alert rules: loaded, healthy, those of the file, and what fires now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ledgermind_obs import metrics
from ledgermind_obs.doctor.answers import Alert, LoadedRule
from ledgermind_obs.doctor.check import Area, Check, Seen, SkippedError, failed, warning
from ledgermind_obs.doctor.of_prometheus import seconds_of
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.lineage.watched import watched_sources
from ledgermind_obs.metrics import source_labels
from ledgermind_obs.monitoring.expressions import TABLE_LOADED_AT
from ledgermind_obs.monitoring.generate import Plan, declared
from ledgermind_obs.monitoring.promql import normal_form
from ledgermind_obs.monitoring.recorded import ALERT_AFTER
from ledgermind_obs.monitoring.rules import Rule, alert_selectors

WATCHDOG = "Watchdog"

_OURS = (*(metric.name for metric in metrics.METRICS), "source:dbt_", TABLE_LOADED_AT)
_ALERTING, _FIRING = "alerting", "firing"
_NAMED = 3


def loaded_rules(patient: Patient) -> list[tuple[str, LoadedRule]]:
    """Return the rules that Prometheus runs on our metrics, each with its group's name."""
    return [
        (group.name, rule)
        for group in patient.rule_groups
        for rule in group.rules
        if any(name in rule.query for name in _OURS)
    ]


def our_alerts(patient: Patient) -> list[LoadedRule]:
    """Return the alerts that Prometheus runs on our metrics."""
    return [rule for _, rule in loaded_rules(patient) if rule.type == _ALERTING]


def _loaded(patient: Patient) -> Seen:
    rules = loaded_rules(patient)
    alerts = [rule for _, rule in rules if rule.type == _ALERTING]
    if not alerts:
        return failed(
            "Prometheus runs no alert on these metrics",
            "add prometheus/rules to rule_files in prometheus.yml, and reload it",
        )
    if silent := _unwatched(patient, rules):
        return failed(
            f"no loaded alert looks at the age of {_first(silent)}",
            "load an alert that does: prometheus/rules has one for any source",
        )
    return Seen(f"{len(alerts)} alerts on these metrics, {len(rules) - len(alerts)} other rules")


def _unwatched(patient: Patient, rules: Iterable[tuple[str, LoadedRule]]) -> list[str]:
    """Return the sources whose age no alert looks at."""
    found = [
        Rule(file="", name=rule.name, expression=rule.query, is_alert=rule.type == _ALERTING)
        for _, rule in rules
    ]
    ages = [s for s in alert_selectors(found) if s.name == metrics.LOADED_AT.name]
    return [
        source.label
        for source in patient.sources
        if not any(selector.selects(source_labels(source)) for selector in ages)
    ]


def _healthy(patient: Patient) -> Seen:
    rules = loaded_rules(patient)
    for _, rule in rules:
        if rule.health == "err":
            words = f"{rule.name} cannot be evaluated: {rule.last_error or 'no reason is given'}"
            return failed(words, "correct its expression, and reload Prometheus")
    return Seen(f"{len(rules)} of {len(rules)} rules")


def _current(patient: Patient) -> Seen:
    wanted = [rule for rule in patient.rule_file if rule.is_alert]
    running = {_identity(group, rule) for group, rule in loaded_rules(patient)}
    running |= {_identity(g.name, r) for g in patient.rule_groups for r in g.rules}
    differing = [rule.name for rule in wanted if _wanted(rule) not in running]
    if differing:
        names = _first(dict.fromkeys(differing))
        return failed(
            f"{names} of {patient.rules} does not run as the file has it",
            "bring the file to Prometheus, and reload it: curl -X POST …/-/reload",
        )
    return Seen(f"{len(wanted)} alerts of {patient.rules} run as they are written")


def _generated(patient: Patient) -> Seen:
    """Compare what runs with what ``obs rules generate`` would write of each source."""
    project = patient.dbt().project.name
    sources = watched_sources(patient.lineage, patient.settings)
    wanted = {
        _declaration(rule["expr"], rule["labels"])
        for rule in declared(Plan(project, sources))
        if rule["record"] == ALERT_AFTER
    }
    running = {
        _declaration(rule.query, rule.labels)
        for group in patient.rule_groups
        for rule in group.rules
        if rule.name == ALERT_AFTER and rule.labels.get("project") == project
    }
    if not running:
        raise SkippedError(f"no rule of {project} alone runs: obs rules generate writes them")
    if differing := wanted ^ running:
        tables = sorted({f"{dict(of)['source']}.{dict(of)['table']}" for _, of in differing})
        return failed(
            f"the rules that run and the project differ in limit, owner or exposures of "
            f"{_first(tables)}",
            "write them anew, and reload Prometheus: obs rules generate --output FILE",
        )
    return Seen(f"{len(wanted)} sources of {project}, with their limits, owners and exposures")


def _declaration(
    expression: str, labels: Mapping[str, str]
) -> tuple[str, frozenset[tuple[str, str]]]:
    return normal_form(expression), frozenset(labels.items())


_Identity = tuple[str, str, str, float, frozenset[tuple[str, str]]]


def _identity(group: str, rule: LoadedRule) -> _Identity:
    labels = frozenset(rule.labels.items())
    return group, rule.name, normal_form(rule.query), rule.duration, labels


def _wanted(rule: Rule) -> _Identity:
    labels = frozenset(rule.labels.items())
    return rule.group, rule.name, normal_form(rule.expression), seconds_of(rule.lasts), labels


def _quiet(patient: Patient) -> Seen:
    firing = [alert for alert in _of_ours(patient) if alert.state == _FIRING]
    if not firing:
        return Seen("no alert on this project and target fires")
    told = dict.fromkeys(_told(alert.labels) for alert in firing)
    return warning(f"firing now: {_first(told)}", "see the runbook that each alert links to")


def _of_ours(patient: Patient) -> Iterator[Alert]:
    """Yield the alerts on our metrics, of this project and target as far as they tell."""
    names = {rule.name for rule in our_alerts(patient)} - {WATCHDOG}
    project = patient.dbt().project
    for alert in patient.alerts:
        of = (alert.labels.get("project"), alert.labels.get("target"))
        if alert.name in names and of in {(project.name, project.target), (None, None)}:
            yield alert


def _told(labels: Mapping[str, str]) -> str:
    table = labels.get("table")
    return labels.get("alertname", "") + (f" of {table}" if table else "")


def _first(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def require_watchdog(patient: Patient) -> None:
    """Raise SkippedError unless Prometheus runs the alert that always fires."""
    if not any(rule.name == WATCHDOG for group in patient.rule_groups for rule in group.rules):
        raise SkippedError(f"Prometheus runs no alert {WATCHDOG}")


CHECKS = (
    Check(
        name="rules-loaded",
        area=Area.PROMETHEUS,
        sentence="an alert looks at the age of each source",
        look=_loaded,
        needs=("prometheus-answers", "dbt-parses"),
        hint="add the rule files to rule_files in prometheus.yml",
    ),
    Check(
        name="rules-healthy",
        area=Area.PROMETHEUS,
        sentence="Prometheus can evaluate each rule",
        look=_healthy,
        needs=("rules-loaded",),
        hint="correct the rule, and reload Prometheus",
    ),
    Check(
        name="rules-current",
        area=Area.PROMETHEUS,
        sentence="Prometheus runs the alerts as the rule files have them",
        look=_current,
        needs=("rules-loaded",),
        hint="bring the files to Prometheus, and reload it",
    ),
    Check(
        name="rules-generated",
        area=Area.PROMETHEUS,
        sentence="the alerts know each source's limit, owner and exposures as the project does",
        look=_generated,
        needs=("rules-loaded", "dbt-freshness"),
        after=("rules-current", "exposure-lineage"),
        hint="write them anew: obs rules generate --output FILE, and reload Prometheus",
    ),
    Check(
        name="alerts-quiet",
        area=Area.PROMETHEUS,
        sentence="no alert on this project and target fires",
        look=_quiet,
        needs=("rules-loaded",),
        hint="see the runbook that the alert links to",
    ),
)
