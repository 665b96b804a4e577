"""Whether Alertmanager's routes reach the owners that the alerts name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import yaml

from ledgermind_obs.dbt import yaml_files
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring.findings import Code, Finding, Severity
from ledgermind_obs.monitoring.promql import Matcher, pattern_of
from ledgermind_obs.monitoring.rules import Rule

NO_ROUTE = Code("R501", Severity.ERROR, "no route looks for an owner")
NOBODY = Code("R502", Severity.ERROR, "an owner's receiver notifies nobody")
CODES = (NO_ROUTE, NOBODY)

_MATCHER = re.compile(
    r"""\s*(?:"(?P<quoted>[^"]+)"|(?P<name>[^\s"=!~,{}]+))\s*(?P<operator>=~|!~|!=|=)\s*"""
    r"""(?:"(?P<value>(?:\\.|[^"\\])*)"|(?P<bare>[^",{}]*?))\s*(?:,|$)"""
)
# As a rule file has two braces that are text.
_BRACES = '{{ "{{" }}'


class Route(msgspec.Struct, frozen=True):
    """A route and those below it; ``goes_on`` is Alertmanager's ``continue``."""

    receiver: str
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False
    routes: tuple[Route, ...] = ()
    line: int = 0

    def receivers(self, labels: Mapping[str, str]) -> list[str]:
        """Return who gets an alert with these labels, as Alertmanager decides it."""
        if not all(_matches(matcher, labels) for matcher in self.matchers):
            return []
        found: list[str] = []
        for route in self.routes:
            reached = route.receivers(labels)
            found += reached
            if reached and not route.goes_on:
                break
        return found or [self.receiver]


class Routing(msgspec.Struct, frozen=True):
    """Alertmanager's configuration: the first route, and how many ways each receiver has."""

    file: str
    route: Route
    ways: Mapping[str, int]


def _matches(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    actual = labels.get(matcher.label, "")
    if matcher.operator in {"=", "!="}:
        return (matcher.value == actual) is (matcher.operator == "=")
    try:
        found = pattern_of(matcher.value).fullmatch(actual) is not None
    except ValueError:
        return False
    return found is (matcher.operator == "=~")


def read_routing(content: bytes, name: str) -> Routing:
    """Return the routes of an Alertmanager configuration; ``name`` is what errors call it.

    Raises ConfigurationError if it is none.
    """
    try:
        root = yaml_files.compose(content)
    except yaml_files.FaultyYamlError as error:
        raise _no_configuration(name, f"it is not YAML: {' '.join(str(error).split())}") from error
    first = yaml_files.value_of(root, "route")
    if not isinstance(first, yaml.MappingNode):
        raise _no_configuration(name, "it has no route")
    receivers = yaml_files.items_of(root, "receivers")
    ways = {_text(node, "name"): _ways(node) for node in receivers}
    return Routing(name, _route(first, "", name), ways)


def _no_configuration(name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} is no configuration of Alertmanager: {reason}", f"try: amtool check-config {name}"
    )


def _route(node: yaml.Node, inherited: str, name: str) -> Route:
    receiver = _text(node, "receiver") or inherited
    return Route(
        receiver=receiver,
        matchers=tuple(_matchers(node, name)),
        goes_on=_text(node, "continue").lower() in {"true", "yes", "on"},
        routes=tuple(
            _route(child, receiver, name) for child in yaml_files.items_of(node, "routes")
        ),
        line=yaml_files.line_of(node),
    )


def _matchers(node: yaml.Node, name: str) -> Iterator[Matcher]:
    for key, operator in (("match", "="), ("match_re", "=~")):
        for label, value in yaml_files.pairs(yaml_files.value_of(node, key)):
            yield Matcher(label, operator, yaml_files.text_of(value) or "")
    for item in yaml_files.items_of(node, "matchers"):
        yield from _parsed(yaml_files.text_of(item) or "", name, yaml_files.line_of(item))


def _parsed(text: str, name: str, line: int) -> Iterator[Matcher]:
    inner = text.strip().removeprefix("{").removesuffix("}")
    place = 0
    while place < len(inner):
        found = _MATCHER.match(inner, place)
        if found is None:
            raise _no_configuration(name, f"{text!r} is no matcher (line {line})")
        value = found["bare"] if found["value"] is None else _unescaped(found["value"])
        yield Matcher(found["quoted"] or found["name"], found["operator"], value)
        place = found.end()


def _unescaped(text: str) -> str:
    return re.sub(r'\\([\\"n])', lambda found: {"n": "\n"}.get(found[1], found[1]), text)


def _ways(receiver: yaml.Node) -> int:
    """Return how many integrations a receiver has: one without any notifies nobody."""
    return sum(
        len(yaml_files.items_of(receiver, key))
        for key, _ in yaml_files.pairs(receiver)
        if key.endswith("_configs")
    )


def _text(node: yaml.Node, key: str) -> str:
    return yaml_files.text_of(yaml_files.value_of(node, key)) or ""


def check_routes(rules: Sequence[Rule], routing: Routing) -> Iterator[Finding]:
    """Yield a finding for each owner in the rules' labels who is not reached.

    Nobody is reached by the owner's name if the alert goes where it would go without an owner.
    """
    for owner, alerts in _by_owner(rules).items():
        reached = [routing.route.receivers(labels) for labels in alerts]
        without = [routing.route.receivers({**labels, "owner": ""}) for labels in alerts]
        place = {"node": owner, "file": routing.file, "line": routing.route.line}
        if any(found == others for found, others in zip(reached, without, strict=True)):
            yield NO_ROUTE.at(
                owner,
                f"is looked for by no route, so its alerts go to {', '.join(_all(without))}",
                f'add a route with the matcher owner="{owner}", or correct the owner in dbt',
                **place,
            )
        elif not any(routing.ways.get(name) for name in _all(reached)):
            yield NOBODY.at(
                owner,
                f"is sent to the receiver {', '.join(_all(reached))}, which notifies nobody",
                "give the receiver a channel, an address or a webhook",
                **place,
            )


def _all(found: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in found for name in names))


def _by_owner(rules: Iterable[Rule]) -> dict[str, list[dict[str, str]]]:
    """Return what each owner's alerts are labelled with; a recorded owner gets a warning."""
    found: dict[str, list[dict[str, str]]] = {}
    for rule in rules:
        labels = {name: value.replace(_BRACES, "{{") for name, value in rule.labels.items()}
        if owner := labels.get("owner"):
            alerts = found.setdefault(owner, [])
            if rule.is_alert:
                alerts.append({**labels, "alertname": rule.name})
    return {
        owner: alerts or [{"owner": owner, "severity": "warning"}]
        for owner, alerts in sorted(found.items())
    }
