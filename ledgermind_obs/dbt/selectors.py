"""dbt's selection syntax, as far as it can be followed without dbt: the ``source:`` selectors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch

from ledgermind_obs.dbt.manifest import Manifest
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.freshness import SourceKey

# A source, a table of it, or a table of a package's source; dbt matches each part with fnmatch.
_SOURCE = re.compile(r"source:((?:[^.:,+@\s]+\.){0,2}[^.:,+@\s]+)")
# A name without a method and without operators. In dbt 1.x it means models, never sources.
_NAME = re.compile(r"[^:,+@/\s]+")
_FILES = (".sql", ".py", ".csv")


def select(
    manifest: Manifest, selected: Sequence[str], excluded: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the sources with freshness that a selection holds, and what of it matches nothing.

    Raises ConfigurationError for a selector that only dbt can follow.
    """
    unmatched: list[str] = []
    within = _matching(manifest, selected, unmatched) if selected else set(manifest.sources)
    without = _matching(manifest, excluded, unmatched)
    chosen = within - without
    return [uid for uid in manifest.with_freshness() if uid in chosen], unmatched


def holds(selected: Sequence[str], excluded: Sequence[str], key: SourceKey) -> bool | None:
    """Return whether a selection holds the source; None if only dbt knows."""
    inside = _any_matches(selected, key) if selected else True
    outside = _any_matches(excluded, key)
    if inside is False or outside is True:
        return False
    return True if inside and outside is False else None


def split(criteria: Iterable[str]) -> Iterator[str]:
    """Yield the criteria one by one: dbt takes several in one word, separated by spaces."""
    for criterion in criteria:
        yield from criterion.split()


def is_name(criterion: str) -> bool:
    """Return whether a criterion is a mere name: not a path, a method or a graph operator."""
    return bool(_NAME.fullmatch(criterion)) and not criterion.lower().endswith(_FILES)


def _any_matches(criteria: Sequence[str], key: SourceKey) -> bool | None:
    """Return whether one of the criteria matches the source; None if only dbt knows."""
    patterns = [pattern_of(criterion) for criterion in split(criteria) if not is_name(criterion)]
    if any(pattern and _matches(key, pattern) for pattern in patterns):
        return True
    return None if None in patterns else False


def _matching(manifest: Manifest, criteria: Sequence[str], unmatched: list[str]) -> set[str]:
    """Return the union of the criteria; those that match nothing are added to ``unmatched``."""
    found: set[str] = set()
    for criterion in split(criteria):
        pattern = pattern_of(criterion)
        if pattern is None:
            raise ConfigurationError(
                f"obs cannot follow the selector {criterion!r} without dbt",
                "select with source:NAME or source:NAME.TABLE, or measure with --engine dbt",
            )
        matching = {uid for uid, s in manifest.sources.items() if _matches(s.key, pattern)}
        if not matching:
            unmatched.append(criterion)
        found |= matching
    return found


def pattern_of(criterion: str) -> tuple[str, str, str] | None:
    """Return the patterns of package, source and table; None for what only dbt can follow."""
    selector = _SOURCE.fullmatch(criterion)
    if selector is None:
        return None
    parts = selector[1].split(".")
    if len(parts) == 1:
        return "*", parts[0], "*"
    package = parts.pop(0) if len(parts) > 2 else "*"  # noqa: PLR2004 - package, source, table
    return package, parts[0], parts[1]


def _matches(key: SourceKey, pattern: Sequence[str]) -> bool:
    return all(fnmatch(name, part) for name, part in zip(key, pattern, strict=True))
