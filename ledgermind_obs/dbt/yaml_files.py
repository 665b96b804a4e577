"""YAML as data and nothing else, read by libyaml where PyYAML was built with it."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(content: bytes) -> Any:
    """Return what a document holds; raises yaml.YAMLError, and UnicodeDecodeError."""
    return yaml.load(content, Loader=_LOADER)  # noqa: S506 - a safe loader


def compose(text: str) -> yaml.Node | None:
    """Return a document's nodes, which know their lines; raises yaml.YAMLError."""
    return yaml.compose(text, Loader=_LOADER)
