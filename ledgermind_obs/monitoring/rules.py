"""Whether the alerts of Prometheus' rule files match the metrics, the sources and the runbook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from ledgermind_obs.dbt import yaml_files
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.metrics import LOADED_AT, source_labels
from ledgermind_obs.monitoring.expressions import Catalogue, Fault, check_expression, unique
from ledgermind_obs.monitoring.promql import Query, Selector, parse

ANNOTATIONS = ("summary", "description", "runbook_url")

_TEMPLATE_LABEL = re.compile(r"\$labels\.(\w+)")
_HEADING = re.compile(r"^#+ (.*?)\s*#*$", re.MULTILINE)


class Rule(msgspec.Struct, frozen=True):
    """One rule: an alert, or a recording rule, with the file it is in."""

    file: str
    name: str
    expression: str
    is_alert: bool
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def place(self) -> str:
        """File and name, as a fault says where it is; alerts of one name differ in severity."""
        severity = self.labels.get("severity")
        return f"{self.file}: {self.name}" + (f" ({severity})" if severity else "")


def read_rules(content: bytes, name: str) -> list[Rule]:
    """Return the rules of a file; ``name`` is what errors and faults call it.

    Raises ConfigurationError where it is not a rule file.
    """
    try:
        document = yaml_files.load(content)
        return [_rule(rule, name) for group in document["groups"] for rule in group["rules"]]
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{name} is not a file of Prometheus rules", f"try: promtool check rules {name}"
        ) from error


def anchors(page: str) -> frozenset[str]:
    """Return the anchors that GitHub gives to a Markdown page's headings."""
    headings = _HEADING.findall(page)
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    )


def check(
    rules: Sequence[Rule], catalogue: Catalogue, runbooks: Mapping[str, frozenset[str]]
) -> list[Fault]:
    """Return what is wrong with the rules of all files together.

    ``runbooks`` are the anchors of each page, by the page's file name.
    """
    known = catalogue.with_recorded(_recorded(rules, catalogue))
    faults: list[Fault] = []
    for rule in rules:
        faults += check_expression(rule.expression, rule.place, known)
        if rule.is_alert:
            faults += _check_alert(rule, known, runbooks)
    return unique([*faults, *_unwatched(rules, catalogue.sources or ())])


def _rule(rule: Mapping[str, Any], file: str) -> Rule:
    is_alert = "alert" in rule
    return Rule(
        file=file,
        name=str(rule["alert"] if is_alert else rule["record"]),
        expression=str(rule["expr"]),
        is_alert=is_alert,
        labels={str(key): str(value) for key, value in (rule.get("labels") or {}).items()},
        annotations={
            str(key): str(value) for key, value in (rule.get("annotations") or {}).items()
        },
    )


def _recorded(rules: Iterable[Rule], catalogue: Catalogue) -> dict[str, frozenset[str]]:
    """Return the recorded metrics with every label that they may have."""
    recorded: dict[str, frozenset[str]] = {}
    for rule in rules:
        query = None if rule.is_alert else _query(rule)
        if query:
            labels = catalogue.with_recorded(recorded).labels(query) | rule.labels.keys()
            recorded[rule.name] = recorded.get(rule.name, frozenset()) | labels
    return recorded


def _check_alert(
    rule: Rule, catalogue: Catalogue, runbooks: Mapping[str, frozenset[str]]
) -> Iterator[Fault]:
    if "severity" not in rule.labels:
        yield Fault(rule.place, "it has no severity", "label it warning or critical")
    for name in ANNOTATIONS:
        if not rule.annotations.get(name):
            yield Fault(rule.place, f"it has no {name}", f"annotate it with a {name}")
    yield from _check_templates(rule, catalogue)
    yield from _check_runbook(rule, runbooks)


def _check_templates(rule: Rule, catalogue: Catalogue) -> Iterator[Fault]:
    """Yield a fault for each label in a text that no series of the alert can fill in."""
    query = _query(rule)
    if query is None or any(catalogue.allows(selector.name) for selector in query.selectors):
        return
    known = catalogue.labels(query) | rule.labels.keys()
    for name, text in rule.annotations.items():
        for label in _TEMPLATE_LABEL.findall(text):
            if label not in known:
                message = f"its {name} asks for the label {label}, which no series of it has"
                yield Fault(rule.place, message, f"there are {', '.join(sorted(known))}")


def _check_runbook(rule: Rule, runbooks: Mapping[str, frozenset[str]]) -> Iterator[Fault]:
    url = rule.annotations.get("runbook_url", "")
    address, _, anchor = url.partition("#")
    page = address.rpartition("/")[2]
    if not url:
        return
    if page not in runbooks:
        yield Fault(rule.place, f"there is no runbook {page}", "name its directory: --runbooks")
    elif anchor not in runbooks[page]:
        there = ", ".join(sorted(runbooks[page]))
        yield Fault(rule.place, f"{page} has no section #{anchor}", f"it has {there}")


def _unwatched(rules: Sequence[Rule], sources: Iterable[Source]) -> Iterator[Fault]:
    """Yield a fault for each source whose age no alert looks at."""
    ages = [s for s in alert_selectors(rules) if s.name == LOADED_AT.name]
    for source in sources:
        labels = source_labels(source)
        if not any(selector.selects(labels) for selector in ages):
            yield Fault(
                f"{source.source_name}.{source.name}",
                "no alert looks at the age of this source",
                "add it to an alert, or an alert without a table",
            )


def alert_selectors(rules: Sequence[Rule]) -> list[Selector]:
    """Return what the alerts select, also by the metrics that recording rules make for them.

    What stands behind ``unless`` is left out, and so is an expression that is not PromQL.
    """
    recorded: dict[str, list[Query]] = {}
    alerts: list[Query] = []
    for rule in rules:
        if query := _query(rule):
            (alerts if rule.is_alert else recorded.setdefault(rule.name, [])).append(query)
    return [s for query in alerts for s in _through(query, recorded, frozenset())]


def _through(
    query: Query, recorded: Mapping[str, list[Query]], seen: frozenset[str]
) -> Iterator[Selector]:
    """Yield the query's selectors, and those behind a recorded metric with both's matchers."""
    for selector in query.selectors:
        if selector.excludes or selector.name in seen:
            continue
        yield selector
        for behind in recorded.get(selector.name, []):
            for inner in _through(behind, recorded, seen | {selector.name}):
                yield msgspec.structs.replace(inner, matchers=(*selector.matchers, *inner.matchers))


def _query(rule: Rule) -> Query | None:
    try:
        return parse(rule.expression)
    except ValueError:
        return None
