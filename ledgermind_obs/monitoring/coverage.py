"""Which sources the alert rules and the dashboards speak of, by their queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ledgermind_obs.metrics import LOADED_AT, STATUS
from ledgermind_obs.monitoring.dashboard import queries, without_variables
from ledgermind_obs.monitoring.expressions import TABLE_LOADED_AT
from ledgermind_obs.monitoring.promql import Selector, parse
from ledgermind_obs.monitoring.rules import Rule, alert_selectors

# A table's age, and dbt's verdict on it; the second is what postgres_exporter fills.
_SPEAKS_OF_SOURCES = frozenset({LOADED_AT.name, TABLE_LOADED_AT, STATUS.name})


def covered_by_rules(rules: Iterable[Rule]) -> list[Selector]:
    """Return what every alert selects of the sources' metrics, also through recorded ones."""
    return _of_sources(alert_selectors(list(rules)))


def covered_by_dashboard(model: Mapping[str, Any]) -> list[Selector]:
    """Return what every query of a dashboard selects; a variable may stand for any source."""
    return [selector for query in queries(model) for selector in selectors(query)]


def selectors(expression: str) -> list[Selector]:
    """Return what an expression selects of the sources' metrics; what is not PromQL, nothing."""
    try:
        return _of_sources(parse(without_variables(expression)).selectors)
    except ValueError:
        return []


def _of_sources(found: Iterable[Selector]) -> list[Selector]:
    return [s for s in found if s.name in _SPEAKS_OF_SOURCES and not s.excludes]
