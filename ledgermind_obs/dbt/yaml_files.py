"""YAML as data and nothing else, read by libyaml where PyYAML was built with it.

What PyYAML says of a document quotes it, a password in profiles.yml for instance: errors name the
place and the kind of the fault instead.

What a file may cost is bounded: its size, how deep it is nested, and what its aliases stand for
when they are written out, as merging them does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# A thousand levels are far more than people write, and far fewer than what overflows libyaml's
# stack, which ends the process. Only brackets and signs in a row can nest so deep in a small file.
MAX_DEPTH = 1000
_OPENING = re.compile(rb"[\[{]|[-?](?=[\s\x00])")

MAX_BYTES = 16 * 1024 * 1024
MAX_EXPANDED_BYTES = 64 * 1024 * 1024
_BYTES_PER_VALUE = 64

_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"

_KINDS = {
    "ReaderError": "a character that YAML does not allow",
    "ScannerError": "a sign that has a meaning in YAML, such as % @ : or a quote, is misplaced",
    "ParserError": "the structure is broken: look for brackets, quotes and indentation",
    "ComposerError": "a value begins with * or &, which YAML takes for a reference",
    "ConstructorError": "a value begins with !, or a mapping has a key that cannot be one",
    "UnicodeDecodeError": "it is not UTF-8",
    "RecursionError": "it is nested too deep",
}


class FaultyYamlError(yaml.YAMLError):
    """A document that cannot be read; ``str()`` says where and why, and quotes nothing of it."""

    next_step = "put the value in quotes, or see a YAML reference"


class CostlyYamlError(FaultyYamlError):
    """A document that would take too much memory or time."""

    next_step = "write it shorter, flatter and without aliases of aliases"


def load(content: bytes) -> Any:
    """Return what a document holds; raises FaultyYamlError."""
    with _loader(content) as loader:
        node = loader.get_single_node()
        if node is not None and b"&" in content:
            _expanded_bytes(node, {})
        return None if node is None else loader.construct_document(node)


def compose(text: str | bytes) -> yaml.Node | None:
    """Return a document's nodes, which know their lines; raises FaultyYamlError.

    An alias is the node that it stands for: whoever walks them must look at each one once.
    """
    content = text.encode(errors="replace") if isinstance(text, str) else text
    with _loader(content) as loader:
        node: yaml.Node | None = loader.get_single_node()
        return node


@contextmanager
def _loader(content: bytes) -> Iterator[Any]:
    with _in_own_words():
        _refuse_too_large(content)
        loader = _LOADER(content)
        try:
            yield loader
        finally:
            loader.dispose()


def pairs(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the keys and values of a mapping, then those that ``<<`` merges into it."""
    # An alias is the node itself, so that each is looked at once however often it is merged.
    seen, pending = set[int](), [node] if isinstance(node, yaml.MappingNode) else []
    while pending:
        found = pending.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        for key, value in found.value:
            if key.tag == _MERGE:
                merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
                pending += [part for part in merged if isinstance(part, yaml.MappingNode)]
            elif isinstance(key, yaml.ScalarNode):
                yield str(key.value), value


def value_of(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """Return the value of a mapping's key; None if it is no mapping, or has no such key."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in pairs(node) if name == key), None)


def items_of(node: yaml.Node | None, key: str) -> list[yaml.Node]:
    """Return the items of the list under a key; none if there is no list."""
    value = value_of(node, key)
    return list(value.value) if isinstance(value, yaml.SequenceNode) else []


def text_of(node: yaml.Node | None) -> str | None:
    """Return a scalar as it is written; None for what is no scalar, and for null."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL:
        return None
    return str(node.value)


def line_of(node: yaml.Node) -> int:
    """Return the line, from 1, at which a node begins."""
    return int(node.start_mark.line) + 1


def _refuse_too_large(content: bytes) -> None:
    """Raise CostlyYamlError for a large document, and for what is nested too deep to be read."""
    if len(content) > MAX_BYTES:
        raise CostlyYamlError(f"it is larger than {MAX_BYTES >> 20} MiB")
    if len(_OPENING.findall(content)) <= MAX_DEPTH:
        return
    depth = 0
    for event in yaml.parse(content, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise CostlyYamlError(f"it is nested more than {MAX_DEPTH} levels deep")


def _expanded_bytes(node: yaml.Node, known: dict[int, int]) -> int:
    """Return about how many bytes a node takes when each of its aliases is written out."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise CostlyYamlError("an alias in it stands for something that holds the alias")
        return known[id(node)]
    known[id(node)] = 0
    size = _BYTES_PER_VALUE
    if isinstance(node, yaml.ScalarNode):
        size += len(node.value)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_expanded_bytes(part, known) for part in node.value)
    elif isinstance(node, yaml.MappingNode):
        size += sum(_expanded_bytes(part, known) for pair in node.value for part in pair)
    if size > MAX_EXPANDED_BYTES:
        raise CostlyYamlError(f"its aliases stand for more than {MAX_EXPANDED_BYTES >> 20} MiB")
    known[id(node)] = size
    return size


@contextmanager
def _in_own_words() -> Iterator[None]:
    try:
        yield
    except FaultyYamlError:
        raise
    except Exception as error:  # a value can break its constructor in any way: ValueError, KeyError
        raise FaultyYamlError(_words(error)) from None


def _words(error: Exception) -> str:
    kind = _KINDS.get(type(error).__name__, "a value is not what it looks like: quote it")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{kind}"
