"""Which sources the alert rules and the dashboard speak of, by the queries in their files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledgermind_obs.manifest import Source
from ledgermind_obs.metrics import LOADED_AT, STATUS

# A table's age, and dbt's verdict on it; the second is what postgres_exporter fills.
_SPEAKS_OF_SOURCES = (LOADED_AT.name, "table_loaded_at_seconds", STATUS.name)

_SELECTOR = re.compile(
    rf"\b({'|'.join(_SPEAKS_OF_SOURCES)})\b\s*(?:\{{((?:[^}}\"']|\"(?:\\.|[^\"])*\"|'[^']*')*)\}})?"
)
_MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*(?:\"((?:\\.|[^\"])*)\"|'([^']*)')")
_VARIABLE = re.compile(r"\$\w+|\$\{[^}]+\}|\[\[[^\]]+\]\]")


@dataclass(frozen=True)
class Selector:
    """The matchers of one selector: label, operator, value."""

    matchers: tuple[tuple[str, str, str], ...]

    def selects(self, source: Source) -> bool:
        """Return whether the source's own labels satisfy every matcher on them."""
        labels = {
            "package": source.package_name,
            "source": source.source_name,
            "table": source.name,
        }
        return all(
            _matches(operator, value, labels[label])
            for label, operator, value in self.matchers
            if label in labels
        )


def covered_by_rules(document: Any) -> list[Selector]:
    """Return the selectors of every alert in a rule file, through the rules that it records."""
    rules = list(_rules(document))
    recorded = {
        str(rule["record"]): str(rule.get("expr", "")) for rule in rules if "record" in rule
    }
    alerts = (str(rule.get("expr", "")) for rule in rules if "alert" in rule)
    return [selector for alert in alerts for selector in _through_records(alert, recorded)]


def covered_by_dashboard(document: Any) -> list[Selector]:
    """Return the selectors of every query in a dashboard; a variable may stand for any source."""
    found: list[Selector] = []
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            expression = value.get("expr")
            found.extend(selectors(expression) if isinstance(expression, str) else ())
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return found


def selectors(expression: str) -> list[Selector]:
    """Return the selectors of the metrics that tell how fresh a source is."""
    return [
        Selector(tuple((m[1], m[2], m[3] or m[4] or "") for m in _MATCHER.finditer(found[2] or "")))
        for found in _SELECTOR.finditer(expression)
    ]


def _rules(document: Any) -> Iterator[Mapping[str, Any]]:
    groups = document.get("groups") if isinstance(document, Mapping) else None
    for group in groups or []:
        if isinstance(group, Mapping):
            yield from (rule for rule in group.get("rules") or [] if isinstance(rule, Mapping))


def _through_records(expression: str, recorded: Mapping[str, str]) -> Iterator[Selector]:
    pending, seen = [expression], set[str]()
    while pending:
        current = pending.pop()
        yield from selectors(current)
        names = {name for name in recorded if name in current} - seen
        seen |= names
        pending.extend(recorded[name] for name in names)


def _matches(operator: str, value: str, actual: str) -> bool:
    if _VARIABLE.search(value):
        return True
    if operator in {"=", "!="}:
        return (value == actual) is (operator == "=")
    try:
        found = re.fullmatch(value, actual) is not None
    except re.error:
        return False
    return found is (operator == "=~")


def is_covered(source: Source, found: Iterable[Selector]) -> bool:
    """Return whether any selector selects the source."""
    return any(selector.selects(source) for selector in found)
