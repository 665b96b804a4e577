"""Whether a query of a rule or a dashboard can mean what its author meant.

A metric that nobody exports, or a label that no series has, selects nothing: the alert never fires
and the panel stays empty, and neither Prometheus nor Grafana says a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.errors import nearest
from ledgermind_obs.metrics import IDENTITY_LABELS, METRICS, source_labels
from ledgermind_obs.monitoring.findings import Code, Severity
from ledgermind_obs.monitoring.promql import (
    Aggregation,
    Query,
    Selector,
    TooComplexError,
    parse,
    pattern_of,
)

IDENTITY = ("project", "target", *IDENTITY_LABELS)

TABLE_LOADED_AT = "table_loaded_at_seconds"

# What the grouping key of a push and every scrape add.
_COMMON_LABELS = frozenset({"job", "instance", "project", "target"})
_OTHERS = {
    TABLE_LOADED_AT: frozenset({"table"}),
    "push_time_seconds": frozenset[str](),
    "push_failure_time_seconds": frozenset[str](),
    "up": frozenset[str](),
    "ALERTS": frozenset({"alertname", "alertstate", "severity", "status", *IDENTITY_LABELS}),
}
# Of several series these choose one, or blur them; a count or a sum of states hides none.
_HIDING = frozenset({"max", "min", "avg"})


class Kind(Enum):
    """What can be wrong with an expression: the number of its code, the severity, the title."""

    NOT_PROMQL = (101, Severity.ERROR, "expression is not PromQL")
    TOO_COMPLEX = (102, Severity.ERROR, "expression is too complex to check")
    METRIC = (103, Severity.ERROR, "nothing exports the metric")
    LABEL = (104, Severity.ERROR, "no series has the label")
    PATTERN = (105, Severity.WARNING, "pattern cannot be checked")
    SOURCE = (106, Severity.ERROR, "dbt project has no such source")
    MERGED = (107, Severity.ERROR, "different sources become one")


def codes_of(letter: str) -> dict[Kind, Code]:
    """Return the code of each kind, beginning with R for rules or D for dashboards."""
    numbered = {kind: kind.value for kind in Kind}
    return {
        kind: Code(f"{letter}{n}", level, title) for kind, (n, level, title) in numbered.items()
    }


class Fault(NamedTuple):
    """What is wrong with an expression, and what to do about it."""

    kind: Kind
    message: str
    next_step: str


class Catalogue(msgspec.Struct, frozen=True):
    """What there is to query: metrics with their labels, and the sources (None: not known).

    ``allowed`` are patterns of other metrics, which are taken as they come.
    """

    sources: tuple[Source, ...] | None = None
    allowed: tuple[str, ...] = ()
    metrics: Mapping[str, frozenset[str]] = msgspec.field(
        default_factory=lambda: {m.name: frozenset(m.labels) for m in METRICS} | _OTHERS
    )

    def with_recorded(self, recorded: Mapping[str, frozenset[str]]) -> Catalogue:
        """Return the catalogue with what recording rules add; a metric's own labels stay."""
        return msgspec.structs.replace(self, metrics={**recorded, **self.metrics})

    def allows(self, name: str) -> bool:
        """Return whether the metric is none of ours and was allowed by name."""
        return any(fnmatchcase(name, pattern) for pattern in self.allowed)

    def labels(self, query: Query) -> frozenset[str]:
        """Return every label that a series of the query's metrics may have."""
        own = (self.metrics.get(selector.name, frozenset()) for selector in query.selectors)
        return _COMMON_LABELS.union(*own)


