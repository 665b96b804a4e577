"""The alert rules and dashboards on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring.promql import Selector

RULES = Path("prometheus/rules")
DASHBOARDS = Path("ops/grafana/dashboards")


def rule_selectors(given: Path | None) -> list[Selector] | None:
    """Return what the alert rules select; None where there are none and none were named.

    Raises ConfigurationError where a file cannot be read.
    """
    files = _contents(given, RULES, (".yml", ".yaml"))
    if files is None:
        return None
    from ledgermind_obs.monitoring.coverage import covered_by_rules
    from ledgermind_obs.monitoring.rules import read_rules

    return covered_by_rules(
        rule for path, content in files for rule in read_rules(content, str(path))
    )


def dashboard_selectors(given: Path | None) -> list[Selector] | None:
    """Return what the dashboards select; None where there are none and none were named.

    Raises ConfigurationError where a file cannot be read.
    """
    files = _contents(given, DASHBOARDS, (".json",))
    if files is None:
        return None
    from ledgermind_obs.monitoring.coverage import covered_by_dashboard

    documents = (_decoded(path, content) for path, content in files)
    return [selector for document in documents for selector in covered_by_dashboard(document)]


def _contents(
    given: Path | None, default: Path, suffixes: tuple[str, ...]
) -> list[tuple[Path, bytes]] | None:
    if given is None and not default.is_dir():
        return None
    try:
        return [(path, path.read_bytes()) for path in _files(given or default, suffixes)]
    except OSError as error:
        raise ConfigurationError(f"cannot read {error.filename}: {error.strerror}") from error


def _decoded(path: Path, content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error


def _files(place: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    if place.is_dir():
        yield from (path for path in sorted(place.iterdir()) if path.name.endswith(suffixes))
    else:
        yield place
