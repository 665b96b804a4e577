"""Whether the alerts of Prometheus' rule files match the metrics, the sources and the runbook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec
import yaml

from ledgermind_obs.dbt import yaml_files
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.errors import ConfigurationError, nearest
from ledgermind_obs.metrics import LOADED_AT, source_labels
from ledgermind_obs.monitoring.expressions import Catalogue, Kind, check_expression, codes_of
from ledgermind_obs.monitoring.findings import Code, Finding, Severity
from ledgermind_obs.monitoring.promql import Query, Selector, parse
from ledgermind_obs.monitoring.recorded import OF_PROJECTS
from ledgermind_obs.monitoring.runbooks import Link, Page, link_of, missing_section

_E, _W = Severity.ERROR, Severity.WARNING

EXPRESSION = codes_of("R")
NO_SEVERITY = Code("R201", _E, "alert has no severity")
NO_TEXT = Code("R202", _W, "alert has no summary or description")
NO_RUNBOOK = Code("R203", _W, "alert has no runbook")
EMPTY_TEXT = Code("R204", _E, "text names a label that the alert does not have")
NO_PAGE = Code("R301", _W, "runbook page is not in the folder")
NO_SECTION = Code("R302", _E, "runbook has no such section")
UNREADABLE_PAGE = Code("R303", _E, "runbook page cannot be read")
NO_ALERT = Code("R401", _E, "no alert looks at the age of a source")

CODES = (
    *EXPRESSION.values(),
    *(NO_SEVERITY, NO_TEXT, NO_RUNBOOK, EMPTY_TEXT),
    *(NO_PAGE, NO_SECTION, UNREADABLE_PAGE),
    NO_ALERT,
)

# Recorded metrics that are made of each other: so many in a row, and so many selectors in all, are
# followed. A source behind the rest counts as not watched.
_MAX_CHAIN = 100
_MAX_SELECTORS = 10_000

# What an alert's texts are for; a runbook is distinguished from these by its own code.
_TEXTS = {
    "summary": "one line that says what is wrong",
    "description": "what that means, and for whom",
}

_TEMPLATE_LABEL = re.compile(r"\$labels\.(\w+)")


class Rule(msgspec.Struct, frozen=True):
    """One rule: an alert, or a recording rule, with the file, the line and the group it is in.

    ``lasts`` is its ``for`` as it is written, empty if it has none.
    """

    file: str
    name: str
    expression: str
    is_alert: bool
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    group: str = ""
    line: int = 0
    lasts: str = ""

    def finding(self, code: Code, message: str, next_step: str) -> Finding:
        """Return a finding about this rule."""
        place = {"file": self.file, "line": self.line, "group": self.group}
        return code.at(self.name, message, next_step, node=f"{self.group}/{self.name}", **place)

    @property
    def runbook(self) -> Link | None:
        """What ``runbook_url`` leads to; None if the alert has none."""
        url = self.annotations.get("runbook_url", "")
        return link_of(url) if url else None


def read_rules(content: bytes, name: str) -> list[Rule]:
    """Return the rules of a file; ``name`` is what errors and findings call it.

    Raises ConfigurationError if it is not a rule file.
    """
    try:
        root = yaml_files.compose(content)
    except yaml_files.FaultyYamlError as error:
        raise ConfigurationError(
            f"{name} is not YAML: {' '.join(str(error).split())}",
            f"try: promtool check rules {name}",
        ) from error
    # A PrometheusRule of Kubernetes has below spec what a rule file has at its top.
    groups = _list(yaml_files.value_of(root, "spec") or root, "groups", name)
    return [
        _rule(rule, yaml_files.text_of(yaml_files.value_of(group, "name")) or "", name)
        for group in groups
        for rule in _list(group, "rules", name)
    ]


def _list(node: yaml.Node | None, key: str, file: str) -> list[yaml.Node]:
    value = yaml_files.value_of(node, key)
    if not isinstance(value, yaml.SequenceNode):
        raise _no_rule_file(file, f"it has no list of {key}", node)
    return list(value.value)


def _no_rule_file(file: str, reason: str, node: yaml.Node | None) -> ConfigurationError:
    line = f" (line {yaml_files.line_of(node)})" if node else ""
    return ConfigurationError(
        f"{file} is not a file of Prometheus rules: {reason}{line}",
        f"try: promtool check rules {file}",
    )


def _rule(node: yaml.Node, group: str, file: str) -> Rule:
    fields = _texts(node)
    name = fields.get("alert") or fields.get("record")
    if not name or not fields.get("expr"):
        missing = "an expr" if name else "an alert or a record"
        raise _no_rule_file(file, f"a rule needs {missing}", node)
    return Rule(
        file=file,
        name=name,
        expression=fields["expr"],
        is_alert=bool(fields.get("alert")),
        labels=_texts(yaml_files.value_of(node, "labels")),
        annotations=_texts(yaml_files.value_of(node, "annotations")),
        group=group,
        line=yaml_files.line_of(node),
        lasts=fields.get("for", ""),
    )


def _texts(node: yaml.Node | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in yaml_files.pairs(node):
        found.setdefault(key, yaml_files.text_of(value) or "")
    return found


def check(
    rules: Sequence[Rule],
    catalogue: Catalogue,
    pages: Mapping[str, Page] | None,
    *,
    whole: bool = True,
) -> list[Finding]:
    """Return what is wrong with the rules of all files together.

    ``pages`` are the runbook's, by file name; None means that there is no folder to look into. If
    the rules are not the whole, what another file could hold is not missed.
    """
    known = catalogue.with_recorded(_recorded(rules, catalogue))
    findings: list[Finding] = []
    for rule in rules:
        findings += (
            rule.finding(EXPRESSION[fault.kind], fault.message, fault.next_step)
            for fault in check_expression(rule.expression, known)
        )
        if rule.is_alert:
            findings += _check_alert(rule, known)
            findings += _check_runbook(rule, pages)
    if whole:
        return [*findings, *_unwatched(rules, catalogue.sources or ())]
    return [finding for finding in findings if finding.code != EXPRESSION[Kind.METRIC].id]


def _recorded(rules: Iterable[Rule], catalogue: Catalogue) -> dict[str, frozenset[str]]:
    """Return the recorded metrics with every label that they may have."""
    recorded = dict(OF_PROJECTS)
    for rule in rules:
        query = None if rule.is_alert else _query(rule)
        if query:
            labels = catalogue.with_recorded(recorded).labels(query) | rule.labels.keys()
            recorded[rule.name] = recorded.get(rule.name, frozenset()) | labels
    return recorded


def _check_alert(rule: Rule, catalogue: Catalogue) -> Iterator[Finding]:
    if not rule.labels.get("severity"):
        next_step = (
            "add the label severity, such as warning or critical: it decides who is notified"
        )
        yield rule.finding(NO_SEVERITY, "has no severity", next_step)
    for name, purpose in _TEXTS.items():
        if not rule.annotations.get(name):
            next_step = f"add the annotation {name}: {purpose}"
            yield rule.finding(NO_TEXT, f"has no {name}", next_step)
    if rule.runbook is None:
        next_step = "add the annotation runbook_url: a link to the section that says what to do"
        yield rule.finding(NO_RUNBOOK, "has no runbook_url", next_step)
    yield from _check_templates(rule, catalogue)


def _check_templates(rule: Rule, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield a finding for each label in a text that no series of the alert can fill in."""
    query = _query(rule)
    if query is None or any(catalogue.allows(selector.name) for selector in query.selectors):
        return
    known = catalogue.labels(query) | rule.labels.keys()
    for name, text in rule.annotations.items():
        for label in _TEMPLATE_LABEL.findall(text):
            if label not in known:
                message = f"prints the label {label} in its {name}, and none of its series has it"
                yield rule.finding(EMPTY_TEXT, message, nearest(label, known))