def check_expression(expression: str, catalogue: Catalogue) -> Iterator[Fault]:
    """Yield what is wrong with one expression."""
    try:
        query = parse(expression)
    except TooComplexError as error:
        message = f"has an expression that is too complex to check: {error}"
        yield Fault(Kind.TOO_COMPLEX, message, "split it with recording rules")
        return
    except ValueError as error:
        message = f"has an expression that is not PromQL: {error}"
        yield Fault(Kind.NOT_PROMQL, message, "correct it; Prometheus' web page shows the place")
        return
    for selector in query.selectors:
        yield from _check_selector(selector, catalogue)
    if not any(catalogue.allows(selector.name) for selector in query.selectors):
        yield from _unknown_labels(query.labels, catalogue.labels(query), "series")
    for aggregation in query.aggregations:
        yield from _check_aggregation(aggregation, catalogue)


def _check_selector(selector: Selector, catalogue: Catalogue) -> Iterator[Fault]:
    if catalogue.allows(selector.name):
        return
    if not selector.name:
        message = "has a selector without a metric name, so obs cannot tell what it selects"
        yield Fault(Kind.METRIC, message, "name the metric before the braces")
        return
    if selector.name not in catalogue.metrics:
        next_step = f"{nearest(selector.name, catalogue.metrics)} Or --allow-metric {selector.name}"
        message = f"uses the metric {selector.name}, which nothing exports"
        yield Fault(Kind.METRIC, message, next_step)
        return
    known = _COMMON_LABELS | catalogue.metrics[selector.name]
    used = frozenset(matcher.label for matcher in selector.matchers)
    yield from _unknown_labels(used, known, f"series of {selector.name}")
    unreadable = list(_unreadable_patterns(selector))
    yield from unreadable or _check_source(selector, catalogue)


def _unknown_labels(used: frozenset[str], known: frozenset[str], series: str) -> Iterator[Fault]:
    for label in sorted(used - known):
        message = f"uses the label {label}, which no {series} has"
        yield Fault(Kind.LABEL, message, nearest(label, known))


def _unreadable_patterns(selector: Selector) -> Iterator[Fault]:
    for matcher in selector.matchers:
        if "~" not in matcher.operator or matcher.is_variable:
            continue
        try:
            pattern_of(matcher.value)
        except ValueError as error:
            message = f"has the pattern {matcher.value!r}, which obs cannot check: {error}"
            next_step = "write it more simply, or see in Prometheus that it selects what it should"
            yield Fault(Kind.PATTERN, message, next_step)


def _check_source(selector: Selector, catalogue: Catalogue) -> Iterator[Fault]:
    """Yield a fault if the selector names a source, and the project has no such source."""
    named = [m for m in selector.matchers if m.label in IDENTITY_LABELS and not m.is_variable]
    wanted = [m for m in named if m.operator == "=" and m.value]  # "" asks for no label at all
    if not wanted or catalogue.sources is None:
        return
    if not any(selector.selects(source_labels(source)) for source in catalogue.sources):
        words = ", ".join(f"{matcher.label} {matcher.value}" for matcher in wanted)
        tables = {source.name for source in catalogue.sources}
        yield Fault(
            Kind.SOURCE,
            f"asks for {words}, and the dbt project has no such source with freshness",
            nearest(wanted[-1].value, tables) if tables else "give the source freshness in dbt",
        )


def _check_aggregation(aggregation: Aggregation, catalogue: Catalogue) -> Iterator[Fault]:
    if aggregation.operator not in _HIDING:
        return
    for selector in aggregation.selectors:
        labels = catalogue.metrics.get(selector.name, frozenset())
        fixed = {matcher.label for matcher in selector.matchers if matcher.operator == "="}
        if selector.name != TABLE_LOADED_AT and not labels.issuperset(IDENTITY_LABELS):
            continue
        own = [name for name in IDENTITY if name in labels | _COMMON_LABELS and name not in fixed]
        if dropped := [label for label in own if aggregation.drops(label)]:
            count = "label" if len(dropped) == 1 else "labels"
            yield Fault(
                Kind.MERGED,
                f"merges different sources: {aggregation.operator}() drops the {count} "
                f"{', '.join(dropped)}",
                "a fresh source would hide a stale one: "
                f"write {aggregation.operator} by ({', '.join(IDENTITY)})",
            )
