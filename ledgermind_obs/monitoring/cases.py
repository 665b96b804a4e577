"""Cases for ``promtool test rules``: each alert fires when it should, and does not when not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ledgermind_obs.metrics import source_labels
from ledgermind_obs.monitoring.alerts import About, Alert, Given
from ledgermind_obs.monitoring.generate import Plan, Watched, quoted
from ledgermind_obs.monitoring.recorded import Yaml

_INTERVAL = "2m"
# In minutes: nothing has fired yet, everything has; and how long the series are, in steps.
_EARLY, _LATE, _STEPS = 4, 90, 50
# The ages of the cases that do not fire end as much below the limit.
_JUST_BELOW = 60
# So many alerts are asked for by name; of more, all that begin as they do.
_NAMED = 100

_STRANGER = {"package": "elsewhere", "source": "erp", "table": "orders"}


def cases(plan: Plan, rules: str) -> Yaml:
    """Return the cases; ``rules`` is the rule file, as seen from the file of the cases."""
    general = [case for alert in plan.alerts for case in _of_general(alert, plan)]
    return {
        "rule_files": [rules],
        "evaluation_interval": _INTERVAL,
        "tests": [*_of_sources(plan), *general],
    }


def _of_sources(plan: Plan) -> list[Yaml]:
    """Return the cases of the sources' own alerts, all of them at once."""
    if not plan.sources:
        return []
    old = {watched.alert: f"{-watched.limit - 60:.15g}x{_STEPS}" for watched in plan.sources}
    new = {watched.alert: _fresh(watched) for watched in plan.sources}
    names = "|".join(sorted(old)) if len(old) <= _NAMED else "SourceStale.+"
    query = _firing(f"alertname=~{quoted(names)}")
    firing = [_sample(_expected(watched), 1) for watched in plan.sources]
    return [
        _case("every source is stale", _loaded(plan, old), query, firing),
        _case("no source is stale", _loaded(plan, new), query, []),
    ]


def _fresh(watched: Watched) -> str:
    """Return times of a source that stays just within its limit until the end.

    promtool evaluates groups in no fixed order: what one records, another may read a step later.
    A short limit holds even then, as the row's time is a step ahead.
    """
    loaded_at = _LATE * 60 - watched.limit + _JUST_BELOW
    return f"{loaded_at:.15g}x{_STEPS}" if loaded_at <= 0 else f"120+120x{_STEPS}"


def _loaded(plan: Plan, values: Mapping[str, str]) -> list[Yaml]:
    return [
        _series(
            "dbt_source_loaded_at_seconds",
            {**_run(plan), **source_labels(watched.source)},
            values[watched.alert],
        )
        for watched in plan.sources
    ]


def _expected(watched: Watched) -> dict[str, str]:
    return {"alertname": watched.alert, "severity": "warning", **watched.labels}


def _of_general(alert: Alert, plan: Plan) -> Iterable[Yaml]:
    watched = _subject(alert, plan)
    labels = {"alertname": alert.name, "severity": alert.severity, **_owner(alert, watched, plan)}
    query = _firing(f'alertname="{alert.name}", severity="{alert.severity}"')
    fires, silent = (
        [_given(given, watched, plan) for given in series]
        for series in (_in_time(alert, watched), alert.silent)
    )
    name = f"{alert.name}, {alert.severity}"
    early = [] if alert.lasts else [_sample(labels, 1)]
    yield _case(f"{name}: fires", fires, query, [_sample(labels, 1)], early)
    if silent:
        yield _case(f"{name}: does not fire", silent, query, [])


def _subject(alert: Alert, plan: Plan) -> Watched | None:
    """Return the source a case is about: one with a gate, where there is one."""
    gated = [watched for watched in plan.sources if watched.gate_after is not None]
    return next(iter([*gated, *plan.sources] if alert.name != "SourceStale" else []), None)


def _in_time(alert: Alert, watched: Watched | None) -> tuple[Given, ...]:
    """Return the series of a case that fires; where only gates have a limit, the gate's."""
    (first, *_) = alert.fires
    if alert.name != "SourceCriticalStale" or first.about is not About.SOURCE or watched is None:
        return alert.fires
    age = (watched.gate_after or 0) + 60
    return (Given(first.metric, f"{-age:.15g}x{_STEPS}", About.SOURCE),)


def _owner(alert: Alert, watched: Watched | None, plan: Plan) -> dict[str, str]:
    kinds = {given.about for given in alert.fires}
    if alert.owned is None:
        return {}
    if About.EXPOSURE in kinds:
        owner = plan.owners.get(_exposure(plan))
        return {"owner": owner} if owner else {}
    return watched.labels if watched and About.SOURCE in kinds else {}


def _given(given: Given, watched: Watched | None, plan: Plan) -> Yaml:
    source = source_labels(watched.source) if watched else _STRANGER
    labels = {
        About.RUN: {},
        About.SOURCE: source,
        About.OTHER: _STRANGER,
        About.MODEL: {"package": plan.project, "model": "orders"},
        About.EXPOSURE: {"exposure": _exposure(plan), **source},
    }[given.about]
    status = {"status": given.status} if given.status else {}
    return _series(given.metric, {**_run(plan), **labels, **status}, given.values)


def _exposure(plan: Plan) -> str:
    return next(iter(plan.owners), "an_exposure")


def _run(plan: Plan) -> dict[str, str]:
    return {"project": plan.project, "target": "prod"}


def _series(metric: str, labels: Mapping[str, str], values: str) -> Yaml:
    return {"series": metric + _written(labels), "values": values}


def _written(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}={quoted(value)}" for name, value in labels.items()) + "}"


def _firing(matchers: str) -> str:
    by = "alertname, severity, owner, exposures"
    return f'count by ({by}) (ALERTS{{alertstate="firing", {matchers}}})'


def _sample(labels: Mapping[str, str], value: int) -> Yaml:
    return {"labels": _written(labels), "value": value}


def _case(
    name: str,
    series: list[Yaml],
    query: str,
    expected: list[Yaml],
    early: Iterable[Yaml] = (),
) -> Yaml:
    at = ((_EARLY, list(early)), (_LATE, expected))
    return {
        "name": name,
        "interval": _INTERVAL,
        "input_series": series,
        "promql_expr_test": [
            {"expr": query, "eval_time": f"{minutes}m", "exp_samples": samples}
            for minutes, samples in at
        ],
    }
