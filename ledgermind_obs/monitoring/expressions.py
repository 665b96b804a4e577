"""Whether a query of a rule or a dashboard can mean what its author meant.

A metric that nobody exports, or a label that no series has, selects nothing: the alert never fires
and the panel stays empty, and neither Prometheus nor Grafana says a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.metrics import METRICS, SOURCE_LABELS, source_labels
from ledgermind_obs.monitoring.promql import Aggregation, Query, Selector, parse

IDENTITY = ("project", "target", *SOURCE_LABELS)

TABLE_LOADED_AT = "table_loaded_at_seconds"

# What the grouping key of a push and every scrape add.
_COMMON_LABELS = frozenset({"job", "instance", "project", "target"})
_OTHERS = {
    TABLE_LOADED_AT: frozenset({"table"}),
    "push_time_seconds": frozenset[str](),
    "push_failure_time_seconds": frozenset[str](),
    "up": frozenset[str](),
    "ALERTS": frozenset({"alertname", "alertstate", "severity", "status", *SOURCE_LABELS}),
}
# Of several series these choose one, or blur them; a count or a sum of states hides none.
_HIDING = frozenset({"max", "min", "avg"})


class Fault(NamedTuple):
    """What is wrong, where, and what to do about it."""

    place: str
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


def check_expression(expression: str, place: str, catalogue: Catalogue) -> Iterator[Fault]:
    """Yield what is wrong with one expression."""
    try:
        query = parse(expression)
    except ValueError as error:
        yield Fault(place, f"not PromQL: {error}", "try the expression in Prometheus")
        return
    for selector in query.selectors:
        yield from _check_selector(selector, place, catalogue)
    if not any(catalogue.allows(selector.name) for selector in query.selectors):
        yield from _unknown_labels(query.labels, catalogue.labels(query), place)
    for aggregation in query.aggregations:
        yield from _check_aggregation(aggregation, place, catalogue)


def unique(faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults in their order, each once."""
    return list(dict.fromkeys(faults))


def _check_selector(selector: Selector, place: str, catalogue: Catalogue) -> Iterator[Fault]:
    if catalogue.allows(selector.name):
        return
    if selector.name not in catalogue.metrics:
        near = _nearest(selector.name, catalogue.metrics)
        yield Fault(place, f"nothing exports the metric {selector.name or '(no name)'}", near)
        return
    known = _COMMON_LABELS | catalogue.metrics[selector.name]
    used = frozenset(matcher.label for matcher in selector.matchers)
    yield from _unknown_labels(used, known, place, f" of {selector.name}")
    yield from _check_patterns(selector, place)
    yield from _check_source(selector, place, catalogue)


def _unknown_labels(
    used: frozenset[str], known: frozenset[str], place: str, of: str = ""
) -> Iterator[Fault]:
    for label in sorted(used - known):
        yield Fault(place, f"no series{of} has the label {label}", _nearest(label, known))


def _check_patterns(selector: Selector, place: str) -> Iterator[Fault]:
    for matcher in selector.matchers:
        if "~" not in matcher.operator or matcher.is_variable:
            continue
        try:
            re.compile(matcher.value)
        except re.error as error:
            message = f"{matcher.value!r} is not a pattern: {error}"
            yield Fault(place, message, "quote what is meant literally")


def _check_source(selector: Selector, place: str, catalogue: Catalogue) -> Iterator[Fault]:
    """Yield a fault where the selector names a source, and the project has no such source."""
    named = [m for m in selector.matchers if m.label in SOURCE_LABELS and not m.is_variable]
    wanted = [m for m in named if m.operator == "="]
    if not wanted or catalogue.sources is None:
        return
    if not any(selector.selects(source_labels(source)) for source in catalogue.sources):
        words = ", ".join(f"{matcher.label} {matcher.value}" for matcher in wanted)
        tables = sorted({source.name for source in catalogue.sources})
        yield Fault(
            place,
            f"no source of the dbt project with freshness has {words}",
            f"there are {', '.join(tables)}" if tables else "give the source freshness in dbt",
        )


def _check_aggregation(
    aggregation: Aggregation, place: str, catalogue: Catalogue
) -> Iterator[Fault]:
    if aggregation.operator not in _HIDING:
        return
    for selector in aggregation.selectors:
        labels = catalogue.metrics.get(selector.name, frozenset())
        fixed = {matcher.label for matcher in selector.matchers if matcher.operator == "="}
        if selector.name != TABLE_LOADED_AT and not labels.issuperset(SOURCE_LABELS):
            continue
        own = [name for name in IDENTITY if name in labels | _COMMON_LABELS and name not in fixed]
        if dropped := [label for label in own if aggregation.drops(label)]:
            yield Fault(
                place,
                f"{aggregation.operator} makes one of sources that differ in {', '.join(dropped)}",
                f"a fresh one would hide a stale one; write by ({', '.join(IDENTITY)})",
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, sorted(known), n=1)
    return f"is {found[0]} meant?" if found else f"there are {', '.join(sorted(known))}"
