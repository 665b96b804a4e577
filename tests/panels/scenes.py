"""What the panels are drawn of: each scene is a project's sources, as obs pushes them."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ledgermind_obs import metrics
from ledgermind_obs.freshness import SourceFreshness, State
from ledgermind_obs.metrics import Series, report_series
from ledgermind_obs.sinks.exposition import constant_labels, exposition
from services.prometheus import Pushgateway
from tests.unit.reports import DAY, HOUR, NOW, of_source, report, seen, source

MINUTE = 60.0
PAST_STEP = 4 * MINUTE


class Push(NamedTuple):
    """What one project and target pushes."""

    project: str
    target: str
    series: Sequence[Series]

    @property
    def labels(self) -> dict[str, str]:
        return {"project": self.project, "target": self.target}


def pushes(now: float) -> Iterator[Push]:
    """Yield the pushes of every scene; a scene is named by its project."""
    for project, sources in SCENES.items():
        yield Push(project, "prod", _series(sources, now))
    yield Push("two_targets", "staging", _series(usual(transactions=300 * HOUR), now))
    yield Push(
        "no_limits",
        "prod",
        [of_source(metrics.LOADED_AT, now - 5 * HOUR, "", "app", "transactions")],
    )
    yield Push("no_report", "prod", _run(_series(usual(), now), now, success=0.0))
    yield Push("in_time", "prod", _run(_series(usual(), now), now - 44.2 * MINUTE))
    yield Push("late", "prod", _run(_series(usual(), now), now - 90 * MINUTE))
    yield Push("ledgermind", "prod", [*_run(_series(_demo(), now), now - 6 * MINUTE), *_built(now)])


def usual(**ages: float) -> list[SourceFreshness]:
    """Return the three tables of the dashboard's tiles, fresh where no age is given."""
    fresh = {"transactions": 4 * HOUR, "transaction_labels": 10 * HOUR, "ml_features": 6 * HOUR}
    return [_aged(table, age) for table, age in {**fresh, **ages}.items()]


def _aged(table: str, age: float, **fields: str) -> SourceFreshness:
    """Return a source in the state that dbt gives it at that age."""
    state = State.ERROR if age > 5 * DAY else State.WARN if age > 2 * DAY else State.PASS
    return source(table, state, age, **fields)


def _and(*odd: SourceFreshness) -> list[SourceFreshness]:
    """Return the three tables, with odd ones in place of their own."""
    return list({each.table: each for each in (*usual(), *odd)}.values())


def _many() -> Iterator[SourceFreshness]:
    for number in range(500):
        age = (number * 37 % 150) * HOUR + 600
        named = {"source": f"source_{number % 5}", "unique_id": f"source.many.{number}"}
        yield _aged(f"table_of_events_{number:03}", age, **named)


def _demo() -> list[SourceFreshness]:
    bank = {"source": "bank"}
    return [
        *usual(transactions=3.4 * HOUR, transaction_labels=57.2 * HOUR, ml_features=7.8 * HOUR),
        _aged("suggestion_events", 1.2 * HOUR),
        _aged("merchants", 31.6 * HOUR),
        _aged("accounts", 12.3 * HOUR, **bank),
        _aged("statements", 139.5 * HOUR, **bank),
        source("balances", State.QUERY_ERROR, 20.1 * HOUR, **bank),
    ]


SCENES: dict[str, list[SourceFreshness]] = {
    "fresh": usual(),
    "warn": usual(transaction_labels=58 * HOUR),
    "critical": usual(ml_features=146.3 * HOUR),
    "edges": usual(
        transactions=47.97 * HOUR, transaction_labels=119.97 * HOUR, ml_features=0.01 * HOUR
    ),
    "empty": _and(source("ml_features", State.EMPTY, None)),
    "future": _and(source("transactions", State.FUTURE, -3 * HOUR)),
    "clocks_differ": usual(transactions=-4 * MINUTE),
    "query_error": _and(source("ml_features", State.QUERY_ERROR, 30 * HOUR)),
    "missing": _and(source("ml_features", State.MISSING, None)),
    "two_targets": usual(),
    "many": list(_many()),
}


def _series(sources: Iterable[SourceFreshness], now: float) -> list[Series]:
    """Return what a run pushes that has just measured the sources."""
    return list(report_series(seen(report(*sources), NOW.timestamp() - now)))


def _run(series: Iterable[Series], started: float, success: float = 1.0) -> list[Series]:
    """Return the series as of a run that started then."""
    changed = {metrics.RUN_TIMESTAMP: started, metrics.RUN_SUCCESS: success}
    return [each._replace(value=changed.get(each.metric, each.value)) for each in series]


def _built(now: float) -> Iterator[Series]:
    """Yield what obs builds push says of two exposures and their models."""
    exposures = {
        "ml_training_pipeline": ("app", "transaction_labels", 71),
        "spending": ("bank", "statements", 149),
    }
    for exposure, (name, table, age) in exposures.items():
        yield Series(
            metrics.EXPOSURE_AS_OF, (exposure, "ledgermind", name, table), now - age * HOUR
        )
    for model, status in (("fct_training_view", "success"), ("stg_statements", "error")):
        yield Series(metrics.BUILD_STATUS, ("ledgermind", model, status), 1.0)


def push(gateway: Pushgateway, every: Iterable[Push]) -> None:
    """Put each group of series onto the gateway."""
    http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for each in every:
        url = f"{gateway.url}/metrics/job/dbt-freshness/project/{each.project}/target/{each.target}"
        request = urllib.request.Request(url, exposition(each.series), method="PUT")
        http.open(request, timeout=30).close()


def past(every: Iterable[Push], now: float) -> str:
    """Return a day of what Prometheus scraped before, in the OpenMetrics format."""
    lines = [f"# TYPE {metrics.LOADED_AT.name} gauge"]
    for each in every:
        for series in each.series:
            if series.metric is metrics.LOADED_AT:
                lines += _history(each, series, now)
    return "\n".join([*lines, "# EOF", ""])


def _history(of: Push, series: Series, now: float) -> Iterator[str]:
    """Yield when the table's newest row was, if it was loaded every six to eleven hours."""
    own = dict(zip(series.metric.labels, series.label_values, strict=True))
    labels = constant_labels({"job": "dbt-freshness", **of.labels, **own})
    every = (6 + len(own["table"]) % 6) * HOUR
    for number in range(int(DAY / PAST_STEP)):
        at = now - DAY + number * PAST_STEP
        missed = max(0, math.ceil((series.value - at) / every)) if series.value <= now else 0
        loaded_at = series.value - missed * every
        yield f"{series.metric.name}{{{labels}}} {loaded_at} {at:.3f}"
