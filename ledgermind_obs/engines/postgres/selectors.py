"""dbt's ``source:`` selectors, as far as they can be followed without dbt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch

from ledgermind_obs.dbt.manifest import Manifest, Source
from ledgermind_obs.errors import ConfigurationError

# A source, a table of it, or a table of a package's source; dbt matches each part with fnmatch.
_SOURCE = re.compile(r"source:((?:[^.:,+@\s]+\.){0,2}[^.:,+@\s]+)")


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


def _matching(manifest: Manifest, criteria: Sequence[str], unmatched: list[str]) -> set[str]:
    """Return the union of the criteria; those that match nothing are added to ``unmatched``."""
    found: set[str] = set()
    for criterion in _split(criteria):
        pattern = _pattern(criterion)
        matching = {uid for uid, source in manifest.sources.items() if _matches(source, pattern)}
        if not matching:
            unmatched.append(criterion)
        found |= matching
    return found


def _split(criteria: Iterable[str]) -> Iterator[str]:
    for criterion in criteria:
        yield from criterion.split()


def _pattern(criterion: str) -> list[str]:
    """Return the patterns of package, source and table."""
    selector = _SOURCE.fullmatch(criterion)
    if selector is None:
        raise ConfigurationError(
            f"--engine postgres cannot follow the selector {criterion!r}",
            "select with source:NAME or source:NAME.TABLE, or use --engine dbt",
        )
    parts = selector[1].split(".")
    padding = {1: ("*", parts[0], "*"), 2: ("*", *parts), 3: tuple(parts)}
    return list(padding[len(parts)])


def _matches(source: Source, pattern: Sequence[str]) -> bool:
    names = (source.package_name, source.source_name, source.name)
    return all(fnmatch(name, part) for name, part in zip(names, pattern, strict=True))
