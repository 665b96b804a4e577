"""YAML as people read it: keys in the order they are given, expressions as blocks of lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Text that no YAML reader takes for anything else, and that needs no quotes.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./:-]*[A-Za-z0-9]|[A-Za-z]|[0-9]+[smhdw]")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def to_yaml(document: Any, comment: str = "") -> str:
    """Return the document of mappings, lists, texts and numbers; ``comment`` goes before it.

    The same document gives the same text, and every YAML reader gives the document back.
    """
    head = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*head, *_lines(document)]) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _entry(f"{_scalar(key)}:", inner)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for inner in value:
            first, *rest = _lines(inner)
            yield f"- {first}"
            yield from (f"  {line}" if line else "" for line in rest)
    elif isinstance(value, str) and _is_block(value):
        yield "|-"
        yield from (f"  {line}" for line in value.split("\n"))
    else:
        yield _scalar(value)


def _entry(key: str, value: Any) -> Iterator[str]:
    first, *rest = _lines(value)
    if isinstance(value, str) or not isinstance(value, Mapping | Sequence) or not value:
        yield f"{key} {first}"
        yield from rest
    else:
        yield key
        yield from (f"  {line}" if line else "" for line in (first, *rest))


def _is_block(text: str) -> bool:
    """Return whether a text has several lines that a block keeps as they are."""
    lines = text.split("\n")
    return (
        len(lines) > 1
        and all(line.isprintable() and line.strip() and line == line.rstrip() for line in lines)
        and not lines[0].startswith(" ")
    )


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value if value != () else [])
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if value.isprintable() and value == value.strip() and value:
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    if sign.isprintable():
        return sign
    return f"\\U{ord(sign):08x}"