def _check_runbook(rule: Rule, pages: Mapping[str, Page] | None) -> Iterator[Finding]:
    link = rule.runbook
    if link is None or pages is None or not link.is_markdown:
        return
    page = pages.get(link.page)
    if page is None:
        message = f"links to the runbook {link.page}, which is not in the folder of runbooks"
        next_step = "correct the link, or name the folder that has it: --runbooks DIR"
        yield rule.finding(NO_PAGE, message, next_step)
    elif page.fault:
        message = f"links to {link.page}, which cannot be read: {page.fault}"
        yield rule.finding(UNREADABLE_PAGE, message, "repair the file, so that people can read it")
    elif wrong := missing_section(link, page):
        yield rule.finding(NO_SECTION, *wrong)


def _unwatched(rules: Sequence[Rule], sources: Iterable[Source]) -> Iterator[Finding]:
    """Yield a finding for each source whose age no alert looks at."""
    ages = [s for s in alert_selectors(rules) if s.name == LOADED_AT.name]
    for source in sources:
        labels = source_labels(source)
        if not any(selector.selects(labels) for selector in ages):
            yield NO_ALERT.at(
                source.label,
                "may be of any age, and no alert looks at it",
                f"add it to an alert on {LOADED_AT.name}, or write one without the label table",
                node=source.unique_id,
                file=source.original_file_path or "",
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
    found = (s for query in alerts for s in _through(query, recorded, frozenset()))
    return list(islice(found, _MAX_SELECTORS))


def _through(
    query: Query, recorded: Mapping[str, list[Query]], seen: frozenset[str]
) -> Iterator[Selector]:
    """Yield the query's selectors, and those behind a recorded metric with both's matchers."""
    for selector in dict.fromkeys(query.selectors):
        if selector.excludes or selector.name in seen or len(seen) > _MAX_CHAIN:
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
