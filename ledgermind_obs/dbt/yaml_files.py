"""YAML as data and nothing else, read by libyaml where PyYAML was built with it.

What PyYAML says of a document quotes it, a password in profiles.yml for instance: errors name the
place and the kind of the fault instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

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


def load(content: bytes) -> Any:
    """Return what a document holds; raises FaultyYamlError."""
    with _in_own_words():
        return yaml.load(content, Loader=_LOADER)  # noqa: S506 - a safe loader


def compose(text: str) -> yaml.Node | None:
    """Return a document's nodes, which know their lines; raises FaultyYamlError."""
    with _in_own_words():
        return yaml.compose(text, Loader=_LOADER)


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
