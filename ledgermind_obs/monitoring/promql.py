"""What a PromQL expression speaks of: its selectors, its aggregations, the labels it names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from promql_parser import Expr

_NAME_LABEL = "__name__"
_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
# Operators and opening brackets, each of which may nest what follows; not those in quotes.
_QUOTED = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*+\1?|`[^`]*+`?""", re.DOTALL)
_NESTING = re.compile(r"[-+*/%^@(\[]|[<>=!]=|[<>]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)

# Far more than people write, and far less than what overflows the parser's stack.
MAX_PARTS = 500

_PARTS = ("lhs", "rhs", "expr", "param", "vector_selector")


class TooComplexError(ValueError):
    """An expression that could overflow the stack of the parser."""


class Matcher(msgspec.Struct, frozen=True):
    """One condition on a label; a value with a ``$`` in it is a dashboard's variable."""

    label: str
    operator: str
    value: str

    @property
    def is_variable(self) -> bool:
        """Whether the value is known only when somebody looks at the dashboard."""
        return "$" in self.value

    def matches(self, actual: str) -> bool:
        """Return whether a series with this label value may be selected.

        A pattern that cannot be read here matches nothing.
        """
        if self.is_variable:
            return True
        if self.operator in {"=", "!="}:
            return (self.value == actual) is (self.operator == "=")
        try:
            found = pattern_of(self.value).fullmatch(actual) is not None
        except ValueError:
            return False
        return found is (self.operator == "=~")


class Selector(msgspec.Struct, frozen=True):
    """A metric and the conditions on its labels; ``excludes`` where it stands behind ``unless``."""

    name: str
    matchers: tuple[Matcher, ...]
    excludes: bool = False

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Return whether no matcher speaks against a series with these labels."""
        return all(m.matches(labels[m.label]) for m in self.matchers if m.label in labels)


class Aggregation(msgspec.Struct, frozen=True):
    """An aggregation: its operator, what its ``by`` or ``without`` names, and what it is over."""

    operator: str
    labels: frozenset[str]
    without: bool
    selectors: tuple[Selector, ...]

    def drops(self, label: str) -> bool:
        """Return whether series that differ in this label alone become one."""
        return (label in self.labels) is self.without


class Query(msgspec.Struct, frozen=True):
    """An expression, taken apart; ``labels`` are those that its modifiers name."""

    selectors: tuple[Selector, ...]
    aggregations: tuple[Aggregation, ...]
    labels: frozenset[str]


def pattern_of(text: str) -> re.Pattern[str]:
    """Return a matcher's pattern; raises ValueError if Python reads it differently or not at all.

    Prometheus' own syntax (RE2) has forms that Python does not know, and Python warns of those that
    it knows by another meaning.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            return re.compile(text)
    except (re.error, RecursionError, OverflowError, FutureWarning) as error:
        raise ValueError(str(error)) from error


def parse(expression: str) -> Query:
    """Return the parts of an expression.

    Raises ValueError if it is not PromQL, TooComplexError if it has more than MAX_PARTS parts.
    """
    import promql_parser

    parts = len(_NESTING.findall(_QUOTED.sub('""', expression)))
    if parts > MAX_PARTS:
        raise TooComplexError(f"{parts:,} operators and brackets, and the limit is {MAX_PARTS}")
    root = promql_parser.parse(expression)
    nodes = list(_nodes(root))
    return Query(
        selectors=tuple(_selectors(root)),
        aggregations=tuple(
            _aggregation(node) for node in nodes if type(node).__name__ == "AggregateExpr"
        ),
        labels=frozenset(label for node in nodes for label in _named_labels(node)),
    )


_STRING = r'"(?:\\.|[^"\\])*"'
_MATCHER = re.compile(rf"\w+(?:=~|!~|!=|=){_STRING}")
_BRACES = re.compile(rf"\{{{_MATCHER.pattern}(?:,{_MATCHER.pattern})*\}}")


def normal_form(expression: str) -> str:
    """Return an expression as the parser writes it, so that two ways to write one are the same.

    Matchers are in the order of their labels, as Prometheus writes them. What is not PromQL, or too
    long to be parsed, comes back with its spaces made one.
    """
    import promql_parser

    try:
        parse(expression)
        written = str(promql_parser.parse(expression))
    except ValueError:
        written = " ".join(expression.split())
    return _BRACES.sub(_in_order, written)


def _in_order(braces: re.Match[str]) -> str:
    return "{" + ",".join(sorted(_MATCHER.findall(braces[0]))) + "}"


def _nodes(node: Expr) -> Iterator[Any]:
    yield node
    for child in _children(node):
        yield from _nodes(child)


def _children(node: Any) -> list[Any]:
    parts = [getattr(node, part, None) for part in _PARTS]
    return [part for part in (*parts, *getattr(node, "args", ())) if part is not None]


def _selectors(node: Any, *, excludes: bool = False) -> Iterator[Selector]:
    if type(node).__name__ == "VectorSelector":
        yield _selector(node, excludes=excludes)
        return
    behind = node.rhs if str(getattr(node, "op", "")) == "unless" else None
    for child in _children(node):
        yield from _selectors(child, excludes=excludes or child is behind)


def _selector(node: Any, *, excludes: bool) -> Selector:
    matchers = [
        Matcher(matcher.name, _OPERATORS[str(matcher.op).rpartition(".")[2]], matcher.value)
        for matcher in node.matchers.matchers
    ]
    named = next((m.value for m in matchers if (m.label, m.operator) == (_NAME_LABEL, "=")), "")
    others = tuple(matcher for matcher in matchers if matcher.label != _NAME_LABEL)
    return Selector(node.name or named, others, excludes)


def _aggregation(node: Any) -> Aggregation:
    modifier = node.modifier
    return Aggregation(
        operator=str(node.op),
        labels=frozenset(modifier.labels if modifier else ()),
        without=bool(modifier) and str(modifier.type).endswith("Without"),
        selectors=tuple(_selectors(node.expr)),
    )


def _named_labels(node: Any) -> Iterator[str]:
    modifier = getattr(node, "modifier", None)
    if modifier is None:
        return
    matching = getattr(modifier, "matching", None) or modifier
    yield from getattr(matching, "labels", ())
    yield from getattr(modifier, "group_labels", None) or ()
